"""Load and save the models of texts alone: an encoder, a decoder, or both, in their published layouts."""

from pathlib import Path
from typing import TypeAlias

from ..errors import ModelError, reading
from ..inputs import Tokenizer
from ..models.language_model import MaskedLanguageModel
from ..models.text_decoder import TextDecoder
from ..models.text_encoder import TextEncoder
from ..models.text_to_text import TextToText
from . import hf_bert, hf_gpt2, hf_longformer, hf_t5
from .bundle import CONFIG
from .hub import locate
from .json_files import read_json, short
from .model_files import ModelFiles
from .text_layout import write_directory

TextModel: TypeAlias = TextEncoder | MaskedLanguageModel | TextDecoder | TextToText
"""The classes of the three forms."""

_LAYOUTS = (hf_bert.LAYOUT, hf_gpt2.LAYOUT, hf_longformer.LAYOUT, hf_t5.LAYOUT)


def load_text_model(name: str | Path, *, revision: str | None = None) -> tuple[TextModel, Tokenizer]:
    """Load a Transformer of texts in any of its three forms, in eval mode, and its vocabulary.

    `generation.generate` continues texts with the decoders; the decoding options of the directory are not read.

    Args:
        name: A directory as transformers saves such a model, or a Hugging Face Hub id of one.
        revision: Branch, tag or commit of a hub id.

    Returns:
        The model, by the `model_type` of its `config.json`, and its vocabulary. `bert`: a `MaskedLanguageModel` where
        the weights have its head, and else a `TextEncoder`. `longformer`: a `TextEncoder` with a window and
        projections for global tokens. `gpt2`: a `TextDecoder` without a context. `t5`: a `TextToText`.

    Raises:
        ModelError: It is not there, of another layout, not supported, or damaged.
    """
    directory = locate(name, revision=revision)
    config = read_json(directory / CONFIG)
    kind = config.get("model_type")
    layout = next((layout for layout in _LAYOUTS if layout.model_type == kind), None)
    if layout is None:
        known = ", ".join(layout.model_type for layout in _LAYOUTS)
        raise ModelError(f"{directory / CONFIG}: `model_type` must be one of {known}, but is {short(kind)} instead")
    with reading(str(directory), f"a model in the layout {layout.name}", error=ModelError):
        model, tokenizer = layout.read(ModelFiles(directory), config)
    assert isinstance(model, TextModel)
    return model, tokenizer


def save_text_model(model: TextModel, tokenizer: Tokenizer, directory: str | Path) -> None:
    """Write a model of texts in its published layout, as a directory that transformers loads.

    Args:
        model: What `load_text_model` returns, or such a model trained here.
        tokenizer: Its vocabulary.
        directory: Where to; it is made where it does not exist.

    Raises:
        ModelError: The layout cannot express the model, or the weights cannot be saved.
    """
    layout = next(layout for layout in _LAYOUTS if isinstance(model, layout.kinds) and layout.fits(model))
    write_directory(directory, *layout.describe(model, tokenizer))
