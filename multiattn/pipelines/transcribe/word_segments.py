"""Segments that are made of words with known times, rather than cut out of a model's text."""

from collections.abc import Sequence
from math import log

from ...alignment import SpokenWord
from .segments import Segment

_LEAST_SCORE = 1e-9


def segment_of(
    text: str, words: Sequence[SpokenWord], *, spoken: Sequence[SpokenWord], flags: Sequence[str]
) -> Segment:
    """Return a segment whose `log_probs` are those of its words.

    Args:
        text: The text.
        words: Its words, at least one.
        spoken: Those that have a duration and a score; none where nothing was said.
        flags: Of the segment.
    """
    within = spoken or words
    log_probs = tuple(log(max(word.score, _LEAST_SCORE)) for word in spoken)
    return Segment(
        start=within[0].start,
        end=within[-1].end,
        text=text,
        tokens=(),
        log_probs=log_probs,
        avg_log_prob=sum(log_probs) / len(log_probs) if log_probs else 0.0,
        compression_ratio=1.0,
        no_speech_prob=None,
        temperature=0.0,
        flags=tuple(flags),
        words=tuple(words),
    )
