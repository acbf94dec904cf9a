"""The transcription pipeline: recordings in; out what is said, when, and what was listened to for each word.

The way of one recording: `Recording` -> windows in order, or pieces cut at its pauses -> `AudioPreprocessing` -> the
encoder -> `decode_window` -> segments, and, where words or maps are asked for, one reading of these: `WordTimestamper`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Unpack, cast, overload

import torch

from ...alignment.teacher_forcing import check_heads
from ...generation.packing import lay_out_for_decoding
from ...inputs import SpeechTokens
from ...inputs.audio import AudioSource, Recording
from ...maps import SPEECH_METHODS
from ...models import SpeechRecognizer
from ...weights import ModelBundle
from ..base import Pipeline, check_at_least_one, chosen_methods, the_only, tokenizer_of
from ..options import check_names
from ..results import Failure
from .chunked import Waiting, transcribe_pieces, waiting_pieces
from .config import Segment, SpeechOptions
from .job import TranscriptionJob, one_by_one, several_at_once
from .model import SpeechModel
from .options import TranscribeOptions, speech_options
from .results import Transcript
from .sequential import transcribe_in_order
from .word_timestamps import WordTimestamper

OnSegment = Callable[[Segment], None]

_BATCH = 8  # pieces computed at once, where a recording is cut at its pauses


class TranscribePipeline(Pipeline[SpeechRecognizer]):
    """Writes down what is said. No state besides the model: safe in several threads.

    Args:
        bundle: The model with its preprocessing and tokenizer; the model is moved to `device` and laid out there.
        device: As for `multiattn.load`.

    Raises:
        ModelError: The model is of another task or has no tokenizer, or the device is not there.
    """

    def __init__(self, bundle: ModelBundle, *, device: str | torch.device = "auto") -> None:
        model = bundle.speech
        tokenizer = tokenizer_of(bundle)
        super().__init__(bundle, model, device=device)
        decoder = model.config.decoder
        lay_out_for_decoding(model.decoder)
        heads = bundle.decoding.get("alignment_heads")
        self._speech = SpeechModel(
            model,
            bundle.sound,
            tokenizer,
            SpeechTokens.of(tokenizer, start=decoder.start_token, end=decoder.end_token, vocab_size=decoder.vocab_size),
            heads=None if heads is None else check_heads(model, [(layer, head) for layer, head in heads]),
        )

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one path here
        self,
        inputs: AudioSource,
        *,
        words: bool = ...,
        maps: str | Sequence[str] | None = ...,
        rate: int | None = ...,
        batch_size: int | None = ...,
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
        **options: Unpack[TranscribeOptions],
    ) -> Transcript | list[Transcript | Failure]:
        """Transcribes one recording, or each of a list.

        Args:
            inputs: A recording of any length, or a list or tuple of them: paths, bytes of files, arrays or tensors.
            words: Whether to say when each word was spoken.
            maps: Names of map methods, such as "attention", or "all". Words have their times then too.
            rate: Samples a second (Hz) of arrays and tensors; the model's own where None.
            batch_size: Pieces to compute at once. Above 1, a recording is cut at its pauses and several pieces are
                worked on together, which is quicker; at 1 a model that writes times goes through it in order, and is
                told what was said before. By default 1 for such models, and 8 for others, which always take pieces.
            options: How to decode, as `TranscribeOptions` says: `language="fr"`, `num_beams=1`, `prompt="..."`.

        Returns:
            One transcript for one recording; for a list, a list in its order, where an input that could not be used is
            a `Failure` (its `error` says why) and does not keep the others from being done.

        Raises:
            InputError: The one recording cannot be used.
            ModelError: An unknown map method, or an option that is out of range or that the model has no token for.
            TypeError: There is no such option.
        """
        # any other sequence is one input, which `Recording.open` refuses by its type
        several = inputs if isinstance(inputs, list | tuple) else [cast(AudioSource, inputs)]
        results = self.stream(several, words=words, maps=maps, rate=rate, batch_size=batch_size, **options)
        return list(results) if several is inputs else the_only(results)

    def stream(
        self,
        inputs: Iterable[AudioSource],
        *,
        words: bool = False,
        maps: str | Sequence[str] | None = None,
        rate: int | None = None,
        batch_size: int | None = None,
        on_segment: OnSegment | None = None,
        **options: Unpack[TranscribeOptions],
    ) -> Iterator[Transcript | Failure]:
        """As calling the pipeline with a list, but lazy: gives the results in order, each as soon as it is done.

        Pieces of several recordings are computed together, where they are cut into pieces: no more recordings are read
        ahead than fill a batch.

        Args:
            inputs: Recordings; there may be endlessly many.
            words: As for the call, like all that is not named here.
            maps: Likewise.
            rate: Likewise.
            batch_size: Likewise.
            on_segment: Called with each segment as soon as it is ready: those of a recording in order, before its
                result is given and after that of the one before it.
            options: Likewise.
        """
        plan = self._plan(words, maps, batch_size, options)

        def talks() -> Iterator[TranscriptionJob]:
            for source in inputs:
                file = str(source) if isinstance(source, str | Path) else None
                yield TranscriptionJob(
                    file,
                    partial(self._open, source, rate),
                    self._listener(plan),
                    on_segment=on_segment,
                    shown=bool(plan.methods),
                )

        if plan.in_order:
            return one_by_one(talks(), partial(self._segments, plan=plan))
        return several_at_once(
            talks(),
            partial(self._pieces, plan=plan),
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
        **options: Unpack[TranscribeOptions],
    ) -> Iterator[Segment]:
        """The segments of one recording, each as soon as it is ready. Arguments and errors are those of the call."""
        plan = self._plan(words, None, batch_size, options)

        def found() -> Iterator[Segment]:
            with self._open(source, rate) as recording:
                yield from self._segments(recording, self._listener(plan), plan)

        return found()

    def _plan(
        self, words: bool, maps: str | Sequence[str] | None, batch_size: int | None, options: TranscribeOptions
    ) -> "_Plan":
        methods = chosen_methods(maps, SPEECH_METHODS)
        if batch_size is not None:
            check_at_least_one("batch_size", batch_size)
        check_names(options, TranscribeOptions)
        decoding = speech_options(
            options,
            self.bundle.decoding,
            tokens=self._speech.tokens,
            max_length=self._speech.model.config.decoder.max_length,
            has_ctc=self._speech.model.ctc_head is not None,
            source=self.bundle.source,
        )
        in_order = decoding.timestamps and (batch_size or 1) == 1
        return _Plan(
            decoding,
            words=words or bool(methods),
            methods=methods,
            in_order=in_order,
            batch_size=batch_size or _BATCH,
            seed=options.get("seed") or 0,
        )

    def _open(self, source: AudioSource, rate: int | None) -> Recording:
        is_file = isinstance(source, str | Path | bytes)
        return Recording.open(source, rate=self.bundle.sound.sample_rate, source_rate=None if is_file else rate)

    def _listener(self, plan: "_Plan") -> WordTimestamper:
        return WordTimestamper(self._speech, words=plan.words, methods=plan.methods)

    def _segments(self, recording: Recording, listener: WordTimestamper, plan: "_Plan") -> Iterator[Segment]:
        generator = torch.Generator(self.device).manual_seed(plan.seed)
        if plan.in_order:
            return transcribe_in_order(self._speech, recording, plan.options, generator=generator, annotate=listener)
        return transcribe_pieces(
            self._speech,
            recording,
            plan.options,
            batch_size=plan.batch_size,
            generator=generator,
            annotate=listener,
        )

    def _pieces(self, recording: Recording, listener: WordTimestamper, plan: "_Plan") -> Iterator[Waiting]:
        generator = torch.Generator(self.device).manual_seed(plan.seed)
        return waiting_pieces(self._speech, recording, plan.options, generator=generator, annotate=listener)


@dataclass(frozen=True)
class _Plan:
    """What is to be done with each recording."""

    options: SpeechOptions
    words: bool
    methods: tuple[str, ...]
    in_order: bool
    batch_size: int
    seed: int
