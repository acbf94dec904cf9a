"""Rules for the next token, as `generation.logits_processors` has them for torch, on arrays.

Notation: r rows, n tokens so far, k new tokens, V vocabulary.
"""

from collections.abc import Callable, Collection
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Int64

from ...generation.config import GenerationConfig

Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes the texts so far (r, n), prompts included, and scores (r, V), -inf where a token is forbidden; returns new
scores."""


def rules_of(
    options: GenerationConfig, *, prompt_length: int, stop: Collection[int], vocab_size: int
) -> tuple[list[Rule], list[Rule]]:
    """Return the rules for some options: those before the caller's own, and those that must come last.

    Args:
        options: The options of the generation.
        prompt_length: Number of tokens before the first new one.
        stop: Tokens that end a text.
        vocab_size: Size of the vocabulary.

    Raises:
        ModelError: An option names a token outside the vocabulary.
    """
    options.check_vocabulary(vocab_size)
    suppressed = partial(_suppressed, prompt_length=prompt_length)
    rules: list[tuple[object, Rule]] = [  # each with what must be true for it to be needed
        (options.repetition_penalty != 1, partial(repetition_penalty, penalty=options.repetition_penalty)),
        (options.no_repeat_ngram, partial(no_repeated_ngram, size=options.no_repeat_ngram)),
        (options.min_tokens and stop, partial(suppressed, named=list(stop), before=options.min_tokens)),
        (options.suppress, partial(suppressed, named=list(options.suppress), before=None)),
        (options.suppress_first, partial(suppressed, named=list(options.suppress_first), before=1)),
    ]
    forced = partial(_forced, forced=dict(options.forced), prompt_length=prompt_length)
    return [rule for is_needed, rule in rules if is_needed], [forced] if options.forced else []


def repetition_penalty(
    tokens: Int64[np.ndarray, "r n"], scores: Float[np.ndarray, "r V"], *, penalty: float
) -> Float[np.ndarray, "r V"]:
    """Lower the scores of tokens that are in the text: negative ones times the penalty, positive ones divided."""
    penalized = np.where(scores < 0, scores * np.float32(penalty), scores / np.float32(penalty))
    return np.where(_marked(tokens, scores), penalized, scores)


def no_repeated_ngram(
    tokens: Int64[np.ndarray, "r n"], scores: Float[np.ndarray, "r V"], *, size: int
) -> Float[np.ndarray, "r V"]:
    """Forbid each token that followed an earlier occurrence of the last `size - 1` tokens."""
    length = tokens.shape[1]
    if length < size:
        return scores
    windows = np.lib.stride_tricks.sliding_window_view(tokens, size, axis=1)  # (r, windows, size)
    last = tokens[:, length + 1 - size :]  # (r, size - 1)
    again = (windows[..., :-1] == last[:, None]).all(axis=-1)
    return np.where(_marked(np.where(again, windows[..., -1], -1), scores), -np.inf, scores).astype(scores.dtype)


def _suppressed(
    tokens: np.ndarray, scores: np.ndarray, *, named: list[int], before: int | None, prompt_length: int
) -> np.ndarray:
    """Forbid tokens, at the positions before `before` among the new ones alone, where that is given."""
    if before is not None and tokens.shape[1] - prompt_length >= before:
        return scores
    scores = scores.copy()
    scores[:, named] = -np.inf
    return scores


def _forced(tokens: np.ndarray, scores: np.ndarray, *, forced: dict[int, int], prompt_length: int) -> np.ndarray:
    """Allow one token only at some positions among the new ones."""
    token = forced.get(tokens.shape[1] - prompt_length)
    if token is None:
        return scores
    scores = np.full_like(scores, -np.inf)
    scores[:, token] = 0.0
    return scores


def timestamp_rules(
    tokens: Int64[np.ndarray, "r n"],
    scores: Float[np.ndarray, "r V"],
    *,
    first: int,
    end: int,
    prompt_length: int,
    no_timestamps: int | None,
    latest_start: int | None,
) -> Float[np.ndarray, "r V"]:
    """Forbid what Whisper's grammar of times does not allow; `TimestampRules` describes it and the arguments."""
    scores = scores.copy()
    others, times = scores[:, :first], scores[:, first:]  # views
    if no_timestamps is not None:
        scores[:, no_timestamps] = -np.inf
    new = tokens[:, prompt_length:]  # (r, k)
    if new.shape[1] == 0:
        others[:] = -np.inf
        if latest_start is not None:
            times[:, latest_start + 1 :] = -np.inf
    else:
        is_time = new >= first  # (r, k)
        one = is_time[:, -1]
        two = one if new.shape[1] == 1 else one & is_time[:, -2]  # the first time of a text counts as a pair
        opened = one & ~two
        scores[opened, :end] = -np.inf
        times[two] = -np.inf
        last = (np.arange(1, new.shape[1] + 1) * is_time).max(axis=1)  # (r,), of the last time, from 1; 0 for none
        number = np.take_along_axis(new, np.maximum(last - 1, 0)[:, None], axis=1)[:, 0] - first
        # the next segment may begin where this one ends; but none may end where it begins, or this could go on forever
        least = np.where(last > 0, number + ~opened, 0)
        times[np.arange(times.shape[1]) < least[:, None]] = -np.inf
    is_time_next = np.logaddexp.reduce(times, axis=-1) > others.max(axis=-1)  # (r,)
    others[is_time_next] = -np.inf
    return scores


def _marked(tokens: np.ndarray, scores: np.ndarray) -> Bool[np.ndarray, "r V"]:
    """Return a mask, True at the tokens (r, k) of each row; -1 is no token."""
    marks = np.zeros((len(scores), scores.shape[1] + 1), bool)
    np.put_along_axis(marks, tokens + 1, True, axis=1)
    return marks[:, 1:]
