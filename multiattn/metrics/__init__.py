"""Metrics of captions, transcripts and answers, in Python and NumPy: no Java, no download.

`caption` (with `meteor`, `cider` and their `tokenize`), `speech` (word error rates, after the normalization of
`normalize_english` and `normalize_numbers`), and `vqa` (accuracies). Only those of captions are imported from here.
"""

from .caption import CaptionScores, caption_scores, self_retrieval
from .cider import CiderD
from .tokenize import tokenize

__all__ = ["CaptionScores", "CiderD", "caption_scores", "self_retrieval", "tokenize"]
