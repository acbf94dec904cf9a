"""The special tokens of a speech recognizer's vocabulary: languages, tasks, timestamps, and the previous text.

Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section 2.3; openai-whisper,
tokenizer.py and decoding.py (`_get_initial_tokens`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..checks import require
from ..errors import InputError, ModelError
from .text import Tokenizer

_START = "<|startoftranscript|>"
_TRANSLATE = "<|translate|>"
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")  # the current and the former name
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_STEP = 0.02  # seconds between two timestamps

ENGLISH_ONLY = 51864
"""Size of the published English-only vocabulary, which has the tokens of all languages without using them."""

TIMESTAMPS = 1501
"""Number of timestamps in the published vocabularies, from 0 to 30 seconds."""

POSITIONS = 448
"""Most tokens of a text of Whisper, the prompt included."""


def timestamp_name(index: int) -> str:
    """Return the name of the timestamp with this index, from 0, in a vocabulary."""
    return f"<|{index * _STEP:.2f}|>"


@dataclass(frozen=True)
class SpeechTokens:
    """The special tokens; None where the vocabulary lacks one."""

    start: int
    """The first token of a transcript."""

    end: int
    """The last token of a transcript."""

    languages: dict[str, int] = field(default_factory=dict)
    """The token of each language by its code, such as `en`; empty for a model of one language."""

    transcribe: int | None = None
    translate: int | None = None
    no_timestamps: int | None = None
    """Requests a transcript without timestamps."""

    first_timestamp: int | None = None
    """The timestamp of 0 seconds; those up to `last_timestamp` follow it."""

    last_timestamp: int | None = None
    timestamp_step: float = _STEP
    """Seconds from one timestamp to the next."""

    no_speech: int | None = None
    """Its probability after the start token is that of a chunk without speech."""

    previous: int | None = None
    """Begins the previous text in a prompt."""

    before: int | None = None
    """`<|startoflm|>`, which begins a text without sound; never part of a transcript."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, *, start: int, end: int, vocab_size: int) -> "SpeechTokens":
        """Find the special tokens of a vocabulary by the names that Whisper gives them.

        Args:
            tokenizer: The vocabulary.
            start: The first token of the model's texts.
            end: The last token of the model's texts.
            vocab_size: Number of the model's embeddings.

        Raises:
            ModelError: The model has no embedding for a token.
        """
        first = tokenizer.id_of(timestamp_name(0))
        last = first
        while last is not None and first is not None and tokenizer.id_of(timestamp_name(last + 1 - first)) == last + 1:
            last += 1
        found = cls(
            start=start,
            end=end,
            languages={} if vocab_size == ENGLISH_ONLY else _languages(tokenizer),
            transcribe=tokenizer.id_of("<|transcribe|>"),
            translate=tokenizer.id_of(_TRANSLATE),
            no_timestamps=tokenizer.id_of("<|notimestamps|>"),
            first_timestamp=first,
            last_timestamp=last,
            no_speech=next((token for name in _NO_SPEECH if (token := tokenizer.id_of(name)) is not None), None),
            previous=tokenizer.id_of("<|startofprev|>"),
            before=tokenizer.id_of("<|startoflm|>"),
        )
        for name, token in vars(found).items():
            if isinstance(token, int) and token >= vocab_size:
                raise ModelError(
                    f"`{name}` must be a token below the model's `vocab_size` ({vocab_size}), but is {token} instead: "
                    "put the model's own vocabulary beside it"
                )
        return found

    def prompt(
        self,
        *,
        language: str | None = None,
        task: str = "transcribe",
        timestamps: bool = False,
        previous: Sequence[int] = (),
        max_length: int = POSITIONS,
    ) -> list[int]:
        """Return the prompt that a transcript continues.

        Args:
            language: The code of the language; None for a model of one language, and only for one.
            task: `transcribe`, or `translate` to English.
            timestamps: Whether the transcript is to have timestamps.
            previous: Previous text, or text that shows how to spell; only the end of a long one is used.
            max_length: Positions of the decoder; `previous` may take half of them, less one.

        Raises:
            InputError: The model has no token for a requested option.
        """
        return [
            *self._previous(previous, max_length),
            self.start,
            *self._task(language, task),
            *self._times(timestamps),
        ]

    def _previous(self, previous: Sequence[int], max_length: int) -> list[int]:
        if not previous:
            return []
        if self.previous is None:
            raise InputError("`previous` must be empty for a model without <|startofprev|>, but is not: leave it out")
        room = max_length // 2 - 1
        return [self.previous, *(previous[-room:] if room > 0 else ())]

    def _task(self, language: str | None, task: str) -> list[int]:
        holds = task in ("transcribe", "translate")
        require(holds, "task", must="transcribe or translate", value=task, error=InputError)
        if not self.languages:
            if language is not None:
                raise InputError(
                    f"`language` must be None for a model of one language, but is {language!r} instead: leave it out"
                )
            if task == "translate":
                raise InputError(
                    "`task` must be transcribe for a model of one language, but is 'translate' instead: take a "
                    "multilingual model"
                )
            return []
        if language not in self.languages:
            known = ", ".join(sorted(self.languages))
            raise InputError(f"`language` must be one of {known}, but is {language!r} instead")
        token = self.transcribe if task == "transcribe" else self.translate
        if token is None:
            raise InputError(f"`task` must be one that the model has a token for, but is {task!r} instead")
        return [self.languages[language], token]

    def _times(self, timestamps: bool) -> list[int]:
        holds, must = self.first_timestamp is not None, "False for a model without timestamp tokens"
        require(holds or not timestamps, "timestamps", must=must, value=timestamps, error=InputError)
        return [] if timestamps or self.no_timestamps is None else [self.no_timestamps]

    def never_written(self) -> tuple[int, ...]:
        """Return the tokens that control the model and are never part of a transcript."""
        roles = (self.start, self.transcribe, self.translate, self.previous, self.before, self.no_speech)
        return tuple(sorted(token for token in roles if token is not None))

    def is_timestamp(self, token: int) -> bool:
        """Return whether a token is a timestamp."""
        if self.first_timestamp is None or self.last_timestamp is None:
            return False
        return self.first_timestamp <= token <= self.last_timestamp

    def seconds(self, token: int) -> float:
        """Return the time of a timestamp, in seconds from the start of the window.

        Raises:
            InputError: The token is no timestamp.
        """
        require(self.is_timestamp(token), "token", must="a timestamp", value=token, error=InputError)
        assert self.first_timestamp is not None
        return round((token - self.first_timestamp) * self.timestamp_step, 6)


_MARKS = '"#()*+/:;<=>@[\\]^_`{|}~「」『』'
_RUNS = (
    "<<",
    ">>",
    "<<<",
    ">>>",
    "--",
    "---",
    "-(",
    "-[",
    "('",
    '("',
    "((",
    "))",
    "(((",
    ")))",
    "[[",
    "]]",
    "{{",
    "}}",
)
_NOTES = "♩♪♫♬♭♮♯"


def not_speech(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the tokens of marks that are not spoken, with which captions on the web note speakers and sounds.

    Punctuation within a sentence is not included; hyphens and apostrophes only at the start of a word.

    Source: openai-whisper, tokenizer.py (`non_speech_tokens`).
    """
    found = {tokenizer.encode(start)[0] for start in (" -", " '")}
    for mark in (*_MARKS, *_RUNS, "♪♪", "♪♪♪", *_NOTES):
        for spelt in (mark, f" {mark}"):
            tokens = tokenizer.encode(spelt)
            # notes in several tokens share the first with other signs, and with no letter
            if len(tokens) == 1 or mark in _NOTES:
                found.add(tokens[0])
    return tuple(sorted(found))


def _languages(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the tokens of the languages, which are between the start token and the one for translation."""
    first, last = tokenizer.id_of(_START), tokenizer.id_of(_TRANSLATE)
    if first is None or last is None:
        return {}
    names = ((i, tokenizer.name_of(i)) for i in range(first + 1, last))
    return {match[1]: i for i, name in names if name and (match := _LANGUAGE.fullmatch(name))}
