"""How much each word of a caption depends on the picture: one number.

Notation: b pictures, c channels, H and W the input's height and width, m picture tokens, w words.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..inputs.text import Word
from ..models import Captioner
from .caption import replay_captions


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
    """Compute how far each word's log-probability drops when the picture is replaced by its mean color, in nats.

    The words before it are the same in both cases. 0: the picture made no difference; 0.7: it made the word twice as
    likely; below 0: less likely. Costs a pass of the encoder and one of the decoder; two of each without `log_probs`.

    Args:
        model: A captioner in eval mode.
        images: Its input.
        tokens: Of each caption, from the start token on, as `explain_words` takes them.
        words: Of each caption.
        prompt_length: Tokens before the first that a piece may name, the start token included.
        log_probs: Of each caption's tokens after the prompt, in nats, as `generate` returns them. Where the caller has
            them already, the pass with the picture itself is saved.

    Returns:
        One number for each word, for each picture.

    Raises:
        ModelError: The captions and words do not fit each other.
    """
    replay = replay_captions(model, images, tokens, words, prompt_length=prompt_length)
    without_picture = replay.log_probs(model.decoder(replay.inputs, model.encode(mean_color(images))))
    if log_probs is None:
        with_picture = [row.tolist() for row in replay.log_probs(model.decoder(replay.inputs, model.encode(images)))]
    else:
        with_picture = [
            [sum(of_tokens[piece] for piece in word.pieces) for word in of_caption]
            for of_tokens, of_caption in zip(log_probs, words, strict=True)
        ]
    return [
        tuple(a - b for a, b in zip(one, other.tolist(), strict=True))
        for one, other in zip(with_picture, without_picture, strict=True)
    ]


def mean_color(images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
    """Replace each picture by a plain one of its mean color."""
    return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
