"""Transcription on onnxruntime, without torch: window after window, each beginning where the text before it ended.

It does what `TranscribePipeline` does for models that write times, with `vad="off"` and at the temperature 0: greedy
or beam search, the text so far as the prompt, the language by the first window in which there is sound. A recording is
in memory as a whole.

Source: openai-whisper, transcribe.py.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from ...errors import InputError, ModelError
from ...inputs import SpeechTokens
from ...inputs.audio_channels import check_channel, choose_channels
from ...inputs.mel_settings import MelSettings, log_power, scaled
from ...inputs.sound import ArrayRecording, AudioSource
from ...inputs.streams import NamedStream
from ...pipelines.results import Failure
from ...pipelines.transcribe.cutting import (
    TOO_HOT,
    Segment,
    WindowText,
    cut_by_times,
    has_no_speech,
    is_dropped,
    is_silent,
)
from ...pipelines.transcribe.languages import Language, told
from ...pipelines.transcribe.options import SpeechOptions, TranscribeOptions, speech_options
from ...pipelines.transcribe.results import Transcript
from ...pipelines.transcribe.steering import context_of, initial_prompt, prefix_of, suppressed_tokens
from ...pipelines.transcribe.window_search import judged, prompt_of, search_at
from .arrays import softmax
from .decoding import Context, Decoder
from .directory import ExportedModel
from .rules import Rule, timestamp_rules

_MARGIN = 4  # hops of silence after a recording, more than a Fourier transform extends into


class OnnxRecognizer:
    """Transcribes recordings. Safe to call from several threads.

    Args:
        model: The exported model.

    Raises:
        ModelError: A graph or the vocabulary is missing or damaged, or the model writes no times or masks its input.
    """

    def __init__(self, model: ExportedModel) -> None:
        self.bundle, self.tokenizer = model, model.tokenizer
        architecture = model.config["architecture"]
        config = architecture["decoder"]
        self._sound = MelSettings.from_dict(model.config["preprocessing"])
        self._stride = prod(architecture["encoder"]["strides"])
        self.tokens = SpeechTokens.of(
            self.tokenizer, start=config["start_token"], end=config["end_token"], vocab_size=config["vocab_size"]
        )
        if self.tokens.first_timestamp is None or self._sound.scale != "whisper":
            raise ModelError(f"{model.source} must write times, as Whisper does, to be run without torch, but does not")
        self._encoder = model.session("encoder")
        if "lengths" in self._encoder.inputs:
            raise ModelError(
                f"{model.source} must read windows of one length, as Whisper does, to be run without torch, but masks "
                "what comes after a recording instead"
            )
        self._decoder = Decoder(model.session("decoder"), config)

    @property
    def max_length(self) -> int:
        """The most tokens of a text, prompt included."""
        return self._decoder.max_length

    def text_of(self, tokens: Sequence[int]) -> str:
        """Decode tokens without their timestamps; a space before the text is kept."""
        return self.tokenizer.decode([token for token in tokens if not self.tokens.is_timestamp(token)])

    def stream(
        self,
        inputs: Iterable[AudioSource],
        *,
        maps: None = None,
        words: bool = False,
        batch_size: int | None = None,
        strict: bool = False,
        speakers: None = None,
        on_segment: Callable[[Segment], None] | None = None,
        **options: Unpack[TranscribeOptions],
    ) -> Iterator[Transcript | Failure]:
        """Yield the transcripts in the order of the recordings; see `TranscribePipeline.stream`.

        Raises:
            ModelError: An option is out of range, not possible with the model, or needs torch.
        """
        asked = self._possible(options, words=words, batch_size=batch_size)
        plan = speech_options(
            asked,
            self.bundle.decoding,
            tokens=self.tokens,
            max_length=self.max_length,
            has_ctc=False,
            source=self.bundle.source,
        )
        channel = check_channel("auto" if asked.get("channel") is None else asked["channel"] or "")
        return (self._transcribed(source, plan, channel, strict=strict, on_segment=on_segment) for source in inputs)

    def _possible(self, options: TranscribeOptions, *, words: bool, batch_size: int | None) -> TranscribeOptions:
        """Return the options with the defaults of this runtime.

        Raises:
            ModelError: One needs torch.
        """
        needs = {
            "words": words,
            "batch_size": (batch_size or 1) > 1,
            "vad": options.get("vad") == "on",
            "temperatures": any(options.get("temperatures") or ()),
            "ctc_weight": bool(options.get("ctc_weight")),
            "clips": options.get("clips") is not None,
            "explain_text": options.get("explain_text") is not None,
            "multilingual": bool(options.get("multilingual")),
        }
        if wanted := [name for name, is_wanted in needs.items() if is_wanted]:
            raise ModelError(f"`{wanted[0]}` needs torch: leave it out, or use another runtime")
        asked = TranscribeOptions(**{**options, "vad": "off", "temperatures": (0.0,), "ctc_weight": 0.0})
        if (suppress := asked.get("suppress")) is not None:
            asked["suppress"] = suppressed_tokens(
                suppress, self.tokenizer, self.tokens, vocab_size=self._decoder.vocab_size
            )
        return asked

    def _transcribed(
        self,
        source: AudioSource,
        options: SpeechOptions,
        channel: str | int,
        *,
        strict: bool,
        on_segment: Callable[[Segment], None] | None,
    ) -> Transcript | Failure:
        file = str(source) if isinstance(source, str | Path | NamedStream) else None
        try:
            with ArrayRecording.open(source, rate=self._sound.sample_rate, strict=strict) as recording:
                return self._transcript(file, recording, options, channel, on_segment)
        except InputError as error:
            return Failure(file, error)

    def _transcript(
        self,
        file: str | None,
        recording: ArrayRecording,
        options: SpeechOptions,
        channel: str | int,
        on_segment: Callable[[Segment], None] | None,
    ) -> Transcript:
        chosen = choose_channels(recording, channel)
        segments, languages = list[Segment](), list[Language]()
        for voice in chosen.voices:
            blocks = list(voice.recording.blocks())
            samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
            language = self._language(samples, options)
            languages.append(language)
            for segment in self._segments(samples, replace(options, language=language.code)):
                segments.append(segment if voice.channel is None else replace(segment, channel=voice.channel))
                if on_segment is not None and not segment.is_dropped and len(chosen.voices) == 1:
                    on_segment(segment)
        segments.sort(key=lambda one: (one.start, one.end))
        kept = tuple(one for one in segments if not one.is_dropped)
        if on_segment is not None and len(chosen.voices) > 1:
            for segment in kept:
                on_segment(segment)
        language, doubts = told(languages, kept, options.language_threshold)
        return Transcript(
            file,
            kept,
            recording.measure(),
            language.code,
            damaged=recording.damaged,
            remark="; ".join(filter(None, (chosen.remark, *doubts))) or None,
            language_probability=language.probability,
            dropped=tuple(one for one in segments if one.is_dropped),
            task=options.task,
        )

    def _language(self, samples: np.ndarray, options: SpeechOptions) -> Language:
        """Return the language that is asked for, or else the most probable one in the first window with sound."""
        if options.language is not None or not self.tokens.languages:
            return Language(options.language)
        size = self._sound.max_samples
        windows = (samples[first : first + size] for first in range(0, len(samples), size))
        window = next((one for one in windows if not is_silent(one)), None)
        if window is None:
            return Language(None)
        padded = np.pad(window, (0, size - len(window)))
        context = self._encoded(scaled(log_power(self._sound, padded)))
        logits = self._decoder.next_logits(context, [[self.tokens.start]])[0]
        codes = list(self.tokens.languages)
        found = softmax(logits[list(self.tokens.languages.values())])
        best = np.argsort(-found, kind="stable")[:2].tolist()
        others = [(codes[i], float(found[i])) for i in best[1:]]
        return Language(codes[best[0]], float(found[best[0]]), *(others[0] if others else ()))

    def _segments(self, samples: np.ndarray, options: SpeechOptions) -> Iterator[Segment]:
        """Yield the segments of a recording."""
        sound, hop = self._sound, self._sound.hop
        frames, longest = len(samples) // hop, sound.frames(sound.max_samples)
        if not frames:
            return
        power = log_power(sound, np.pad(samples, (0, _MARGIN * hop)))  # (mels, frames and a margin)
        peak = float(power.max())
        previous, seek = initial_prompt(self, options), 0
        while seek < frames:
            count = min(longest, frames - seek)
            window = samples[seek * hop : (seek + count) * hop]
            after = seek + count
            if count < self._stride or is_silent(window):
                seek = after
                continue
            features = scaled(power[:, seek:after], peak=peak)
            result = self._decoded(self._encoded(np.pad(features, ((0, 0), (0, longest - count)))), options, previous)
            if has_no_speech(result, options):
                seek = after
                continue
            offset, seconds = self._seconds(seek), self._seconds(count)
            limit = self._seconds(frames - seek)
            cut = cut_by_times(self, result, offset=offset, duration=seconds, to_the_end=False, limit=limit)
            found = [
                self._flagged(one, window, offset, options)
                for one in cut.segments
                if one.start < one.end and one.text.strip()
            ]
            if result.hottest > TOO_HOT or result.flags or not options.condition_on_previous:
                previous = []
            else:
                previous = [*previous, *(token for one in found if not one.is_dropped for token in one.tokens)]
            reached = after if cut.reached is None else seek + round(cut.reached / sound.frame_seconds)
            seek = reached if seek < reached <= after else after
            if found:
                options = replace(options, prefix=None)
            yield from found

    def _seconds(self, frames: int) -> float:
        return frames * self._sound.hop / self._sound.sample_rate

    def _flagged(self, segment: Segment, window: np.ndarray, offset: float, options: SpeechOptions) -> Segment:
        """Return a segment with the flag "silence" if its samples are silent, and whether it is dropped."""
        rate = self._sound.sample_rate
        own = window[round((segment.start - offset) * rate) : round((segment.end - offset) * rate)]
        flags = (*segment.flags, *(("silence",) if is_silent(own) else ()))
        dropped = is_dropped(flags, segment.no_speech_prob, options, is_covered=True)
        return replace(segment, flags=flags, is_dropped=dropped)

    def _encoded(self, features: np.ndarray) -> Context:
        return Context(self._encoder(features=features[None].astype(np.float32))["context"])

    def _decoded(self, context: Context, options: SpeechOptions, previous: Sequence[int]) -> WindowText:
        """Return the text of a window."""
        tokens = self.tokens
        prompt = prompt_of(self, options, options.language, context_of(self, options, previous))
        no_speech: float | None = None
        if tokens.no_speech is not None:
            before = prompt[: prompt.index(tokens.start) + 1]
            no_speech = float(softmax(self._decoder.next_logits(context, [before])[0])[tokens.no_speech])
        short = tokens.prompt(language=options.language, task=options.task)
        config = search_at(options, 0.0, room=self.max_length - len(short) - 1, forced=prefix_of(self, options))
        [[found, *_]] = self._decoder.generate(
            context, [prompt], config, rules=self._rules(options, len(prompt)), stop=(tokens.end,)
        )
        return judged(self, found, options, config, 0.0, no_speech, options.language)

    def _rules(self, options: SpeechOptions, prompt_length: int) -> list[Rule]:
        tokens, latest = self.tokens, options.max_initial_time
        if not options.timestamps or tokens.first_timestamp is None:
            return []
        facts: dict[str, Any] = {
            "first": tokens.first_timestamp,
            "end": tokens.end,
            "prompt_length": prompt_length,
            "no_timestamps": tokens.no_timestamps,
            "latest_start": None if latest is None else round(latest / tokens.timestamp_step),
        }
        return [partial(timestamp_rules, **facts)]
