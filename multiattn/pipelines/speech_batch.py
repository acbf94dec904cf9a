"""A recording of any length in pieces, cut at its pauses: several are worked on at once, and none knows of the others.

For every model; quicker than in order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import torch
import torch.nn.functional as F

from ..inputs.audio import Recording
from .heard import HeardWindow
from .speech_model import Annotate, SpeechModel
from .speech_pauses import Piece, cut_at_pauses
from .speech_segments import checked, cut_by_times, nobody_speaks
from .speech_types import Segment, SpeechOptions


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
        options: How. No piece is told the text before it, but each the initial prompt.
        batch_size: Pieces to work on at once.
        generator: Where all chance comes from; needed where `options.temperatures` has one above 0.
        annotate: What is done with the segments of a piece, such as giving them words.

    Raises:
        InputError: The recording is damaged, or the model has no token for what is asked for.
        ModelError: An option does not fit the model.
    """
    pieces = cut_at_pauses(recording, longest=speech.preprocessing.max_seconds)
    while batch := list(islice(pieces, batch_size)):
        if options.language is None and speech.tokens.languages:
            first = batch[0].samples
            length = speech.preprocessing.frames(len(first))
            options = replace(options, language=speech.detect_language(speech.preprocessing.features(first), length))
        yield from _transcribed(speech, batch, options, generator=generator, annotate=annotate)


def _transcribed(
    speech: SpeechModel,
    batch: Sequence[Piece],
    options: SpeechOptions,
    *,
    generator: torch.Generator | None,
    annotate: Annotate | None,
) -> Iterator[Segment]:
    preprocessing = speech.preprocessing
    lengths = [preprocessing.frames(len(piece.samples)) for piece in batch]
    each = [preprocessing.features(piece.samples) for piece in batch]  # (mels, frames)
    widest = max(one.shape[-1] for one in each)
    features = torch.stack([F.pad(one, (0, widest - one.shape[-1])) for one in each])
    encoded = speech.encode(features, lengths, options)
    told = speech.first_told(options)
    results = speech.decode(encoded, options, previous=[told] * len(batch), generator=generator)
    for i, (piece, result) in enumerate(zip(batch, results, strict=True)):
        if nobody_speaks(result, options):
            continue
        seconds = len(piece.samples) / preprocessing.sample_rate
        cut = cut_by_times(speech, result, offset=piece.start, duration=seconds, to_the_end=True)
        segments = [
            checked(segment, piece.samples, offset=piece.start, rate=preprocessing.sample_rate)
            for segment in cut.segments
            if segment.start < segment.end and segment.text.strip()
        ]
        if annotate is not None and segments:
            window = HeardWindow(
                encoded.projected.select(torch.tensor([i], device=speech.device)),
                piece.samples,
                piece.start,
                encoded.frames[i],
                result.language,
                options.task,
                tuple(segments),
            )
            segments = list(annotate([window])[0])
        yield from segments
