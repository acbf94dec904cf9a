"""Logits processors: rules for the next token. Each takes the texts so far and the scores, and returns new scores.

Notation: r rows, n tokens so far, k new tokens, V vocabulary.
Source: the logits processors of the same names in transformers; `TimestampRules`: openai-whisper, decoding.py,
`ApplyTimestampRules`.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .config import GenerationConfig


@runtime_checkable
class LogitsProcessor(Protocol):
    """A rule for the next token."""

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Return new scores; the given ones stay as they are.

        Args:
            tokens: The texts so far, prompts included; -1 where a prompt is padded on its left.
            scores: Logits, or log-probabilities in a beam search; -inf where a token is forbidden.
        """


@dataclass(frozen=True)
class RepetitionPenalty:
    """Lower the scores of tokens that are in the text. Source: Keskar et al. 2019 (CTRL), section 4.1."""

    penalty: int | float

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Multiply negative scores by the penalty, and divide positive ones."""
        penalized = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
        return torch.where(_marked(tokens, scores), penalized, scores)


@dataclass(frozen=True)
class NoRepeatedNgram:
    """No sequence of `size` tokens occurs twice. Source: Paulus et al. 2017, section 2.5."""

    size: int

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Forbid each token that followed an earlier occurrence of the last `size - 1` tokens."""
        length = tokens.shape[1]
        if length < self.size:
            return scores
        windows = tokens.unfold(1, self.size, 1)  # (r, windows, size)
        last = tokens[:, length + 1 - self.size :]  # (r, size - 1)
        again = (windows[..., :-1] == last[:, None]).all(dim=-1) & (windows >= 0).all(dim=-1)
        followers = windows[..., -1].masked_fill(~again, -1)  # (r, windows)
        return scores.masked_fill(_marked(followers, scores), -math.inf)


@dataclass(frozen=True, eq=False)
class Suppressed:
    """Forbid tokens at some positions among the new ones."""

    tokens: Int64[Tensor, " k"]
    """On the device of the scores."""

    prompt_length: int
    before: int | None = None
    """The first position at which they are allowed; None where they never are."""

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Forbid the tokens."""
        if self.before is not None and tokens.shape[1] - self.prompt_length >= self.before:
            return scores
        return scores.index_fill(1, self.tokens, -math.inf)


@dataclass(frozen=True)
class Forced:
    """Allow one token only at some positions among the new ones."""

    tokens: tuple[tuple[int, int], ...]
    prompt_length: int

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Forbid all other tokens."""
        token = dict(self.tokens).get(tokens.shape[1] - self.prompt_length)
        if token is None:
            return scores
        forced = torch.full_like(scores, -math.inf)
        forced[:, token] = 0.0
        return forced


@dataclass(frozen=True)
class TimestampRules:
    """Whisper's grammar of times: a text begins with one; they come in pairs except the last, and never decrease.

    Where the timestamps together are likelier than the likeliest other token, a timestamp must follow. The timestamps
    are the last tokens of the vocabulary; tokens of text come before the end token.
    """

    first: int
    """The timestamp of 0 seconds."""

    end: int
    """The token that ends a text."""

    prompt_length: int
    no_timestamps: int | None = None
    """The token that says that there are no times; it is never generated."""

    latest_start: int | None = None
    """The index of the latest timestamp that a text may begin with; any where None."""

    def __call__(self, tokens: Int64[Tensor, "r n"], scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Forbid the tokens that the grammar does not allow."""
        scores = scores.clone()
        others, times = scores[:, : self.first], scores[:, self.first :]  # views
        if self.no_timestamps is not None:
            scores[:, self.no_timestamps] = -math.inf
        new = tokens[:, self.prompt_length :]  # (r, k)
        if new.shape[1] == 0:
            others.fill_(-math.inf)
            if self.latest_start is not None:
                times[:, self.latest_start + 1 :] = -math.inf
        else:
            self._follow(new, scores)
        is_time = times.logsumexp(dim=-1) > others.amax(dim=-1)  # (r,)
        _forbid_in(others, is_time)
        return scores

    def _follow(self, new: Tensor, scores: Tensor) -> None:
        """Forbid, in place, the tokens that may not follow new tokens (r, k)."""
        is_time = new >= self.first  # (r, k)
        one = is_time[:, -1]
        two = one if new.shape[1] == 1 else one & is_time[:, -2]  # the first time of a text counts as a pair
        opened = one & ~two
        _forbid_in(scores[:, : self.end], opened)
        times = scores[:, self.first :]
        times.masked_fill_(two[:, None], -math.inf)
        position = torch.arange(1, new.shape[1] + 1, device=new.device)
        last = (position * is_time).amax(dim=1)  # (r,), of the last time, from 1; 0 where there is none
        number = new.gather(1, (last - 1).clamp(min=0)[:, None])[:, 0] - self.first
        # the next segment may begin where this one ends; but none may end where it begins, or this could go on forever
        least = torch.where(last > 0, number + (~opened).long(), 0)
        times.masked_fill_(torch.arange(times.shape[1], device=new.device) < least[:, None], -math.inf)


def logits_processors_of(
    options: GenerationConfig, *, prompt_length: int, stop: Collection[int], vocab_size: int, device: torch.device
) -> tuple[list[LogitsProcessor], list[LogitsProcessor]]:
    """Return the processors for some options: those before the caller's own, and those that must come last.

    Args:
        options: The options of the generation.
        prompt_length: Number of tokens before the first new one.
        stop: Tokens that end a text.
        vocab_size: Size of the vocabulary.
        device: Of the scores.

    Raises:
        ModelError: An option names a token outside the vocabulary.
    """
    options.check_vocabulary(vocab_size)

    def suppressed(tokens: Collection[int], *, before: int | None = None) -> Suppressed:
        return Suppressed(torch.tensor(list(tokens), dtype=torch.long, device=device), prompt_length, before=before)

    rules: tuple[tuple[object, LogitsProcessor], ...] = (  # each with what must be true for it to be needed
        (options.repetition_penalty != 1, RepetitionPenalty(options.repetition_penalty)),
        (options.no_repeat_ngram, NoRepeatedNgram(options.no_repeat_ngram)),
        (options.min_tokens and stop, suppressed(stop, before=options.min_tokens)),
        (options.suppress, suppressed(options.suppress)),
        (options.suppress_first, suppressed(options.suppress_first, before=1)),
    )
    last: list[LogitsProcessor] = [Forced(options.forced, prompt_length)] if options.forced else []
    return [rule for is_needed, rule in rules if is_needed], last


def _forbid_in(scores: Tensor, rows: Tensor) -> None:
    """Forbid, in place, all tokens of these rows (r,) of scores (r, V)."""
    if scores.device.type != "cpu":  # where indices would have to be waited for
        scores.masked_fill_(rows[:, None], -math.inf)
        return
    for row in rows.nonzero()[:, 0].tolist():  # few of many: a mask reads and writes all of the others, too
        scores[row] = -math.inf


def _marked(tokens: Tensor, scores: Tensor) -> Tensor:
    """Return a mask (r, V), True at the tokens (r, k) of each row; -1 is no token."""
    marks = torch.zeros(len(scores), scores.shape[1] + 1, dtype=torch.bool, device=scores.device)
    return marks.scatter_(1, tokens + 1, True)[:, 1:]
