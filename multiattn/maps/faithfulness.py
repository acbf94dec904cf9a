"""How far a map can be trusted: what happens to the prediction when the patches it points at go, or come alone.

Notation: b batch, c channels, H and W the input's height and width, rows and cols of the map.

A map that tells the truth makes the probability of what it explains fall fast when its brightest patches are deleted
first, and rise fast when they are the first to be inserted into an empty picture. A random order is the baseline to
hold it against. Source: Petsiuk et al. 2018 (RISE), section 4.1; by patches, with the picture's mean as what is empty.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..inputs.text import Word
from ..models import Captioner, ViT
from .caption import replay_captions
from .grounding import mean_color

STEPS = 16  # points on the curve; more changes the third digit

Probability = Callable[[Tensor], Tensor]
"""From pictures (b, c, H, W) to the probability of what is explained in each, (b,)."""


def class_probability(model: ViT, target: Sequence[int]) -> Probability:
    """The probability of one class for each picture."""

    def probability(images: Tensor) -> Tensor:
        wanted = torch.as_tensor(target, device=images.device)[:, None]
        return model(images).softmax(dim=-1).gather(1, wanted)[:, 0]  # type: ignore[no-any-return]

    return probability


def word_probability(
    model: Captioner,
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_length: int,
    index: Sequence[int],
) -> Probability:
    """The probability of one word of each picture's caption, the words before it given.

    Takes captions as `explain_words` does; `index` says which word of each.
    """

    def probability(images: Tensor) -> Tensor:
        replay = replay_captions(model, images, tokens, words, prompt_length=prompt_length)
        log_probs = replay.log_probs(model(images, replay.inputs))
        return torch.stack([row[i] for row, i in zip(log_probs, index, strict=True)]).exp()

    return probability


def deletion_scores(
    probability: Probability, images: Float[Tensor, "b c H W"], maps: Float[Tensor, "b rows cols"]
) -> Float[Tensor, " b"]:
    """The mean probability while patches are deleted, brightest first. Lower is better."""
    return _curve(probability, images, maps, deleting=True)


def insertion_scores(
    probability: Probability, images: Float[Tensor, "b c H W"], maps: Float[Tensor, "b rows cols"]
) -> Float[Tensor, " b"]:
    """The mean probability while patches are inserted, brightest first. Higher is better."""
    return _curve(probability, images, maps, deleting=False)


@torch.no_grad()
def _curve(probability: Probability, images: Tensor, maps: Tensor, *, deleting: bool) -> Tensor:
    """The mean over the curve's points, which is its area."""
    batch, rows, cols = maps.shape
    rank = maps.flatten(1).argsort(dim=1, descending=True).argsort(dim=1).reshape(batch, 1, rows, cols)
    empty = mean_color(images)
    points = []
    for step in range(STEPS + 1):
        touched = (rank < step * rows * cols / STEPS).float()  # (b, 1, rows, cols)
        touched = torch.nn.functional.interpolate(touched, size=images.shape[-2:], mode="nearest").bool()
        points.append(
            probability(torch.where(touched, empty, images) if deleting else torch.where(touched, images, empty))
        )
    return torch.stack(points).mean(dim=0)
