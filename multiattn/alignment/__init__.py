"""Floor 3: when each token and word of a finished transcript was spoken, from the decoder's cross-attention.

The way: a transcript is decoded once more, teacher-forced (`replay`, `teacher_forcing`) -> the onset heads
(`onset_heads`) tell when each token begins (`onsets`) -> tokens are grouped into words (`word_grouping`)
-> words get times, which are moved to the edges of the sound (`word_timestamps`, `silence`). Without the recording,
the weights of the alignment heads become a path through tokens and frames (`dtw`), as in openai-whisper. `heads` finds
a model's alignment heads, and `loops` detects texts that repeat themselves.
"""

from .dtw import begin_frames, dtw, evidence, median_filter
from .heads import HeadScore, choose_heads, rank_heads, score_heads
from .loops import Progress, progress
from .silence import exclude_pauses
from .teacher_forcing import TokenAttention, token_attention
from .word_grouping import SpokenWord, group_words, merge_punctuation
from .word_timestamps import word_times

__all__ = [
    "HeadScore",
    "Progress",
    "SpokenWord",
    "TokenAttention",
    "begin_frames",
    "choose_heads",
    "dtw",
    "evidence",
    "exclude_pauses",
    "group_words",
    "median_filter",
    "merge_punctuation",
    "progress",
    "rank_heads",
    "score_heads",
    "token_attention",
    "word_times",
]
