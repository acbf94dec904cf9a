"""Embeddings: an input as a vector, or as one for each patch or frame, to compare, to search and to train on.

`EmbedsPictures` gives the pipelines of pictures their `embed`; `transcribe.embed` that of recordings, and `embed_text`
embeds texts.

Notation: b pictures, n vectors of an input, D width.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, get_args, overload

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from numpy.typing import DTypeLike
from torch import Tensor

from ..checks import require
from ..errors import InputError, ModelError
from ..inputs import ImageSource
from ..inputs.damage import Damage
from ..inputs.files import MAX_PIXELS
from ..models import ViT
from ..weights import ModelBundle
from .base import stacked
from .pictures import PictureSource, Prepared, one_or_all, stream_pictures
from .results import Failure, Result, SavedMap

TokenChoice = Literal["pooled", "class", "mean", "all"]
"""Which of the model's tokens an embedding is made of. `pooled`: what the model's head reads; of recordings and texts
the mean. `class`: the class token. `mean`: the mean of the patches, frames or words. `all`: each patch or frame."""

TOKEN_CHOICES: tuple[TokenChoice, ...] = get_args(TokenChoice)


@dataclass(frozen=True, eq=False)
class Embedding(Result):
    """An input as one vector, or as several."""

    file: str | None
    """The path as it was given; of a text, the file and line that it is from. None for what is in memory."""

    values: Float32[np.ndarray, "*n D"]
    """The vector (D,); with `tokens="all"`, one for each patch, row by row, or for each frame (n, D)."""

    text: str | None = None
    """The text that was embedded; None for a picture or a recording."""

    grid: tuple[int, int] | None = None
    """Rows and columns of the patches, where each has a vector; else None."""

    frame_seconds: float | None = None
    """Seconds from one frame to the next, where each has a vector; else None."""

    damaged: Damage | None = None
    remark: str | None = None
    maps: tuple[SavedMap, ...] = field(default=(), init=False)

    facts_only: ClassVar[tuple[str, ...]] = ("text", "grid", "frame_seconds")

    @property
    def facts(self) -> dict[str, object]:
        """Everything but the values, as JSON values."""
        known = {name: getattr(self, name) for name in self.facts_only}
        stated = {name: value for name, value in known.items() if value is not None}
        return {"file": self.file} | stated | self.marks

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON values; `embedding` has the shortest decimals that give the values back in float32."""
        texts = self.values.astype(str).astype(np.float64)
        return self.facts | {"embedding": texts.tolist()}

    def save_html(self, path: str | Path) -> None:
        """Raise InputError: an embedding has no maps."""
        raise InputError("an embedding has no maps to save; ask a pipeline for a prediction with `maps`")

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """`values`, copied where that is asked for or needed."""
        return np.array(self.values, dtype=dtype, copy=copy)


def as_array(vectors: Float[Tensor, "*n D"], *, normalize: bool) -> Float32[np.ndarray, "*n D"]:
    """Return vectors on the CPU in float32; with `normalize`, each at a length of 1."""
    vectors = vectors.float()
    found: np.ndarray = (F.normalize(vectors, dim=-1) if normalize else vectors).cpu().numpy()
    return found


def check_tokens(tokens: str, known: Sequence[str] = TOKEN_CHOICES) -> None:
    """Raise ModelError unless `tokens` is one of the choices."""
    require(tokens in known, "tokens", must=f"one of {', '.join(known)}", value=tokens)


class EmbedsPictures(ABC):
    """What a pipeline of pictures needs for `embed`: its vision transformer."""

    bundle: ModelBundle
    device: torch.device

    @property
    @abstractmethod
    def vision(self) -> ViT:
        """The vision transformer.

        Raises:
            ModelError: The model has none of its own.
        """

    @overload
    def embed(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one path here
        self,
        inputs: ImageSource,
        *,
        tokens: TokenChoice = ...,
        normalize: bool = ...,
        batch_size: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
    ) -> Embedding: ...

    @overload
    def embed(
        self,
        inputs: Sequence[ImageSource],
        *,
        tokens: TokenChoice = ...,
        normalize: bool = ...,
        batch_size: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
    ) -> list[Embedding | Failure]: ...

    def embed(
        self,
        inputs: ImageSource | Sequence[ImageSource],
        *,
        tokens: TokenChoice = "pooled",
        normalize: bool = False,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Embedding | list[Embedding | Failure]:
        """Embed one picture, or each of a list.

        Args:
            inputs: A picture, or a list or tuple of pictures, of any sizes.
            tokens: `pooled`: what the model's head reads, after the last norm; `class`: the class token; `mean`: the
                mean of the patches; `all`: each patch.
            normalize: Whether each vector is divided by its length, so that a dot product is the cosine.
            batch_size: Number of pictures to compute at once.
            strict: Whether to refuse damaged pictures; else what can be read is used, and the result is `damaged`.
            max_pixels: The most pixels of a picture that is decoded whole; see `read_image`.

        Returns:
            One embedding for one picture; for a list, a list in its order, with a `Failure` for each input that cannot
            be used.

        Raises:
            InputError: The one picture cannot be used.
            ModelError: `tokens` is unknown, or the model has no such token; or an option is out of range.
        """
        options = {"tokens": tokens, "normalize": normalize, "batch_size": batch_size}
        limits = {"strict": strict, "max_pixels": max_pixels}
        stream: Callable[[Iterable[ImageSource]], Iterator[Embedding | Failure]]
        stream = partial(self.stream_embeddings, **options, **limits)  # type: ignore[arg-type]
        return one_or_all(inputs, stream)

    def stream_embeddings(
        self,
        inputs: Iterable[PictureSource],
        *,
        tokens: TokenChoice = "pooled",
        normalize: bool = False,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[Embedding | Failure]:
        """Yield what `embed` returns for a list, each batch as soon as it is done; arguments as there.

        `inputs` may be endless: it is read no further ahead than two batches.
        """
        check_tokens(tokens)
        vision = self.vision
        if tokens == "class" and not vision.config.class_token:
            raise ModelError(
                f"{self.bundle.source or 'the model'} must have a class token for `tokens` class, but has none "
                "instead: ask for mean"
            )
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        compute = partial(self._embedded, tokens=tokens, normalize=normalize)
        return stream_pictures(
            inputs, self.bundle.pictures, compute, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )

    def pooled(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b D"]:
        """Return the vectors of pictures that `tokens="pooled"` asks for: by default what the head reads."""
        return self.vision.pooled(images)

    def _embedded(self, batch: list[Prepared], *, tokens: TokenChoice, normalize: bool) -> list[Embedding]:
        vision, images = self.vision, stacked(batch, self.device)
        with torch.inference_mode():
            vectors = self.pooled(images) if tokens == "pooled" else _chosen(vision, images, tokens)
            found = as_array(vectors, normalize=normalize)
        grid = vision.grid((images.shape[-2], images.shape[-1])) if tokens == "all" else None
        return [
            Embedding(item.file, values, grid=grid, damaged=item.damaged, remark=item.remark)
            for item, values in zip(batch, found, strict=True)
        ]


def _chosen(vision: ViT, images: Tensor, tokens: TokenChoice) -> Tensor:
    """Return the vectors (b, D), or (b, n, D) of all patches."""
    features = vision.features(images)  # (b, prefix + n, D)
    if tokens == "class":
        return features[:, 0]
    patches = features[:, vision.num_prefix_tokens :]  # (b, n, D)
    return patches if tokens == "all" else patches.mean(dim=1)
