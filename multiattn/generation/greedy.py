"""Greedy decoding and sampling: each text goes its own way, and takes one token after the other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..errors import ModelError
from .config import Generated, GenerationConfig, normalized
from .sampling import draw, narrowed, random_shares
from .search import Constrain, Ending, Step, check_numbers


@dataclass
class _Text:
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    total: float = 0.0  # of what texts are compared by
    is_over: bool = False
    is_finished: bool = False


class SingleSearch:
    """Search without looking ahead.

    Args:
        options: How; `num_return_sequences` texts of each item.
        items: Number of them.
        ending: When a text is at its end.
        pad_token: Read for a text that is over, as long as another of its item is not.
        generator: Where all chance comes from; for sampling only.

    Raises:
        ModelError: Sampling has no generator.
    """

    def __init__(
        self,
        options: GenerationConfig,
        *,
        items: int,
        ending: Ending,
        pad_token: int,
        generator: torch.Generator | Sequence[torch.Generator] | None,
    ) -> None:
        if options.sample and generator is None:
            raise ModelError("`generator` must be given to sample, but is None instead")
        self._options = options
        self._ending = ending
        self._pad_token = pad_token
        self._width = options.num_return_sequences
        self._step = 0
        self._alive = list(range(items))
        self._texts = [[_Text() for _ in range(self._width)] for _ in range(items)]
        self._shares = None if generator is None or not options.sample else self._drawn(items, generator)

    def _drawn(self, items: int, generator: torch.Generator | Sequence[torch.Generator]) -> Tensor:
        of_each = [generator] * items if isinstance(generator, torch.Generator) else generator
        shares = [random_shares(self._width, self._ending.longest, generator=one) for one in of_each]
        return torch.cat(shares)  # (r, longest)

    def step(self, logits: Float[Tensor, "r V"], constrain: Constrain) -> Step | None:
        """Take the next token of each text."""
        scores = constrain(logits)
        old_width = len(logits) // len(self._alive)
        if old_width < self._width:  # the prompts were read once for all texts of an item
            logits, scores = (x.repeat_interleave(self._width, dim=0) for x in (logits, scores))
        chosen = self._chosen(scores)[:, None]  # (r, 1)
        log_probs = logits.log_softmax(dim=-1).gather(1, chosen)  # one pass, which logsumexp is not
        left = scores.gather(1, chosen)
        log_probs = log_probs.masked_fill(left == -math.inf, -math.inf)
        compared = left if self._options.renormalize else log_probs
        # here the device is waited for
        self._take(chosen[:, 0].tolist(), log_probs[:, 0].tolist(), compared[:, 0].tolist())
        self._step += 1
        return self._next(old_width)

    def _chosen(self, scores: Tensor) -> Int64[Tensor, " r"]:
        if self._shares is None:
            return scores.argmax(dim=-1)
        rows = [item * self._width + i for item in self._alive for i in range(self._width)]
        self._shares = self._shares.to(scores.device)
        return draw(narrowed(scores, self._options), shares=self._shares[rows, self._step])

    def _take(self, chosen: list[int], log_probs: list[float], compared: list[float]) -> None:
        check_numbers(log_probs)
        texts = [(item, text) for item in self._alive for text in self._texts[item]]
        for (item, text), token, log_prob, value in zip(texts, chosen, log_probs, compared, strict=True):
            if text.is_over:
                continue
            if log_prob == -math.inf:  # whatever may follow is forbidden
                text.is_over = True
                continue
            text.is_finished = self._ending.is_finished(item, text.tokens, token)
            text.log_probs.append(log_prob)
            text.total += value
            if token not in self._ending.stop:
                text.tokens.append(token)
            text.is_over = text.is_finished or len(text.log_probs) == self._ending.longest

    def _next(self, old_width: int) -> Step | None:
        stay = [place for place, item in enumerate(self._alive) if not all(text.is_over for text in self._texts[item])]
        if not stay:
            return None
        items = None if len(stay) == len(self._alive) else stay
        self._alive = [self._alive[place] for place in stay]
        tokens = [
            self._pad_token if text.is_over else text.tokens[-1] for item in self._alive for text in self._texts[item]
        ]
        if items is None and old_width == self._width:
            return Step(tokens, None, None)
        rows = [place * old_width + i % old_width for place in stay for i in range(self._width)]
        return Step(tokens, rows, items)

    def results(self) -> list[list[Generated]]:
        """The texts of each item, best first."""
        found = [[self._generated(text) for text in texts] for texts in self._texts]
        return [sorted(texts, key=lambda text: text.score, reverse=True) for texts in found]

    def _generated(self, text: _Text) -> Generated:
        count = len(text.log_probs if self._options.count_end else text.tokens)
        score = normalized(text.total, count, self._options.length_penalty)
        return Generated(tuple(text.tokens), tuple(text.log_probs), score, text.is_finished)
