"""Search for alignment heads: every cross-attention head is scored on a few recordings with their transcripts.

Notation: b recordings, n rows of a transcript, m encoder frames, C width of what the decoder attends to.

An alignment head attends to one short stretch for each token, and to a later one for the next token. A head that rests
on one spot is sharp too, and one that attends to everything may drift forward: so both properties are required.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..attention import Head, ProjectedContext
from ..errors import ModelError
from ..models import SpeechRecognizer
from .loops import median_and_focus
from .teacher_forcing import SpeechReplay

NEAR_SECONDS = 0.2
"""Frames at most this far from the median of the attention, on each side, count for `HeadScore.sharp`."""

LEAST_TOKENS = 3
"""Tokens of the shortest text that is scored: the order of fewer tells nothing."""

CHOSEN_SHARE, CHOSEN_MOST = 0.7, 10
"""Chosen heads score at least this share of the best score, and are at most this many: Whisper's have 6 to 20."""


class HeadScore(NamedTuple):
    """How well one head follows the speech."""

    layer: int
    head: int
    monotonic: float
    """Share of token pairs whose attention is in the order of the tokens, less the share in reverse order: -1 to 1."""

    sharp: float
    """Mean share of a token's attention that falls near its median: 0 to 1."""

    @property
    def score(self) -> float:
        """Both properties in one number: 0 to 1."""
        return max(self.monotonic, 0.0) * self.sharp


def score_heads(
    model: SpeechRecognizer,
    context: Float[Tensor, "b m C"] | ProjectedContext,
    tokens: Sequence[Sequence[int]],
    *,
    prompt_lengths: Sequence[int],
    frames: Sequence[int],
    frame_seconds: float = 0.02,
) -> list[list[HeadScore]]:
    """Score how well every head follows the speech in each transcript.

    Args:
        model: A recognizer in eval mode.
        context: The encoder's output for the recordings, or the decoder's `project_context` of it. A recording may have
            several transcripts, which must follow each other.
        tokens: For each transcript, its tokens from the start token on, prompt included; the end token may follow.
        prompt_lengths: For each transcript, the number of tokens before its text, the start token included; at least 1.
        frames: For each transcript, the number of encoder frames of its recording, padding excluded; at least 1.
        frame_seconds: Time from one encoder frame to the next, in seconds.

    Returns:
        For each transcript, the scores of all heads, ordered by layer and head; none if its text has fewer than
        `LEAST_TOKENS` tokens.

    Raises:
        ModelError: The arguments do not fit each other, or a transcript is longer than the decoder can read.
    """
    reading = SpeechReplay.of(model, context, tokens, prompt_lengths=prompt_lengths, frames=frames)
    found: list[list[HeadScore]] = [[] for _ in tokens]
    near = max(1, round(NEAR_SECONDS / frame_seconds))

    def fold(head: Head, item: int, weights: np.ndarray) -> None:
        attention = weights[reading.rows[item]][:-1]  # without prompt and end token
        if len(attention) >= LEAST_TOKENS:
            found[item].append(HeadScore(*head, *_monotonic_and_sharp(attention, near)))

    depth, count = model.config.decoder.depth, model.config.decoder.num_heads
    reading.read(model, [(layer, head) for layer in range(depth) for head in range(count)], fold)
    return [sorted(scores) for scores in found]


def rank_heads(scored: Sequence[Sequence[HeadScore]]) -> list[HeadScore]:
    """Average the scores of each head over the transcripts, and sort the heads, best first.

    Raises:
        ModelError: No transcript was long enough to be scored.
    """
    long_enough = [scores for scores in scored if scores]
    if not long_enough:
        raise ModelError(
            f"`scored` must have a transcript of at least {LEAST_TOKENS} tokens, but has none: take recordings in "
            "which more is said"
        )
    means = [
        HeadScore(
            of_head[0].layer,
            of_head[0].head,
            float(np.mean([one.monotonic for one in of_head])),
            float(np.mean([one.sharp for one in of_head])),
        )
        for of_head in zip(*long_enough, strict=True)
    ]
    return sorted(means, key=lambda one: (-one.score, one.layer, one.head))


def choose_heads(ranked: Sequence[HeadScore], *, share: float = CHOSEN_SHARE, most: int = CHOSEN_MOST) -> list[Head]:
    """Choose alignment heads, ordered by layer and head.

    Args:
        ranked: The scores from `rank_heads`, best first.
        share: The lowest score that is chosen, as a share of the best score.
        most: The largest number of heads to choose.

    Raises:
        ModelError: No head follows the speech at all.
    """
    if not ranked or ranked[0].score <= 0:
        raise ModelError("no head of the model follows the speech: it has no alignment heads to find")
    return sorted((one.layer, one.head) for one in ranked[:most] if one.score >= share * ranked[0].score)


def _monotonic_and_sharp(attention: np.ndarray, near: int) -> tuple[float, float]:
    """Compute the two fields of `HeadScore` from weights (n, m); `near` is a number of frames."""
    median, focus = median_and_focus(attention, near=near)
    first, last = np.triu_indices(len(median), k=1)
    return float(np.sign(median[last] - median[first]).mean()), float(focus.mean())
