"""Model directories and published weights: our own layout, and a key table, used both ways, for each published one."""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .bundle import VOCABULARY, ModelBundle
    from .directory import convert, layout_names, load_bundle, recognize, save_bundle
    from .hf_bert import is_text_encoder, load_text_encoder, save_text_encoder
    from .hf_whisper_encoder import is_speech_encoder, load_speech_encoder
    from .hub import locate
    from .live import bundle_of
    from .pretrained import adapt
    from .state import load_into
    from .table import CONCAT, SAME, TRANSPOSE, Drop, KeyTable, Row, Transform
    from .text_models import TextModel, load_text_model, save_text_model

__all__ = [
    "CONCAT",
    "SAME",
    "TRANSPOSE",
    "VOCABULARY",
    "Drop",
    "KeyTable",
    "ModelBundle",
    "Row",
    "TextModel",
    "Transform",
    "adapt",
    "bundle_of",
    "convert",
    "is_speech_encoder",
    "is_text_encoder",
    "layout_names",
    "load_bundle",
    "load_into",
    "load_speech_encoder",
    "load_text_encoder",
    "load_text_model",
    "locate",
    "recognize",
    "save_bundle",
    "save_text_encoder",
    "save_text_model",
]

__getattr__ = lazily(
    __name__,
    {
        ".bundle": "VOCABULARY ModelBundle",
        ".directory": "convert layout_names load_bundle recognize save_bundle",
        ".hf_bert": "is_text_encoder load_text_encoder save_text_encoder",
        ".hf_whisper_encoder": "is_speech_encoder load_speech_encoder",
        ".hub": "locate",
        ".live": "bundle_of",
        ".pretrained": "adapt",
        ".state": "load_into",
        ".table": "CONCAT SAME TRANSPOSE Drop KeyTable Row Transform",
        ".text_models": "TextModel load_text_model save_text_model",
    },
)
