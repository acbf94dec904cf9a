"""One teacher-forced pass over a caption that is there already: what every map and number of its words is made from.

Notation: b pictures, n tokens of a caption that are read, l layers, h heads, m picture tokens, w words.

The decoder has its caption's tokens in front of it and predicts each again. So the maps do not depend on how the
caption was found (greedy, beams, sampling, cached or not), and generation does not know of them. The row that predicts
a token is the one of the token before it. Source: openai-whisper's word timing, by replay.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..attention import ProjectedContext, Tap
from ..errors import ModelError
from ..inputs.text import Word
from ..models import Captioner


@dataclass(frozen=True, eq=False)
class Replay:
    """Captions, ready to be read again: made once, and shared by the maps and the numbers of a call."""

    tokens: Int64[Tensor, "b longest"]
    """All captions, filled up on the right. Nothing attends to what follows it, so the filling changes nothing."""

    shares: tuple[Float[Tensor, "_ n"], ...]
    """Of each caption: how much each row counts for each word, 1 in all."""

    labels: tuple[tuple[str, ...], ...]
    """Of each caption: its words, each with the space before it."""

    @classmethod
    @torch.inference_mode(False)  # gradients are to be taken of what is made here
    def of(
        cls,
        model: Captioner,
        tokens: Sequence[Sequence[int]],
        words: Sequence[Sequence[Word]],
        *,
        prompt_length: int,
        images: Tensor,
    ) -> "Replay":
        """Check captions and lay them out.

        Args:
            model: Who is to read them.
            tokens: Of each caption, from the start token on.
            words: Of each caption, in the order of the text; their pieces count from the first token after the prompt.
            prompt_length: Tokens before the first that a piece may name, the start token included: at least 1.
            images: What the captions are of, one each, on the device where they are to be read.

        Raises:
            ModelError: There are no pictures, the captions do not fit them or the words, or a caption has no words.
        """
        if not len(images):
            raise ModelError("`images` must be at least one picture, but are none.")
        if len(tokens) != len(images):
            raise ModelError(
                f"`tokens` must be of a caption for each of {len(images)} pictures, but are of {len(tokens)}."
            )
        if prompt_length < 1:
            raise ModelError(
                f"`prompt_length` must be at least 1, for nothing predicts the start token, "
                f"but is {prompt_length} instead."
            )
        if len(tokens) != len(words):
            raise ModelError(f"`words` must be of {len(tokens)} captions, but are of {len(words)} instead.")
        longest = max(map(len, tokens))
        filled = torch.full((len(tokens), longest), model.config.decoder.pad_token, dtype=torch.int64)
        shares, labels = [], []
        for i, (caption, of_caption) in enumerate(zip(tokens, words, strict=True)):
            if not of_caption:
                raise ModelError(f"`words` of caption {i} must be at least one, but are none: it has no maps.")
            filled[i, : len(caption)] = torch.tensor(caption)
            share = torch.zeros(len(of_caption), max(longest - 1, 0))
            for w, word in enumerate(of_caption):
                rows = [prompt_length + piece - 1 for piece in word.pieces]
                if not rows or min(rows) < prompt_length - 1 or max(rows) >= len(caption) - 1:
                    raise ModelError(
                        f"`pieces` of the word {word.text!r} must be from 0 to {len(caption) - prompt_length - 1}, "
                        f"but are {word.pieces} instead."
                    )
                share[w, rows] = 1 / len(rows)
            shares.append(share.to(images.device))
            ends = [0, *(word.end for word in of_caption)]
            labels.append(
                tuple(" " * (word.start - end) + word.text for word, end in zip(of_caption, ends, strict=False))
            )
        return cls(filled.to(images.device), tuple(shares), tuple(labels))

    def tap(self, model: Captioner, images: Tensor, *, select: str, gradients: bool = False) -> Tap:
        """A tap for this reading of these pictures."""
        size = (images.shape[-2], images.shape[-1])
        sites = model.attention_sites(size, tokens=self.tokens.shape[1] - 1)
        return Tap(sites, select=select, gradients=gradients)

    def log_probs(self, logits: Float[Tensor, "b n V"]) -> list[Float[Tensor, " _"]]:
        """The log-probability of each word of each caption: the sum of those of its pieces."""
        following = self.tokens[:, 1:, None]
        chosen = logits.float().log_softmax(dim=-1).gather(-1, following)[..., 0]  # (b, n)
        return [(share > 0).float() @ row for share, row in zip(self.shares, chosen, strict=True)]


@torch.no_grad()
def cross_attention(
    model: Captioner,
    images: Float[Tensor, "b c H W"],
    replay: Replay,
    context: Float[Tensor, "b m C"] | ProjectedContext | None,
) -> Float[Tensor, "b l h n m"]:
    """The decoder's look at the picture in each layer and head, from every row of the caption."""
    tap = replay.tap(model, images, select="decoder.*.cross")
    context = model.encode(images) if context is None else context
    # only what has to be scored: the vocabulary is the widest of all layers
    model.decoder(replay.tokens[:, :-1], context, last_only=True, tap=tap.at("decoder"))
    return torch.stack(list(tap.weights.values()), dim=1)
