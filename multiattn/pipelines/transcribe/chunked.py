"""Recordings of any length in chunks, cut at their pauses: several are decoded at once, and none depends on another.

For every model; faster than going through a recording in order. What a chunk's text did not reach is decoded again, as
a chunk of its own, and so is, once, speech that no segment covers.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import torch

from ...inputs.audio import Recording
from .chunks import chunks_of
from .coverage import in_pieces, in_sequence, least_end, missed, trimmed, uncovered_speech
from .cutting import is_silent
from .decode import decode_windows
from .encode import encode_chunks
from .model import Encoded, SpeechModel
from .options import SpeechOptions
from .pieces import Chunk
from .rounds import Rounds
from .segments import TOO_HOT, AddWords, DecodedWindow, Segment, WindowResult, reached_by, window_segments, words_until
from .steering import initial_prompt
from .voice import Voice

_ROWS = 20
"""Most texts that are decoded at once on a CPU, beams included: more are not faster, and need more memory."""

_LEAST_REST = 0.1
"""Seconds that the rest of a chunk must have, and must be shorter than the chunk, to be decoded again."""

_LEAST_SPEECH = 0.3
"""Seconds of speech that it must have."""


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
    voice: Voice | None = None
    """What the voice activity detector hears in the recording; None without one."""

    is_second: bool = False
    """Whether this is speech for which a decode before gave no text."""


class DecodedChunk(NamedTuple):
    """What came of a chunk."""

    segments: tuple[Segment, ...]
    rest: tuple[PendingChunk, ...]
    """What is to be decoded again."""


def pending_chunks(
    speech: SpeechModel,
    recording: Recording,
    options: SpeechOptions,
    *,
    generator: torch.Generator,
    add_words: AddWords | None = None,
) -> Iterator[PendingChunk]:
    """Cut a recording, in the language of the options, into chunks in order; those too short for speech are left out.

    Raises:
        InputError: The recording is damaged.
    """
    preprocessing = speech.preprocessing
    is_first = True
    for start, part in _parts(recording, options):
        voice = Voice(part.rate, start=start) if options.vad else None
        for chunk in chunks_of(part, voice, longest=preprocessing.max_seconds, start=start):
            if len(chunk.samples) < speech.stride * preprocessing.hop:
                continue
            yield PendingChunk(chunk, options.language, _another(generator), add_words, is_first, voice=voice)
            is_first = False


def _parts(recording: Recording, options: SpeechOptions) -> Iterator[tuple[float, Recording]]:
    """Yield a recording, or each clip of it that is to be transcribed, with its start in seconds."""
    if options.clips is None:
        yield 0.0, recording
    for start, end in options.clips or ():
        yield start, recording.part(start, end)


def transcribe_chunks(
    speech: SpeechModel, batch: Sequence[PendingChunk], options: SpeechOptions
) -> Iterator[DecodedChunk]:
    """Transcribe a batch; yield the segments of each chunk, with times of its recording, and what is left of it.

    Args:
        speech: The model.
        batch: Chunks of one or of several recordings.
        options: How to decode, except for the language, which is that of each chunk. The prompt of every chunk is the
            initial prompt.

    Raises:
        InputError: The model has no token for what is asked for.
        ModelError: An option does not fit the model.
    """
    most = len(batch) if speech.device.type != "cpu" else max(1, _ROWS // options.decoding.num_beams)
    for language, of_language in groupby(batch, key=lambda one: one.language):
        chunks = list(of_language)
        for first in range(0, len(chunks), most):
            yield from _transcribe(speech, chunks[first : first + most], replace(options, language=language))


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
    rounds = chunk_rounds(speech, options, batch_size=batch_size)
    for chunk in pending_chunks(speech, recording, options, generator=generator, add_words=add_words):
        for _, segments in rounds.add(None, chunk):
            yield from segments
    for _, segments in rounds.finish():
        yield from segments


def transcribe_again(
    speech: SpeechModel,
    chunk: Chunk,
    options: SpeechOptions,
    *,
    voice: Voice | None,
    add_words: AddWords | None,
) -> list[Segment]:
    """Transcribe speech for which a decode before gave no text; return its segments, and marks where there is none.

    Args:
        speech: The model.
        chunk: The speech.
        options: How to decode.
        voice: What the voice activity detector hears in the recording.
        add_words: As in `PendingChunk`.
    """
    generator = torch.Generator(speech.device).manual_seed(len(chunk.samples))
    left, found = (
        [PendingChunk(chunk, options.language, generator, add_words, voice=voice, is_second=True)],
        list[Segment](),
    )
    while left:
        [done] = transcribe_chunks(speech, [left.pop(0)], options)
        found += done.segments
        left += done.rest
    return found


def chunk_rounds(speech: SpeechModel, options: SpeechOptions, *, batch_size: int) -> Rounds[Any, PendingChunk, Segment]:
    """Return a queue that transcribes chunks in batches, and again what is left of them."""
    return Rounds(batch_size, lambda batch: transcribe_chunks(speech, batch, options), arrange=in_sequence)


def _transcribe(speech: SpeechModel, batch: Sequence[PendingChunk], options: SpeechOptions) -> Iterator[DecodedChunk]:
    encoded = encode_chunks(speech, [one.chunk.samples for one in batch], with_ctc=options.ctc_weight > 0)
    previous = [initial_prompt(speech, options)] * len(batch)
    results = decode_windows(
        speech,
        encoded,
        options,
        previous=previous,
        with_prefix=[one.is_first for one in batch],
        generator=[one.generator for one in batch],
        least_ends=[least_end(one.chunk.pieces, one.voice) for one in batch],
    )
    for i, (one, result) in enumerate(zip(batch, results, strict=True)):
        done = _cut(speech, one, i, encoded, result, options)
        yield done._replace(segments=tuple(replace(segment, channel=one.channel) for segment in done.segments))


def _cut(
    speech: SpeechModel,
    one: PendingChunk,
    row: int,
    encoded: Encoded,
    result: WindowResult,
    options: SpeechOptions,
) -> DecodedChunk:
    """Return the segments of a chunk's text, and what is left of the chunk."""
    chunk = one.chunk
    if one.is_second and not _is_certain(result, options):
        return DecodedChunk(_missed(one, ()), ())
    left = _left(speech, one, result)
    cut = window_segments(
        speech,
        DecodedWindow(
            encoded.projected,
            row,
            chunk.samples,
            chunk.start,
            encoded.frames[row],
            result,
            options.task,
            one.voice,
            pieces=chunk.pieces,
        ),
        options,
        duration=chunk.seconds,
        to_the_end=left is None,
        limit=chunk.seconds,
        add_words=one.add_words,
    )
    if cut is None:
        return DecodedChunk(_missed(one, ()), ())
    segments = cut.segments if one.voice is None else tuple(trimmed(each, one.voice) for each in cut.segments)
    rest, end = list[PendingChunk](), chunk.seconds
    if left is not None:
        end = chunk.seconds - left.seconds
        segments = words_until(segments, left.start)
        rest.append(replace(one, chunk=left, generator=_another(one.generator), is_first=False))
    if one.is_second or one.voice is None:
        return DecodedChunk((*segments, *_missed(one, segments, end=end)), tuple(rest))
    for start, stop in in_pieces(chunk.pieces, _open_parts(one, segments, end=end)):
        again = replace(one, chunk=chunk.between(start, stop), generator=_another(one.generator))
        rest.append(replace(again, is_first=False, is_second=True))
    return DecodedChunk(segments, tuple(rest))


def _left(speech: SpeechModel, one: PendingChunk, result: WindowResult) -> Chunk | None:
    """Return the end of a chunk that its text did not reach; None where it did, or where nobody speaks."""
    reached, seconds = reached_by(speech, result), one.chunk.seconds
    if reached is None or not _LEAST_REST < reached < seconds - _LEAST_REST:
        return None
    left = one.chunk.between(reached, seconds)
    return left if _has_speech(left, one.voice) else None


def _is_certain(result: WindowResult, options: SpeechOptions) -> bool:
    """Tell whether a text may stand where the model wrote none before: one that passed, and not by chance."""
    threshold = options.no_speech_threshold
    is_speech = threshold is None or result.no_speech_prob is None or result.no_speech_prob <= threshold
    is_probable = options.log_prob_threshold is None or result.avg_log_prob >= options.log_prob_threshold
    return is_speech and is_probable and not result.flags and result.hottest <= TOO_HOT


def _open_parts(one: PendingChunk, segments: Sequence[Segment], *, end: float) -> list[tuple[float, float]]:
    """Return the parts of a chunk, up to `end` (s) in it, with speech that no segment covers."""
    if one.voice is None:
        return []
    return [
        part
        for piece in one.chunk.pieces
        if piece.at < end
        for part in uncovered_speech(one.voice, segments, piece.start, min(piece.end, piece.start + end - piece.at))
    ]


def _missed(one: PendingChunk, segments: Sequence[Segment], *, end: float = math.inf) -> tuple[Segment, ...]:
    """Return a mark for each part with speech that no segment covers."""
    return tuple(missed(*part) for part in _open_parts(one, segments, end=end))


def _has_speech(chunk: Chunk, voice: Voice | None) -> bool:
    if voice is None:
        return not is_silent(chunk.samples)
    return sum(voice.seconds(piece.start, piece.end) for piece in chunk.pieces) >= _LEAST_SPEECH


def _another(generator: torch.Generator) -> torch.Generator:
    """Return a source of randomness that a number from this one determines."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    return torch.Generator(generator.device).manual_seed(seed)
