"""Rules about what may follow: each takes the text so far and the scores of what may follow, and gives other scores.

Notation: r rows, n tokens so far, V vocabulary.
Source: the rules of the same names among transformers' logits processors.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..errors import ModelError
from .config import GenerationConfig


@runtime_checkable
class LogitsProcessor(Protocol):
    """A rule about what may follow."""

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Change scores; those given stay as they are.

        Args:
            tokens: The texts so far, prompts included; -1 where a prompt is filled up on its left.
            scores: Logits, or log-probabilities in a beam search; -inf where a token is forbidden.

        Returns:
            The new scores.
        """
        ...


@dataclass(frozen=True)
class RepetitionPenalty:
    """Tokens that are in the text lose score. Source: Keskar et al. 2019 (CTRL), section 4.1."""

    penalty: int | float

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Times the penalty where negative, divided by it where positive."""
        penalized = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
        return torch.where(_marked(tokens, scores), penalized, scores)


@dataclass(frozen=True)
class NoRepeatedNgram:
    """No so many tokens in a row occur twice. Source: Paulus et al. 2017, section 2.5."""

    size: int

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Forbid each token that followed what is now last."""
        length = tokens.shape[1]
        if length < self.size:
            return scores
        windows = tokens.unfold(1, self.size, 1)  # (r, windows, size)
        last = tokens[:, length + 1 - self.size :]  # (r, size - 1)
        again = (windows[..., :-1] == last[:, None]).all(dim=-1) & (windows >= 0).all(dim=-1)
        followers = windows[..., -1].masked_fill(~again, -1)  # (r, windows)
        return scores.masked_fill(_marked(followers, scores), -math.inf)


@dataclass(frozen=True)
class Suppressed:
    """Tokens that are not written at some places among the new ones."""

    tokens: tuple[int, ...]
    prompt_length: int
    before: int | None = None
    """The first place at which they may be written; None where there is none."""

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Forbid them."""
        if self.before is not None and tokens.shape[1] - self.prompt_length >= self.before:
            return scores
        return scores.index_fill(1, torch.tensor(self.tokens, device=scores.device), -math.inf)


@dataclass(frozen=True)
class Forced:
    """Tokens that must stand at their places among the new ones."""

    tokens: tuple[tuple[int, int], ...]
    prompt_length: int

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Forbid all others."""
        token = dict(self.tokens).get(tokens.shape[1] - self.prompt_length)
        if token is None:
            return scores
        forced = torch.full_like(scores, -math.inf)
        forced[:, token] = 0.0
        return forced


def logits_processors_of(
    options: GenerationConfig, *, prompt_length: int, stop: Collection[int], vocab_size: int
) -> tuple[list[LogitsProcessor], list[LogitsProcessor]]:
    """The rules that options stand for: those that others may follow, and those that come last.

    Args:
        options: How a text is to be found.
        prompt_length: Tokens before the first new one.
        stop: Tokens that end a text.
        vocab_size: Tokens there are.

    Raises:
        ModelError: An option names a token that there is not.
    """
    named = {"suppress": options.suppress, "suppress_first": options.suppress_first}
    for name, tokens in {**named, "forced": tuple(token for _, token in options.forced)}.items():
        if unknown := [token for token in tokens if token >= vocab_size]:
            raise ModelError(
                f"`{name}` must name tokens of the model's vocabulary, from 0 to {vocab_size - 1}, but names "
                f"{unknown[0]} instead"
            )
    rules: list[LogitsProcessor] = []
    if options.repetition_penalty != 1:
        rules.append(RepetitionPenalty(options.repetition_penalty))
    if options.no_repeat_ngram:
        rules.append(NoRepeatedNgram(options.no_repeat_ngram))
    if options.min_tokens and stop:
        rules.append(Suppressed(tuple(stop), prompt_length, before=options.min_tokens))
    if options.suppress:
        rules.append(Suppressed(options.suppress, prompt_length))
    if options.suppress_first:
        rules.append(Suppressed(options.suppress_first, prompt_length, before=1))
    return rules, [Forced(options.forced, prompt_length)] if options.forced else []


def _marked(tokens: Tensor, scores: Tensor) -> Tensor:
    """True (r, V) at the tokens (r, k) of each row, of which -1 is none."""
    marks = torch.zeros(len(scores), scores.shape[1] + 1, dtype=torch.bool, device=scores.device)
    return marks.scatter_(1, tokens + 1, True)[:, 1:]
