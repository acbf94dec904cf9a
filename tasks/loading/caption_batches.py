"""Pictures with captions as samples and batches: the captions that an epoch draws, and their tokens as a table.

b pictures, g captions a picture, r = b x g rows, n tokens; m picture tokens and D width of an encoder's features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int64
from torch import Tensor
from torch.utils.data import Dataset

from multiattn.data.captions import CaptionRecords, clean_caption
from multiattn.errors import InputError
from multiattn.inputs import Tokenizer

from .pictures import Sample, TextDataset, stacked
from .readable import Unreadable, positions_of, unreadable_of
from .tokens import TokenRows, padded, with_ends


class CaptionBatch(NamedTuple):
    """A batch of pictures with captions.

    Row r of the tokens belongs to picture r // g; where a batch has all captions, they are in the order of `texts`.
    """

    images: Float32[Tensor, "b c h w"] | None
    """None where there are features."""

    features: Float16[Tensor, "b m D"] | None
    """The frozen encoder's output for the pictures, where it is kept on disk."""

    tokens: Int64[Tensor, "r n"]
    """From the start token to the end token, which a caption that was cut lacks; then padding."""

    attention_mask: Bool[Tensor, "r n"]
    """False where a token is padding."""

    texts: tuple[tuple[str, ...], ...]
    """All captions of each picture, as they were written."""

    indices: Int64[Tensor, " b"]
    """The index of each picture in the split's records."""

    unreadable: tuple[Unreadable, ...]
    """File and reason of each picture that could not be read while this batch was made."""


class CaptionSample(NamedTuple):
    """One picture, or its features, with some of its captions."""

    sample: Sample
    captions: tuple[np.ndarray, ...]
    """The tokens of each; none where the picture cannot be read."""


def caption_tokens(
    records: CaptionRecords, tokenizer: Tokenizer, *, clean: bool, start: int, end: int, room: int
) -> TokenRows:
    """Encode all captions of a split.

    Args:
        records: The split.
        tokenizer: Encodes a caption.
        clean: Whether captions are cleaned first (`clean_caption`).
        start: The token before each caption.
        end: The token after it.
        room: The largest number of tokens between them, as in `with_ends`.

    Raises:
        InputError: A caption has no words once it is cleaned.
    """

    def encoded(path: Path, text: str) -> list[int]:
        ids = tokenizer.encode(clean_caption(text) if clean else text)
        if not ids:
            raise InputError(
                f"{path}: no words are left of the caption {text!r} once it is cleaned. Correct or remove it."
            )
        return with_ends(ids, start=start, end=end, room=room)

    return TokenRows([encoded(path, text) for text in texts] for path, texts in records.items)


class CaptionDataset(TextDataset[CaptionSample]):
    """Pictures, or features, with `per_picture` captions, or all; a picture that has fewer repeats some."""

    draw = 1

    def __init__(self, items: Dataset[Sample], tokens: TokenRows, *, per_picture: int | None, seed: int | None) -> None:
        """Join pictures, and the tokens of their captions; the other arguments are those of `TextDataset`."""
        super().__init__(items, per_picture=per_picture, seed=seed)
        self.tokens = tokens

    def with_texts(self, sample: Sample, generator: np.random.Generator | None) -> CaptionSample:
        """Add captions to a picture."""
        if sample.content is None:
            return CaptionSample(sample, ())
        order: np.ndarray = np.arange(self.tokens.count(sample.position))
        if generator is not None:
            order = generator.permutation(order)
        numbers = np.resize(order, self.per_picture or len(order))  # repeats the order where it is too short
        return CaptionSample(sample, tuple(self.tokens.row(sample.position, int(number)) for number in numbers))


def collate_captions(
    items: Sequence[CaptionSample], *, pad: int, shape: Sequence[int], of_features: bool
) -> CaptionBatch:
    """Stack samples into a batch, without those that could not be read; perhaps an empty one.

    Args:
        items: The samples.
        pad: The token after the end of a caption.
        shape: Of one picture, or of the features of one picture.
        of_features: Whether the samples hold features.
    """
    samples = [item.sample for item in items]
    tokens, attention_mask = padded([caption for item in items for caption in item.captions], pad)
    images, features = stacked(samples, shape, of_features=of_features)
    texts = tuple(sample.label for sample in samples if sample.content is not None)
    return CaptionBatch(images, features, tokens, attention_mask, texts, positions_of(samples), unreadable_of(samples))
