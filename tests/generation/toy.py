"""A decoder whose scores are a plain function of the context and the whole text, so that mixed-up rows show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product

import torch
from torch import Tensor

V = 5
END, PAD = 2, 0


@dataclass(frozen=True)
class Sizes:
    vocab_size: int = V
    max_length: int = 31
    end_token: int = END
    pad_token: int = PAD


def logits_of(name: float, text: Sequence[int]) -> Tensor:
    """What follows a text about the context of that name: numbers that look random, the same each time."""
    return _logits_of(round(name * 1000), tuple(text))


@cache
def _logits_of(name: int, text: tuple[int, ...]) -> Tensor:
    seed = 17
    for number in (name, *text):
        seed = (seed * 1_000_003 + number + 1) % 2**61
    return 2 * torch.randn(V, generator=torch.Generator().manual_seed(seed))


@dataclass
class State:
    names: list[float]
    rows: list[list[int]]

    def select(self, rows: Tensor, *, items: Tensor | None = None) -> None:
        if items is not None:
            self.names = [self.names[i] for i in items.tolist()]
        self.rows = [list(self.rows[i]) for i in rows.tolist()]
        assert len(self.rows) % len(self.names) == 0


@dataclass
class Toy:
    """Its context is one number, the name."""

    function: Callable[[float, Sequence[int]], Tensor] = logits_of
    config: Sizes = Sizes()
    rows_of_steps: list[int] = field(default_factory=list)
    capacity: int = 0

    def start(self, context: Tensor, *, rows: int, capacity: int) -> State:
        self.capacity = capacity
        return State(context[:, 0, 0].tolist(), [[] for _ in range(rows)])

    def __call__(self, tokens: Tensor, *, cache: State, attention_mask: Tensor | None, last_only: bool) -> Tensor:
        assert last_only
        self.rows_of_steps.append(len(tokens))
        attention_mask = torch.ones_like(tokens, dtype=torch.bool) if attention_mask is None else attention_mask
        for row, new, keep in zip(cache.rows, tokens, attention_mask, strict=True):
            row += new[keep].tolist()
        group = len(cache.rows) // len(cache.names)
        assert group * len(cache.names) == len(cache.rows)
        logits = [self.function(cache.names[i // group], row) for i, row in enumerate(cache.rows)]
        return torch.stack(logits)[:, None]


def named(*names: float) -> Tensor:
    return torch.tensor(names, dtype=torch.float32)[:, None, None]


def greedy(name: float, prompt: Sequence[int], *, count: int) -> tuple[list[int], list[float]]:
    """The naive way: the new tokens without the end, and the log-probability of each with the end's."""
    tokens: list[int] = []
    log_probs: list[float] = []
    while len(log_probs) < count:
        scores = logits_of(name, [*prompt, *tokens]).log_softmax(0)
        token = int(scores.argmax())
        log_probs.append(float(scores[token]))
        if token == END:
            break
        tokens.append(token)
    return tokens, log_probs


def enumerated(
    name: float, prompt: Sequence[int], *, count: int, penalty: float
) -> list[tuple[float, tuple[int, ...]]]:
    """Every text there can be with its score, best first: those that end, and those that are cut off."""
    found = []
    for length in range(1, count + 1):
        for text in product(range(V), repeat=length):
            if END in text[:-1] or (length < count and text[-1] != END):
                continue
            total = 0.0
            for i, token in enumerate(text):
                total += float(logits_of(name, [*prompt, *text[:i]]).log_softmax(0)[token])
            found.append((total / length**penalty, text[:-1] if text[-1] == END else text))
    return sorted(found, reverse=True)
