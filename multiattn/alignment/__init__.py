"""When tokens and words were spoken, from the attention of one teacher-forced pass over a finished transcript."""

from .dtw import begin_frames, dtw, evidence, median_filter
from .heads import HeadScore, choose_heads, rank_heads, score_heads
from .loops import Progress, progress
from .silence import snapped
from .teacher_forcing import Listening, listen
from .word_grouping import SpokenWord, merged, spoken_words
from .word_timestamps import time_words, word_times

__all__ = [
    "HeadScore",
    "Listening",
    "Progress",
    "SpokenWord",
    "begin_frames",
    "choose_heads",
    "dtw",
    "evidence",
    "listen",
    "median_filter",
    "merged",
    "progress",
    "rank_heads",
    "score_heads",
    "snapped",
    "spoken_words",
    "time_words",
    "word_times",
]
