"""Floor 5: files in, typed results and maps out."""

from .answer import AnswerPipeline
from .base import Pipeline
from .caption import CaptionPipeline
from .classify import ClassifyPipeline
from .load import load
from .options import AnswerOptions, CaptionOptions
from .results import (
    Answer,
    AnswerMap,
    Candidate,
    CaptionMap,
    CaptionResult,
    ClassifyResult,
    Failure,
    PictureMap,
    Prediction,
    Result,
    SavedMap,
    WrittenWord,
    save_answers,
)
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
    "CaptionPipeline",
    "ClassifyPipeline",
    "ClassifyResult",
    "Failure",
    "PictureMap",
    "Pipeline",
    "Prediction",
    "Result",
    "SavedMap",
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
