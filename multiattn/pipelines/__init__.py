"""Floor 5: files in, typed results and maps out."""

from .answer import AnswerPipeline
from .answer_options import AnswerOptions
from .answer_results import Answer, AnswerMap, save_answers
from .caption import CaptionPipeline
from .caption_options import CaptionOptions
from .caption_results import CaptionMap, CaptionResult
from .classify import ClassifyPipeline
from .load import load
from .results import Candidate, ClassifyResult, Failure, PictureMap, Prediction, WrittenWord
from .transcribe.config import Segment, SpeechOptions
from .transcribe.options import TranscribeOptions
from .transcribe.pipeline import TranscribePipeline
from .transcribe.results import SpeechMap, Transcript

__all__ = [
    "Answer",
    "AnswerMap",
    "AnswerOptions",
    "AnswerPipeline",
    "Candidate",
    "CaptionMap",
    "CaptionOptions",
    "CaptionResult",
    "CaptionPipeline",
    "ClassifyPipeline",
    "ClassifyResult",
    "Failure",
    "PictureMap",
    "Prediction",
    "Segment",
    "SpeechMap",
    "SpeechOptions",
    "TranscribeOptions",
    "TranscribePipeline",
    "Transcript",
    "WrittenWord",
    "load",
    "save_answers",
]
