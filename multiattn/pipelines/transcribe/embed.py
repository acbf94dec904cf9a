"""Recordings as vectors: the encoder's frames, or their mean.

A recording is read and encoded window by window, each of the model's longest chunk: the mean of an hour takes no more
memory than that of a minute.

Notation: t samples, n encoder frames of a window, D width.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InputError
from ...inputs import AudioPreprocessing, AudioSource, Recording
from ...inputs.streams import NamedStream
from ...models.speech_encoder import SpeechEncoder
from ...weights import load_speech_encoder
from ..base import find_device
from ..embedding import Embedding, TokenChoice, as_array, check_tokens
from ..pictures import one_or_all
from ..precision import Precision, check_precision, converted
from ..results import Failure
from .job import file_of

_CHOICES: tuple[TokenChoice, ...] = ("pooled", "mean", "all")
"""What can be asked for: a recording has no class token."""


@dataclass(frozen=True, eq=False)
class SoundEncoder:
    """An encoder of speech with what it is given."""

    encoder: SpeechEncoder
    """In eval mode, on the device where it computes."""

    preprocessing: AudioPreprocessing

    @property
    def frame_seconds(self) -> float:
        """Time from one encoder frame to the next, in seconds."""
        return math.prod(self.encoder.config.strides) * self.preprocessing.frame_seconds

    @torch.inference_mode()
    def frames(self, samples: Float[Tensor, " t"]) -> Float[Tensor, "n D"]:
        """Return the frames of one window, on the CPU, without those of padding."""
        device = next(self.encoder.parameters()).device
        length = self.preprocessing.frames(len(samples))
        features = self.preprocessing.features(samples)[None].to(device)
        encoded: Tensor = self.encoder(features, lengths=torch.tensor([length], device=device))[0]  # (m, D)
        return encoded[: max(1, self.encoder.frames(length))].float().cpu()


class EmbedsRecordings(ABC):
    """What embeds recordings needs for `embed`: its encoder."""

    @property
    @abstractmethod
    def sound_encoder(self) -> SoundEncoder:
        """The encoder with its preprocessing."""

    def open(self, source: AudioSource, rate: int | None, strict: bool) -> Recording:
        """Open a recording at the model's sampling rate; `rate` is that of an array or a tensor."""
        is_file = isinstance(source, str | Path | bytes | NamedStream)
        model_rate = self.sound_encoder.preprocessing.sample_rate
        return Recording.open(source, rate=model_rate, source_rate=None if is_file else rate, strict=strict)

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
        return _embedded(self.sound_encoder, inputs, opened, tokens=tokens, normalize=normalize)


def _embedded(
    encoder: SoundEncoder,
    inputs: Iterable[AudioSource],
    opened: Callable[[AudioSource], Recording],
    *,
    tokens: TokenChoice,
    normalize: bool,
) -> Iterator[Embedding | Failure]:
    """Yield the embedding of each recording, or a `Failure` for one that cannot be used.

    Args:
        encoder: The encoder.
        inputs: The recordings.
        opened: Opens one.
        tokens: `all` for each frame, else the mean.
        normalize: Whether each vector is divided by its length.
    """
    for source in inputs:
        try:
            with opened(source) as recording:
                found = _vectors(encoder, recording, is_mean=tokens != "all")
                frame_seconds = encoder.frame_seconds if tokens == "all" else None
                values = as_array(found, normalize=normalize)
                yield Embedding(file_of(source), values, frame_seconds=frame_seconds, damaged=recording.damaged)
        except InputError as error:
            yield Failure(file_of(source), error)


def _vectors(encoder: SoundEncoder, recording: Recording, *, is_mean: bool) -> Float[Tensor, "*n D"]:
    """Return the frames of a recording, without those of padding; or their mean.

    Raises:
        InputError: It has no samples, or is damaged and was opened strictly.
    """
    total, count, frames = torch.zeros(()), 0, list[Tensor]()
    for block in recording.blocks(encoder.preprocessing.max_seconds):
        for samples in torch.split(block, encoder.preprocessing.max_samples):
            found = encoder.frames(samples)  # (n, D)
            count += len(found)
            if is_mean:
                total = total + found.double().sum(dim=0)
            else:
                frames.append(found)
    if not count:
        raise recording.empty()
    return total / count if is_mean else torch.cat(frames)


class RecordingEmbedder(EmbedsRecordings):
    """Whisper's encoder alone on a device, ready for recordings. It has no state besides the model: safe in threads.

    Args:
        encoder: It is moved to `device` and put into eval mode.
        preprocessing: How it reads a recording.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the encoder itself is changed.

    Raises:
        ModelError: The device does not exist, or does not compute in that precision.
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        preprocessing: AudioPreprocessing,
        *,
        device: str | torch.device = "auto",
        precision: Precision | None = None,
    ) -> None:
        self.device = find_device(device)
        check_precision(precision, self.device)
        self._encoder = SoundEncoder(converted(encoder.to(self.device).eval(), precision), preprocessing)

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device = "auto",
        precision: Precision | None = None,
    ) -> "RecordingEmbedder":
        """Load the encoder of a directory or hub id that has one alone; arguments as for `multiattn.load`.

        Raises:
            ModelError: It is not there, no such encoder, not supported, or damaged.
        """
        return cls(*load_speech_encoder(name, revision=revision), device=device, precision=precision)

    @property
    def sound_encoder(self) -> SoundEncoder:
        """The encoder with its preprocessing."""
        return self._encoder
