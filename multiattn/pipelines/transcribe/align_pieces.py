"""A given text beside a free transcript of the recording, cut into pieces that fit into a window.

Words that both have, in order, anchor the text in time. Between two anchors is a gap: words of the text that the model
did not write there, words of the model that are not in the text, or both.

Times are in seconds of the recording.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from ...alignment import SpokenWord
from ...alignment.text_match import Match

FASTEST = 25.0
"""Letters a second that nobody says: more of them than fit between two anchors were not said. Fast speech has 20."""

_SLACK = 0.5  # seconds by which the times of anchors may be wrong together
_MARGIN = 0.5  # of a pause at the end of a piece that stays with it
_LEAST = 8.0  # a piece that is cut at a pause has at least this length, so that the model has some context
_LARGE, _PART = (
    0.7,
    0.5,
)  # shares of a window: a gap above the first is divided into parts of the second, by its letters
_ASIDE = 2.0  # seconds that are not in the text, from which on no piece extends over them
_PAUSE = 1.0  # the longest pause between two words that counts for where pieces are cut


class Gap(NamedTuple):
    """What lies between two words that text and transcript have in common."""

    given: range
    """Indices of words of the text."""

    found: range
    """Indices of words of the transcript."""

    start: float
    end: float

    @property
    def is_open(self) -> bool:
        """Whether words of the text are in it."""
        return len(self.given) > 0


@dataclass(frozen=True)
class Piece:
    """A part of the recording with its words of both."""

    given: range
    found: range
    start: float
    end: float


class _Border(NamedTuple):
    given: int  # the first word of the text after it
    found: int
    end: float  # of what lies before it
    start: float  # of what lies after it
    pause: float  # between its words; below 0 where it is not between two anchors


def gaps_of(match: Match, found: Sequence[SpokenWord], *, count: int, duration: float) -> list[Gap]:
    """Return the gaps that are not empty, in order.

    Args:
        match: Text and transcript.
        found: The words of the transcript.
        count: Number of words of the text.
        duration: Of the recording.
    """
    anchors = [(-1, -1, 0.0, 0.0)]
    anchors += [(one.given, one.found, found[one.found].start, found[one.found].end) for one in match.pairs]
    anchors.append((count, len(found), duration, duration))
    gaps = [
        Gap(range(left[0] + 1, right[0]), range(left[1] + 1, right[1]), left[3], max(left[3], right[2]))
        for left, right in pairwise(anchors)
    ]
    return [gap for gap in gaps if gap.given or gap.found]


def cannot_be_said(gap: Gap, letters: Sequence[int]) -> bool:
    """Tell whether a gap has more text than fits into its time.

    Args:
        gap: The gap.
        letters: Number of letters of each word of the text.
    """
    return sum(letters[i] for i in gap.given) > FASTEST * (gap.end - gap.start + _SLACK)


def pieces_of(
    match: Match,
    gaps: Sequence[Gap],
    found: Sequence[SpokenWord],
    *,
    count: int,
    letters: Sequence[int],
    duration: float,
    longest: float,
    fits: Callable[[range, range], bool],
) -> list[Piece]:
    """Cut at pauses between anchors, and only where there are none for long, elsewhere.

    Args:
        match: Text and transcript.
        gaps: Their gaps.
        found: The words of the transcript.
        count: Number of words of the text.
        letters: Number of letters of each word of the text.
        duration: Of the recording.
        longest: Seconds of the longest piece.
        fits: Tells whether words of the text and words of the transcript have few enough tokens for a window.
    """
    borders = _borders(match, gaps, found, letters, longest=longest)
    last = _Border(count, len(found), duration, duration, _PAUSE)
    if match.pairs and not (gaps and gaps[-1].given and gaps[-1].given.stop == count):
        end = min(duration, found[-1].end + _MARGIN) if found else duration
        last = last._replace(end=end)
    here = _Border(0, 0, 0.0, 0.0, _PAUSE)
    if match.pairs and match.pairs[0].given == 0:
        here = here._replace(found=match.pairs[0].found, start=max(0.0, found[match.pairs[0].found].start - _MARGIN))
    pieces, index = list[Piece](), 0
    while True:
        while index < len(borders) and (borders[index].given, borders[index].found) <= (here.given, here.found):
            index += 1
        reached = index
        options = list[_Border]()
        for border in [*borders[index:], last]:
            is_short = border.end - here.start <= longest
            if options and not (is_short and fits(range(here.given, border.given), range(here.found, border.found))):
                break
            options.append(border)
            reached += 1
        if options[-1] is last:
            best = last
        else:
            best = max(options, key=lambda border: _worth(border, border.end - here.start))
        pieces.append(Piece(range(here.given, best.given), range(here.found, best.found), here.start, best.end))
        if best is last:
            return [piece for piece in pieces if piece.end > piece.start]
        here = best


def _worth(border: _Border, seconds: float) -> float:
    return (
        (border.pause if border.pause < 0 else min(border.pause, _PAUSE) + 1)
        + min(seconds, _LEAST) / _LEAST * 2
        + (0.01 * seconds)
    )


def _borders(
    match: Match, gaps: Sequence[Gap], found: Sequence[SpokenWord], letters: Sequence[int], *, longest: float
) -> list[_Border]:
    borders = list[_Border]()
    for left, right in pairwise(match.pairs):
        if right.given != left.given + 1 or right.found != left.found + 1:
            continue
        end, start = found[left.found].end, found[right.found].start
        pause = max(0.0, start - end)
        middle = (end + start) / 2
        borders.append(
            _Border(right.given, right.found, min(middle, end + _MARGIN), max(middle, start - _MARGIN), pause)
        )
    for gap in gaps:
        seconds = gap.end - gap.start
        if not gap.is_open and seconds > _ASIDE:
            middle = (gap.start + gap.end) / 2
            end, start = min(middle, gap.start + _MARGIN), max(middle, gap.end - _MARGIN)
            borders.append(_Border(gap.given.start, gap.found.stop, end, start, _PAUSE))
        if gap.is_open and gap.given.start:
            borders.append(_Border(gap.given.start, gap.found.start, gap.start, gap.start, -1.0))
        if gap.is_open and seconds > _LARGE * longest:
            borders += _inside(gap, found, letters, parts=math.ceil(seconds / (_PART * longest)))
    return sorted(borders)


def _inside(gap: Gap, found: Sequence[SpokenWord], letters: Sequence[int], *, parts: int) -> list[_Border]:
    """Divide a long gap evenly: each part has as much of the text as of the time."""
    total, borders = sum(letters[i] for i in gap.given), list[_Border]()
    for part in range(1, parts):
        time = gap.start + (gap.end - gap.start) * part / parts
        so_far, given = 0, gap.given.start
        while given < gap.given.stop and so_far < total * part / parts:
            so_far, given = so_far + letters[given], given + 1
        said = next((j for j in gap.found if found[j].start >= time), gap.found.stop)
        borders.append(_Border(given, said, time, time, -0.5))
    return borders
