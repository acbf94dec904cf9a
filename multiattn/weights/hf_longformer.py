"""Longformer's layout of a text encoder, without its heads, as transformers saves it.

BERT's blocks, with a window and with second projections for global tokens; RoBERTa's positions, which begin at 2.
Source: Beltagy et al. 2020.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..inputs import Tokenizer
from ..models.text_encoder import TextEncoder, TextEncoderConfig
from .blip_text import ALONE, FIXED_QUESTION, read_bert, text_rows, write_bert
from .bundle import CONFIG, TOKENIZER, check_vocabulary
from .hf_common import around_questions, check_fixed, check_stated, describe_roles, require
from .json_files import read_architecture, short
from .model_files import ModelFiles
from .state import load_into
from .table import CONCAT, Drop, KeyTable, Row, Transform
from .text_layout import TextLayout

NAME = "hf-longformer"

_PADDING = 1  # RoBERTa's padding token; positions are counted from the one after it
_FIRST = _PADDING + 1

_POSITIONS = Transform(
    "from the third row, first kind added",
    lambda theirs: theirs[0][_FIRST:] + theirs[1][0],
    lambda ours, count: [torch.cat([ours.new_zeros(_FIRST, ours.shape[1]), ours]), ours.new_zeros(1, ours.shape[1])],
)
_SELF = "encoder.layer.{i}.attention.self."

TABLE = KeyTable(
    NAME,
    (
        Row(
            "positions.weight",
            ("embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"),
            _POSITIONS,
        ),
        Row(
            "blocks.{i}.attention.global_qkv.{p}",
            tuple(f"{_SELF}{name}_global.{{p}}" for name in ("query", "key", "value")),
            CONCAT,
        ),
        *text_rows("", ""),
        Drop("pooler.dense.{p}", "pools a text into one vector, which is not used"),
        Drop("lm_head.{rest}", "predicts masked words"),
    ),
)
_PREFIX = "longformer."  # of the keys of a model with a head; those of a LongformerModel have none

# keys of its configuration, and the only values that ours can have
_FIXED = {"type_vocab_size": 1, "pad_token_id": _PADDING, "position_embedding_type": "absolute"}


def _read(files: ModelFiles, config: Mapping[str, Any]) -> tuple[TextEncoder, Tokenizer]:
    where = files.where(CONFIG)
    check_stated(config, _FIXED, where=where)
    vocab_size = config.get("vocab_size", 30522)
    tokenizer = files.tokenizer()
    check_vocabulary(tokenizer, vocab_size, where=str(files))
    sizes = read_bert({"pad_token_id": _PADDING, **config}, where=where)
    fields = {
        **FIXED_QUESTION,
        **sizes,
        "vocab_size": vocab_size,
        "max_length": sizes["max_length"] - _FIRST,
        "context_dim": None,
        "start_token": config.get("bos_token_id", 0),
        "end_token": config.get("eos_token_id", 2),
        "window": _read_window(require(config, "attention_window", where=where), where=where),
        "global_projections": True,
    }
    encoder = TextEncoder(read_architecture(fields, TextEncoderConfig, where=where))
    state = {key.removeprefix(_PREFIX): tensor for key, tensor in files.tensors().items()}
    load_into(encoder, state, table=TABLE, where=str(files))
    return encoder.eval(), tokenizer


def _read_window(stated: Any, *, where: str) -> int:
    """Return the tokens on each side of a token; they state those on both."""
    windows = set(stated) if isinstance(stated, list) and stated else {stated}
    window = windows.pop()
    if windows or not isinstance(window, int) or window < 2 or window % 2:
        raise ModelError(
            f"{where}: `attention_window` must be one even number for all blocks, but is {short(stated)} instead"
        )
    return window // 2


def _describe(model: TextEncoder, tokenizer: Tokenizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    config = model.config
    alone = {name: value for name, value in ALONE.items() if name not in ("window", "global_projections")}
    check_fixed(config, FIXED_QUESTION | {"context_dim": None, "pad_token": _PADDING} | alone, NAME)
    if not config.window:
        raise ModelError(f"the {NAME} layout needs `window` to be at least 1, but it is {config.window} instead")
    said = {
        "model_type": "longformer",
        "architectures": ["LongformerModel"],
        "dtype": "float32",
        **write_bert(config),
        "max_position_embeddings": config.max_length + _FIRST,
        "type_vocab_size": 1,
        "bos_token_id": config.start_token,
        "eos_token_id": config.end_token,
        "sep_token_id": config.end_token,
        "attention_window": [2 * config.window] * config.depth,
    }
    files = {
        CONFIG: said,
        TOKENIZER: around_questions(tokenizer, config.start_token, config.end_token, NAME),
        **describe_roles(tokenizer, config, NAME),
    }
    return TABLE.to_theirs(model.state_dict()), files


LAYOUT = TextLayout(
    NAME, "longformer", (TextEncoder,), _read, _describe, fits=lambda model: bool(model.config.global_projections)
)
