"""A question encoder's start: the directory of a BERT of transformers, read only. It knows text, and no picture yet."""

from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..inputs import Tokenizer
from ..models.text_encoder import TextEncoder, TextEncoderConfig
from .blip_text import FIXED_QUESTION, read_bert, text_rows
from .bundle import CONFIG
from .hf_common import read_roles, read_tokenizer
from .hub import locate
from .json_files import read_json
from .own import read_architecture
from .state import load_into, read_tensors
from .table import Drop, KeyTable

_TABLE = KeyTable(
    "hf-bert",
    (
        *text_rows("", "", kinds=True),
        Drop("pooler.dense.{p}", "makes one vector of a text, which nothing here asks for"),
        Drop("cls.{rest}", "guesses hidden words in pre-training"),
    ),
)
_PREFIX = "bert."  # of a whole model's keys; those of the body alone have none
_OLD_NORMS = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # of early files

# what BERT's configuration may say that ours cannot be, and what it has to be
_FIXED = {
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
}


def load_text_encoder(
    name: str | Path, *, context_dim: int | None = None, revision: str | None = None
) -> tuple[TextEncoder, Tokenizer]:
    """A text encoder with the weights of a BERT, in eval mode, and BERT's vocabulary.

    Args:
        name: A directory as transformers saves a BERT, or a Hugging Face Hub id of one.
        context_dim: Width of what its cross-attentions are to attend to, which BERT has none of: they are new, drawn
            from torch's random state. None for an encoder without.
        revision: Branch, tag or commit of a hub id.

    Returns:
        The encoder, whose `config` says its sizes, and its vocabulary. The first kind of sentence is added to the
        positions; what pools, and what guesses hidden words, is left out.

    Raises:
        ModelError: It is not there, no BERT, of a kind that is not supported, or damaged.

    Source: Devlin et al. 2019, "BERT"; Li et al. 2022 (BLIP), section 3.1, which begins with it too.
    """
    directory = locate(name, revision=revision)
    where = str(directory / CONFIG)
    config = read_json(directory / CONFIG) if directory.is_dir() else {}
    if (kind := config.get("model_type")) != "bert":
        raise ModelError(f"{where}: `model_type` must be bert, but is {kind} instead: name the directory of a BERT")
    try:
        return _load(directory, config, context_dim, where=where)
    except ModelError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # as in `load_bundle`: a value of another kind than it should be
        raise ModelError(f"{directory}: a value in its files cannot be used ({error!r})") from error


def _load(
    directory: Path, config: dict[str, Any], context_dim: int | None, *, where: str
) -> tuple[TextEncoder, Tokenizer]:
    for field, wanted in _FIXED.items():
        if config.get(field, wanted) != wanted:
            raise ModelError(f"{where}: `{field}` must be {wanted}, but is {config[field]} instead")
    vocab_size = config.get("vocab_size", 30522)
    tokenizer = read_tokenizer(directory, vocab_size)
    fields: dict[str, Any] = {
        **FIXED_QUESTION,
        **read_bert(config, where=where),
        "vocab_size": vocab_size,
        "context_dim": context_dim,
        **read_roles(directory, tokenizer),
    }
    encoder = TextEncoder(read_architecture(fields, TextEncoderConfig, where=where))
    state = {_renamed(key): tensor for key, tensor in read_tensors(directory).items()}
    crossing = {key: tensor for key, tensor in encoder.state_dict().items() if ".cross_" in key}
    load_into(encoder, {**state, **_TABLE.to_theirs(crossing)}, table=_TABLE, where=str(directory))
    return encoder.eval(), tokenizer


def _renamed(key: str) -> str:
    key = key.removeprefix(_PREFIX)
    for old, new in _OLD_NORMS.items():
        key = key.replace(old, new)
    return key
