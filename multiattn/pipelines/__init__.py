"""Floor 5: files in, typed results and maps out."""

from .caption import Captioning
from .caption_options import CaptionOptions
from .caption_results import Candidate, CaptionMap, CaptionResult, CaptionWord
from .classify import Classifier
from .loading import load
from .results import ClassifyResult, Failure, PictureMap, Prediction
from .speech_types import Segment, SpeechOptions
from .transcribe import Transcribing
from .transcribe_options import TranscribeOptions
from .transcribe_results import SpeechMap, Transcript

__all__ = [
    "Candidate",
    "CaptionMap",
    "CaptionOptions",
    "CaptionResult",
    "CaptionWord",
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
    "load",
]
