"""Floor 5: files in, typed results and maps out."""

from .classify import Classifier
from .loading import load
from .results import ClassifyResult, Failure, PictureMap, Prediction

__all__ = ["Classifier", "ClassifyResult", "Failure", "PictureMap", "Prediction", "load"]
