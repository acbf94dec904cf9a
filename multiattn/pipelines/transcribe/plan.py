"""What a call of the transcription pipeline asks for, checked, and how a recording is transcribed by it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch

from ...checks import require
from ...errors import ModelError
from ...inputs import Recording
from ...inputs.audio_channels import check_channel
from ...weights import ModelBundle
from ..map_request import MapRequest
from ..options import check_options
from .chunked import PendingChunk, pending_chunks, transcribe_chunked
from .given_transcript import given_segments
from .language import language_of
from .model import SpeechModel
from .options import SpeechOptions, TranscribeOptions, speech_options
from .segments import Segment
from .sequential import transcribe_in_order
from .steering import suppressed_tokens
from .word_timestamps import WordTimestamper

_BATCH = 8  # chunks decoded at once by default


@dataclass(frozen=True)
class Plan:
    """A call's options with those of the model and the defaults."""

    speech: SpeechModel
    options: SpeechOptions
    words: bool
    maps: MapRequest
    in_order: bool
    """Whether windows follow each other; else chunks are decoded together."""

    batch_size: int
    seed: int
    channel: str | int
    explain_text: str | None = None
    """The text that takes the place of the transcript."""

    @classmethod
    def of(
        cls,
        speech: SpeechModel,
        bundle: ModelBundle,
        asked: TranscribeOptions,
        *,
        words: bool,
        maps: MapRequest,
        batch_size: int | None,
    ) -> "Plan":
        """Check what a call asks for.

        Args:
            speech: The model.
            bundle: Its directory, whose options count where the call has none.
            asked: The call's options.
            words: As for the pipeline's call, like `batch_size`.
            maps: The maps asked for.
            batch_size: As above.

        Raises:
            ModelError: An option is out of range or not possible with the model.
            TypeError: There is no such option.
        """
        decoder = speech.model.config.decoder
        require(batch_size is None or batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        check_options(asked, TranscribeOptions)
        if (suppress := asked.get("suppress")) is not None:
            never = suppressed_tokens(suppress, speech.tokenizer, speech.tokens, vocab_size=decoder.vocab_size)
            asked = TranscribeOptions(**{**asked, "suppress": never})
        decoding = speech_options(
            asked,
            bundle.decoding,
            tokens=speech.tokens,
            max_length=decoder.max_length,
            has_ctc=speech.model.ctc_head is not None,
            source=bundle.source,
        )
        channel = check_channel("auto" if asked.get("channel") is None else asked["channel"] or "")
        if channel == "each" and maps.methods:
            raise ModelError("`maps` must be of one channel, but `channel` is 'each' instead: name one")
        text = asked.get("explain_text")
        if text is not None and channel == "each":
            raise ModelError("`explain_text` must be of one channel, but `channel` is 'each' instead: name one")
        return cls(
            speech,
            decoding,
            words=words or bool(maps.methods) or text is not None,
            maps=maps,
            in_order=text is not None or (decoding.timestamps and (batch_size or 1) == 1),
            batch_size=batch_size or _BATCH,
            seed=asked.get("seed") or 0,
            channel=channel,
            explain_text=text,
        )

    def timestamper(self) -> WordTimestamper:
        """Return what adds words to the segments of a recording."""
        return WordTimestamper(self.speech, words=self.words, maps=self.maps)

    def segments(self, recording: Recording, timestamper: WordTimestamper) -> Iterator[Segment]:
        """Transcribe a recording; yield its segments as soon as they are ready."""
        options = self._with_language(recording, timestamper)
        if self.explain_text is not None:
            return given_segments(self.speech, recording, self.explain_text, options, add_words=timestamper)
        transcribe = transcribe_in_order if self.in_order else partial(transcribe_chunked, batch_size=self.batch_size)
        return transcribe(self.speech, recording, options, generator=self._generator(), add_words=timestamper)

    def chunks(self, recording: Recording, timestamper: WordTimestamper) -> Iterator[PendingChunk]:
        """Yield the chunks of a recording that are to be transcribed."""
        options = self._with_language(recording, timestamper)
        return pending_chunks(self.speech, recording, options, generator=self._generator(), add_words=timestamper)

    def _generator(self) -> torch.Generator:
        return torch.Generator(self.speech.device).manual_seed(self.seed)

    def _with_language(self, recording: Recording, timestamper: WordTimestamper) -> SpeechOptions:
        """Return the options with the language of a recording, which its timestamper is told, too."""
        timestamper.language = language_of(self.speech, recording, self.options)
        return replace(self.options, language=timestamper.language.code)
