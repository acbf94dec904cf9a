"""A known text for a window: how probable the model finds it there, and when each of its words is spoken.

Notation: t samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...alignment import SpokenWord, TokenAttention, token_attention, word_times
from ...inputs.text import Word
from .model import Encoded, SpeechModel


class ForcedWord(NamedTuple):
    """A word of the text, as the model is to read it."""

    text: str
    tokens: tuple[int, ...]
    """At least one."""


@dataclass(frozen=True, eq=False)
class ForcedWindow:
    """A window of a recording, encoded once for any number of texts."""

    speech: SpeechModel
    samples: Float[Tensor, " t"]
    """Mono, at the model's rate, at most a window's."""

    encoded: Encoded
    language: str | None

    @classmethod
    def of(cls, speech: SpeechModel, samples: Float[Tensor, " t"], *, language: str | None) -> "ForcedWindow":
        """Encode a window.

        Args:
            speech: The model.
            samples: As the field.
            language: The code of the language; None for a model of one.
        """
        preprocessing = speech.preprocessing
        encoded = speech.encode(preprocessing.features(samples)[None], [preprocessing.frames(len(samples))])
        return cls(speech, samples, encoded, language)

    @property
    def prompt(self) -> list[int]:
        """The tokens before the text."""
        return self.speech.tokens.prompt(language=self.language)

    @property
    def room(self) -> int:
        """The most tokens of a text."""
        return self.speech.model.config.decoder.max_length - len(self.prompt) - 1

    @torch.inference_mode()
    def read(self, words: Sequence[ForcedWord]) -> "ForcedText":
        """Replay a text, by one decoder pass.

        Args:
            words: In order, at least one; of at most `room` tokens.
        """
        prompt, speech = self.prompt, self.speech
        tokens = [*prompt, *(token for word in words for token in word.tokens)]
        (attention,) = token_attention(
            speech.model,
            self.encoded.projected,
            [tokens],
            prompt_lengths=[len(prompt)],
            frames=self.encoded.frames,
            heads=speech.heads,
            scored=True,
            special_ids=speech.tokenizer.special_ids,
        )
        return ForcedText(self, tuple(words), tuple(tokens), attention)


@dataclass(frozen=True, eq=False)
class ForcedText:
    """A text that was replayed for a window."""

    window: ForcedWindow
    words: tuple[ForcedWord, ...]
    tokens: tuple[int, ...]
    """With the prompt."""

    attention: TokenAttention

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """For each word, its first token and the one after its last, counted from the end of the prompt."""
        ends = np.cumsum([len(word.tokens) for word in self.words]).tolist()
        return list(zip([0, *ends], ends, strict=False))

    @property
    def log_probs(self) -> np.ndarray:
        """(words,) the log-probability (natural) of each word, given the words before it: the sum of its tokens'."""
        known = self.attention.log_probs
        assert known is not None
        return np.array([known[first:stop].sum() for first, stop in self.bounds])

    def spelled(self) -> list[Word]:
        """Return the words with their tokens, one space apart."""
        found, at = list[Word](), 0
        for word, (first, stop) in zip(self.words, self.bounds, strict=True):
            found.append(Word(word.text, at, at + len(word.text), tuple(range(first, stop))))
            at += len(word.text) + 1
        return found

    def times(self) -> list[SpokenWord]:
        """Return when each word is spoken, in seconds from the start of the window."""
        window, speech = self.window, self.window.speech
        (spoken,) = word_times(
            speech.model,
            window.encoded.projected,
            [self.tokens],
            [self.spelled()],
            prompt_lengths=[len(window.prompt)],
            frames=window.encoded.frames,
            heads=speech.heads,
            frame_seconds=speech.frame_seconds,
            attention=[self.attention],
            merge=False,
            samples=[window.samples],
            sample_rate=speech.preprocessing.sample_rate,
            min_seconds=speech.frame_seconds,
        )
        return spoken
