"""Figures for captions, in Python and NumPy: no Java, no download."""

from .caption import CaptionScores, caption_scores, self_retrieval
from .cider import CiderD
from .tokenize import tokenize

__all__ = ["CaptionScores", "CiderD", "caption_scores", "self_retrieval", "tokenize"]
