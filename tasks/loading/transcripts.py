"""Transcripts to tokens, and what a vocabulary lacks for them."""

import numpy as np

from multiattn.data.recordings import SpeechRecords, clean_transcript
from multiattn.errors import InputError
from multiattn.inputs import Tokenizer


class Transcripts:
    """The way from a transcript to tokens."""

    def __init__(self, tokenizer: Tokenizer, *, clean: bool, start: int, end: int, room: int) -> None:
        """Describe it.

        Args:
            tokenizer: Makes tokens of a text.
            clean: Whether texts are cleaned first (`clean_transcript`).
            start: The token before each text.
            end: The token after it.
            room: Tokens a text may have between them.
        """
        self.tokenizer, self.clean, self.start, self.end, self.room = tokenizer, clean, start, end, room
        self._unknown = tokenizer.id_of("[UNK]")
        # a vocabulary that keeps spaces has its words with the space before them, also at the beginning of a text
        self._space = " " if tokenizer.decode(tokenizer.encode(" a")) == " a" else ""

    def check(self, records: SpeechRecords) -> None:
        """Make sure that the vocabulary has what the transcripts are written in.

        Raises:
            InputError: It does not, or nothing is left of a transcript once it is cleaned. The message names the
                recording.
        """
        known: set[str] = set()
        for path, text in records.items:
            cleaned = self._cleaned(text)
            if text.strip() and not cleaned:
                raise InputError(
                    f"{path}: no words are left of the transcript {text!r} once it is cleaned. Correct it, or leave it "
                    "empty where nothing is said."
                )
            new = set(cleaned) - known
            unknown = [letter for letter in sorted(new) if self._unknown in self.tokenizer.encode(letter)]
            if unknown and self._unknown is not None:
                letters = ", ".join(repr(letter) for letter in unknown)
                raise InputError(
                    f"{path}: the transcript must be in characters that the vocabulary has, but has {letters} instead. "
                    "Correct it, or learn a vocabulary from training texts that have them, with `clean`."
                )
            known |= new

    def encode(self, text: str) -> np.ndarray:
        """The tokens of a transcript, from start to end.

        Raises:
            InputError: They are more than the decoder has room for.
        """
        cleaned = self._cleaned(text)
        ids = self.tokenizer.encode(self._space + cleaned) if cleaned else []
        if len(ids) > self.room:
            raise InputError(
                f"the transcript must have at most {self.room} tokens, for which the decoder has positions, but has "
                f"{len(ids)} instead: {text[:40]!r} ... Cut the recording into shorter ones."
            )
        return np.array([self.start, *ids, self.end], np.int64)

    def _cleaned(self, text: str) -> str:
        return clean_transcript(text) if self.clean else text.strip()
