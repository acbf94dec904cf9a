"""Recordings with their texts, one after the other: each is transcribed freely, and its text aligned with that."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from ...alignment.teacher_forcing import check_heads
from ...errors import InputError
from ...inputs import AudioSource, Recording
from ...maps import speech_attention, speech_attention_stack
from ..results import Failure
from .align import FreeWords, TextAligner
from .align_results import AlignedTranscript, aligned_segments
from .forced import ForcedText
from .given_text import GivenText
from .job import check_length, file_of
from .model import SpeechModel
from .results import SpeechMap
from .segments import Segment
from .word_timestamps import WordTimestamper

Transcribe = Callable[[Recording, WordTimestamper], Iterator[Segment]]


class AlignmentJob:
    """How texts are aligned.

    Args:
        speech: The model.
        open_recording: Opens a source.
        transcribe: Yields the segments of a recording, with words from a timestamper.
        language: The code of the language that was asked for; None: as the timestamper finds.
        methods: Map methods.
    """

    def __init__(
        self,
        speech: SpeechModel,
        open_recording: Callable[[AudioSource], Recording],
        transcribe: Transcribe,
        *,
        language: str | None,
        methods: Sequence[str],
    ) -> None:
        self._speech, self._open, self._transcribe = speech, open_recording, transcribe
        self._language, self._methods = language, tuple(methods)

    def run(self, pairs: Iterable[tuple[AudioSource, str]]) -> Iterator[AlignedTranscript | Failure]:
        """Yield the result of each pair of recording and text, in order."""
        for source, text in pairs:
            file = file_of(source)
            try:
                with self._open(source) as recording:
                    yield self._aligned(file, recording, text)
            except InputError as error:
                yield Failure(file, error)

    def _aligned(self, file: str | None, recording: Recording, text: str) -> AlignedTranscript:
        GivenText.of(text, language=self._language)  # a text without words is not worth a transcription
        if self._methods:
            check_length(recording)
        timestamper = WordTimestamper(self._speech, words=True)
        segments = list(self._transcribe(recording, timestamper))
        language = self._language or timestamper.language
        given = GivenText.of(text, language=language)
        free = FreeWords([word for segment in segments for word in segment.words], language=language)
        duration = recording.measure()
        aligner = TextAligner(
            self._speech,
            recording.read,
            duration=duration,
            given=given,
            free=free,
            language=language,
            keep_texts=bool(self._methods),
        )
        alignment = aligner.align()
        found, not_written, mismatch = aligned_segments(given, alignment, free)
        result = AlignedTranscript(
            file, found, duration, language, (), recording.damaged, not_written=not_written, mismatch=mismatch
        )
        if not self._methods:
            return result
        maps = self._maps(recording, result, alignment.texts)
        return AlignedTranscript(
            file, found, duration, language, maps, recording.damaged, not_written=not_written, mismatch=mismatch
        )

    def _maps(
        self, recording: Recording, result: AlignedTranscript, texts: Sequence[tuple[float, ForcedText, list[int]]]
    ) -> tuple[SpeechMap, ...]:
        """Return the maps of the words that were said, one for each piece and method."""
        samples = torch.cat(list(recording.blocks())).numpy()
        speech, spoken = self._speech, result.words
        maps = list[SpeechMap]()
        for start, text, owners in texts:
            kept = [k for k, owner in enumerate(owners) if owner >= 0 and not spoken[owner].flags]
            if not kept:
                continue
            spelled = text.spelled()
            words = [spelled[k]._replace(text=spoken[owners[k]].text) for k in kept]
            window = text.window
            (stack,) = speech_attention_stack(
                speech.model,
                window.encoded.projected,
                [text.tokens],
                [words],
                prompt_lengths=[len(window.prompt)],
                frames=window.encoded.frames,
                frame_seconds=speech.frame_seconds,
                starts=[start],
            )
            found = speech_attention(stack, heads=check_heads(speech.model, speech.heads))
            of_map = tuple(spoken[owners[k]] for k in kept)
            maps += [SpeechMap(found, samples, recording.rate, of_map, stack) for _ in self._methods]
        return tuple(maps)
