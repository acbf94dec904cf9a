"""The beams of a search and its finished texts, on any runtime: which candidates go on, and when an item is done.

Source: `GenerationMixin._beam_search` of transformers 5, which finds the same texts; with `patience`, openai-whisper's
`BeamSearchDecoder`. Unlike theirs, a beam that no token may continue takes no place among the finished texts.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from .config import Generated, GenerationConfig, normalized
from .texts import StoppingCriteria, best_first, check_numbers, generated


class _Beam(NamedTuple):
    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]  # the model's own
    total: float  # of the processed log-probabilities, exact in fp32; -inf for a beam that only fills a row


class _Candidate(NamedTuple):
    """A beam and a token after it."""

    beam: int
    token: int
    log_prob: float
    total: float


class Best(NamedTuple):
    """The likeliest continuations of all beams of an item, best first."""

    totals: Sequence[float]
    """The sums of the processed log-probabilities."""

    positions: Sequence[int]
    """The beam's index times the size of the vocabulary, and the token."""

    log_probs: Sequence[float]
    """The model's own log-probability of each token."""


class NextRows(NamedTuple):
    """How the search continues."""

    tokens: list[int]
    """The next token of each row."""

    rows: list[int] | None
    """The previous row that each row continues; None where they are the same."""

    items: list[int] | None
    """The indices of the items that stay; None where all do."""


class Beams:
    """The beams of each item, and its finished texts.

    Args:
        options: The options of the generation.
        items: Number of items in the batch.
        stopping: When a text is complete.
    """

    def __init__(self, options: GenerationConfig, *, items: int, stopping: StoppingCriteria) -> None:
        self._options = options
        self._stopping = stopping
        self.keep = max(2, 1 + len(stopping.stop)) * options.num_beams
        """Continuations to find for each item: even if the likeliest of every beam are its ends, enough others are left
        to continue with."""
        self._running = list(range(items))
        self._beams = [[_Beam((), (), 0.0)] for _ in range(items)]  # of each running item
        self._finished: list[list[Generated]] = [[] for _ in range(items)]

    @property
    def totals(self) -> list[list[float]]:
        """The sum of the processed log-probabilities of each beam, by running item; exact in fp32."""
        return [[beam.total for beam in beams] for beams in self._beams]

    def extend(self, found: Sequence[Best], *, vocab_size: int) -> NextRows | None:
        """Extend the beams of each running item by its likeliest continuations; return None at the end.

        Raises:
            ModelError: The totals are NaN.
        """
        width = len(self._beams[0])
        count = width * len(self._beams)
        stay, tokens, rows = [], [], []
        for index, (values, positions, log_probs) in enumerate(found):
            check_numbers(values)
            candidates = [
                _Candidate(int(position) // vocab_size, int(position) % vocab_size, log_prob, value)
                for value, position, log_prob in zip(values, positions, log_probs, strict=True)
                if value > -math.inf
            ]
            if continued := self._continue(index, candidates):
                stay.append(index)
                tokens += [one.token for one in continued]
                rows += [index * width + one.beam for one in continued]
        if not stay:
            return None
        items_stay = None if len(stay) == len(self._beams) else stay
        if items_stay is not None:
            self._running = [self._running[index] for index in stay]
            self._beams = [self._beams[index] for index in stay]
        return NextRows(tokens, None if rows == list(range(count)) else rows, items_stay)

    def _continue(self, index: int, candidates: list[_Candidate]) -> list[_Candidate]:
        """Return the candidate that continues in each row of a running item; empty where the item is done."""
        beams, item = self._beams[index], self._running[index]
        if not candidates:  # every token is forbidden: the running beams are the last texts
            self._finish(item, [self._generated(one, finished=False) for one in beams if one.total > -math.inf])
            return []
        length = len(beams[0].tokens) + 1
        choose = self._choose if self._options.patience is None else self._choose_patiently
        continued = choose(beams, item, candidates, length=length)
        if continued:  # as many rows as beams
            continued += [continued[0]._replace(total=-math.inf)] * (self._options.num_beams - len(continued))
            continued = _in_place(continued)
            self._beams[index] = [_extended(beams[one.beam], one) for one in continued]
        return continued

    def _choose(self, beams: list[_Beam], item: int, candidates: list[_Candidate], *, length: int) -> list[_Candidate]:
        """Put the ended candidates among the finished texts, and return those to continue with."""
        count, continued, ended = self._options.num_beams, [], []
        for rank, one in enumerate(candidates):
            is_finished = self._stopping.is_finished(item, beams[one.beam].tokens, one.token)
            if not is_finished and length < self._stopping.max_tokens:
                continued.append(one)
            elif rank < count:  # the later candidates are only there to continue with
                ended.append(self._generated(_extended(beams[one.beam], one), finished=is_finished, token=one.token))
        self._finish(item, ended)
        is_full = len(self._finished[item]) == count
        if not continued or (is_full and self._is_enough(self._finished[item], continued[0].total, length=length)):
            return []
        return continued[:count]

    def _choose_patiently(
        self, beams: list[_Beam], item: int, candidates: list[_Candidate], *, length: int
    ) -> list[_Candidate]:
        """As `_choose` in Whisper's search: the first texts to end are kept, until there are enough."""
        finished, count = self._finished[item], self._options.num_beams
        enough = round(count * (self._options.patience or 1))
        continued: list[_Candidate] = []
        for one in candidates:
            if not self._stopping.is_finished(item, beams[one.beam].tokens, one.token):
                continued.append(one)
                if len(continued) == count:
                    break
            elif len(finished) < enough:
                finished.append(self._generated(_extended(beams[one.beam], one), finished=True, token=one.token))
        if len(finished) >= enough:
            return []
        if length < self._stopping.max_tokens and continued:
            return continued
        for one in continued[: max(count - len(finished), 0)]:
            finished.append(self._generated(_extended(beams[one.beam], one), finished=False))
        return []

    def _is_enough(self, finished: list[Generated], total: float, *, length: int) -> bool:
        """Return whether the search may end, with this total of the best running beam after `length` new tokens."""
        options = self._options
        if options.early_stopping is True:
            return True
        if options.early_stopping == "never" and options.length_penalty > 0:
            length = self._stopping.max_tokens
        return normalized(total, length, options.length_penalty) <= finished[-1].score

    def _finish(self, item: int, ended: list[Generated]) -> None:
        """Put texts among the finished ones, and keep the best."""
        self._finished[item] = best_first([*self._finished[item], *ended])[: self._options.num_beams]

    def _generated(self, beam: _Beam, *, finished: bool, token: int | None = None) -> Generated:
        tokens = beam.tokens[:-1] if token in self._stopping.stop else beam.tokens
        return generated(self._options, tokens, beam.log_probs, total=beam.total, finished=finished)

    def results(self) -> list[list[Generated]]:
        """Return the texts of each item, best first."""
        return [best_first(finished)[: self._options.num_return_sequences] for finished in self._finished]


def _extended(beam: _Beam, by: _Candidate) -> _Beam:
    return _Beam((*beam.tokens, by.token), (*beam.log_probs, by.log_prob), by.total)


def _in_place(continued: list[_Candidate]) -> list[_Candidate]:
    """Order the candidates so that most continue in the row of their beam, whose keys and values then stay there."""
    rows = dict[int, _Candidate]()
    moved = []
    for one in continued:
        if rows.setdefault(one.beam, one) is not one:
            moved.append(one)
    return [rows[row] if row in rows else moved.pop(0) for row in range(len(continued))]
