"""Files and arrays to tensors, and the way back to the source's own coordinates. Knows no model.

The names below are imported when they are first asked for: `files`, which lists pictures, needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .image import ImageSource, find_images, load_image
    from .preprocess import Geometry, ImagePreprocessing
    from .text import Tokenizer, Word

__all__ = ["Geometry", "ImagePreprocessing", "ImageSource", "Tokenizer", "Word", "find_images", "load_image"]

_HOMES = {
    "Geometry": ".preprocess",
    "ImagePreprocessing": ".preprocess",
    "ImageSource": ".image",
    "Tokenizer": ".text",
    "Word": ".text",
    "find_images": ".image",
    "load_image": ".image",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
