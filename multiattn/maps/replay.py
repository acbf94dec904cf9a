"""One pass over texts that are there already: what every map and number of their words is made from.

Notation: r texts, b pictures, n tokens of a text that are read, l layers, h heads, m picture tokens, w words.

A decoder has its text in front of it and predicts each token again. So the maps do not depend on how the text was
found (greedy, beams, sampling, cached or not), and generation does not know of them. The row that predicts a token is
the one of the token before it. Source: openai-whisper's word timing, by replay. An encoder of texts reads them anyway,
and a word's rows are those of its own tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..attention import ProjectedContext, Tap
from ..errors import ModelError
from ..inputs import Geometry
from ..inputs.text import Word
from ..models import Captioner

Kind = Literal["caption", "question", "answer"]
"""What the texts are, for messages."""


@dataclass(frozen=True, eq=False)
class Replay:
    """Texts, ready to be read again: made once, and shared by the maps and the numbers of a call."""

    tokens: Int64[Tensor, "r longest"]
    """All texts, filled up on the right."""

    attention_mask: Bool[Tensor, "r longest"]
    """False where a text is filled up."""

    shares: tuple[Float[Tensor, "_ n"], ...]
    """Of each text: how much each row counts for each word, 1 in all."""

    labels: tuple[tuple[str, ...], ...]
    """Of each text: its words, each with the space before it."""

    @classmethod
    def written(
        cls,
        tokens: Sequence[Sequence[int]],
        words: Sequence[Sequence[Word]],
        *,
        prompt_length: int,
        pad_token: int,
        device: torch.device,
        kind: Kind,
    ) -> "Replay":
        """Check texts that a decoder is to predict again, and lay them out: a word's rows are those that predict it.

        Args:
            tokens: Of each text, from the start token on.
            words: Of each text, in its order; their pieces count from the first token after the prompt.
            prompt_length: Tokens before the first that a piece may name, the start token included: at least 1.
            pad_token: What fills up the shorter texts. Nothing attends to what follows it, so it changes nothing.
            device: Where they are to be read.
            kind: What the texts are.

        Raises:
            ModelError: The texts do not fit the words, or one has no words.
        """
        if prompt_length < 1:
            raise ModelError(
                f"`prompt_length` must be at least 1, for nothing predicts the start token, "
                f"but is {prompt_length} instead."
            )
        return cls._of(tokens, words, first=prompt_length - 1, unread=1, pad=pad_token, device=device, kind=kind)

    @classmethod
    def read(
        cls,
        tokens: Sequence[Sequence[int]],
        words: Sequence[Sequence[Word]],
        *,
        pad_token: int,
        device: torch.device,
        kind: Kind,
    ) -> "Replay":
        """Check texts that an encoder is to read, and lay them out: a word's rows are those of its own tokens.

        Args:
            tokens: Of each text, from the start token to the end token.
            words: Of each text, in its order; their pieces count from the first token after the start token.
            pad_token: What fills up the shorter texts.
            device: Where they are to be read.
            kind: What the texts are.

        Raises:
            ModelError: The texts do not fit the words, or one has no words.
        """
        return cls._of(tokens, words, first=1, unread=0, pad=pad_token, device=device, kind=kind)

    @classmethod
    @torch.inference_mode(False)  # gradients are to be taken of what is made here
    def _of(
        cls,
        tokens: Sequence[Sequence[int]],
        words: Sequence[Sequence[Word]],
        *,
        first: int,
        unread: int,
        pad: int,
        device: torch.device,
        kind: Kind,
    ) -> "Replay":
        """`first` is the row of the first token that a piece may name; the last token, `unread` or not, has no word."""
        if len(tokens) != len(words):
            raise ModelError(f"`words` must be of {len(tokens)} {kind}s, but are of {len(words)} instead.")
        longest = max(map(len, tokens))
        filled = torch.full((len(tokens), longest), pad, dtype=torch.int64)
        shares, labels = [], []
        for i, (text, of_text) in enumerate(zip(tokens, words, strict=True)):
            if not of_text:
                raise ModelError(f"`words` of {kind} {i} must be at least one, but are none: it has no maps.")
            filled[i, : len(text)] = torch.tensor(text)
            share = torch.zeros(len(of_text), max(longest - unread, 0))
            for w, word in enumerate(of_text):
                rows = [first + piece for piece in word.pieces]
                if not rows or min(rows) < first or max(rows) >= len(text) - 1:
                    raise ModelError(
                        f"`pieces` of the word {word.text!r} must be from 0 to {len(text) - first - 2}, "
                        f"but are {word.pieces} instead."
                    )
                share[w, rows] = 1 / len(rows)
            shares.append(share.to(device))
            labels.append(spaced(of_text))
        attention_mask = torch.arange(longest) < torch.tensor([len(text) for text in tokens])[:, None]
        return cls(filled.to(device), attention_mask.to(device), tuple(shares), tuple(labels))

    def log_probs(self, logits: Float[Tensor, "r n V"]) -> list[Float[Tensor, " _"]]:
        """The log-probability of each word of each text that is written: the sum of those of its pieces."""
        return self.of_words(logits.float().log_softmax(dim=-1))

    def of_words(self, scores: Float[Tensor, "r n V"]) -> list[Float[Tensor, " _"]]:
        """The score of each word of each text that is written: the sum of those of its pieces."""
        following = self.tokens[:, 1:, None]
        chosen = scores.gather(-1, following)[..., 0]  # (r, n)
        return [(share > 0).float() @ row for share, row in zip(self.shares, chosen, strict=True)]


def spaced(words: Sequence[Word]) -> tuple[str, ...]:
    """The words of a text, each with the space before it: put together they are the text again."""
    ends = [0, *(word.end for word in words)]
    return tuple(" " * (word.start - end) + word.text for word, end in zip(words, ends, strict=False))


def check_geometries(geometries: Sequence[Geometry | None] | None, pictures: int) -> None:
    """Check that there is a geometry for each picture, or none.

    Raises:
        ModelError: There are some, but not as many.
    """
    if geometries is not None and len(geometries) != pictures:
        raise ModelError(f"`geometries` must be one for each of {pictures} pictures, but are {len(geometries)}.")


def replay_captions(
    model: Captioner,
    images: Tensor,
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_length: int,
) -> Replay:
    """Captions, ready to be read by the model that is to explain them.

    Args:
        model: Who is to read them.
        images: What the captions are of, one each, on the device where they are to be read.
        tokens: Of each caption, from the start token on.
        words: Of each caption, as `Replay.written` takes them.
        prompt_length: Tokens before the first that a piece may name, the start token included: at least 1.

    Raises:
        ModelError: There are no pictures, the captions do not fit them or the words, or a caption has no words.
    """
    if not len(images):
        raise ModelError("`images` must be at least one picture, but are none.")
    if len(tokens) != len(images):
        raise ModelError(f"`tokens` must be of a caption for each of {len(images)} pictures, but are of {len(tokens)}.")
    pad = model.config.decoder.pad_token
    return Replay.written(
        tokens, words, prompt_length=prompt_length, pad_token=pad, device=images.device, kind="caption"
    )


def caption_tap(model: Captioner, images: Tensor, replay: Replay, *, select: str, gradients: bool = False) -> Tap:
    """A tap for this reading of these pictures' captions."""
    size = (images.shape[-2], images.shape[-1])
    return Tap(model.attention_sites(size, tokens=replay.tokens.shape[1] - 1), select=select, gradients=gradients)


@torch.no_grad()
def cross_attention(
    model: Captioner,
    images: Float[Tensor, "b c H W"],
    replay: Replay,
    context: Float[Tensor, "b m C"] | ProjectedContext | None,
) -> Float[Tensor, "b l h n m"]:
    """The decoder's look at the picture in each layer and head, from every row of the caption."""
    tap = caption_tap(model, images, replay, select="decoder.*.cross")
    context = model.encode(images) if context is None else context
    # only what has to be scored: the vocabulary is the widest of all layers
    model.decoder(replay.tokens[:, :-1], context, last_only=True, tap=tap.at("decoder"))
    return torch.stack(list(tap.weights.values()), dim=1)
