"""Who says what: the words of a transcript are given to the speaker turns that they overlap.

Times are in seconds.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ...alignment import SpokenWord
from ...alignment.word_grouping import NOT_SAID
from ...inputs.rttm import Turn, read_rttm, turns_of
from .segments import Segment

NEAR_SECONDS = 1.0
"""A word that no turn overlaps is given to the nearest turn, if that is no farther away than this."""


class SpeakerTurns:
    """The turns of one recording.

    Args:
        turns: In any order; those of several speakers may overlap.
    """

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = sorted(turns)
        self._starts = [turn.start for turn in self._turns]
        # the latest end so far never falls, so that the first turn that may reach a time can be searched for
        self._reached = list(accumulate((turn.end for turn in self._turns), max))

    def speaker(self, start: float, end: float, *, before: str | None = None) -> str | None:
        """Return the speaker whose turns overlap a span most, or else are nearest; None where none is near.

        Args:
            start: Of the span.
            end: Of the span; may equal its start.
            before: Who said the word before: of several speakers that overlap equally, that one goes on.
        """
        shares: dict[str, float] = {}
        nearest, distance = None, NEAR_SECONDS
        for turn in self._around(start - NEAR_SECONDS, end + NEAR_SECONDS):
            overlap = min(end, turn.end) - max(start, turn.start)
            if overlap > 0:
                shares[turn.speaker] = shares.get(turn.speaker, 0.0) + overlap
            elif -overlap < distance or -overlap == distance and nearest is None:
                nearest, distance = turn.speaker, -overlap
        if not shares:
            return nearest
        most = max(shares.values())
        tied = [name for name, share in shares.items() if most - share < 1e-6]
        return before if before in tied else tied[0]

    def _around(self, start: float, end: float) -> list[Turn]:
        first = bisect_left(self._reached, start)
        return self._turns[first : bisect_left(self._starts, end, lo=first) + 1]

    def assign(self, segment: Segment) -> tuple[Segment, ...]:
        """Give a segment's words to their speakers, and cut it where the speaker changes.

        A word that belongs to nobody stays in the part before it. A segment without words is given to one speaker.
        """
        if NOT_SAID in segment.flags:
            return (segment,)
        if not segment.words:
            return (replace(segment, speaker=self.speaker(segment.start, segment.end)),)
        words, before = list[SpokenWord](), None
        for word in segment.words:
            is_said = NOT_SAID not in word.flags
            speaker = self.speaker(word.start, word.end, before=before) if is_said else None
            words.append(word._replace(speaker=speaker))
            before = speaker or before
        # a part's speaker is the first that one of its words has
        first = next((word.speaker for word in words if word.speaker), None)
        of_part = list[str | None]()
        for word in words:
            of_part.append(word.speaker or (of_part[-1] if of_part else first))
        counts = [len(list(group)) for _, group in groupby(of_part)]
        firsts = list(accumulate(counts, initial=0))
        if len(counts) == 1:
            return (replace(segment, words=tuple(words), speaker=of_part[0]),)
        return tuple(
            _part(segment, words, first, stop, of_part[first]) for first, stop in zip(firsts, firsts[1:], strict=False)
        )


Speakers: TypeAlias = str | Path | Sequence[Turn]
"""An RTTM file, or the turns of a recording."""


class GivenSpeakers:
    """Speaker turns for any number of recordings.

    Args:
        speakers: A file, in which each recording is found by its name, or turns for all recordings.
        is_only: Whether there is one recording only, which a file with one recording belongs to whatever its name.

    Raises:
        InputError: The file cannot be used.
    """

    def __init__(self, speakers: Speakers, *, is_only: bool = False) -> None:
        self._source, self._is_only = str(speakers), is_only
        self._turns: dict[str, tuple[Turn, ...]] | None = None
        self._all: SpeakerTurns | None = None
        if isinstance(speakers, str | Path):
            self._turns = read_rttm(speakers)
        else:
            self._all = SpeakerTurns(speakers)

    def of(self, file: str | None) -> SpeakerTurns:
        """Return the turns of a recording.

        Args:
            file: Its path; None for one without.

        Raises:
            InputError: The file has none for it.
        """
        if self._turns is None:
            assert self._all is not None
            return self._all
        name = "" if file is None else Path(file).stem
        return SpeakerTurns(turns_of(self._turns, name, source=self._source, is_only=self._is_only))


class Attribution(NamedTuple):
    """How segments are given to speakers."""

    speakers: GivenSpeakers
    keep_words: bool
    """Whether segments keep their words, whose times may only be there to find their speakers."""

    def assign(self, turns: SpeakerTurns, segment: Segment) -> tuple[Segment, ...]:
        """Return a segment cut where the speaker changes."""
        parts = turns.assign(segment)
        return parts if self.keep_words else tuple(replace(part, words=()) for part in parts)


def _part(segment: Segment, words: Sequence[SpokenWord], first: int, stop: int, speaker: str | None) -> Segment:
    """Return the words from `first` to `stop` of a segment as a segment of its own, with its text and tokens."""
    own, is_last = words[first:stop], stop == len(words)
    text_start = _text_start(segment.text, words, first)
    text_stop = len(segment.text) if is_last else _text_start(segment.text, words, stop)
    token_start = min(own[0].pieces, default=0) if first else 0
    token_stop = len(segment.tokens) if is_last else min(words[stop].pieces, default=len(segment.tokens))
    return replace(
        segment,
        start=own[0].start if first else min(segment.start, own[0].start),
        end=max(segment.end, own[-1].end) if is_last else own[-1].end,
        text=segment.text[text_start:text_stop],
        tokens=segment.tokens[token_start:token_stop],
        log_probs=segment.log_probs[token_start:token_stop],
        words=tuple(
            word._replace(
                start_char=word.start_char - text_start,
                end_char=word.end_char - text_start,
                pieces=tuple(piece - token_start for piece in word.pieces),
            )
            for word in own
        ),
        speaker=speaker,
    )


def _text_start(text: str, words: Sequence[SpokenWord], index: int) -> int:
    """Return where the text of a word begins: the space before a word belongs to it."""
    if index == 0:
        return 0
    start = words[index].start_char
    return start - 1 if start and text[start - 1].isspace() else start
