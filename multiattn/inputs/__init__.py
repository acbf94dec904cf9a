"""Files and arrays to tensors, and the way back to the source's own coordinates. Knows no model.

The names below are imported when they are first asked for: `files`, which lists pictures, needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .audio import AudioSource, Recording, find_recordings, load_audio
    from .geometry import Fit, Geometry
    from .image import ImageSource, find_images, load_image
    from .mel import AudioPreprocessing
    from .preprocess import ImagePreprocessing
    from .speech_tokens import SpeechTokens
    from .text import Tokenizer, Word

__all__ = [
    "AudioPreprocessing",
    "AudioSource",
    "Fit",
    "Geometry",
    "ImagePreprocessing",
    "ImageSource",
    "Recording",
    "SpeechTokens",
    "Tokenizer",
    "Word",
    "find_images",
    "find_recordings",
    "load_audio",
    "load_image",
]

_HOMES = {
    "AudioPreprocessing": ".mel",
    "AudioSource": ".audio",
    "Fit": ".geometry",
    "Geometry": ".geometry",
    "ImagePreprocessing": ".preprocess",
    "ImageSource": ".image",
    "Recording": ".audio",
    "SpeechTokens": ".speech_tokens",
    "Tokenizer": ".text",
    "Word": ".text",
    "find_images": ".image",
    "find_recordings": ".audio",
    "load_audio": ".audio",
    "load_image": ".image",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
