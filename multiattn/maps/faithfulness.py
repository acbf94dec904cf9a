"""How far a map can be trusted: how the prediction changes when the map's brightest patches are removed or added first.

With a faithful map, the probability of what it explains falls fast while patches are deleted, brightest first, and
rises fast while they are inserted into an empty picture. Compare with a random order.
Source: Petsiuk et al. 2018 (RISE), section 4.1; by patches, with the picture's mean color as the empty picture.

Notation: b batch, c channels, H and W the input's height and width, rows and cols of the map.
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
"""Takes pictures (b, c, H, W) and returns the probability of what is explained in each, (b,)."""


def class_probability(model: ViT, target: Sequence[int]) -> Probability:
    """Return a function that computes the probability of one class for each picture."""

    def probability(images: Tensor) -> Tensor:
        classes = torch.as_tensor(target, device=images.device)[:, None]
        return model(images).softmax(dim=-1).gather(1, classes)[:, 0]  # type: ignore[no-any-return]

    return probability


def word_probability(
    model: Captioner,
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_length: int,
    index: Sequence[int],
) -> Probability:
    """Return a function that computes the probability of one word of each picture's caption, given the words before it.

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
    """Compute the mean probability while patches are deleted, brightest first. Lower is better."""
    return _curve(probability, images, maps, deleting=True)


def insertion_scores(
    probability: Probability, images: Float[Tensor, "b c H W"], maps: Float[Tensor, "b rows cols"]
) -> Float[Tensor, " b"]:
    """Compute the mean probability while patches are inserted, brightest first. Higher is better."""
    return _curve(probability, images, maps, deleting=False)


@torch.no_grad()
def _curve(probability: Probability, images: Tensor, maps: Tensor, *, deleting: bool) -> Tensor:
    """The area under the curve: the mean over its points."""
    batch, rows, cols = maps.shape
    rank = maps.flatten(1).argsort(dim=1, descending=True).argsort(dim=1).reshape(batch, 1, rows, cols)
    empty = mean_color(images)
    points = []
    for step in range(STEPS + 1):
        first = (rank < step * rows * cols / STEPS).float()  # (b, 1, rows, cols)
        first = torch.nn.functional.interpolate(first, size=images.shape[-2:], mode="nearest").bool()
        points.append(probability(torch.where(first, empty, images) if deleting else torch.where(first, images, empty)))
    return torch.stack(points).mean(dim=0)
