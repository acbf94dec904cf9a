"""Transcription of sound while it comes in: words that will not change any more, and those that may.

The sound since the last trim is decoded again whenever a step of new sound is there. The words that are settled are
forced, so they never change; of what follows, the words that two decodes agree on are settled (`agreement`). At pauses
all words are settled (`live_gate`). The buffer is trimmed after settled words, so that memory and the time of a decode
are bounded.

Times are in seconds since the first sample. Notation: t samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ...alignment import SpokenWord
from ...checks import check_rules
from ...errors import InputError, ModelError
from .agreement import LocalAgreement
from .given_text import key_of
from .live_gate import STEP_SECONDS, SpeechGate, Voice
from .live_window import Hypothesis, LiveWord, read_on
from .model import SpeechModel
from .options import SpeechOptions
from .results import Transcript
from .segments import Segment
from .steering import context_of, initial_prompt
from .word_segments import segment_of


@dataclass(frozen=True)
class LiveRules:
    """When live sound is decoded, settled and trimmed. All values are seconds."""

    step: float = 1.0
    """New sound after which the buffer is decoded again. Where decoding takes longer than this, steps become longer."""

    pause: float = 0.6
    """A silence that ends an utterance: its words are settled at once."""

    trim: float = 15.0
    """A longer buffer is cut after a settled word, at the end of a sentence if there is one."""

    longest: float = 25.0
    """A buffer that reaches this length, for nothing could be settled, is settled as it is."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ModelError: A value is out of range.
        """
        check_rules(
            self,
            ("step", 0.1 <= self.step <= 10, "from 0.1 to 10 s"),
            ("pause", 0.1 <= self.pause <= 10, "from 0.1 to 10 s"),
            ("trim", 0.5 <= self.trim, "at least 0.5 s"),
            ("longest", self.trim < self.longest, "above `trim`"),
            error=ModelError,
        )


class LiveUpdate(NamedTuple):
    """What the last samples changed."""

    settled: tuple[SpokenWord, ...]
    """Words that were settled since the last update. They follow those settled before, and never change."""

    unsettled: tuple[SpokenWord, ...]
    """Words after these, as they would be now; the next update may have others."""

    text: str
    """The text of the settled words, with the space before it where one belongs there: joined, they are the text."""

    unsettled_text: str
    """The text of the unsettled words, likewise."""

    seconds: float
    """Sound taken so far."""

    is_end: bool
    """Whether the last of the settled words ends an utterance."""

    def to_dict(self) -> dict[str, object]:
        """Everything, as JSON values; times to the millisecond."""
        fields = {"settled": self.settled, "unsettled": self.unsettled}
        words = {name: [_word_fields(word) for word in words] for name, words in fields.items()}
        texts = {"text": self.text, "unsettled_text": self.unsettled_text}
        return {"seconds": round(self.seconds, 3), **texts, **words, "is_end": self.is_end}


_TRIM_SHARE = 0.6  # of the longest buffer, where a model's window is too short for the rules
_MOST_AT_ONCE = 4.0  # seconds of sound between two decodes, also where more is fed at once
_SENTENCE_ENDS = tuple(".?!…。？！")
_KEPT = 2  # settled words that stay in a buffer cut within a sentence: their times may be wrong by a little
_BRIDGED = 3.0  # seconds of the longest pause that sound on both sides is decoded together
_LEFT = 1.0  # seconds that stay of a buffer in which nothing is said
_PROMPT_TOKENS = 200  # of the text before the buffer


class LiveTranscriber:
    """Transcribes one stream of sound. Not safe for several threads.

    Args:
        speech: The model.
        options: How to decode; the search is greedy.
        rules: When to decode, settle and trim.
        voice: Tells where there is speech.
    """

    def __init__(self, speech: SpeechModel, options: SpeechOptions, *, rules: LiveRules, voice: Voice) -> None:
        window = speech.preprocessing.max_seconds
        self._at_once = min(_MOST_AT_ONCE, window / 6)
        # until the next decode, a step and what is fed at once may come on top
        longest = min(rules.longest, window - min(rules.step, window / 3) - self._at_once)
        if longest < rules.longest:
            rules = replace(
                rules, step=min(rules.step, window / 3), longest=longest, trim=min(rules.trim, _TRIM_SHARE * longest)
            )
        self._speech, self._options, self._rules = speech, options, rules
        self.rate = speech.preprocessing.sample_rate
        """Samples a second (Hz) of what it is fed."""
        self._gate = SpeechGate(voice, self.rate, pause=rules.pause)
        self._agreement = LocalAgreement()
        self._context = initial_prompt(speech, options)  # tokens of the text before the buffer
        self._conditions = options.condition_on_previous
        self._language = options.language
        self._buffer, self._start = torch.zeros(0), 0.0
        self._is_paused = False  # whether a pause follows the buffer, all of whose words are settled
        self._new = 0  # samples of the buffer that no decode has read
        self._settled: list[LiveWord] = []  # those whose sound is in the buffer
        self._open: list[LiveWord] = []  # those after them, in the last decode
        self._reached = 0.0  # the end of the last settled word
        self._taken = 0
        self._sentence: list[LiveWord] = []
        self._segments: list[Segment] = []
        self._is_finished = False

    @property
    def language(self) -> str | None:
        """Code of the language spoken; None for a model of one, and before the first words."""
        return self._language

    @property
    def seconds(self) -> float:
        """Sound taken so far."""
        return self._taken / self.rate

    def feed(self, samples: np.ndarray | Tensor) -> LiveUpdate:
        """Take the next samples, decode if there is enough new speech, and return what that changed.

        Args:
            samples: Mono, of floats from -1 to 1 or of int16, at the model's sampling rate. Any number: all that have
                come in since the last call, so that steps grow where decoding is slower than the sound.

        Raises:
            InputError: The samples cannot be used, or the stream was finished.
        """
        if self._is_finished:
            raise InputError("`feed` must not follow `finish`: begin another stream")
        settled, is_end = list[LiveWord](), False
        for part in torch.split(_checked(samples), max(1, round(self._at_once * self.rate))):
            self._taken += len(part)
            for sound in self._gate.feed(part):
                self._add(sound.samples, sound.start)
                if sound.is_last:
                    settled += self._end()
                    is_end = True
            if self._new + STEP_SECONDS * self.rate > self._rules.step * self.rate:  # some is undecided still
                words = self._step()
                settled += words
                is_end = is_end and not words
        return self._update(settled, is_end=is_end and bool(settled))

    def finish(self) -> LiveUpdate:
        """Settle what is left; no samples follow."""
        settled = list[LiveWord]()
        for sound in () if self._is_finished else self._gate.finish():
            self._add(sound.samples, sound.start)
            settled += self._end()
        self._is_finished = True
        return self._update(settled, is_end=bool(settled))

    def transcript(self, *, file: str | None = None) -> Transcript:
        """Return the settled words as sentences.

        Args:
            file: What the transcript calls the recording.
        """
        segments = [*self._segments, *([self._segment()] if self._sentence else [])]
        return Transcript(file, tuple(segments), self.seconds, self._language)

    def _update(self, settled: Sequence[LiveWord], *, is_end: bool) -> LiveUpdate:
        return LiveUpdate(
            tuple(one.word for one in settled),
            tuple(one.word for one in self._open),
            _text(settled),
            _text(self._open),
            self.seconds,
            is_end,
        )

    # --- the buffer ---

    def _add(self, samples: Tensor, start: float) -> None:
        """Add sound to the buffer, where what was settled before a short pause stays: it helps the model."""
        pause = start - self._end_of_buffer
        if self._is_paused and (pause > _BRIDGED or start - self._start > _TRIM_SHARE * self._rules.trim):
            self._drop_until(np.inf, len(self._settled))
        if not len(self._buffer):
            self._start = start
        elif self._is_paused:
            self._buffer = torch.cat([self._buffer, torch.zeros(max(0, round(pause * self.rate)))])
        self._is_paused = False
        self._buffer = torch.cat([self._buffer, samples])
        self._new += len(samples)

    def _step(self) -> list[LiveWord]:
        """Decode the buffer; return the words that this settles."""
        found = self._read()
        settled = self._settle(self._agreement.agreed([self._key(one) for one in found]))
        if len(self._buffer) > self._rules.trim * self.rate:
            self._trim()
        if len(self._buffer) >= self._rules.longest * self.rate:
            settled += self._settle(len(self._open))
            self._trim()
            # nothing that could be cut after: what remains is no speech
            self._drop_until(self._start + max(0.0, len(self._buffer) / self.rate - _LEFT), 0)
        return settled

    def _end(self) -> list[LiveWord]:
        """Settle the rest of an utterance."""
        if self._new:
            self._read()
        found = self._settle(len(self._open))
        self._agreement.reset()
        self._close()
        self._is_paused = True
        return found

    def _read(self) -> list[LiveWord]:
        """Decode what follows the settled words in the buffer."""
        self._new = 0
        if len(self._buffer) < self._speech.stride * self._speech.preprocessing.hop:  # too short for a word
            self._open = []
            return []
        found: Hypothesis = read_on(
            self._speech,
            self._options,
            self._buffer[: self._speech.preprocessing.max_samples],
            start=self._start,
            settled=self._settled,
            reached=max(self._reached, self._start),
            context=context_of(self._speech, self._options, self._context),
            language=self._language,
        )
        self._language = self._language or found.language
        if found.is_loop:  # a prompt may be the reason
            self._context = []
        self._open = list(found.words)
        return self._open

    def _key(self, one: LiveWord) -> str:
        return key_of(one.word.text, self._language) or one.word.text

    def _settle(self, count: int) -> list[LiveWord]:
        """Settle the first of the words that follow."""
        chosen, self._open = self._open[:count], self._open[count:]
        self._agreement.settled(count)
        self._settled += chosen
        for one in chosen:
            self._reached = max(self._reached, one.word.end)
            if self._sentence and self._sentence[-1].word.text.endswith(_SENTENCE_ENDS) and one.space:
                self._close()
            self._sentence.append(one)
        return chosen

    def _trim(self) -> None:
        """Cut the buffer after a settled word: the last that ends a sentence, or else the last but two."""
        ends = [i + 1 for i, one in enumerate(self._settled) if one.word.text.endswith(_SENTENCE_ENDS)]
        count = ends[-1] if ends else 0
        if not count or self._end_of_buffer - self._settled[count - 1].word.end > self._rules.trim:
            count = max(count, len(self._settled) - _KEPT)
        if count <= 0:
            return
        following = [*self._settled[count:], *self._open]
        end = self._settled[count - 1].word.end
        self._drop_until((end + following[0].word.start) / 2 if following else end, count)

    @property
    def _end_of_buffer(self) -> float:
        return self._start + len(self._buffer) / self.rate

    def _drop_until(self, time: float, count: int) -> None:
        """Drop the sound before a time, and the first settled words, which become part of the prompt."""
        if count:  # without conditioning, only the first words follow a prompt
            tokens = [token for one in self._settled[:count] for token in one.tokens] if self._conditions else []
            self._context = [*(self._context if self._conditions else []), *tokens][-_PROMPT_TOKENS:]
        del self._settled[:count]
        first = round(min(max(0.0, time - self._start), len(self._buffer) / self.rate) * self.rate)
        self._buffer = self._buffer[first:].clone()
        self._start += first / self.rate

    # --- the transcript ---

    def _close(self) -> None:
        if self._sentence:
            self._segments.append(self._segment())
            self._sentence = []

    def _segment(self) -> Segment:
        text, words = "", list[SpokenWord]()
        for one in self._sentence:
            start = len(text) + len(one.space) if text else 0
            text = text + one.space + one.word.text if text else one.word.text
            words.append(one.word._replace(start_char=start, end_char=len(text)))
        return segment_of(text, words, spoken=words, flags=())


def _text(words: Sequence[LiveWord]) -> str:
    return "".join(one.space + one.word.text for one in words)


def _word_fields(word: SpokenWord) -> dict[str, object]:
    start, end = round(word.start, 3), round(word.end, 3)
    return {"word": word.text, "start": start, "end": end, "score": round(word.score, 4)}


def _checked(samples: np.ndarray | Tensor) -> Float32[Tensor, " t"]:
    found = torch.as_tensor(samples)
    if found.ndim != 1 or not (found.is_floating_point() or found.dtype == torch.int16):
        raise InputError(
            f"`samples` must be one row of floats or int16, but are of shape {tuple(found.shape)} and {found.dtype} "
            "instead."
        )
    found = found.float() / 32768 if found.dtype == torch.int16 else found.float()
    return torch.where(found.isfinite(), found, torch.zeros_like(found)).clamp(-1e3, 1e3).cpu()
