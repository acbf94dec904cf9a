"""Floor 6: files in, typed results and maps out.

`load` makes the pipeline of a model, `from_module` that of one in memory; `base`, `options` and `results` hold what all
pipelines share. `out_of_domain` is the mark of an unusual input, and `fit_domain` finds what is usual.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .answer import AnswerPipeline
    from .answer_results import Answer, AnswerMap, save_answers
    from .base import Pipeline
    from .caption import CaptionPipeline
    from .caption_results import CaptionMap, CaptionResult
    from .classify import ClassifyPipeline
    from .comparison import save_comparison
    from .embed_text import TextEmbedder, TextInput
    from .embedding import Embedding
    from .explaining import explain, from_module
    from .image_results import ClassifyResult, PictureMap, Prediction
    from .loading import load
    from .match import MatchPipeline, ZeroShotClassifier
    from .match_blip import BlipMatchPipeline
    from .match_results import MatchResult, TextMatch
    from .options import AnswerOptions, CaptionOptions
    from .out_of_domain import OutOfDomain
    from .results import Candidate, Failure, Result, SavedMap, WrittenWord
    from .tokens import recording_attention, token_attention
    from .transcribe.options import SpeechOptions, TranscribeOptions
    from .transcribe.pipeline import TranscribePipeline
    from .transcribe.results import SpeechMap, Transcript
    from .transcribe.segments import Segment

__all__ = [
    "Answer",
    "AnswerMap",
    "AnswerOptions",
    "AnswerPipeline",
    "Candidate",
    "CaptionMap",
    "CaptionOptions",
    "CaptionResult",
    "BlipMatchPipeline",
    "CaptionPipeline",
    "ClassifyPipeline",
    "ClassifyResult",
    "Embedding",
    "Failure",
    "MatchPipeline",
    "MatchResult",
    "OutOfDomain",
    "PictureMap",
    "Pipeline",
    "Prediction",
    "Result",
    "SavedMap",
    "Segment",
    "SpeechMap",
    "SpeechOptions",
    "TextEmbedder",
    "TextInput",
    "TranscribeOptions",
    "TranscribePipeline",
    "TextMatch",
    "Transcript",
    "WrittenWord",
    "ZeroShotClassifier",
    "explain",
    "from_module",
    "load",
    "recording_attention",
    "save_answers",
    "save_comparison",
    "token_attention",
]

__getattr__ = lazily(
    __name__,
    {
        ".answer": "AnswerPipeline",
        ".answer_results": "Answer AnswerMap save_answers",
        ".base": "Pipeline",
        ".caption": "CaptionPipeline",
        ".caption_results": "CaptionMap CaptionResult",
        ".classify": "ClassifyPipeline",
        ".comparison": "save_comparison",
        ".embed_text": "TextEmbedder TextInput",
        ".embedding": "Embedding",
        ".explaining": "explain from_module",
        ".image_results": "ClassifyResult PictureMap Prediction",
        ".loading": "load",
        ".match": "MatchPipeline ZeroShotClassifier",
        ".match_blip": "BlipMatchPipeline",
        ".match_results": "MatchResult TextMatch",
        ".options": "AnswerOptions CaptionOptions",
        ".out_of_domain": "OutOfDomain",
        ".results": "Candidate Failure Result SavedMap WrittenWord",
        ".tokens": "recording_attention token_attention",
        ".transcribe.options": "SpeechOptions TranscribeOptions",
        ".transcribe.pipeline": "TranscribePipeline",
        ".transcribe.results": "SpeechMap Transcript",
        ".transcribe.segments": "Segment",
    },
)
