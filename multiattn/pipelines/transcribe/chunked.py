"""Recordings of any length in pieces, cut at their pauses: several are worked on at once, and none knows of the others.

For every model; quicker than in order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
import torch.nn.functional as F

from ...inputs.audio import Recording
from .config import Segment, SpeechOptions
from .model import Annotate, SpeechModel
from .segments import checked, cut_by_times, nobody_speaks
from .vad import Piece, cut_at_pauses
from .word_timestamps import DecodedWindow


@dataclass(frozen=True, eq=False)
class Waiting:
    """A piece that is to be transcribed, with what is of its recording."""

    piece: Piece
    language: str | None
    """Code of what is spoken; None of a model for one language."""

    generator: torch.Generator
    """Where the chance in its text comes from: what other pieces there are changes nothing."""

    annotate: Annotate | None
    """What is done with its segments, such as giving them words."""


def waiting_pieces(
    speech: SpeechModel,
    recording: Recording,
    options: SpeechOptions,
    *,
    generator: torch.Generator,
    annotate: Annotate | None = None,
) -> Iterator[Waiting]:
    """The pieces of a recording, in order; those that are too short for a sound to be in them are left out.

    Raises:
        InputError: The recording is damaged.
    """
    preprocessing, language = speech.preprocessing, options.language
    for piece in cut_at_pauses(recording, longest=preprocessing.max_seconds):
        if len(piece.samples) < speech.stride * preprocessing.hop:
            continue
        if language is None and speech.tokens.languages:
            length = preprocessing.frames(len(piece.samples))
            language = speech.detect_language(preprocessing.features(piece.samples), length)
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        own = torch.Generator(generator.device)
        own.manual_seed(seed)
        yield Waiting(piece, language, own, annotate)


def transcribe_batch(
    speech: SpeechModel, batch: Sequence[Waiting], options: SpeechOptions
) -> Iterator[tuple[Segment, ...]]:
    """The segments of each piece, times in seconds of its recording.

    Args:
        speech: The model.
        batch: Pieces, of one recording or of several.
        options: How; the language is that of each piece. No piece is told the text before it, but each the initial
            prompt.

    Raises:
        InputError: The model has no token for what is asked for.
        ModelError: An option does not fit the model.
    """
    for language, pieces in groupby(batch, key=lambda one: one.language):
        yield from _transcribed(speech, list(pieces), replace(options, language=language))


def transcribe_pieces(
    speech: SpeechModel,
    recording: Recording,
    options: SpeechOptions,
    *,
    batch_size: int = 8,
    generator: torch.Generator | None = None,
    annotate: Annotate | None = None,
) -> Iterator[Segment]:
    """The segments of a recording, in order, those of each batch of pieces as soon as it is done.

    Args:
        speech: The model.
        recording: At the model's sample rate.
        options: How, as for `transcribe_batch`.
        batch_size: Pieces to work on at once.
        generator: Where all chance comes from; one that begins with 0 where None.
        annotate: What is done with the segments of a piece, such as giving them words.

    Raises:
        InputError: The recording is damaged, or the model has no token for what is asked for.
        ModelError: An option does not fit the model.
    """
    generator = torch.Generator(speech.device).manual_seed(0) if generator is None else generator
    batch: list[Waiting] = []
    for piece in waiting_pieces(speech, recording, options, generator=generator, annotate=annotate):
        batch.append(piece)
        if len(batch) == batch_size:
            for segments in transcribe_batch(speech, batch, options):
                yield from segments
            batch = []
    for segments in transcribe_batch(speech, batch, options):
        yield from segments


def _transcribed(
    speech: SpeechModel, batch: Sequence[Waiting], options: SpeechOptions
) -> Iterator[tuple[Segment, ...]]:
    preprocessing = speech.preprocessing
    pieces = [one.piece for one in batch]
    lengths = [preprocessing.frames(len(piece.samples)) for piece in pieces]
    each = [preprocessing.features(piece.samples) for piece in pieces]  # (mels, frames)
    widest = max(one.shape[-1] for one in each)
    features = torch.stack([F.pad(one, (0, widest - one.shape[-1])) for one in each])
    encoded = speech.encode(features, lengths, options)
    told = speech.first_told(options)
    generators = [one.generator for one in batch]
    results = speech.decode(encoded, options, previous=[told] * len(batch), generator=generators)
    for i, (piece, result) in enumerate(zip(pieces, results, strict=True)):
        if nobody_speaks(result, options):
            yield ()
            continue
        seconds = len(piece.samples) / preprocessing.sample_rate
        cut = cut_by_times(speech, result, offset=piece.start, duration=seconds, to_the_end=True, limit=seconds)
        segments = tuple(
            checked(segment, piece.samples, offset=piece.start, rate=preprocessing.sample_rate)
            for segment in cut.segments
            if segment.start < segment.end and segment.text.strip()
        )
        annotate = batch[i].annotate
        if annotate is not None and segments:
            window = DecodedWindow(
                encoded.projected,
                i,
                piece.samples,
                piece.start,
                encoded.frames[i],
                result.language,
                options.task,
                segments,
                result.heard,
            )
            (segments,) = annotate([window])
        yield segments
