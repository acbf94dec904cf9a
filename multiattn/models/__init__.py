"""The models: for each a frozen configuration, its presets, and the module."""

from .captioner import Captioner, CaptionerConfig
from .speech import SpeechConfig, SpeechEncoder, SpeechEncoderConfig, SpeechRecogniser
from .text_decoder import TextDecoder, TextDecoderConfig
from .vit import PRESETS, ViT, ViTConfig

__all__ = [
    "PRESETS",
    "Captioner",
    "CaptionerConfig",
    "SpeechConfig",
    "SpeechEncoder",
    "SpeechEncoderConfig",
    "SpeechRecogniser",
    "TextDecoder",
    "TextDecoderConfig",
    "ViT",
    "ViTConfig",
]
