"""Recordings on their way to a transcript: one after the other, or several at once, whose pieces share batches."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from ...errors import InputError
from ...export.audio_page import LONGEST_SECONDS
from ...inputs.audio import Recording
from ..results import Failure
from .chunked import Waiting, transcribe_batch
from .config import Segment, SpeechOptions
from .model import SpeechModel
from .results import SpeechMap, Transcript
from .word_timestamps import WordTimestamper

Pieces = Callable[[Recording, WordTimestamper], Iterator[Waiting]]
Segments = Callable[[Recording, WordTimestamper], Iterator[Segment]]
Part = TypeVar("Part")


class TranscriptionJob:
    """A recording and what has been found in it so far.

    Args:
        file: The path as it was given; None for what is no file.
        open_it: Opens the recording.
        listener: Goes through it beside its decoding.
        on_segment: Called with each segment.
        shown: Whether there are to be maps of it.
    """

    def __init__(
        self,
        file: str | None,
        open_it: Callable[[], Recording],
        listener: WordTimestamper,
        *,
        on_segment: Callable[[Segment], None] | None,
        shown: bool,
    ) -> None:
        self._file, self._open, self._listener, self._shown = file, open_it, listener, shown
        self._on_segment = on_segment
        self._recording: Recording | None = None
        self._segments: list[Segment] = []
        self._error: InputError | None = None
        self.is_read = False
        """Whether nothing more comes of the recording."""
        self.waiting = 0
        """Pieces of it that are still to be transcribed."""

    def parts(self, made: Callable[[Recording, WordTimestamper], Iterator[Part]]) -> Iterator[Part]:
        """What is made of the recording, up to where it cannot be used."""
        try:
            self._recording = self._open()
            if self._shown:
                _check_can_be_shown(self._recording)
            yield from made(self._recording, self._listener)
        except InputError as error:
            self._error = error
        self.is_read = True

    def add(self, segments: Iterable[Segment]) -> None:
        """What was found in it next."""
        for segment in segments:
            self._segments.append(segment)
            if self._on_segment is not None:
                self._on_segment(segment)

    def result(self) -> Transcript | Failure:
        """What came of it; the recording is closed."""
        try:
            if self._error is None and self._recording is not None:
                return self._transcript(self._recording)
        except InputError as error:
            self._error = error
        finally:
            self.close()
        assert self._error is not None
        return Failure(self._file, self._error)

    def close(self) -> None:
        """Closes the recording."""
        if self._recording is not None:
            self._recording.close()

    def _transcript(self, recording: Recording) -> Transcript:
        listener, maps = self._listener, tuple[SpeechMap, ...]()
        if listener.maps:
            samples = torch.cat(list(recording.blocks())).numpy()
            maps = tuple(SpeechMap(one.map, samples, recording.rate, one.words, one.stack) for one in listener.maps)
        return Transcript(self._file, tuple(self._segments), _seconds(recording), listener.language, maps)


def one_by_one(talks: Iterable[TranscriptionJob], segments: Segments) -> Iterator[Transcript | Failure]:
    """The result of each recording, in order."""
    for job in talks:
        try:
            for segment in job.parts(segments):
                job.add([segment])
            yield job.result()
        finally:
            job.close()


def several_at_once(
    talks: Iterable[TranscriptionJob], pieces: Pieces, *, speech: SpeechModel, options: SpeechOptions, batch_size: int
) -> Iterator[Transcript | Failure]:
    """The result of each recording, in order, each as soon as its last piece has been transcribed.

    No more recordings are begun than are needed to fill a batch.
    """
    begun: deque[TranscriptionJob] = deque()
    batch: list[tuple[TranscriptionJob, Waiting]] = []

    def transcribed() -> Iterator[Transcript | Failure]:
        found = transcribe_batch(speech, [piece for _, piece in batch], options)
        for (job, _), segments in zip(batch, found, strict=True):
            while begun[0] is not job:
                yield begun.popleft().result()
            job.waiting -= 1
            job.add(segments)
        batch.clear()

    try:
        for job in talks:
            begun.append(job)
            for piece in job.parts(pieces):
                batch.append((job, piece))
                job.waiting += 1
                if len(batch) == batch_size:
                    yield from transcribed()
            while begun and begun[0].is_read and not begun[0].waiting:
                yield begun.popleft().result()
        yield from transcribed()
        while begun:
            yield begun.popleft().result()
    finally:
        for job in begun:
            job.close()


def _seconds(recording: Recording) -> float:
    """How long it is; counted where the file does not say."""
    if recording.duration is not None:
        return recording.duration
    return sum(len(block) for block in recording.blocks()) / recording.rate


def _check_can_be_shown(recording: Recording) -> None:
    """Makes sure that a page can hold a recording, before time is spent on it.

    Raises:
        InputError: It is too long.
    """
    seconds = _seconds(recording)
    if seconds > LONGEST_SECONDS:
        raise InputError(
            f"{recording.name} must be at most {LONGEST_SECONDS / 60:.0f} minutes long for maps, which hold all of its "
            f"sound, but is {seconds / 60:.0f} instead. Cut it, or leave the maps away."
        )
