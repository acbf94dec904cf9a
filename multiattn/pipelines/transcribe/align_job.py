"""Recordings with their texts, one after the other: each is transcribed freely, and its text aligned with that."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest

import torch

from ...alignment.teacher_forcing import check_heads
from ...errors import InputError
from ...inputs import AudioSource, Recording
from ...inputs.audio_channels import choose_channels
from ...maps import speech_attention, speech_attention_stack
from ..map_request import MapRequest
from ..results import Failure
from .align import FreeWords, TextAligner
from .align_results import AlignedTranscript, Fit, aligned_segments
from .forced import ForcedText
from .given_text import GivenText
from .job import check_length, file_of
from .model import SpeechModel
from .results import SpeechMap
from .segments import UNCOVERED, Segment
from .speakers import Attribution
from .window_verdicts import of_window
from .word_timestamps import WordTimestamper

Transcribe = Callable[[Recording, WordTimestamper], Iterator[Segment]]


class AlignmentJob:
    """How texts are aligned.

    Args:
        speech: The model.
        open_recording: Opens a source.
        transcribe: Yields the segments of a recording, with words from a timestamper.
        language: The code of the language that was asked for; None: as the timestamper finds.
        maps: The maps asked for.
        channel: What of a recording is transcribed, as for `choose_channels`; not "each".
        attribution: How segments are given to speakers; None: they are not.
    """

    def __init__(
        self,
        speech: SpeechModel,
        open_recording: Callable[[AudioSource], Recording],
        transcribe: Transcribe,
        *,
        language: str | None,
        maps: MapRequest,
        channel: str | int,
        attribution: Attribution | None,
    ) -> None:
        self._speech, self._open, self._transcribe = speech, open_recording, transcribe
        self._language, self._methods, self._check = language, maps.methods, maps.check
        self._channel, self._attribution = channel, attribution

    def run(self, pairs: Iterable[tuple[AudioSource, str]]) -> Iterator[AlignedTranscript | Failure]:
        """Yield the result of each pair of recording and text, in order."""
        for source, text in pairs:
            file = file_of(source)
            try:
                with self._open(source) as recording:
                    yield self._aligned(file, recording, text)
            except InputError as error:
                yield Failure(file, error)

    def _aligned(self, file: str | None, opened: Recording, text: str) -> AlignedTranscript:
        GivenText.of(text, language=self._language)  # a text without words is not worth a transcription
        turns = None if self._attribution is None else self._attribution.speakers.of(file)
        chosen = choose_channels(opened, self._channel)
        [(_, recording)] = chosen.voices
        if self._methods:
            check_length(recording)
        timestamper = WordTimestamper(self._speech, words=True)
        found = self._transcribe(recording, timestamper)
        heard = [segment for segment in found if not segment.is_dropped and UNCOVERED not in segment.flags]
        language = self._language or timestamper.language.code
        given = GivenText.of(text, language=language)
        free = FreeWords([word for segment in heard for word in segment.words], language=language)
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
        fit = aligned_segments(given, alignment, free)
        maps = self._maps(recording, fit, alignment.texts) if self._methods and duration else ()
        segments = fit.segments
        if turns is not None:
            segments = tuple(part for segment in segments for part in turns.assign(segment))
        return AlignedTranscript(
            file,
            segments,
            duration,
            language,
            maps,
            damaged=recording.damaged,
            remark=fit.remark or chosen.remark,
            not_written=fit.not_written,
            mismatch=fit.mismatch,
            verdicts=tuple(one.checked for one in maps if one.checked is not None),
        )

    def _maps(
        self, recording: Recording, fit: Fit, texts: Sequence[tuple[float, ForcedText, list[int]]]
    ) -> tuple[SpeechMap, ...]:
        """Return the maps of the words that were said, one for each piece and method."""
        samples = torch.cat(list(recording.blocks())).numpy()
        speech = self._speech
        spoken = [word for segment in fit.segments for word in segment.words]
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
            of_map, prompt_length = tuple(spoken[owners[k]] for k in kept), len(window.prompt)
            found = [
                speech_attention(stack, heads=check_heads(speech.model, speech.heads))
                if method == "attention"
                else speech.lrp(window.samples, text.tokens, words, prompt_length=prompt_length, start=start)
                for method in self._methods
            ]
            verdicts = (
                of_window(
                    speech,
                    window.samples,
                    found,
                    tokens=text.tokens,
                    words=words,
                    prompt_length=prompt_length,
                    check=self._check,
                    span=(start, start + len(window.samples) / speech.preprocessing.sample_rate),
                )
                if self._check
                else []
            )
            maps += [
                SpeechMap(one, samples, recording.rate, of_map, stack, checked=checked)
                for one, checked in zip_longest(found, verdicts)
            ]
        return tuple(maps)
