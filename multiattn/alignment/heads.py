"""Which cross-attention heads follow the speech: every head scored on a few recordings with what is said in them.

Notation: b recordings, n rows of a transcript, m encoder frames, C width of what the decoder attends to.

A head to take word times from looks at one short stretch for each token, and further on for the next. A head that is
parked somewhere is sharp, and one that looks everywhere may drift along: so both are asked for.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..attention import ProjectedContext
from ..attention.heads import Head
from ..errors import ModelError
from ..models import SpeechRecognizer
from .teacher_forcing import SpeechReplay

NEAR_SECONDS = 0.2
"""How far from a look's middle, each way, is still at it."""

LEAST_TOKENS = 3
"""Tokens of the shortest text that says anything about order."""

CHOSEN_SHARE, CHOSEN_MOST = 0.7, 10
"""Heads are chosen that score at least this share of the best, and at most so many: Whisper's models have 6 to 20."""


class HeadScore(NamedTuple):
    """How well a head follows the speech."""

    layer: int
    head: int
    monotonic: float
    """Of all pairs of tokens, those whose looks are in their order, less those in the reverse: -1 to 1."""

    sharp: float
    """The mean share of a token's look that goes to the frames around its middle: 0 to 1."""

    @property
    def score(self) -> float:
        """Both in one: 0 to 1."""
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
    """How well each head of each layer follows each of some transcripts, in the order of layers and heads.

    Args:
        model: A recognizer in eval mode.
        context: What its encoder made of the recordings, or what the decoder's `project_context` made of that; each
            may have several transcripts, which then stand together.
        tokens: Of each transcript, from the start token on, prompt included; the end token may follow. Those with
            fewer than `LEAST_TOKENS` in their text have no scores.
        prompt_lengths: Of each: tokens before the first of the text, the start token included; at least 1.
        frames: Of each: encoder frames of the recording itself, silence that fills it up left out; at least 1.
        frame_seconds: From one encoder frame to the next, in seconds.

    Raises:
        ModelError: What is given does not fit each other, or a transcript is longer than the decoder can read.
    """
    reading = SpeechReplay.of(model, context, tokens, prompt_lengths=prompt_lengths, frames=frames)
    found: list[list[HeadScore]] = [[] for _ in tokens]
    near = max(1, round(NEAR_SECONDS / frame_seconds))

    def fold(head: Head, item: int, weights: np.ndarray) -> None:
        look = weights[reading.rows[item]][:-1]  # of the text's tokens alone
        if len(look) >= LEAST_TOKENS:
            found[item].append(HeadScore(*head, *_order_and_focus(look, near)))

    depth, count = model.config.decoder.depth, model.config.decoder.num_heads
    reading.read(model, [(layer, head) for layer in range(depth) for head in range(count)], fold)
    return [sorted(scores) for scores in found]


def rank_heads(scored: Sequence[Sequence[HeadScore]]) -> list[HeadScore]:
    """The mean scores of each head over transcripts, the best head first.

    Raises:
        ModelError: No transcript has scores.
    """
    told = [scores for scores in scored if scores]
    if not told:
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
        for of_head in zip(*told, strict=True)
    ]
    return sorted(means, key=lambda one: (-one.score, one.layer, one.head))


def choose_heads(ranked: Sequence[HeadScore], *, share: float = CHOSEN_SHARE, most: int = CHOSEN_MOST) -> list[Head]:
    """The alignment heads among heads that `rank_heads` gave, in the order of layers.

    Args:
        ranked: The best head first.
        share: Of the best one's score, the least to be chosen.
        most: To be chosen.

    Raises:
        ModelError: No head follows the speech at all.
    """
    if not ranked or ranked[0].score <= 0:
        raise ModelError("no head of the model follows the speech: it has no alignment heads to find")
    return sorted((one.layer, one.head) for one in ranked[:most] if one.score >= share * ranked[0].score)


def _order_and_focus(look: np.ndarray, near: int) -> tuple[float, float]:
    so_far = np.pad(look.astype(np.float64).cumsum(axis=1), ((0, 0), (1, 0)))  # (n, m + 1)
    middle = (so_far[:, 1:] < 0.5).sum(axis=1)
    first, last = np.triu_indices(len(middle), k=1)
    order = np.sign(middle[last] - middle[first]).mean()
    frames = look.shape[1]
    rows = np.arange(len(middle))
    within = so_far[rows, np.minimum(middle + near + 1, frames)] - so_far[rows, np.maximum(middle - near, 0)]
    return float(order), float(within.mean())
