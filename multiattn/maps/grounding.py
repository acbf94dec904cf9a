"""How much each word of a caption depended on the picture: a plain number, and a plain rule.

Notation: b pictures, c channels, H and W the input's height and width, m picture tokens, w words.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..inputs.text import Word
from ..models import Captioner
from .caption import replay_captions

UNGROUNDED_BELOW = math.log(1.25)
"""In nats. A word that the picture makes less than a quarter likelier than a plain picture of its mean color does came
from the language model: it would have stood there without the picture. The rule looks at the word alone, with the words
before it given: after "a man riding a" the picture may have little to add to "horse", and has said it already. And a
mean color says something by itself: white speaks for snow."""


def ungrounded(image_dependence: float) -> bool:
    """Whether the language model made the word up by itself: its dependence is below `UNGROUNDED_BELOW`."""
    return image_dependence < UNGROUNDED_BELOW


@torch.no_grad()
def measure_image_dependence(
    model: Captioner,
    images: Float[Tensor, "b c H W"],
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_length: int,
    log_probs: Sequence[Sequence[float]] | None = None,
) -> list[tuple[float, ...]]:
    """The drop of each word's log-probability when the picture is replaced by its own mean color, in nats.

    The words before it stay given. 0: the picture made no difference; 0.7: it made the word twice as likely; below 0:
    less likely. Costs a pass of the encoder and one of the decoder; two of each without `log_probs`.

    Args:
        model: A captioner in eval mode.
        images: Its input.
        tokens: Of each caption, from the start token on, as `explain_words` takes them.
        words: Of each caption.
        prompt_length: Tokens before the first that a piece may name, the start token included.
        log_probs: Of each caption's tokens after the prompt, in nats, as `generate` gives them, where the caller has
            them already: a caption is then not read again with its picture.

    Returns:
        One number a word, for each picture.

    Raises:
        ModelError: The captions and words do not fit each other.
    """
    replay = replay_captions(model, images, tokens, words, prompt_length=prompt_length)
    read = replay.inputs
    without_it = replay.log_probs(model.decoder(read, model.encode(mean_color(images))))
    if log_probs is None:
        with_it = [row.tolist() for row in replay.log_probs(model.decoder(read, model.encode(images)))]
    else:
        with_it = [
            [sum(of_tokens[piece] for piece in word.pieces) for word in of_caption]
            for of_tokens, of_caption in zip(log_probs, words, strict=True)
        ]
    return [
        tuple(a - b for a, b in zip(one, other.tolist(), strict=True))
        for one, other in zip(with_it, without_it, strict=True)
    ]


def mean_color(images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
    """Pictures in which nothing can be seen: each with its own mean color all over."""
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
