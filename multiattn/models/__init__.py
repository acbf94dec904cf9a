"""The models. Each file holds a frozen configuration, its presets by name, and the module.

`vit` classifies pictures and is the encoder of `captioner` and `vqa` (both derive from `picture_model`).
`single_stream` answers questions in one stack, and `speech`, with `speech_encoder`, transcribes. `two_towers` compares
pictures with texts, and `blip_matcher` reads a text before a picture.
`text_encoder`, `text_decoder` and `text_tower`, the text parts, derive from `text_stack`;
`language_model` has the head that scores a vocabulary, and `text_to_text` reads one text and writes another. `scores`
says what a classifier's outputs mean, `domain` tells pictures like the training pictures from others, `voice_activity`
speech from other sounds. `int8` brings a model's weights into whole numbers. `common` has the checks of configurations
and the initial weights.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .blip_matcher import BlipMatcher, BlipMatcherConfig, MatcherTextConfig
    from .captioner import Captioner, CaptionerConfig
    from .language_model import MaskedLanguageModel, MaskedLanguageModelConfig
    from .scores import SCORE_FUNCTIONS, SCORE_KINDS, ScoreFunction, ScoreKind, scores_of
    from .single_stream import SingleStream, SingleStreamConfig
    from .speech import SpeechConfig, SpeechRecognizer
    from .speech_encoder import SpeechEncoder, SpeechEncoderConfig
    from .text_decoder import TextDecoder, TextDecoderConfig
    from .text_encoder import TextEncoder, TextEncoderConfig
    from .text_to_text import TextToText, TextToTextConfig
    from .text_tower import TextTower, TextTowerConfig
    from .two_towers import TwoTowers, TwoTowersConfig
    from .vit import PRESETS, ViT, ViTConfig
    from .vqa import VQA, VQAConfig

__all__ = [
    "PRESETS",
    "SCORE_FUNCTIONS",
    "SCORE_KINDS",
    "VQA",
    "BlipMatcher",
    "BlipMatcherConfig",
    "Captioner",
    "CaptionerConfig",
    "MaskedLanguageModel",
    "MatcherTextConfig",
    "MaskedLanguageModelConfig",
    "ScoreFunction",
    "ScoreKind",
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
    "TextToText",
    "TextToTextConfig",
    "TextTower",
    "TextTowerConfig",
    "TwoTowers",
    "TwoTowersConfig",
    "VQAConfig",
    "ViT",
    "ViTConfig",
    "scores_of",
]

__getattr__ = lazily(
    __name__,
    {
        ".blip_matcher": "BlipMatcher BlipMatcherConfig MatcherTextConfig",
        ".captioner": "Captioner CaptionerConfig",
        ".language_model": "MaskedLanguageModel MaskedLanguageModelConfig",
        ".scores": "SCORE_FUNCTIONS SCORE_KINDS ScoreFunction ScoreKind scores_of",
        ".single_stream": "SingleStream SingleStreamConfig",
        ".speech": "SpeechConfig SpeechRecognizer",
        ".speech_encoder": "SpeechEncoder SpeechEncoderConfig",
        ".text_decoder": "TextDecoder TextDecoderConfig",
        ".text_encoder": "TextEncoder TextEncoderConfig",
        ".text_to_text": "TextToText TextToTextConfig",
        ".text_tower": "TextTower TextTowerConfig",
        ".two_towers": "TwoTowers TwoTowersConfig",
        ".vit": "PRESETS ViT ViTConfig",
        ".vqa": "VQA VQAConfig",
    },
)
