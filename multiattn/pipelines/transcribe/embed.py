"""Recordings as vectors: the encoder's frames, or their mean.

A recording is read and encoded window by window, each of the model's longest chunk: the mean of an hour takes no more
memory than that of a minute.

Notation: t samples, n encoder frames of a window, D width.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InputError
from ...inputs import AudioSource, Recording
from ..base import one_or_all
from ..embedding import Embedding, TokenChoice, as_array, check_tokens
from ..results import Failure
from .job import file_of
from .model import SpeechModel

_CHOICES: tuple[TokenChoice, ...] = ("pooled", "mean", "all")
"""What can be asked for: a recording has no class token."""


class EmbedsRecordings(ABC):
    """What the pipeline of recordings needs for `embed`: its model."""

    @property
    @abstractmethod
    def speech(self) -> SpeechModel:
        """The model with its preprocessing."""

    @abstractmethod
    def open(self, source: AudioSource, rate: int | None, strict: bool) -> Recording:
        """Open a recording at the model's sampling rate."""

    @overload
    def embed(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one path here
        self,
        inputs: AudioSource,
        *,
        tokens: TokenChoice = ...,
        normalize: bool = ...,
        rate: int | None = ...,
        strict: bool = ...,
    ) -> Embedding: ...

    @overload
    def embed(
        self,
        inputs: Sequence[AudioSource],
        *,
        tokens: TokenChoice = ...,
        normalize: bool = ...,
        rate: int | None = ...,
        strict: bool = ...,
    ) -> list[Embedding | Failure]: ...

    def embed(
        self,
        inputs: AudioSource | Sequence[AudioSource],
        *,
        tokens: TokenChoice = "pooled",
        normalize: bool = False,
        rate: int | None = None,
        strict: bool = False,
    ) -> Embedding | list[Embedding | Failure]:
        """Embed one recording, or each of a list, by the encoder.

        Args:
            inputs: A recording of any length, or a list or tuple of them. One that is longer than the model's window is
                encoded window by window.
            tokens: `pooled` and `mean`: the mean of the frames, without those of padding; `all`: each frame.
            normalize: Whether each vector is divided by its length, so that a dot product is the cosine.
            rate: As for the call.
            strict: As for the call.

        Raises:
            InputError: The one recording cannot be used, or has no samples.
            ModelError: `tokens` is none of these.
        """
        stream = partial(self.stream_embeddings, tokens=tokens, normalize=normalize, rate=rate, strict=strict)
        return one_or_all(inputs, stream)

    def stream_embeddings(
        self,
        inputs: Iterable[AudioSource],
        *,
        tokens: TokenChoice = "pooled",
        normalize: bool = False,
        rate: int | None = None,
        strict: bool = False,
    ) -> Iterator[Embedding | Failure]:
        """Yield what `embed` returns for a list, each as soon as it is done; arguments as there."""
        check_tokens(tokens, _CHOICES)
        opened = partial(self.open, rate=rate, strict=strict)
        return _embedded(self.speech, inputs, opened, tokens=tokens, normalize=normalize)


def _embedded(
    speech: SpeechModel,
    inputs: Iterable[AudioSource],
    opened: Callable[[AudioSource], Recording],
    *,
    tokens: TokenChoice,
    normalize: bool,
) -> Iterator[Embedding | Failure]:
    """Yield the embedding of each recording, or a `Failure` for one that cannot be used.

    Args:
        speech: The model.
        inputs: The recordings.
        opened: Opens one.
        tokens: `all` for each frame, else the mean.
        normalize: Whether each vector is divided by its length.
    """
    for source in inputs:
        try:
            with opened(source) as recording:
                found = _vectors(speech, recording, is_mean=tokens != "all")
                frame_seconds = speech.frame_seconds if tokens == "all" else None
                values = as_array(found, normalize=normalize)
                yield Embedding(file_of(source), values, frame_seconds=frame_seconds, damaged=recording.damaged)
        except InputError as error:
            yield Failure(file_of(source), error)


def _vectors(speech: SpeechModel, recording: Recording, *, is_mean: bool) -> Float[Tensor, "*n D"]:
    """Return the frames of a recording, without those of padding; or their mean.

    Raises:
        InputError: It has no samples, or is damaged and was opened strictly.
    """
    total, count, frames = torch.zeros(()), 0, list[Tensor]()
    for block in recording.blocks(speech.preprocessing.max_seconds):
        for samples in torch.split(block, speech.preprocessing.max_samples):
            found = _encoded(speech, samples)  # (n, D)
            count += len(found)
            if is_mean:
                total = total + found.double().sum(dim=0)
            else:
                frames.append(found)
    if not count:
        raise recording.empty()
    return total / count if is_mean else torch.cat(frames)


@torch.inference_mode()
def _encoded(speech: SpeechModel, samples: Float[Tensor, " t"]) -> Float[Tensor, "n D"]:
    """Return the encoder's frames of one window, on the CPU, without those of padding."""
    length = speech.preprocessing.frames(len(samples))
    features = speech.preprocessing.features(samples)[None].to(speech.device)
    encoded = speech.model.encode(features, lengths=torch.tensor([length], device=speech.device))[0]  # (m, D)
    return encoded[: max(1, speech.model.encoder.frames(length))].float().cpu()
