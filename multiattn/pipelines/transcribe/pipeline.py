"""The transcription pipeline: from recordings to transcripts, word times and maps.

The package's docstring lists the modules that a recording passes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Unpack, overload

import torch

from ...alignment.teacher_forcing import check_heads
from ...checks import require
from ...generation.packing import lay_out_for_decoding, lay_out_for_reading
from ...inputs import AudioSource, SpeechTokens
from ...inputs.audio_channels import choose_channels
from ...models import SpeechRecognizer
from ...weights import ModelBundle
from ..base import Pipeline, tokenizer_of
from ..map_request import Check, MapRequest
from ..pictures import one_or_all, the_only
from ..precision import Precision
from ..results import Failure
from .align_job import AlignmentJob
from .align_results import AlignedTranscript
from .embed import EmbedsRecordings, SoundEncoder
from .given_transcript import refuse_given
from .job import TranscriptionJob, file_of, one_by_one, several_at_once
from .live import LiveRules, LiveTranscriber
from .live_gate import voice_of
from .model import SpeechModel
from .options import TranscribeOptions
from .plan import Plan
from .results import Transcript
from .segments import UNCOVERED, Segment
from .speakers import Attribution, GivenSpeakers, Speakers

OnSegment = Callable[[Segment], None]


class TranscribePipeline(EmbedsRecordings, Pipeline[SpeechRecognizer]):
    """Transcribes recordings. It has no state besides the model: safe to call from several threads.

    Args:
        bundle: The model with its preprocessing and tokenizer; the model is moved to `device` and laid out there.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the bundle's model itself is changed.

    Raises:
        ModelError: The model is of another task or has no tokenizer, or the device does not exist.
    """

    def __init__(
        self, bundle: ModelBundle, *, device: str | torch.device = "auto", precision: Precision | None = None
    ) -> None:
        model = bundle.require(SpeechRecognizer)
        tokenizer = tokenizer_of(bundle)
        super().__init__(bundle, model, device=device, precision=precision)
        decoder = model.config.decoder
        lay_out_for_decoding(model.decoder)
        lay_out_for_reading(model.encoder)
        heads = bundle.decoding.get("alignment_heads")
        self._speech = SpeechModel(
            model,
            bundle.sound,
            tokenizer,
            SpeechTokens.of(tokenizer, start=decoder.start_token, end=decoder.end_token, vocab_size=decoder.vocab_size),
            heads=None if heads is None else check_heads(model, [(layer, head) for layer, head in heads]),
        )

    @property
    def sound_encoder(self) -> SoundEncoder:
        """The encoder with its preprocessing."""
        return SoundEncoder(self._speech.model.encoder, self.bundle.sound)

    @property
    def speech(self) -> SpeechModel:
        """The model with its preprocessing and vocabulary, for a caller that runs its parts itself."""
        return self._speech

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one path here
        self,
        inputs: AudioSource,
        *,
        words: bool = ...,
        maps: str | Sequence[str] | None = ...,
        check: Check = ...,
        rate: int | None = ...,
        batch_size: int | None = ...,
        strict: bool = ...,
        speakers: Speakers | None = ...,
        **options: Unpack[TranscribeOptions],
    ) -> Transcript: ...

    @overload
    def __call__(
        self,
        inputs: Sequence[AudioSource],
        *,
        words: bool = ...,
        maps: str | Sequence[str] | None = ...,
        check: Check = ...,
        rate: int | None = ...,
        batch_size: int | None = ...,
        strict: bool = ...,
        speakers: Speakers | None = ...,
        **options: Unpack[TranscribeOptions],
    ) -> list[Transcript | Failure]: ...

    def __call__(
        self,
        inputs: AudioSource | Sequence[AudioSource],
        *,
        words: bool = False,
        maps: str | Sequence[str] | None = None,
        check: Check = False,
        rate: int | None = None,
        batch_size: int | None = None,
        strict: bool = False,
        speakers: Speakers | None = None,
        **options: Unpack[TranscribeOptions],
    ) -> Transcript | list[Transcript | Failure]:
        """Transcribe one recording, or each of a list.

        Args:
            inputs: A recording of any length, or a list or tuple of them: paths, bytes of files, arrays or tensors.
            words: Whether to compute when each word was spoken.
            maps: Names of map methods, such as "attention", or "all". They include `words`.
            check: Whether to judge each map, by 12 forward passes more for each window of the model: `result.verdicts`;
                with "words", the map of each word, too, by 12 more for each. Without `maps`, the map by the default
                method is judged.
            rate: Sampling rate (Hz) of arrays and tensors; None: the model's own.
            batch_size: Chunks decoded at once. Above 1, a recording is cut at its pauses and several chunks are decoded
                together, which is faster; at 1, a model that writes times goes through it in order, with the text so
                far as its prompt. By default 1 for such models, and 8 for others, which always decode chunks.
            strict: Whether to refuse damaged recordings; else what can be read is transcribed, and the transcript is
                marked `damaged`.
            speakers: Who speaks when: an RTTM file (of several recordings, each is found by the name of its file
                without suffix), or the turns of every recording. Segments are cut where the speaker changes.
            options: How to decode, as `TranscribeOptions` says: `language="fr"`, `num_beams=1`, `prompt="..."`.

        Returns:
            One transcript for one recording; for a list, a list in its order, where an input that could not be used is
            a `Failure` (its `error` says why) and does not keep the others from being transcribed.

        Raises:
            InputError: The one recording cannot be used.
            ModelError: A map method is unknown, or an option is out of range or not possible with the model.
            TypeError: There is no such option.
        """
        given = None if speakers is None else GivenSpeakers(speakers, is_only=not isinstance(inputs, list | tuple))
        stream = partial(
            self.stream,
            words=words,
            maps=maps,
            check=check,
            rate=rate,
            batch_size=batch_size,
            strict=strict,
            speakers=given,
            **options,
        )
        return one_or_all(inputs, stream)

    def stream(
        self,
        inputs: Iterable[AudioSource],
        *,
        words: bool = False,
        maps: str | Sequence[str] | None = None,
        check: Check = False,
        rate: int | None = None,
        batch_size: int | None = None,
        strict: bool = False,
        speakers: "Speakers | GivenSpeakers | None" = None,
        on_segment: OnSegment | None = None,
        **options: Unpack[TranscribeOptions],
    ) -> Iterator[Transcript | Failure]:
        """Transcribe any number of recordings, lazily: yield the results in order, each as soon as it is ready.

        Chunks of several recordings are decoded together, where recordings are cut into chunks: no more recordings are
        read ahead than fill a batch.

        Args:
            inputs: Recordings, possibly endlessly many.
            words: As for the call, like all arguments not described here.
            maps: As above.
            check: As above.
            rate: As above.
            batch_size: As above.
            strict: As above.
            speakers: As above.
            on_segment: Called with each segment as soon as it is ready: those of a recording in order, before its
                result is yielded and after that of the recording before it.
            options: As above.
        """
        request = MapRequest.of("transcribe", maps, check=check, first=self.bundle.first_map_method)
        plan = self._plan(words or speakers is not None, request, batch_size, options)
        keep_words = words or bool(plan.maps.methods)
        attribution = None if speakers is None else Attribution(_given(speakers), keep_words=keep_words)

        def jobs() -> Iterator[TranscriptionJob]:
            for source in inputs:
                yield TranscriptionJob(
                    file_of(source),
                    partial(self.open, source, rate, strict),
                    plan.timestamper(),
                    on_segment=on_segment,
                    with_maps=bool(plan.maps.methods),
                    channel=plan.channel,
                    task=plan.options.task,
                    attribution=attribution,
                    language_threshold=plan.options.language_threshold,
                )

        if plan.in_order:
            return one_by_one(jobs(), plan.segments)
        return several_at_once(
            jobs(),
            plan.chunks,
            speech=self._speech,
            options=plan.options,
            batch_size=plan.batch_size,
        )

    def segments(
        self,
        source: AudioSource,
        *,
        words: bool = False,
        rate: int | None = None,
        batch_size: int | None = None,
        strict: bool = False,
        **options: Unpack[TranscribeOptions],
    ) -> Iterator[Segment]:
        """Yield the segments of one recording, each as soon as it is ready; arguments and errors as for the call."""
        plan = self._plan(words, MapRequest(), batch_size, options)

        def kept() -> Iterator[Segment]:
            with self.open(source, rate, strict) as recording:
                several = list[Segment]()
                for voice in choose_channels(recording, plan.channel).voices:
                    found = plan.segments(voice.recording, plan.timestamper())
                    spoken = (one for one in found if not one.is_dropped and UNCOVERED not in one.flags)
                    if voice.channel is None:
                        yield from spoken
                    several += [replace(segment, channel=voice.channel) for segment in spoken]
                yield from sorted(several, key=lambda segment: (segment.start, segment.end))

        return kept()

    def align(
        self,
        source: AudioSource,
        text: str,
        *,
        maps: str | Sequence[str] | None = None,
        check: Check = False,
        rate: int | None = None,
        batch_size: int | None = None,
        strict: bool = False,
        speakers: Speakers | None = None,
        **options: Unpack[TranscribeOptions],
    ) -> AlignedTranscript:
        """Find when each word of a known text is spoken, which of its words were not said, and what is not in it.

        The recording is transcribed first, by default without beams and without previous text.

        Args:
            source: A recording of any length.
            text: What is said in it, roughly in order: lines and sentences become segments.
            maps: As for the call, like all other arguments.
            check: As for the call; of the words that were said.
            rate: As for the call.
            batch_size: As for the call.
            strict: As for the call.
            speakers: As for the call.
            options: As for the call; no translation, and one channel.

        Raises:
            InputError: The recording cannot be used, or the text has no word.
            ModelError: As for the call.
            TypeError: There is no such option.
        """
        stream = self.align_stream(
            [(source, text)],
            maps=maps,
            check=check,
            rate=rate,
            batch_size=batch_size,
            strict=strict,
            speakers=None if speakers is None else GivenSpeakers(speakers, is_only=True),
            **options,
        )
        return the_only(stream)

    def align_stream(
        self,
        pairs: Iterable[tuple[AudioSource, str]],
        *,
        maps: str | Sequence[str] | None = None,
        check: Check = False,
        rate: int | None = None,
        batch_size: int | None = None,
        strict: bool = False,
        speakers: "Speakers | GivenSpeakers | None" = None,
        **options: Unpack[TranscribeOptions],
    ) -> Iterator[AlignedTranscript | Failure]:
        """Align any number of recordings with their texts, lazily: arguments as for `align`."""
        task = options.get("task")
        require(task in (None, "transcribe"), "task", must="transcribe for a given text", value=task)
        refuse_given(options)
        asked = {"num_beams": 1} | {name: value for name, value in options.items() if value is not None}
        if self._speech.tokens.previous is not None:
            asked.setdefault("condition_on_previous", False)
        plan = self._plan(True, MapRequest(), batch_size, TranscribeOptions(**asked))  # type: ignore[typeddict-item]
        require(plan.channel != "each", "channel", must="one channel for a given text", value=plan.channel)
        job = AlignmentJob(
            self._speech,
            partial(self.open, rate=rate, strict=strict),
            plan.segments,
            language=plan.options.language,
            maps=MapRequest.of("transcribe", maps, check=check, first=self.bundle.first_map_method),
            channel=plan.channel,
            attribution=None if speakers is None else Attribution(_given(speakers), keep_words=True),
        )
        return job.run(pairs)

    def live(self, *, rules: LiveRules | None = None, **options: Unpack[TranscribeOptions]) -> LiveTranscriber:
        """Transcribe one stream of sound while it comes in: `feed` it, and `finish`.

        Args:
            rules: When sound is decoded and words are settled; None: the defaults.
            options: As for the call; the search is greedy and at temperature 0, and there are no clips.

        Raises:
            ModelError: An option is out of range or not possible with the model.
            TypeError: There is no such option.
        """
        refuse_given(options)
        plan = self._plan(True, MapRequest(), 1, options)
        require(plan.options.clips is None, "clips", must="None for live sound", value=plan.options.clips)
        rate = self.bundle.sound.sample_rate
        return LiveTranscriber(self._speech, plan.options, rules=rules or LiveRules(), voice=voice_of(rate))

    def _plan(self, words: bool, maps: MapRequest, batch_size: int | None, options: TranscribeOptions) -> Plan:
        return Plan.of(self._speech, self.bundle, options, words=words, maps=maps, batch_size=batch_size)


def _given(speakers: Speakers | GivenSpeakers) -> GivenSpeakers:
    return speakers if isinstance(speakers, GivenSpeakers) else GivenSpeakers(speakers)
