"""The transcription pipeline: from recordings to transcripts, word times and maps.

The package's docstring lists the modules that a recording passes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack, overload

import torch

from ...alignment.teacher_forcing import check_heads
from ...checks import require
from ...generation.packing import lay_out_for_decoding, lay_out_for_reading
from ...inputs import AudioSource, Recording, SpeechTokens
from ...inputs.streams import NamedStream
from ...maps import SPEECH_METHODS
from ...models import SpeechRecognizer
from ...weights import ModelBundle
from ..base import Pipeline, chosen_methods, one_or_all, tokenizer_of
from ..precision import Precision
from ..results import Failure
from .chunked import PendingChunk, pending_chunks, transcribe_chunked
from .job import TranscriptionJob, one_by_one, several_at_once
from .language import language_of
from .model import SpeechModel
from .options import SpeechOptions, TranscribeOptions, speech_options
from .results import Transcript
from .segments import Segment
from .sequential import transcribe_in_order
from .word_timestamps import WordTimestamper

OnSegment = Callable[[Segment], None]

_BATCH = 8  # chunks decoded at once by default


class TranscribePipeline(Pipeline[SpeechRecognizer]):
    """Transcribes recordings. It has no state besides the model: safe to call from several threads.

    Args:
        bundle: The model with its preprocessing and tokenizer; the model is moved to `device` and laid out there.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the bundle's model itself is changed.

    Raises:
        ModelError: The model is of another task or has no tokenizer, or the device does not exist.
    """

    def __init__(
        self, bundle: ModelBundle, *, device: str | torch.device = "auto", precision: Precision = "fp32"
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
        rate: int | None = ...,
        batch_size: int | None = ...,
        strict: bool = ...,
        **options: Unpack[TranscribeOptions],
    ) -> Transcript: ...

    @overload
    def __call__(
        self,
        inputs: Sequence[AudioSource],
        *,
        words: bool = ...,
        maps: str | Sequence[str] | None = ...,
        rate: int | None = ...,
        batch_size: int | None = ...,
        strict: bool = ...,
        **options: Unpack[TranscribeOptions],
    ) -> list[Transcript | Failure]: ...

    def __call__(
        self,
        inputs: AudioSource | Sequence[AudioSource],
        *,
        words: bool = False,
        maps: str | Sequence[str] | None = None,
        rate: int | None = None,
        batch_size: int | None = None,
        strict: bool = False,
        **options: Unpack[TranscribeOptions],
    ) -> Transcript | list[Transcript | Failure]:
        """Transcribe one recording, or each of a list.

        Args:
            inputs: A recording of any length, or a list or tuple of them: paths, bytes of files, arrays or tensors.
            words: Whether to compute when each word was spoken.
            maps: Names of map methods, such as "attention", or "all". They include `words`.
            rate: Sampling rate (Hz) of arrays and tensors; None: the model's own.
            batch_size: Chunks decoded at once. Above 1, a recording is cut at its pauses and several chunks are decoded
                together, which is faster; at 1, a model that writes times goes through it in order, with the text so
                far as its prompt. By default 1 for such models, and 8 for others, which always decode chunks.
            strict: Whether to refuse damaged recordings; else what can be read is transcribed, and the transcript is
                marked `damaged`.
            options: How to decode, as `TranscribeOptions` says: `language="fr"`, `num_beams=1`, `prompt="..."`.

        Returns:
            One transcript for one recording; for a list, a list in its order, where an input that could not be used is
            a `Failure` (its `error` says why) and does not keep the others from being transcribed.

        Raises:
            InputError: The one recording cannot be used.
            ModelError: A map method is unknown, or an option is out of range or not possible with the model.
            TypeError: There is no such option.
        """
        stream = partial(
            self.stream, words=words, maps=maps, rate=rate, batch_size=batch_size, strict=strict, **options
        )
        return one_or_all(inputs, stream)

    def stream(
        self,
        inputs: Iterable[AudioSource],
        *,
        words: bool = False,
        maps: str | Sequence[str] | None = None,
        rate: int | None = None,
        batch_size: int | None = None,
        strict: bool = False,
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
            rate: As above.
            batch_size: As above.
            strict: As above.
            on_segment: Called with each segment as soon as it is ready: those of a recording in order, before its
                result is yielded and after that of the recording before it.
            options: As above.
        """
        plan = self._plan(words, maps, batch_size, options)

        def jobs() -> Iterator[TranscriptionJob]:
            for source in inputs:
                file = str(source) if isinstance(source, str | Path | NamedStream) else None
                yield TranscriptionJob(
                    file,
                    partial(self._open, source, rate, strict),
                    self._timestamper(plan),
                    on_segment=on_segment,
                    with_maps=bool(plan.methods),
                    language_threshold=plan.options.language_threshold,
                )

        if plan.in_order:
            return one_by_one(jobs(), partial(self._segments, plan=plan))
        return several_at_once(
            jobs(),
            partial(self._chunks, plan=plan),
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
        plan = self._plan(words, None, batch_size, options)

        def found() -> Iterator[Segment]:
            with self._open(source, rate, strict) as recording:
                spoken = self._segments(recording, self._timestamper(plan), plan)
                yield from (segment for segment in spoken if not segment.is_dropped)

        return found()

    def _plan(
        self, words: bool, maps: str | Sequence[str] | None, batch_size: int | None, options: TranscribeOptions
    ) -> "_Plan":
        methods = chosen_methods(maps, SPEECH_METHODS)
        require(batch_size is None or batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        decoding = speech_options(
            options,
            self.bundle.decoding,
            tokens=self._speech.tokens,
            max_length=self._speech.model.config.decoder.max_length,
            has_ctc=self._speech.model.ctc_head is not None,
            source=self.bundle.source,
        )
        in_order = decoding.timestamps and (batch_size or 1) == 1
        require(in_order or decoding.clips is None, "batch_size", must="1 with `clips`", value=batch_size)
        return _Plan(
            decoding,
            words=words or bool(methods),
            methods=methods,
            in_order=in_order,
            batch_size=batch_size or _BATCH,
            seed=options.get("seed") or 0,
        )

    def _open(self, source: AudioSource, rate: int | None, strict: bool) -> Recording:
        is_file = isinstance(source, str | Path | bytes | NamedStream)
        source_rate = None if is_file else rate
        return Recording.open(source, rate=self.bundle.sound.sample_rate, source_rate=source_rate, strict=strict)

    def _timestamper(self, plan: "_Plan") -> WordTimestamper:
        return WordTimestamper(self._speech, words=plan.words, methods=plan.methods)

    def _generator(self, plan: "_Plan") -> torch.Generator:
        return torch.Generator(self.device).manual_seed(plan.seed)

    def _segments(self, recording: Recording, timestamper: WordTimestamper, plan: "_Plan") -> Iterator[Segment]:
        transcribe = transcribe_in_order if plan.in_order else partial(transcribe_chunked, batch_size=plan.batch_size)
        options = self._with_language(recording, timestamper, plan)
        return transcribe(self._speech, recording, options, generator=self._generator(plan), add_words=timestamper)

    def _chunks(self, recording: Recording, timestamper: WordTimestamper, plan: "_Plan") -> Iterator[PendingChunk]:
        options = self._with_language(recording, timestamper, plan)
        return pending_chunks(self._speech, recording, options, generator=self._generator(plan), add_words=timestamper)

    def _with_language(self, recording: Recording, timestamper: WordTimestamper, plan: "_Plan") -> SpeechOptions:
        """Return the options with the language of a recording, which its timestamper is told, too."""
        timestamper.language = language_of(self._speech, recording, plan.options)
        return replace(plan.options, language=timestamper.language.code)


@dataclass(frozen=True)
class _Plan:
    """What a call asks for, checked."""

    options: SpeechOptions
    words: bool
    methods: tuple[str, ...]
    in_order: bool
    batch_size: int
    seed: int
