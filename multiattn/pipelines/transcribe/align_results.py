"""What aligning a given text returns: its sentences and words in time, and where text and recording differ.

Times are in seconds of the recording.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ...alignment import SpokenWord
from ...alignment.text_match import match_words
from ...alignment.word_grouping import NOT_SAID
from ...maps import AttentionMap
from .align import AlignedWord, Alignment, FreeWords
from .given_text import GivenText, GivenWord
from .results import Format, Transcript
from .segments import Segment
from .word_segments import segment_of

PARTLY_SAID, MOVED, NOT_WRITTEN, MISMATCH = "partly_said", "moved", "not_written", "mismatch"

_SURE = 0.5
"""The model must be this sure of a word for it to count as said though it is not in the text."""

_MOST_WORDS = 40  # of a segment: longer sentences are cut at their longest pauses
_MOVED_WORDS, _MOVED_SHARE = 5, 0.6  # the shortest run of words that is looked for elsewhere, and what must be the same
_APART = 3.0  # seconds between words that were not written from which on they are two stretches


class Unwritten(NamedTuple):
    """A stretch of speech that is not in the text."""

    start: float
    end: float
    text: str
    """As the model wrote it."""

    score: float
    """Mean probability of its words, 0 to 1."""

    moved: bool = False
    """Whether these words are elsewhere in the text."""


@dataclass(frozen=True, eq=False)
class AlignedTranscript(Transcript):
    """A given text with the times of its words.

    Segments are the text's sentences and lines; long ones are cut at pauses. Words that were not said have the flag
    `not_said` and no duration; a segment has it if all its words do, and `partly_said` if some do. `moved`: the words
    were said, but elsewhere. Formats for other programs have what was said. `log_probs` of segments are those of words.
    """

    not_written: tuple[Unwritten, ...] = ()
    """What was said and is not in the text."""

    mismatch: bool = False
    """Whether text and recording do not belong together; all words then count as not said."""

    @property
    def flags(self) -> tuple[str, ...]:
        """As for a transcript; also `not_written` and `mismatch`."""
        more = ((NOT_WRITTEN, bool(self.not_written)), (MISMATCH, self.mismatch))
        return (*super().flags, *(name for name, holds in more if holds))

    @property
    def spoken(self) -> Transcript:
        """The transcript of what was said of the text: without the words that were not said."""
        segments = tuple(
            replace(segment, words=said)
            for segment in self.segments
            if (said := tuple(word for word in segment.words if NOT_SAID not in word.flags))
        )
        return Transcript(
            self.file, segments, self.duration, self.language, self.maps, damaged=self.damaged, remark=self.remark
        )

    def to_dict(self) -> dict[str, object]:
        """As for a transcript, and `not_written`."""
        stretches = [
            {"start": round(one.start, 3), "end": round(one.end, 3), "text": one.text, "score": round(one.score, 4)}
            | ({"moved": True} if one.moved else {})
            for one in self.not_written
        ]
        return super().to_dict() | {"not_written": stretches}

    def formatted(self, kind: Format, **how: Any) -> str:
        """As for a transcript, of what was said."""
        return self.spoken.formatted(kind, **how)

    def save_html(self, path: str | Path, *, tokens: Sequence[AttentionMap] = ()) -> None:
        """As for a transcript, of what was said."""
        self.spoken.save_html(path, tokens=tokens)


class Fit(NamedTuple):
    """How a text and a recording go together."""

    segments: tuple[Segment, ...]
    not_written: tuple[Unwritten, ...]
    mismatch: bool

    @property
    def remark(self) -> str | None:
        """What must be said about the two, to follow the recording's name; None for most."""
        if self.mismatch:
            return "does not belong to this text: hardly a word of one is in the other"
        moved = [one for one in self.not_written if one.moved]
        if not moved:
            return None
        start = " ".join(moved[0].text.split()[:6])
        more = f", and {len(moved) - 1} other parts" if len(moved) > 1 else ""
        return (
            f"says a part of the text in another place: {start!r} at {moved[0].start:.1f} s{more}; it is flagged moved"
        )


def aligned_segments(given: GivenText, alignment: Alignment, free: FreeWords) -> Fit:
    """Return the sentences of a text with their words, what is not in the text, and whether both belong together."""
    words, unwritten = alignment.words, alignment.unwritten
    runs = _runs(unwritten, free)
    moved, moved_runs = _moved(given.words, words, runs, free)
    spoken = [_spoken(one, when, i in moved) for i, (one, when) in enumerate(zip(given.words, words, strict=True))]
    segments = list[Segment]()
    for index, group in groupby(zip(given.words, spoken, strict=True), key=lambda pair: pair[0].sentence):
        segments += _segments(given.sentences[index], [word for _, word in group])
    stretches = tuple(_stretch(run, free, k in moved_runs) for k, run in enumerate(runs))
    return Fit(tuple(segments), stretches, alignment.mismatch)


def _spoken(one: GivenWord, when: AlignedWord, is_moved: bool) -> SpokenWord:
    flags = () if when.is_said else (NOT_SAID, *([MOVED] if is_moved else []))
    return SpokenWord(one.text, when.start, when.end, when.score, one.start, one.end, (), flags)


def _segments(sentence: str, words: Sequence[SpokenWord]) -> list[Segment]:
    """Return a sentence as one segment, or as several where it is long."""
    cuts = [0, *_cuts(words, 0), len(words)]
    found = list[Segment]()
    for first, stop in pairwise(cuts):
        start = words[first].start_char if first else 0
        end = words[stop].start_char if stop < len(words) else len(sentence)
        own = [
            word._replace(start_char=word.start_char - start, end_char=word.end_char - start)
            for word in words[first:stop]
        ]
        found.append(_segment(sentence[start:end].rstrip(), own))
    return found


def _cuts(words: Sequence[SpokenWord], first: int) -> list[int]:
    if len(words) <= _MOST_WORDS:
        return []
    # not too near an end: the longest pause, and of equal ones that nearest to the middle
    margin = len(words) // 4
    cut = max(
        range(margin, len(words) - margin),
        key=lambda i: (round(words[i].start - words[i - 1].end, 2), -abs(2 * i - len(words))),
    )
    return [*_cuts(words[:cut], first), first + cut, *_cuts(words[cut:], first + cut)]


def _segment(text: str, words: Sequence[SpokenWord]) -> Segment:
    said = [word for word in words if NOT_SAID not in word.flags]
    flags = [] if len(said) == len(words) else [PARTLY_SAID if said else NOT_SAID]
    if any(MOVED in word.flags for word in words):
        flags.append(MOVED)
    return segment_of(text, words, spoken=said, flags=flags)


def _runs(unwritten: Sequence[int], free: FreeWords) -> list[list[int]]:
    """Return the words that are not in the text in stretches, those that the model is sure of."""
    runs = list[list[int]]()
    for j in unwritten:
        if runs and j == runs[-1][-1] + 1 and free.words[j].start - free.words[j - 1].end <= _APART:
            runs[-1].append(j)
        else:
            runs.append([j])
    return [run for run in runs if _score(run, free) >= _SURE]


def _score(run: Sequence[int], free: FreeWords) -> float:
    return sum(free.words[j].score for j in run) / len(run)


def _stretch(run: Sequence[int], free: FreeWords, is_moved: bool) -> Unwritten:
    words = [free.words[j] for j in run]
    text = words[0].text
    for before, word in zip(words, words[1:], strict=False):
        # of one segment, and without a space between them
        text += word.text if word.start_char == before.end_char else f" {word.text}"
    return Unwritten(words[0].start, words[-1].end, text, round(_score(run, free), 6), is_moved)


def _moved(
    given: Sequence[GivenWord], words: Sequence[AlignedWord], runs: Sequence[Sequence[int]], free: FreeWords
) -> tuple[set[int], set[int]]:
    """Return the words that were not said where the text has them, but elsewhere; and the stretches that say them."""
    unsaid = [
        [i for i, _ in group]
        for is_said, group in groupby(enumerate(words), key=lambda pair: pair[1].is_said)
        if not is_said
    ]
    moved, stretches = set[int](), set[int]()
    long = [(k, run) for k, run in enumerate(runs) if len(run) >= _MOVED_WORDS]
    for part in unsaid:
        if len(part) < _MOVED_WORDS:
            continue
        for k, run in long:
            match = match_words([given[i].key for i in part], [free.keys[j] for j in run])
            if len(match.pairs) >= max(_MOVED_WORDS, _MOVED_SHARE * min(len(part), len(run))):
                moved.update(part[pair.given] for pair in match.pairs)
                stretches.add(k)
    return moved, stretches
