"""Texts as vectors, by a text encoder such as BERT or MiniLM: the mean of the tokens, or the first one.

Notation: r texts, n tokens, D width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast, overload

import numpy as np
import torch
from torch import Tensor

from ..checks import require
from ..errors import InputError
from ..inputs import Tokenizer
from ..models.text_encoder import TextEncoder
from ..weights import load_text_encoder
from .base import find_device
from .embedding import Embedding, TokenChoice, as_array, check_tokens
from .pictures import the_only
from .precision import Precision, check_precision, converted
from .results import Failure

_CHOICES = ("pooled", "mean", "class", "all")


@dataclass(frozen=True)
class TextInput:
    """A text, and where it was read."""

    text: str

    origin: str | None = None
    """The file and line: "captions.txt:12"; None for a text that is in memory."""

    def __str__(self) -> str:
        """Where it was read; empty for a text that is in memory."""
        return self.origin or ""


class TextEmbedder:
    """A text encoder on a device, ready for texts. It has no state besides the model: safe in several threads.

    Args:
        encoder: Without cross-attention; it is moved to `device` and put into eval mode.
        tokenizer: Its vocabulary.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the encoder itself is changed.

    Raises:
        ModelError: The device does not exist, or does not compute in that precision.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        tokenizer: Tokenizer,
        *,
        device: str | torch.device = "auto",
        precision: Precision | None = None,
    ) -> None:
        self.device = find_device(device)
        check_precision(precision, self.device)
        self.tokenizer = tokenizer
        self._encoder = converted(encoder.to(self.device).eval(), precision)

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device = "auto",
        precision: Precision | None = None,
    ) -> "TextEmbedder":
        """Load the text encoder of a directory or hub id in BERT's layout; arguments as for `multiattn.load`.

        Raises:
            ModelError: It is not there, no BERT, not supported, or damaged.
        """
        return cls(*load_text_encoder(name, revision=revision), device=device, precision=precision)

    @overload
    def embed(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one text here
        self, texts: str | TextInput, *, tokens: TokenChoice = ..., normalize: bool = ..., batch_size: int = ...
    ) -> Embedding: ...

    @overload
    def embed(
        self,
        texts: Sequence[str | TextInput],
        *,
        tokens: TokenChoice = ...,
        normalize: bool = ...,
        batch_size: int = ...,
    ) -> list[Embedding | Failure]: ...

    def embed(
        self,
        texts: str | TextInput | Sequence[str | TextInput],
        *,
        tokens: TokenChoice = "pooled",
        normalize: bool = False,
        batch_size: int = 32,
    ) -> Embedding | list[Embedding | Failure]:
        """Embed one text, or each of a list.

        Args:
            texts: A text, or a list or tuple of texts. Of a text that is longer than the encoder's positions the first
                tokens are used, and the result has a `remark`.
            tokens: `pooled` and `mean`: the mean of all tokens with the special ones, as sentence encoders have it;
                `class`: the first token; `all`: each token.
            normalize: Whether each vector is divided by its length, so that a dot product is the cosine.
            batch_size: Number of texts to compute at once.

        Returns:
            One embedding for one text; for a list, a list in its order.

        Raises:
            InputError: The one text has half of a character.
            ModelError: `tokens` is unknown, or an option is out of range.
        """
        stream = partial(self.stream_embeddings, tokens=tokens, normalize=normalize, batch_size=batch_size)
        return list(stream(texts)) if isinstance(texts, list | tuple) else the_only(stream([cast(str, texts)]))

    def stream_embeddings(
        self,
        texts: Iterable[str | TextInput],
        *,
        tokens: TokenChoice = "pooled",
        normalize: bool = False,
        batch_size: int = 32,
    ) -> Iterator[Embedding | Failure]:
        """Yield what `embed` returns for a list, each batch as soon as it is done; arguments as there."""
        check_tokens(tokens, _CHOICES)
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        return self._batches(iter(texts), tokens, normalize, batch_size)

    stream_text_embeddings = stream_embeddings
    """As of a pipeline that embeds pictures, too."""

    def _batches(
        self, texts: Iterator[str | TextInput], tokens: TokenChoice, normalize: bool, batch_size: int
    ) -> Iterator[Embedding | Failure]:
        while batch := list(islice(texts, batch_size)):
            given = [one if isinstance(one, TextInput) else TextInput(one) for one in batch]
            encoded: list[list[int] | Failure] = [self._encoded(one) for one in given]
            good = [ids for ids in encoded if isinstance(ids, list)]
            rows = iter(self._embedded(good, tokens, normalize) if good else ())
            for one, ids in zip(given, encoded, strict=True):
                if isinstance(ids, Failure):
                    yield ids
                    continue
                remark = self._remark(one, ids)
                yield Embedding(one.origin, next(rows), text=one.text, remark=remark)

    def _encoded(self, one: TextInput) -> list[int] | Failure:
        """Return the tokens of a text, as many as the encoder has positions, with the special ones at its ends."""
        config = self._encoder.config
        try:
            ids = self.tokenizer.encode(one.text)
        except InputError as error:
            return Failure(one.origin, error)
        return [config.start_token, *ids[: config.max_length - 2], config.end_token]

    def _remark(self, one: TextInput, ids: Sequence[int]) -> str | None:
        longest = self._encoder.config.max_length
        if len(ids) < longest or (count := len(self.tokenizer.encode(one.text)) + 2) == longest:
            return None
        return f"has {count} tokens, of which the first {longest - 1} and the last one are used"

    def _embedded(self, encoded: Sequence[list[int]], tokens: TokenChoice, normalize: bool) -> list[np.ndarray]:
        longest = max(map(len, encoded))
        pad = self._encoder.config.pad_token
        ids = torch.tensor([[*one, *[pad] * (longest - len(one))] for one in encoded], device=self.device)
        lengths = torch.tensor([len(one) for one in encoded], device=self.device)
        mask = torch.arange(longest, device=self.device) < lengths[:, None]  # (r, n)
        with torch.inference_mode():
            states: Tensor = self._encoder(ids, attention_mask=mask, first_only=tokens == "class")  # (r, n, D)
            if tokens == "all":
                return [
                    as_array(row[: len(one)], normalize=normalize) for row, one in zip(states, encoded, strict=True)
                ]
            if tokens == "class":
                vectors = states[:, 0]
            else:
                vectors = (states.float() * mask[..., None]).sum(dim=1) / lengths[:, None]
        return list(as_array(vectors, normalize=normalize))
