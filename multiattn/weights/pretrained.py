"""Starts for fine-tuning: a vision transformer for other classes or another image size, and BERT as a question encoder.

BERT's directory, as transformers saves it, is only read; it has been trained on text and on no images.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..attention.positions import resample_positions
from ..checks import require
from ..errors import ModelError, reading
from ..inputs import Tokenizer
from ..models.text_encoder import TextEncoder, TextEncoderConfig
from ..models.vit import ViT
from .blip_text import FIXED_QUESTION, read_bert, text_rows
from .bundle import CONFIG, check_vocabulary
from .hf_common import check_stated, read_roles
from .hub import locate
from .json_files import read_architecture, read_json
from .state import load_into
from .table import Drop, KeyTable
from .tensor_files import read_tensors

_TABLE = KeyTable(
    "hf-bert",
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


def adapt(model: ViT, *, num_classes: int | None = None, image_size: tuple[int, int] | None = None) -> ViT:
    """Return a copy of a model for other classes or another image size; the given model stays as it is.

    Args:
        model: The model to start from.
        num_classes: Width of the head. Where it changes, the head is new; otherwise, or if None, the head is kept.
        image_size: Height and width of the images, in pixels. Where the patch grid changes, learned positions are
            resampled; fixed ones need no change.

    Raises:
        ModelError: `num_classes` is below 1, or `image_size` is no multiple of the patch size.

    Source: timm's `resample_abs_pos_embed` (bicubic, antialiased).
    """
    old = model.config
    num_classes = old.num_classes if num_classes is None else num_classes
    require(num_classes >= 1 or num_classes == old.num_classes, "num_classes", must="at least 1", value=num_classes)
    image_size = old.image_size if image_size is None else image_size
    is_whole = all(side >= 1 and side % old.patch_size == 0 for side in image_size)
    require(is_whole, "image_size", must=f"multiples of the patch size ({old.patch_size})", value=image_size)
    adapted = ViT(replace(old, num_classes=num_classes, image_size=image_size))
    state = model.state_dict()
    if num_classes != old.num_classes:
        fresh = adapted.state_dict()
        state |= {key: fresh[key] for key in ("head.weight", "head.bias")}
    if model.positions is not None and adapted.grid(image_size) != model.positions.grid:
        state["positions.weight"] = resample_positions(
            state["positions.weight"], model.positions.grid, adapted.grid(image_size), model.positions.prefix
        )
    adapted.load_state_dict(state, strict=True)
    parameter = next(model.parameters())
    return adapted.to(device=parameter.device, dtype=parameter.dtype).train(model.training)


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
