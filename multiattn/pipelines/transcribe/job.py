"""Recordings on their way to a transcript: one after the other, or several at once, whose chunks share batches."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from ...errors import InputError
from ...export.audio_page import LONGEST_SECONDS
from ...inputs.audio import AudioSource, Recording
from ...inputs.audio_channels import Chosen, choose_channels
from ...inputs.streams import NamedStream
from ..results import Failure
from .chunked import PendingChunk, chunk_rounds
from .languages import Language, told
from .model import SpeechModel
from .options import SpeechOptions
from .results import SpeechMap, Transcript
from .rounds import Rounds
from .segments import UNCOVERED, Segment
from .speakers import Attribution, SpeakerTurns
from .window_maps import in_order
from .word_timestamps import WordTimestamper

Segments = Callable[[Recording, WordTimestamper], Iterator[Segment]]
Chunks = Callable[[Recording, WordTimestamper], Iterator[PendingChunk]]
Part = TypeVar("Part", Segment, PendingChunk)


class TranscriptionJob:
    """A recording and what has been transcribed of it so far.

    Args:
        file: The path as it was given; None for bytes, an array or a tensor.
        open_recording: Opens the recording.
        timestamper: Adds words to its segments, and keeps its maps.
        on_segment: Called with each segment.
        with_maps: Whether maps are asked for.
        channel: What is transcribed, as for `choose_channels`. Of several channels, one is transcribed after the other,
            and the segments are put in order of time.
        task: What the text is, for the transcript.
        attribution: How its segments are given to speakers; None: they are not.
        language_threshold: A language less probable than this is said to be uncertain.
    """

    def __init__(
        self,
        file: str | None,
        open_recording: Callable[[], Recording],
        timestamper: WordTimestamper,
        *,
        on_segment: Callable[[Segment], None] | None,
        with_maps: bool,
        language_threshold: float,
        channel: str | int = "auto",
        task: str = "transcribe",
        attribution: Attribution | None = None,
    ) -> None:
        self._file, self._open, self._timestamper, self._with_maps = file, open_recording, timestamper, with_maps
        self._on_segment, self._channel, self._task = on_segment, channel, task
        self._attribution, self._turns = attribution, SpeakerTurns(())
        self._language_threshold = language_threshold
        self._recording: Recording | None = None
        self._chosen: Chosen | None = None
        self._segments: list[Segment] = []
        self._dropped: list[Segment] = []
        self._languages: list[Language] = []  # of each channel that was read
        self._uncovered: list[tuple[float, float]] = []
        self._error: InputError | None = None
        self.is_read = False
        """Whether all parts of the recording have been read."""
        self.pending = 0
        """Number of its chunks that are still to be transcribed."""

    def parts(self, split: Callable[[Recording, WordTimestamper], Iterator[Part]]) -> Iterator[Part]:
        """Open the recording and yield its parts, up to where it is damaged."""
        try:
            if self._attribution is not None:
                self._turns = self._attribution.speakers.of(self._file)
            self._recording = self._open()
            if self._with_maps and (self._recording.duration or 0.0) > LONGEST_SECONDS:
                check_length(self._recording)  # by what is there: a header may be wrong
            self._chosen = choose_channels(self._recording, self._channel)
            for voice in self._chosen.voices:
                for part in split(voice.recording, self._timestamper):
                    yield part if voice.channel is None else replace(part, channel=voice.channel)
                self._languages.append(self._timestamper.language)
        except InputError as error:
            self._error = error
        self.is_read = True

    def add(self, segments: Iterable[Segment]) -> None:
        """Add the next segments; those that are dropped, and marks for speech without text, are kept for the result."""
        if self._attribution is not None:
            assign = partial(self._attribution.assign, self._turns)
            segments = (part for segment in segments for part in assign(segment))
        for segment in segments:
            if UNCOVERED in segment.flags:
                self._uncovered.append((segment.start, segment.end))
                continue
            if segment.is_dropped:
                self._dropped.append(segment)
                continue
            self._segments.append(segment)
            if self._on_segment is not None and not self._has_several:
                self._on_segment(segment)

    @property
    def _has_several(self) -> bool:
        return self._chosen is not None and len(self._chosen.voices) > 1

    def result(self) -> Transcript | Failure:
        """Return the transcript, or why there is none, and close the recording."""
        try:
            if self._error is None and self._chosen is not None:
                return self._transcript(self._chosen)
        except InputError as error:
            self._error = error
        finally:
            self.close()
        assert self._error is not None
        return Failure(self._file, self._error)

    def close(self) -> None:
        """Close the recording."""
        if self._recording is not None:
            self._recording.close()

    def _transcript(self, chosen: Chosen) -> Transcript:
        recording = chosen.voices[-1].recording  # which has been read to its end
        found, maps = in_order(self._timestamper.maps), tuple[SpeechMap, ...]()
        blocks = list(recording.blocks()) if found else []
        if blocks:
            check_length(recording)
            samples = torch.cat(blocks).numpy()
            maps = tuple(
                SpeechMap(one.map, samples, recording.rate, one.words, one.stack, checked=one.checked) for one in found
            )
        if self._has_several:
            self._segments.sort(key=lambda segment: (segment.start, segment.end))
            if self._on_segment is not None:
                for segment in self._segments:
                    self._on_segment(segment)
        seconds = recording.measure()
        decided = self._languages or [self._timestamper.language]
        language, doubts = told(decided, self._segments, self._language_threshold)
        return Transcript(
            self._file,
            tuple(self._segments),
            seconds,
            language.code,
            maps,
            damaged=recording.damaged,
            remark="; ".join(filter(None, (chosen.remark, *doubts))) or None,
            language_probability=language.probability,
            dropped=tuple(self._dropped),
            task=self._task,
            uncovered=tuple(self._uncovered),
            verdicts=tuple(one.checked for one in found if one.checked is not None),
        )


def one_by_one(jobs: Iterable[TranscriptionJob], segments: Segments) -> Iterator[Transcript | Failure]:
    """Transcribe recordings one after the other; yield their results in order."""
    for job in jobs:
        try:
            for segment in job.parts(segments):
                job.add([segment])
            yield job.result()
        finally:
            job.close()


def several_at_once(
    jobs: Iterable[TranscriptionJob], chunks: Chunks, *, speech: SpeechModel, options: SpeechOptions, batch_size: int
) -> Iterator[Transcript | Failure]:
    """Transcribe chunks of several recordings together; yield the results in order, each after its last chunk.

    No more recordings are opened than are needed to fill a batch.
    """
    started: deque[TranscriptionJob] = deque()
    rounds: Rounds[TranscriptionJob, PendingChunk, Segment] = chunk_rounds(speech, options, batch_size=batch_size)

    def deliver(done: Iterable[tuple[TranscriptionJob, list[Segment]]]) -> Iterator[Transcript | Failure]:
        for job, segments in done:
            while started[0] is not job:
                yield started.popleft().result()
            job.pending -= 1
            job.add(segments)

    try:
        for job in jobs:
            started.append(job)
            for chunk in job.parts(chunks):
                job.pending += 1
                yield from deliver(rounds.add(job, chunk))
            while started and started[0].is_read and not started[0].pending:
                yield started.popleft().result()
        yield from deliver(rounds.finish())
        while started:
            yield started.popleft().result()
    finally:
        for job in started:
            job.close()


def file_of(source: AudioSource) -> str | None:
    """Return the path of a recording as it was given; None for bytes, an array or a tensor."""
    return str(source) if isinstance(source, str | Path | NamedStream) else None


def check_length(recording: Recording) -> None:
    """Check that a page can hold a recording.

    Raises:
        InputError: The recording is too long.
    """
    seconds = recording.measure()
    if seconds > LONGEST_SECONDS:
        raise InputError(
            f"{recording.name} must be at most {LONGEST_SECONDS / 60:.0f} minutes long for maps, which hold all of its "
            f"sound, but is {seconds / 60:.0f} instead. Cut it, or leave the maps away."
        )
