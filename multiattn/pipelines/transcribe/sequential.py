"""A recording of any length in order: each window begins at the last time that the model wrote in the one before.

For models with timestamp tokens. Only one window is in memory. The recording is read twice: first for its length and
its loudest point, on which the scale of Whisper's features depends.

Source: openai-whisper, transcribe.py. Beyond it: where nobody speaks, nothing is decoded, and text that is written
there all the same is dropped; a text that failed, or was dropped, is not part of the next window's prompt; speech that
no segment covers is decoded again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ...errors import ModelError
from ...inputs import AudioPreprocessing, Recording
from .chunked import transcribe_again
from .coverage import in_sequence, trimmed, uncovered_speech
from .cutting import is_silent
from .decode import decode_windows
from .model import SpeechModel
from .options import SpeechOptions
from .pieces import Chunk
from .segments import TOO_HOT, AddWords, DecodedWindow, Segment, window_segments, words_until
from .steering import initial_prompt
from .voice import Voice

_LONG_PAUSE = 2.0
"""Seconds without speech that no window begins or ends with; shorter ones the model is used to."""

_LEAD = 0.5
"""Seconds of such a part that stay with the speech."""


def transcribe_in_order(
    speech: SpeechModel,
    recording: Recording,
    options: SpeechOptions,
    *,
    generator: torch.Generator | None = None,
    add_words: AddWords | None = None,
) -> Iterator[Segment]:
    """Transcribe a recording, or the clips of it that `options` names; yield the segments of each window when decoded.

    Args:
        speech: A model with timestamp tokens.
        recording: At the model's sampling rate.
        options: How to decode; `language` is the recording's, None where nobody speaks.
        generator: The source of randomness; needed where `options.temperatures` has one above 0.
        add_words: Called with each window that has segments; the segments it returns are yielded. The text does not
            depend on it: the next window begins where the model wrote that its last segment ends.

    Raises:
        InputError: The recording is damaged, or the model has no token for what is asked for.
        ModelError: The model writes no times, or an option does not fit it.
    """
    if speech.tokens.first_timestamp is None:
        raise ModelError(
            "the model must have timestamp tokens to go through a recording in order: cut it at its pauses"
        )
    options = replace(options, timestamps=True)
    source = _Features.of(speech.preprocessing, recording, Voice(recording.rate) if options.vad else None)
    previous = initial_prompt(speech, options)
    clips = [(0, source.frames)]
    if options.clips is not None:
        second = 1 / speech.preprocessing.frame_seconds
        clips = [(round(start * second), round(min(end * second, source.frames))) for start, end in options.clips]
    for seek, end in clips:
        while seek < end:
            seek, count = source.next_window(seek, end, longest=speech.window_frames)
            if not count:
                break
            segments, seek, previous = _transcribe_window(
                speech, source, options, previous, first=seek, count=count, generator=generator, add_words=add_words
            )
            if segments:
                options = replace(options, prefix=None)
            yield from segments


def _transcribe_window(
    speech: SpeechModel,
    source: "_Features",
    options: SpeechOptions,
    previous: list[int],
    *,
    first: int,
    count: int,
    generator: torch.Generator | None,
    add_words: AddWords | None,
) -> tuple[Sequence[Segment], int, list[int]]:
    """Transcribe the `count` feature frames from `first` on.

    Returns:
        The segments, the frame where the next window begins, and the tokens of the text before that window.
    """
    after, samples = first + count, source.samples(first, count)
    if count < speech.stride or is_silent(samples):  # too short to contain speech, or silent
        return (), after, previous
    features = source.window(first, count, size=speech.window_frames)
    encoded = speech.encode(features[None], [count], with_ctc=options.ctc_weight > 0)
    [result] = decode_windows(speech, encoded, options, previous=[previous], generator=generator)
    cut = window_segments(
        speech,
        DecodedWindow(
            encoded.projected, 0, samples, source.seconds(first), encoded.frames[0], result, options.task, source.voice
        ),
        options,
        duration=source.seconds(count),
        to_the_end=False,
        limit=source.seconds(source.frames - first),
        add_words=add_words,
    )
    if cut is None:
        return _completed(speech, source, (), options, first=first, after=after, add_words=add_words), after, previous
    is_doubtful = result.hottest > TOO_HOT or result.flags
    if is_doubtful or not options.condition_on_previous:
        previous = []
    else:
        previous = [
            *previous,
            *(token for segment in cut.segments if not segment.is_dropped for token in segment.tokens),
        ]
    frame_seconds = speech.preprocessing.frame_seconds
    seek = after if cut.reached is None else first + round(cut.reached / frame_seconds)
    seek = seek if first < seek <= after else after
    segments = words_until(cut.segments, source.seconds(seek))
    return _completed(speech, source, segments, options, first=first, after=seek, add_words=add_words), seek, previous


def _completed(
    speech: SpeechModel,
    source: "_Features",
    segments: Sequence[Segment],
    options: SpeechOptions,
    *,
    first: int,
    after: int,
    add_words: AddWords | None,
) -> Sequence[Segment]:
    """Return the segments of a window without the silence around them, and those of speech that they do not cover.

    Args:
        speech: The model.
        source: The recording.
        segments: Those of the window.
        options: How to decode what is not covered.
        first: The frame where the window begins.
        after: The frame where the next one begins.
        add_words: Adds words to what is decoded again.
    """
    voice = source.voice
    if voice is None:
        return segments
    start, end = source.seconds(first), source.seconds(after)
    found = [trimmed(segment, voice) for segment in segments]
    for part in uncovered_speech(voice, found, start, end):
        samples = source.recording.read(*part)
        if len(samples) >= speech.stride * speech.preprocessing.hop:
            chunk = Chunk.whole(samples, start=part[0], rate=source.recording.rate)
            found += transcribe_again(speech, chunk, options, voice=voice, add_words=add_words)
    return in_sequence(found)


class _Features(NamedTuple):
    """The features of a recording, read one window at a time, with the same values as if computed for all of it."""

    preprocessing: AudioPreprocessing
    recording: Recording
    frames: int  # complete ones
    peak: float  # of the log power
    voice: Voice | None  # where somebody speaks; None without a detector

    @classmethod
    def of(cls, preprocessing: AudioPreprocessing, recording: Recording, voice: Voice | None = None) -> "_Features":
        """Read a recording once for its length, its peak and where somebody speaks."""
        hop, margin = preprocessing.hop, _margin(preprocessing)
        buffer, samples, skip, peak = torch.zeros(0), 0, 0, -torch.inf
        for block in recording.blocks():
            if voice is not None:
                voice.add(block)
            buffer, samples = torch.cat([buffer, block]), samples + len(block)
            frames = len(buffer) // hop
            if frames <= 4 * margin:
                continue
            # the frames at the ends of the buffer lack their neighbors
            peak = max(peak, float(preprocessing.log_power(buffer)[:, skip : frames - margin].max()))
            buffer, skip = buffer[(frames - 2 * margin) * hop :], margin
        buffer = torch.cat([buffer, torch.zeros(2 * margin * hop)])
        peak = max(peak, float(preprocessing.log_power(buffer)[:, skip:].max()))
        if voice is not None:
            voice.finish()
        return cls(preprocessing, recording, samples // hop, peak, voice)

    def next_window(self, seek: int, end: int, *, longest: int) -> tuple[int, int]:
        """Return the first frame of the next window from `seek` on, and its number of frames; 0 where none is left.

        Long parts in which nobody speaks are left out where a window would begin or end with them.

        Args:
            seek: The frame where it begins at the earliest.
            end: The frame where it ends at the latest.
            longest: The most frames of a window.
        """
        if self.voice is None:
            return seek, min(longest, end - seek)
        start = self.voice.first(self.seconds(seek), self.seconds(end))
        if start is None:
            return end, 0
        if start - self.seconds(seek) > _LONG_PAUSE:
            seek = max(seek, self._frame(start - _LEAD))
        count = min(longest, end - seek)
        stop = self.voice.last(self.seconds(seek), self.seconds(seek + count))
        if stop is not None and self.seconds(seek + count) - stop > _LONG_PAUSE:
            count = min(count, self._frame(stop + _LEAD) - seek)
        return seek, count

    def _frame(self, seconds: float) -> int:
        return round(seconds / self.preprocessing.frame_seconds)

    def window(self, first: int, count: int, *, size: int) -> Float32[Tensor, "mels size"]:
        """Return `count` frames from `first` on, padded with zeros to `size`."""
        hop, margin = self.preprocessing.hop, _margin(self.preprocessing)
        before = min(first, margin)
        samples = self.samples(first - before, before + count + margin)
        missing = (before + count + margin) * hop - len(samples)
        power = self.preprocessing.log_power(torch.nn.functional.pad(samples, (0, missing)))
        features = self.preprocessing.scaled(power[:, before : before + count], peak=self.peak)
        return torch.nn.functional.pad(features, (0, size - count))

    def samples(self, first: int, count: int) -> Float[Tensor, " t"]:
        """Return the samples of `count` frames from `first` on; fewer at the end of the recording."""
        seconds = self.preprocessing.frame_seconds
        return self.recording.read(first * seconds, (first + count) * seconds)

    def seconds(self, frames: int) -> float:
        """Return the duration of frames."""
        return frames * self.preprocessing.hop / self.preprocessing.sample_rate


def _margin(preprocessing: AudioPreprocessing) -> int:
    """Return the frames, on each side, that a Fourier transform extends into."""
    return -(-(preprocessing.window // 2) // preprocessing.hop)
