"""What exporters ask of a transcript: words and segments with times, in their order, and the text between the words."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable


@runtime_checkable
class TimedWord(Protocol):
    """A word and when it was spoken: any object with these."""

    @property
    def text(self) -> str:
        """As it stands in the transcript; the spaces around it do not count."""

    @property
    def start(self) -> float:
        """In seconds from the start of the recording."""

    @property
    def end(self) -> float:
        """Likewise, not before `start`."""

    @property
    def score(self) -> float:
        """The mean probability of its tokens, 0 to 1."""


@runtime_checkable
class TimedSegment(Protocol):
    """A stretch of speech, with its words where somebody asked for their times: any object with these."""

    @property
    def start(self) -> float:
        """In seconds from the start of the recording."""

    @property
    def end(self) -> float:
        """Likewise, not before `start`."""

    @property
    def text(self) -> str:
        """What was said."""

    @property
    def words(self) -> Sequence[TimedWord]:
        """Its words in their order; empty where their times are not known."""

    @property
    def flags(self) -> Sequence[str]:
        """What makes the segment doubtful, such as `stalled`; mostly empty."""


class Piece(NamedTuple):
    """A word with the text around it: the pieces of a segment, put together, are its text."""

    text: str
    word: TimedWord


def pieces_of(segment: TimedSegment) -> list[Piece]:
    """Divide the text of a segment between its words, whether they are spelled with their spaces or not.

    A piece reaches from its word to the next one, the first from the start of the text, so that dashes and brackets
    that are no words stay where they are. Words that are not those of the text are put together with spaces.
    """
    text, words = " ".join(plain(segment.text).split()), list(segment.words)
    spelled = [" ".join(plain(word.text).split()) for word in words]
    places, reached = [], 0
    for word in spelled:
        at = text.find(word, reached)
        if at < 0:
            return [Piece(f"{' ' if i else ''}{word}", words[i]) for i, word in enumerate(spelled)]
        # the space before a word goes with the word
        places.append(at - 1 if at > reached and text[at - 1] == " " else at)
        reached = at + len(word)
    borders = [0, *places[1:], len(text)]
    return [Piece(text[borders[i] : borders[i + 1]], word) for i, word in enumerate(words)]


def plain(text: str) -> str:
    """The text without control characters; those that part words become spaces."""
    return "".join(
        " " if one.isspace() else one for one in text if one.isspace() or one.isprintable() or ord(one) > 159
    )


def check_times(spoken: Sequence[TimedSegment | TimedWord], what: str) -> None:
    """Raise ValueError where a time is not finite or below 0, or an end lies before its start."""
    for one in spoken:
        if not (math.isfinite(one.start) and math.isfinite(one.end) and 0 <= one.start <= one.end):
            raise ValueError(
                f"`start` and `end` of a {what} must be seconds from 0, in this order, "
                f"but are {one.start} and {one.end} instead."
            )


def in_order(spans: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """Whole milliseconds for spans, in seconds, that follow each other: none overlaps the next, none is empty.

    What begins before the one before it has ended begins where that ends; of two that begin together the first gets
    a millisecond.
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
