"""Greedy decoding and sampling: each text takes one token after the other, without looking ahead.

Notation: r rows, V vocabulary.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ..checks import require
from .config import Generated, GenerationConfig
from .search import ProcessLogits, Step
from .texts import RunningText, StoppingCriteria, best_first

_LOOKAHEAD = 8
"""Tokens of each text that are decoded on a GPU before the host looks at them, to see which texts are over."""


class SingleSearch:
    """A search that takes or draws one token at a time.

    Args:
        options: The options of the generation; `num_return_sequences` texts are made for each item.
        items: Number of items in the batch.
        stopping: When a text is complete.
        pad_token: Token that fills the rows of a text that is over, while another of its item is not.
        generator: The source of randomness; for sampling only.

    Raises:
        ModelError: Sampling has no generator.
    """

    def __init__(
        self,
        options: GenerationConfig,
        *,
        items: int,
        stopping: StoppingCriteria,
        pad_token: int,
        generator: torch.Generator | Sequence[torch.Generator] | None,
    ) -> None:
        require(not options.sample or generator is not None, "generator", must="given to sample", value=generator)
        self._options = options
        self._stopping = stopping
        self._pad_token = pad_token
        self._width = options.num_return_sequences
        self._step = 0
        self._running = list(range(items))
        self._texts = [[RunningText() for _ in range(self._width)] for _ in range(items)]
        self._unseen: list[Tensor] = []  # of each step, (r, 3): tokens, log-probabilities, those texts are compared by
        self._shares: Tensor | None = None
        if options.sample and generator is not None:
            generators = [generator] * items if isinstance(generator, torch.Generator) else generator
            shares = [random_shares(self._width, stopping.max_tokens, generator=one) for one in generators]
            self._shares = torch.cat(shares)  # (r, max_tokens)

    def step(self, logits: Float[Tensor, "r V"], process: ProcessLogits) -> Step | None:
        """Choose the next token of each text."""
        scores = process(logits)
        old_width = len(logits) // len(self._running)
        if old_width < self._width:  # the prompts were read once for all texts of an item
            logits, scores = (x.repeat_interleave(self._width, dim=0) for x in (logits, scores))
        chosen = self._chosen(scores)[:, None]  # (r, 1)
        log_probs = logits.log_softmax(dim=-1).gather(1, chosen)  # one pass, unlike logsumexp
        processed = scores.gather(1, chosen)
        log_probs = log_probs.masked_fill(processed == -math.inf, -math.inf)
        compared = processed if self._options.renormalize else log_probs
        # float64 holds all three exactly
        self._unseen.append(torch.cat([chosen.double(), log_probs.double(), compared.double()], dim=1))
        self._step += 1
        is_due = len(self._unseen) == steps_between_looks(logits.device) or self._step == self._stopping.max_tokens
        if not is_due and old_width == self._width:
            return Step(chosen[:, 0], None, None)
        for rows in torch.stack(self._unseen).tolist():  # waits for the device
            self._append(rows)
        self._unseen.clear()
        return self._next(chosen[:, 0], old_width)

    def _chosen(self, scores: Tensor) -> Int64[Tensor, " r"]:
        if self._shares is None:
            return scores.argmax(dim=-1)
        self._shares = self._shares.to(scores.device)
        return draw(narrowed(scores, self._options), shares=self._shares[:, self._step])

    def _append(self, rows: list[list[float]]) -> None:
        """Append a token to each text that is not over."""
        texts = [(item, text) for item in self._running for text in self._texts[item]]
        for (item, text), (token, log_prob, value) in zip(texts, rows, strict=True):
            text.append(item, int(token), log_prob, value, self._stopping)

    def _next(self, chosen: Tensor, old_width: int) -> Step | None:
        stay = [
            index for index, item in enumerate(self._running) if not all(text.is_over for text in self._texts[item])
        ]
        if not stay:
            return None
        items = None if len(stay) == len(self._running) else stay
        self._running = [self._running[index] for index in stay]
        texts = [text for item in self._running for text in self._texts[item]]
        if items is not None or any(text.is_over for text in texts):
            tokens = [self._pad_token if text.is_over else text.tokens[-1] for text in texts]
            chosen = torch.tensor(tokens, device=chosen.device)
        if items is not None and self._shares is not None:
            own = [index * self._width + i for index in stay for i in range(self._width)]
            self._shares = self._shares[torch.tensor(own, device=self._shares.device)]
        if items is None and old_width == self._width:
            return Step(chosen, None, None)
        rows = [index * old_width + i % old_width for index in stay for i in range(self._width)]
        return Step(chosen, rows, items)

    def results(self) -> list[list[Generated]]:
        """Return the texts of each item, best first."""
        return [best_first([text.generated(self._options) for text in texts]) for texts in self._texts]


def steps_between_looks(device: torch.device) -> int:
    """Return the number of steps after which the host looks at what was chosen; on a CPU it need not wait for that."""
    return 1 if device.type == "cpu" else _LOOKAHEAD


def narrowed(scores: Float[Tensor, "r V"], options: GenerationConfig) -> Float[Tensor, "r V"]:
    """Return the scores to draw by: divided by the temperature, and -inf where top-k and then top-p exclude a token.

    Source: Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p).
    """
    # the maximum at 0, and in fp64: with a temperature near 0 they would be infinite, and nothing could be drawn
    scores = (scores - scores.amax(dim=-1, keepdim=True)).double() / options.temperature
    if options.top_k is not None and options.top_k < scores.shape[-1]:
        least = scores.topk(options.top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < least, -math.inf)
    if options.top_p is not None and options.top_p < 1:
        ordered, order = scores.sort(dim=-1, descending=True)
        probs = ordered.softmax(dim=-1)
        before = probs.cumsum(dim=-1) - probs  # the probability of the likelier tokens
        out = before >= options.top_p
        out[:, 0] = False  # whatever the rounding, one token remains
        scores = scores.masked_fill(out.scatter(1, order, out), -math.inf)
    return scores


def random_shares(texts: int, count: int, *, generator: torch.Generator) -> Float64[Tensor, "texts count"]:
    """Return numbers above 0 and up to 1 for the draws of each text.

    Each text has a random stream of its own, seeded by one number of the generator: its draws do not depend on the
    other texts, nor on their lengths.
    """
    rows = []
    for _ in range(texts):
        seed = torch.randint(2**62, (), generator=generator, device=generator.device)
        own = torch.Generator().manual_seed(int(seed))
        rows.append(1 - torch.rand(count, generator=own, dtype=torch.float64))
    return torch.stack(rows)


def draw(scores: Float[Tensor, "r V"], *, shares: Float64[Tensor, " r"]) -> Int64[Tensor, " r"]:
    """Return the token of each row at which the cumulative probability reaches the row's share."""
    sums = scores.double().softmax(dim=-1).cumsum(dim=-1)  # (r, V)
    reached = torch.searchsorted(sums, (shares * sums[:, -1])[:, None])[:, 0]
    return reached.clamp(max=scores.shape[-1] - 1)  # where nothing may be drawn, the sums are NaN
