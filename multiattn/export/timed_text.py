"""What exporters need of a transcript: words and segments with times, and the text between the words."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable


@runtime_checkable
class TimedWord(Protocol):
    """A word with its time: any object with these attributes."""

    @property
    def text(self) -> str:
        """The word as it stands in the transcript; spaces around it are ignored."""

    @property
    def start(self) -> float:
        """Start in seconds from the start of the recording."""

    @property
    def end(self) -> float:
        """End in seconds, not before `start`."""

    @property
    def score(self) -> float:
        """The mean probability of its tokens, 0 to 1."""


@runtime_checkable
class TimedSegment(Protocol):
    """A stretch of speech, with its words if their times are known: any object with these attributes."""

    @property
    def start(self) -> float:
        """Start in seconds from the start of the recording."""

    @property
    def end(self) -> float:
        """End in seconds, not before `start`."""

    @property
    def text(self) -> str:
        """The text of the segment."""

    @property
    def words(self) -> Sequence[TimedWord]:
        """Its words in order; empty if their times are not known."""

    @property
    def flags(self) -> Sequence[str]:
        """What may be wrong with the segment, such as `stalled`; usually empty."""


def speaker_of(spoken: TimedSegment | TimedWord) -> str | None:
    """Return who says it, its attribute `speaker`, on one line; None where it has none."""
    name = getattr(spoken, "speaker", None)
    return None if name is None else " ".join(plain(name).split()) or None


def channel_of(spoken: TimedSegment | TimedWord) -> str:
    """Return the channel on which a segment is said, its attribute `channel`, on one line; empty without one."""
    return " ".join(plain(getattr(spoken, "channel", None) or "").split())


def voice_of(spoken: TimedSegment | TimedWord) -> str | None:
    """Return who says it, or else on which channel it is said; None where neither is known."""
    return speaker_of(spoken) or channel_of(spoken) or None


class Piece(NamedTuple):
    """A word with the text around it: the pieces of a segment, joined, are its text."""

    text: str
    word: TimedWord


def pieces_of(segment: TimedSegment) -> list[Piece]:
    """Divide the text of a segment between its words, whether they have their spaces or not.

    A piece reaches from its word to the next one, and the first from the start of the text, so that dashes and brackets
    between words are kept. If a word is not in the text, the words are joined with spaces instead.
    """
    text, words = " ".join(plain(segment.text).split()), list(segment.words)
    spelled = [" ".join(plain(word.text).split()) for word in words]
    starts, reached = [], 0
    for word in spelled:
        at = text.find(word, reached)
        if at < 0:
            return [Piece(f"{' ' if i else ''}{word}", words[i]) for i, word in enumerate(spelled)]
        # the space before a word belongs to the word
        starts.append(at - 1 if at > reached and text[at - 1] == " " else at)
        reached = at + len(word)
    borders = [0, *starts[1:], len(text)]
    return [Piece(text[borders[i] : borders[i + 1]], word) for i, word in enumerate(words)]


def plain(text: str) -> str:
    """Return the text without control characters; those that separate words become spaces."""
    return "".join(
        " " if one.isspace() else one for one in text if one.isspace() or one.isprintable() or ord(one) > 159
    )


def check_times(spoken: Sequence[TimedSegment | TimedWord], what: str) -> None:
    """Raise ValueError if a time is not finite or below 0, or an end is before its start."""
    for one in spoken:
        if not (math.isfinite(one.start) and math.isfinite(one.end) and 0 <= one.start <= one.end):
            raise ValueError(
                f"`start` and `end` of a {what} must be seconds from 0, in this order, "
                f"but are {one.start} and {one.end} instead."
            )


def checked_words(segments: Sequence[TimedSegment]) -> list[TimedWord]:
    """Return the words of all segments, and check the times of both.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    words = [word for segment in segments for word in segment.words]
    check_times(segments, "segment")
    check_times(words, "word")
    return words


def in_order(spans: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """Convert spans in seconds, ordered by start, to whole milliseconds: none overlaps the next, none is empty.

    A span ends where the next begins, and begins where the one before it ends. Of two with the same start the first
    gets a millisecond.
    """
    placed: list[tuple[int, int]] = []
    reached = 0
    for i, (start, end) in enumerate(spans):
        first, last = max(reached, round(1000 * start)), round(1000 * end)
        if i + 1 < len(spans):
            last = min(last, round(1000 * spans[i + 1][0]))
        placed.append((first, max(last, first + 1)))
        reached = placed[-1][1]
    return placed
