"""Floor 5: files in, typed results and maps out."""

from .answer import Answering
from .answer_options import AnswerOptions
from .answer_results import Answer, AnswerMap, save_answers
from .caption import Captioning
from .caption_options import CaptionOptions
from .caption_results import CaptionMap, CaptionResult
from .classify import Classifier
from .loading import load
from .results import Candidate, ClassifyResult, Failure, PictureMap, Prediction, WrittenWord
from .speech_types import Segment, SpeechOptions
from .transcribe import Transcribing
from .transcribe_options import TranscribeOptions
from .transcribe_results import SpeechMap, Transcript

__all__ = [
    "Answer",
    "AnswerMap",
    "AnswerOptions",
    "Answering",
    "Candidate",
    "CaptionMap",
    "CaptionOptions",
    "CaptionResult",
    "Captioning",
    "Classifier",
    "ClassifyResult",
    "Failure",
    "PictureMap",
    "Prediction",
    "Segment",
    "SpeechMap",
    "SpeechOptions",
    "TranscribeOptions",
    "Transcribing",
    "Transcript",
    "WrittenWord",
    "load",
    "save_answers",
]
