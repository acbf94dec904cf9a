"""Floor 5: files in, typed results and maps out."""

from .caption import Captioning
from .caption_options import CaptionOptions
from .caption_results import Candidate, CaptionMap, CaptionResult, CaptionWord
from .classify import Classifier
from .loading import load
from .results import ClassifyResult, Failure, PictureMap, Prediction

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
    "load",
]
