"""BERT's layout of a text encoder (BERT, MiniLM, sentence encoders), with or without its head for masked words.

A directory as transformers saves a BERT; a sentence encoder's has the same files, and more in folders beside them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import ModelError, reading
from ..inputs import Tokenizer
from ..models.language_model import MaskedLanguageModel, MaskedLanguageModelConfig
from ..models.text_encoder import TextEncoder, TextEncoderConfig
from .blip_text import (
    ALONE,
    FIXED_QUESTION,
    FIXED_TEXT,
    read_bert,
    scored_rows,
    settle_output,
    text_rows,
    with_output_bias,
    write_bert,
)
from .bundle import CONFIG, TOKENIZER, build_model, check_vocabulary
from .hf_common import around_questions, check_fixed, check_stated, describe_roles, read_roles
from .hub import locate
from .json_files import read_architecture, read_json
from .model_files import ModelFiles
from .state import load_into
from .table import Drop, KeyTable
from .tensor_files import read_tensors
from .text_layout import TextLayout, write_directory

NAME = "hf-bert"

_TABLE = KeyTable(
    NAME,
    (
        *text_rows("", "", kinds=True),
        Drop("pooler.dense.{p}", "pools a text into one vector, which is not used"),
        Drop("cls.{rest}", "predicts masked words in pre-training"),
    ),
)
_MASKED_TABLE = KeyTable(
    NAME,
    (
        *scored_rows("", "", kinds=True),
        Drop("bert.pooler.dense.{p}", "pools a text into one vector, which is not used"),
        Drop("cls.seq_relationship.{p}", "says whether two sentences follow each other, in pre-training"),
    ),
)
_HEAD = "cls.predictions.transform.dense.weight"  # in the file of a model with a head for masked words
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
        return _read_encoder(ModelFiles(directory), config, read_tensors(directory), context_dim=context_dim)


def _read(files: ModelFiles, config: Mapping[str, Any]) -> tuple[TextEncoder | MaskedLanguageModel, Tokenizer]:
    """Read a BERT: with its head for masked words where the file has one, and else the encoder alone."""
    state = files.tensors()
    if _HEAD not in state:
        return _read_encoder(files, config, state, context_dim=None)
    where = files.where(CONFIG)
    fields, tokenizer = _read_fields(files, config)
    stated = bool(config.get("tie_word_embeddings", True))
    state, tied = settle_output({_new_norm(key): tensor for key, tensor in state.items()}, stated=stated, theirs="")
    fields |= {**FIXED_TEXT, "tied": tied}
    architecture = read_architecture(fields, MaskedLanguageModelConfig, where=where)
    model = build_model(architecture, files, table=_MASKED_TABLE, state=state, build=MaskedLanguageModel)
    assert isinstance(model, MaskedLanguageModel)
    return model, tokenizer


def _read_encoder(
    files: ModelFiles, config: Mapping[str, Any], state: Mapping[str, Tensor], *, context_dim: int | None
) -> tuple[TextEncoder, Tokenizer]:
    fields, tokenizer = _read_fields(files, config)
    fields["context_dim"] = context_dim
    encoder = TextEncoder(read_architecture(fields, TextEncoderConfig, where=files.where(CONFIG)))
    state = {_new_norm(key.removeprefix(_PREFIX)): tensor for key, tensor in state.items()}
    crossing = {key: tensor for key, tensor in encoder.state_dict().items() if ".cross_" in key}
    load_into(encoder, {**state, **_TABLE.to_theirs(crossing)}, table=_TABLE, where=str(files))
    return encoder.eval(), tokenizer


def _read_fields(files: ModelFiles, config: Mapping[str, Any]) -> tuple[dict[str, Any], Tokenizer]:
    """Return the fields of our configuration, and the vocabulary."""
    where = files.where(CONFIG)
    check_stated(config, _UNUSUAL, where=where)
    vocab_size = config.get("vocab_size", 30522)
    tokenizer = files.tokenizer()
    check_vocabulary(tokenizer, vocab_size, where=str(files))
    sizes = {**read_bert(config, where=where), "vocab_size": vocab_size}
    return {**FIXED_QUESTION, **sizes, "context_dim": None, **read_roles(files, tokenizer)}, tokenizer


def save_text_encoder(encoder: TextEncoder, tokenizer: Tokenizer, directory: str | Path) -> None:
    """Write a text encoder as a directory that transformers loads as a `BertModel` without a pooler.

    Args:
        encoder: Without cross-attention.
        tokenizer: Its vocabulary.
        directory: Where to; it is made where it does not exist.

    Raises:
        ModelError: BERT's layout cannot express the encoder, or the weights cannot be saved.
    """
    write_directory(directory, *_describe(encoder, tokenizer))


def _describe(
    model: TextEncoder | MaskedLanguageModel, tokenizer: Tokenizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    config = model.config
    if isinstance(model, TextEncoder):
        kind, stated = "BertModel", {}
        check_fixed(config, FIXED_QUESTION | {"context_dim": None} | ALONE, NAME)
        state = _TABLE.to_theirs(model.state_dict())
    else:
        kind, stated = "BertForMaskedLM", {"tie_word_embeddings": model.config.tied}
        check_fixed(config, FIXED_TEXT, NAME)
        state = _MASKED_TABLE.to_theirs(model.state_dict())
        state = state if model.config.tied else with_output_bias(state, theirs="")
    files = {
        CONFIG: {
            "model_type": "bert",
            "architectures": [kind],
            "dtype": "float32",
            **write_bert(config),
            **{name: value for name, value in _UNUSUAL.items() if name != "position_embedding_type"},
            **stated,
        },
        TOKENIZER: around_questions(tokenizer, config.start_token, config.end_token, NAME),
        **describe_roles(tokenizer, config, NAME),
    }
    return state, files


def _new_norm(key: str) -> str:
    for old, new in _OLD_NORMS.items():
        key = key.replace(old, new)
    return key


LAYOUT = TextLayout(
    NAME,
    "bert",
    (TextEncoder, MaskedLanguageModel),
    _read,
    _describe,
    fits=lambda model: not getattr(model.config, "global_projections", False),
)
