"""A recording of any length in order: each window begins at the last time that the model wrote in the one before.

For models with timestamp tokens. Only a window is in memory. The recording is read twice: first for its length and its
loudest point, which the scale of Whisper's features depends on.

Source: openai-whisper, transcribe.py. Beyond it: windows and segments of silence are noticed, and a text that failed
tells the next window nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ...errors import ModelError
from ...inputs.audio import Recording
from ...inputs.mel import AudioPreprocessing
from .config import Segment, SpeechOptions, WindowResult
from .model import Annotate, SpeechModel
from .segments import checked, cut_by_times, nobody_speaks
from .vad import is_silent
from .word_timestamps import DecodedWindow

_TOO_HOT = 0.5
"""Above this temperature a text is too random to tell the next window."""


def transcribe_in_order(
    speech: SpeechModel,
    recording: Recording,
    options: SpeechOptions,
    *,
    generator: torch.Generator | None = None,
    annotate: Annotate | None = None,
    clips: Sequence[tuple[float, float]] | None = None,
) -> Iterator[Segment]:
    """The segments of a recording, those of each window as soon as it is done.

    Args:
        speech: A model with timestamp tokens.
        recording: At the model's sample rate.
        options: How.
        generator: Where all chance comes from; needed where `options.temperatures` has one above 0.
        annotate: What is done with the segments of each window, such as giving them words, at whose last one the next
            window then begins.
        clips: Start and end of each part to transcribe, in seconds and in order; the whole where None.

    Raises:
        InputError: The recording is damaged, or the model has no token for what is asked for.
        ModelError: The model writes no times, or an option does not fit it.
    """
    if speech.tokens.first_timestamp is None:
        raise ModelError(
            "the model must have timestamp tokens to go through a recording in order: cut it at its pauses"
        )
    options = replace(options, timestamps=True)
    source = _Features.of(speech.preprocessing, recording)
    if options.language is None and source.frames:
        options = replace(options, language=_first_language(speech, source))
    story = _Story(speech.first_told(options), conditions=options.condition_on_previous)
    size = speech.preprocessing.frames(speech.preprocessing.max_samples)
    second = 1 / speech.preprocessing.frame_seconds
    bounds = [(0, source.frames)]
    if clips is not None:
        bounds = [(round(start * second), min(round(end * second), source.frames)) for start, end in clips]
    for start, end in bounds:
        seek = start
        while seek < end:
            window = _Window(speech, source, seek, min(size, end - seek))
            found = window.transcribed(options, story, generator=generator, annotate=annotate)
            yield from found.segments
            seek = found.seek


class _Features(NamedTuple):
    """The features of a recording that is read a window at a time, as if they had been made of all of it."""

    preprocessing: AudioPreprocessing
    recording: Recording
    frames: int  # whole ones
    peak: float  # of the logarithm of the power

    @classmethod
    def of(cls, preprocessing: AudioPreprocessing, recording: Recording) -> "_Features":
        """Read a recording once."""
        hop, margin = preprocessing.hop, _margin(preprocessing)
        held, samples, skip, peak = torch.zeros(0), 0, 0, -torch.inf
        for block in recording.blocks():
            held, samples = torch.cat([held, block]), samples + len(block)
            frames = len(held) // hop
            if frames <= 4 * margin:
                continue
            # the frames at the ends of what is held are not as they are amid their neighbors
            peak = max(peak, float(preprocessing.log_power(held)[:, skip : frames - margin].max()))
            held, skip = held[(frames - 2 * margin) * hop :], margin
        held = torch.cat([held, torch.zeros(2 * margin * hop)])
        peak = max(peak, float(preprocessing.log_power(held)[:, skip:].max()))
        return cls(preprocessing, recording, samples // hop, peak)

    def window(self, first: int, count: int, *, size: int) -> Float32[Tensor, "mels size"]:
        """So many frames from one on, filled up with zeros."""
        hop, margin = self.preprocessing.hop, _margin(self.preprocessing)
        before = min(first, margin)
        samples = self.samples(first - before, before + count + margin)
        missing = (before + count + margin) * hop - len(samples)
        power = self.preprocessing.log_power(torch.nn.functional.pad(samples, (0, missing)))
        features = self.preprocessing.scaled(power[:, before : before + count], peak=self.peak)
        return torch.nn.functional.pad(features, (0, size - count))

    def samples(self, first: int, count: int) -> Float[Tensor, " t"]:
        """Those of so many frames from one on; fewer at the end."""
        seconds = self.preprocessing.frame_seconds
        return self.recording.read(first * seconds, (first + count) * seconds)


def _margin(preprocessing: AudioPreprocessing) -> int:
    """Frames that a Fourier transform reaches into, each way."""
    return -(-(preprocessing.window // 2) // preprocessing.hop)


def _first_language(speech: SpeechModel, source: _Features) -> str | None:
    """The language at the beginning of a recording."""
    size = speech.preprocessing.frames(speech.preprocessing.max_samples)
    count = min(size, source.frames)
    return speech.detect_language(source.window(0, count, size=size), count)


class _Story:
    """What has been said so far, as the next window is told it."""

    def __init__(self, tokens: Sequence[int], *, conditions: bool) -> None:
        self._tokens = list(tokens)
        self._conditions = conditions
        self._forgotten = 0  # tokens that are no longer told

    @property
    def told(self) -> list[int]:
        return self._tokens[self._forgotten :]

    def go_on(self, segments: Sequence[Segment], result: WindowResult) -> None:
        self._tokens += [token for segment in segments for token in segment.tokens]
        if not self._conditions or result.hottest > _TOO_HOT or result.flags:
            self._forgotten = len(self._tokens)


class _Found(NamedTuple):
    """What came of a window."""

    segments: Sequence[Segment]
    seek: int  # the feature frame at which the next window begins


class _Window(NamedTuple):
    """A part of a recording that the model takes at once."""

    speech: SpeechModel
    source: _Features
    first: int  # feature frame
    frames: int  # of the recording

    def transcribed(
        self, options: SpeechOptions, story: _Story, *, generator: torch.Generator | None, annotate: Annotate | None
    ) -> _Found:
        speech, after = self.speech, self.first + self.frames
        samples = self.source.samples(self.first, self.frames)
        if self.frames < speech.stride or is_silent(samples):  # too short for a sound to be in it, or silent
            return _Found((), after)
        size = speech.preprocessing.frames(speech.preprocessing.max_samples)
        features = self.source.window(self.first, self.frames, size=size)
        encoded = speech.encode(features[None], [self.frames], options)
        [result] = speech.decode(encoded, options, previous=[story.told], generator=generator)
        if nobody_speaks(result, options):
            return _Found((), after)
        cut = cut_by_times(
            speech,
            result,
            offset=self.seconds(self.first),
            duration=self.seconds(self.frames),
            to_the_end=False,
            limit=self.seconds(self.source.frames - self.first),
        )
        rate, offset = speech.preprocessing.sample_rate, self.seconds(self.first)
        segments = [
            checked(segment, samples, offset=offset, rate=rate)
            for segment in cut.segments
            if segment.start < segment.end and segment.text.strip()
        ]
        seek = after if cut.reached is None else self.first + round(cut.reached / speech.preprocessing.frame_seconds)
        if annotate is not None and segments:
            window = DecodedWindow(
                encoded.projected,
                0,
                samples,
                self.seconds(self.first),
                encoded.frames[0],
                result.language,
                options.task,
                tuple(segments),
                result.heard,
            )
            segments = list(annotate([window])[0])
            spoken = [segment.words[-1].end for segment in segments if segment.words]
            if cut.is_open and spoken:
                seek = round(spoken[-1] / speech.preprocessing.frame_seconds)
        story.go_on(segments, result)
        return _Found(segments, seek if self.first < seek <= after else after)

    def seconds(self, frames: int) -> float:
        return frames * self.speech.preprocessing.hop / self.speech.preprocessing.sample_rate
