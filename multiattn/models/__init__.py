"""The models: for each a frozen configuration, its presets, and the module."""

from .captioner import Captioner, CaptionerConfig
from .single_stream import SingleStream, SingleStreamConfig
from .speech import SpeechConfig, SpeechEncoder, SpeechEncoderConfig, SpeechRecognizer
from .text_decoder import TextDecoder, TextDecoderConfig
from .text_encoder import TextEncoder, TextEncoderConfig
from .vit import PRESETS, ViT, ViTConfig
from .vqa import VQA, VQAConfig

__all__ = [
    "PRESETS",
    "VQA",
    "Captioner",
    "CaptionerConfig",
    "SingleStream",
    "SingleStreamConfig",
    "SpeechConfig",
    "SpeechEncoder",
    "SpeechEncoderConfig",
    "SpeechRecognizer",
    "TextDecoder",
    "TextDecoderConfig",
    "TextEncoder",
    "TextEncoderConfig",
    "VQAConfig",
    "ViT",
    "ViTConfig",
]
