"""BERT's layout of a text encoder (BERT, MiniLM, sentence encoders), read and written without transformers.

A directory as transformers saves a BERT; a sentence encoder's has the same files, and more in folders beside them.
"""

from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError, reading
from ..inputs import Tokenizer
from ..models.text_encoder import TextEncoder, TextEncoderConfig
from ..writing import whole_file, whole_folder, write_json
from .blip_text import ALONE, FIXED_QUESTION, read_bert, text_rows, write_bert
from .bundle import CONFIG, TOKENIZER, check_vocabulary
from .hf_common import around_questions, check_fixed, check_stated, describe_roles, read_roles
from .hub import locate
from .json_files import read_architecture, read_json
from .model_files import ModelFiles
from .state import load_into, write_tensors
from .table import Drop, KeyTable
from .tensor_files import WEIGHTS, read_tensors

NAME = "hf-bert"

_TABLE = KeyTable(
    NAME,
    (
        *text_rows("", "", kinds=True),
        Drop("pooler.dense.{p}", "pools a text into one vector, which is not used"),
        Drop("cls.{rest}", "predicts masked words in pre-training"),
    ),
)
_PREFIX = "bert."  # of the keys of a model with a head; those of a BertModel have none
_OLD_NORMS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # in early files

# keys of BERT's configuration, and the only values that ours can have
_UNUSUAL = {
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
}


def is_text_encoder(directory: Path) -> bool:
    """Return whether a directory is in BERT's layout, by its `config.json` alone."""
    try:
        return read_json(directory / CONFIG).get("model_type") == "bert"
    except ModelError:
        return False


def load_text_encoder(
    name: str | Path, *, context_dim: int | None = None, revision: str | None = None
) -> tuple[TextEncoder, Tokenizer]:
    """Load a text encoder with the weights of a BERT, in eval mode, and BERT's vocabulary.

    Args:
        name: A directory as transformers saves a BERT, or a Hugging Face Hub id of one.
        context_dim: Width of the context of the cross-attentions. BERT has none: they are new, drawn from torch's
            random state. None for an encoder without cross-attentions.
        revision: Branch, tag or commit of a hub id.

    Returns:
        The encoder and its vocabulary. The embedding of first sentences is added to the positions; the pooler and the
        head for masked words are left out.

    Raises:
        ModelError: It is not there, no BERT, not supported, or damaged.

    Source: Devlin et al. 2019, "BERT"; Li et al. 2022 (BLIP), section 3.1, which starts from it too.
    """
    directory = locate(name, revision=revision)
    where = str(directory / CONFIG)
    config = read_json(directory / CONFIG) if directory.is_dir() else {}
    if (kind := config.get("model_type")) != "bert":
        raise ModelError(f"{where}: `model_type` must be bert, but is {kind} instead: name the directory of a BERT")
    with reading(str(directory), "a BERT", error=ModelError):
        check_stated(config, _UNUSUAL, where=where)
        vocab_size = config.get("vocab_size", 30522)
        tokenizer = Tokenizer.load(directory)
        check_vocabulary(tokenizer, vocab_size, where=str(directory))
        fields: dict[str, Any] = {
            **FIXED_QUESTION,
            **read_bert(config, where=where),
            "vocab_size": vocab_size,
            "context_dim": context_dim,
            **read_roles(ModelFiles(directory), tokenizer),
        }
        encoder = TextEncoder(read_architecture(fields, TextEncoderConfig, where=where))
        state = {_renamed(key): tensor for key, tensor in read_tensors(directory).items()}
        crossing = {key: tensor for key, tensor in encoder.state_dict().items() if ".cross_" in key}
        load_into(encoder, {**state, **_TABLE.to_theirs(crossing)}, table=_TABLE, where=str(directory))
        return encoder.eval(), tokenizer


def save_text_encoder(encoder: TextEncoder, tokenizer: Tokenizer, directory: str | Path) -> None:
    """Write a text encoder as a directory that transformers loads as a `BertModel` without a pooler.

    Args:
        encoder: Without cross-attention.
        tokenizer: Its vocabulary.
        directory: Where to; it is made where it does not exist.

    Raises:
        ModelError: BERT's layout cannot express the encoder, or the weights cannot be saved.
    """
    config = encoder.config
    fixed = FIXED_QUESTION | {"context_dim": None} | ALONE
    check_fixed(config, fixed, NAME)
    files = {
        CONFIG: {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "dtype": "float32",
            **write_bert(config),
            **{name: value for name, value in _UNUSUAL.items() if name != "position_embedding_type"},
        },
        TOKENIZER: around_questions(tokenizer, config.start_token, config.end_token, NAME),
        **describe_roles(tokenizer, config, NAME),
    }
    with whole_folder(directory, last=CONFIG) as part:
        with whole_file(part / WEIGHTS) as weights:
            write_tensors(_TABLE.to_theirs(encoder.state_dict()), weights, torch.float32)
        for name, data in files.items():
            write_json(part / name, data)


def _renamed(key: str) -> str:
    key = key.removeprefix(_PREFIX)
    for old, new in _OLD_NORMS.items():
        key = key.replace(old, new)
    return key
