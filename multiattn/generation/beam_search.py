"""Beam search: of each item the likeliest texts are continued side by side.

Source: `GenerationMixin._beam_search` of transformers 5, whose texts these are; with `patience`, openai-whisper's
`BeamSearchDecoder`. But a beam that cannot go on is none: it fills no place among the finished texts.
"""

import math
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from .config import Generated, GenerationConfig, normalized
from .search import Constrain, Ending, Step, check_numbers


class _Beam(NamedTuple):
    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]  # the model's own
    total: float  # of the constrained log-probabilities, exact in fp32; -inf where there is no such beam


class _Candidate(NamedTuple):
    """A beam and a token after it."""

    beam: int
    token: int
    log_prob: float
    total: float


class BeamSearch:
    """Search with several beams.

    Args:
        options: How.
        items: Number of them.
        ending: When a text is at its end.
    """

    def __init__(self, options: GenerationConfig, *, items: int, ending: Ending) -> None:
        self._options = options
        self._ending = ending
        # if every beam's likeliest continuations are its ends, there are as many others to go on with
        self._keep = max(2, 1 + len(ending.stop)) * options.num_beams
        self._alive = list(range(items))
        self._beams = [[_Beam((), (), 0.0)] for _ in range(items)]  # of each item that is alive
        self._finished: list[list[Generated]] = [[] for _ in range(items)]

    def step(self, logits: Float[Tensor, "r V"], constrain: Constrain) -> Step | None:
        """Extend each beam by every token, and keep the likeliest."""
        own = logits.log_softmax(dim=-1)
        scores = constrain(own)
        totals = scores.new_tensor([[beam.total for beam in num_beams] for num_beams in self._beams])  # (b, w)
        items, vocab_size = len(totals), logits.shape[-1]
        all_totals = (scores.view(items, -1, vocab_size) + totals[..., None]).flatten(1)  # (b, w V)
        best = all_totals.topk(min(self._keep, all_totals.shape[1]), dim=1)
        own_best = own.view(items, -1).gather(1, best.indices)
        # here the device is waited for
        found = zip(best.values.tolist(), best.indices.tolist(), own_best.tolist(), strict=True)
        width = len(self._beams[0])
        stay, tokens, rows = [], [], []
        for place, (values, indices, log_probs) in enumerate(found):
            check_numbers(values)
            candidates = [
                _Candidate(index // vocab_size, index % vocab_size, log_prob, value)
                for value, index, log_prob in zip(values, indices, log_probs, strict=True)
                if value > -math.inf
            ]
            going_on = self._item(place, candidates)
            if not going_on:
                continue
            stay.append(place)
            tokens += [one.token for one in going_on]
            rows += [place * width + one.beam for one in going_on]
        if not stay:
            return None
        items_stay = None if len(stay) == items else stay
        if items_stay is not None:
            self._alive = [self._alive[place] for place in stay]
            self._beams = [self._beams[place] for place in stay]
        return Step(tokens, None if rows == list(range(len(logits))) else rows, items_stay)

    def _item(self, place: int, candidates: list[_Candidate]) -> list[_Candidate]:
        """Go on with one item: give what continues in each of its rows, or nothing where the item is done."""
        num_beams, item, count = self._beams[place], self._alive[place], self._options.num_beams
        finished = self._finished[item]
        if not candidates:  # whatever may follow is forbidden: what there is, is all there will be
            self._finish(item, [self._generated(one, finished=False) for one in num_beams if one.total > -math.inf])
            return []
        length = len(num_beams[0].tokens) + 1
        if self._options.patience is not None:
            return self._filled(place, self._patient(num_beams, item, candidates, length=length))
        going_on, ended = [], []
        for rank, one in enumerate(candidates):
            beam = num_beams[one.beam]
            is_finished = self._ending.is_finished(item, beam.tokens, one.token)
            if not is_finished and length < self._ending.longest:
                going_on.append(one)
            elif rank < count:  # those behind are there to go on with, not to end
                ended.append(self._generated(_extended(beam, one), finished=is_finished, token=one.token))
        self._finish(item, ended)
        going_on = going_on[:count]
        if not going_on or (len(finished) == count and self._is_enough(finished, going_on[0].total, length=length)):
            return []
        return self._filled(place, going_on)

    def _patient(
        self, num_beams: list[_Beam], item: int, candidates: list[_Candidate], *, length: int
    ) -> list[_Candidate]:
        """What an item goes on with in Whisper's search: texts are kept as they end, until there are enough."""
        finished, count = self._finished[item], self._options.num_beams
        enough = round(count * (self._options.patience or 1))
        going_on: list[_Candidate] = []
        for one in candidates:
            beam = num_beams[one.beam]
            if not self._ending.is_finished(item, beam.tokens, one.token):
                going_on.append(one)
                if len(going_on) == count:
                    break
            elif len(finished) < enough:
                finished.append(self._generated(_extended(beam, one), finished=True, token=one.token))
        if len(finished) >= enough:
            return []
        if length < self._ending.longest and going_on:
            return going_on
        for one in going_on[: max(count - len(finished), 0)]:
            finished.append(self._generated(_extended(num_beams[one.beam], one), finished=False))
        return []

    def _filled(self, place: int, going_on: list[_Candidate]) -> list[_Candidate]:
        """Go on with these, in as many rows as there are beams."""
        if going_on:
            num_beams = self._beams[place]
            going_on += [going_on[0]._replace(total=-math.inf)] * (self._options.num_beams - len(going_on))
            self._beams[place] = [_extended(num_beams[one.beam], one) for one in going_on]
        return going_on

    def _is_enough(self, finished: list[Generated], total: float, *, length: int) -> bool:
        """Whether the search may end, with the best running beam at this total after so many new tokens."""
        options = self._options
        if options.early_stopping is True:
            return True
        if options.early_stopping == "never" and options.length_penalty > 0:
            length = self._ending.longest
        return normalized(total, length, options.length_penalty) <= finished[-1].score

    def _finish(self, item: int, ended: list[Generated]) -> None:
        """Put texts among the finished ones, of which the best stay."""
        finished = self._finished[item]
        finished += ended
        finished.sort(key=lambda one: one.score, reverse=True)
        del finished[self._options.num_beams :]

    def _generated(self, beam: _Beam, *, finished: bool, token: int | None = None) -> Generated:
        tokens = beam.tokens[:-1] if token in self._ending.stop else beam.tokens
        count = len(beam.tokens if self._options.count_end else tokens)
        score = normalized(beam.total, count, self._options.length_penalty)
        return Generated(tokens, beam.log_probs, score, finished)

    def results(self) -> list[list[Generated]]:
        """The texts of each item, best first."""
        best_first = (sorted(finished, key=lambda one: one.score, reverse=True) for finished in self._finished)
        return [finished[: self._options.num_return_sequences] for finished in best_first]


def _extended(beam: _Beam, by: _Candidate) -> _Beam:
    return _Beam((*beam.tokens, by.token), (*beam.log_probs, by.log_prob), by.total)
