"""Recordings of any length in chunks, cut at their pauses: several are decoded at once, and none depends on another.

For every model; faster than going through a recording in order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice

import torch
import torch.nn.functional as F

from ...inputs.audio import Recording
from .decode import decode_windows
from .language import language_of
from .model import SpeechModel
from .options import SpeechOptions
from .segments import AddWords, DecodedWindow, Segment, window_segments
from .steering import initial_prompt
from .vad import Chunk, cut_at_pauses


@dataclass(frozen=True, eq=False)
class PendingChunk:
    """A chunk that is to be transcribed, with what its recording determines."""

    chunk: Chunk
    language: str | None
    """Language code; None for a model of one language."""

    generator: torch.Generator
    """The source of randomness for this chunk alone: its text does not depend on the other chunks of a batch."""

    add_words: AddWords | None
    """Called with the chunk's window if it has segments; returns them, such as with their words."""

    is_first: bool = False
    """Whether its text is the first of the recording."""

    channel: str | None = None
    """As for `Segment`."""


def pending_chunks(
    speech: SpeechModel,
    recording: Recording,
    options: SpeechOptions,
    *,
    generator: torch.Generator,
    add_words: AddWords | None = None,
) -> Iterator[PendingChunk]:
    """Cut a recording into chunks, in order; chunks too short to contain speech are left out.

    Raises:
        InputError: The recording is damaged.
    """
    preprocessing, is_first = speech.preprocessing, True
    language = language_of(speech, recording, options).code
    for chunk in _chunks(recording, options, longest=preprocessing.max_seconds):
        if len(chunk.samples) < speech.stride * preprocessing.hop:
            continue
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        own = torch.Generator(generator.device).manual_seed(seed)
        yield PendingChunk(chunk, language, own, add_words, is_first=is_first)
        is_first = False


def _chunks(recording: Recording, options: SpeechOptions, *, longest: float) -> Iterator[Chunk]:
    """Cut a recording, or the clips of it that are to be transcribed."""
    if options.clips is None:
        yield from cut_at_pauses(recording, longest=longest, vad=options.vad)
        return
    for start, end in options.clips:
        yield from cut_at_pauses(recording.part(start, end), longest=longest, vad=options.vad, offset=start)


def transcribe_chunks(
    speech: SpeechModel, batch: Sequence[PendingChunk], options: SpeechOptions
) -> Iterator[tuple[Segment, ...]]:
    """Transcribe a batch; yield the segments of each chunk, with times of its recording.

    Args:
        speech: The model.
        batch: Chunks of one or of several recordings.
        options: How to decode, except for the language, which is that of each chunk. The prompt of every chunk is the
            initial prompt.

    Raises:
        InputError: The model has no token for what is asked for.
        ModelError: An option does not fit the model.
    """
    for language, chunks in groupby(batch, key=lambda one: one.language):
        yield from _transcribe(speech, list(chunks), replace(options, language=language))


def transcribe_chunked(
    speech: SpeechModel,
    recording: Recording,
    options: SpeechOptions,
    *,
    batch_size: int = 8,
    generator: torch.Generator | None = None,
    add_words: AddWords | None = None,
) -> Iterator[Segment]:
    """Transcribe a recording in chunks; yield the segments in order, those of each batch when it is decoded.

    Args:
        speech: The model.
        recording: At the model's sampling rate.
        options: How to decode, as for `transcribe_chunks`.
        batch_size: Chunks decoded at once.
        generator: The source of randomness; None: one with seed 0.
        add_words: As in `PendingChunk`.

    Raises:
        InputError: The recording is damaged, or the model has no token for what is asked for.
        ModelError: An option does not fit the model.
    """
    generator = torch.Generator(speech.device).manual_seed(0) if generator is None else generator
    chunks = pending_chunks(speech, recording, options, generator=generator, add_words=add_words)
    while batch := list(islice(chunks, batch_size)):
        for segments in transcribe_chunks(speech, batch, options):
            yield from segments


def _transcribe(
    speech: SpeechModel, batch: Sequence[PendingChunk], options: SpeechOptions
) -> Iterator[tuple[Segment, ...]]:
    preprocessing = speech.preprocessing
    lengths = [preprocessing.frames(len(one.chunk.samples)) for one in batch]
    each = [preprocessing.features(one.chunk.samples) for one in batch]  # (mels, frames)
    longest = max(one.shape[-1] for one in each)
    features = torch.stack([F.pad(one, (0, longest - one.shape[-1])) for one in each])
    encoded = speech.encode(features, lengths, with_ctc=options.ctc_weight > 0)
    previous = [initial_prompt(speech, options)] * len(batch)
    results = decode_windows(
        speech,
        encoded,
        options,
        previous=previous,
        with_prefix=[one.is_first for one in batch],
        generator=[one.generator for one in batch],
    )
    for i, (one, result) in enumerate(zip(batch, results, strict=True)):
        samples, start = one.chunk.samples, one.chunk.start
        seconds = len(samples) / preprocessing.sample_rate
        cut = window_segments(
            speech,
            DecodedWindow(
                encoded.projected, i, samples, start, encoded.frames[i], result, options.task, one.chunk.voice
            ),
            options,
            duration=seconds,
            to_the_end=True,
            limit=seconds,
            add_words=one.add_words,
        )
        yield () if cut is None else cut.segments
