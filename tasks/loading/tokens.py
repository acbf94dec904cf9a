"""Texts as tokens: checked against the vocabulary, kept in one array for a split, and padded to a table."""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from multiattn.data.packed import SharedArray, narrowed
from multiattn.data.recordings import SpeechRecords, clean_transcript
from multiattn.errors import InputError
from multiattn.inputs import Tokenizer

from ..contracts import TokenFormat


def known_tokens(text: str, tokenizer: Tokenizer, *, place: str, kind: str) -> list[int]:
    """Encode a question or an answer, without special tokens at its ends.

    Args:
        text: As it was written.
        tokenizer: Encodes the text.
        place: Where the text is from, for the message.
        kind: What it is, for the message: "question".

    Raises:
        InputError: The text has no word that the vocabulary has.
    """
    ids = tokenizer.encode(text)
    if not is_known(ids, tokenizer):
        raise InputError(
            f"{place}: the {kind} must have words in letters that the vocabulary has, but is {text[:60]!r} instead. "
            "Correct it, or learn a vocabulary from training questions that have them."
        )
    return ids


def is_known(ids: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Whether the tokens of a text have a word that the vocabulary has."""
    return bool(tokenizer.decode(ids).strip())


class TokenRows:
    """The tokens of all texts of a split in one array: worker processes share its memory, which they cannot of lists.

    Each item of the split has any number of texts.
    """

    def __init__(self, items: Iterable[Iterable[Sequence[int]]]) -> None:
        """Copy the tokens.

        Args:
            items: The tokens of each text of each item.
        """
        tokens, lengths, counts = array("i"), array("i"), array("i")
        for texts in items:
            before = len(lengths)
            for row in texts:
                tokens.extend(row)
                lengths.append(len(row))
            counts.append(len(lengths) - before)
        # the first text of each item, and the first token of each text; then the number of them
        self._first, self._starts = (SharedArray(narrowed(np.cumsum([0, *some]))) for some in (counts, lengths))
        self._tokens = SharedArray(np.asarray(tokens, np.int32))

    def count(self, item: int) -> int:
        """The number of texts of an item."""
        first = self._first.values
        return int(first[item + 1] - first[item])

    def row(self, item: int, number: int) -> np.ndarray:
        """The tokens of text `number` of an item."""
        found: np.ndarray = self._tokens.values[self.span(item, number)]
        return found

    def span(self, item: int, number: int) -> slice:
        """The part of the array that holds these tokens."""
        row = self.first(item) + number
        return slice(self._starts.values[row], self._starts.values[row + 1])

    def first(self, item: int) -> int:
        """The number of texts of all items before this one."""
        return int(self._first.values[item])


def with_ends(ids: Sequence[int], *, start: int, end: int, room: int) -> list[int]:
    """Put the start and the end token around a text that a decoder learns to write.

    Args:
        ids: The tokens of the text.
        start: The token before each text.
        end: The token after it.
        room: The largest number of tokens between them. A longer text is cut after one more, and has no end token
            then: the decoder must not learn to end there.
    """
    return [start, *ids[: room + 1]] if len(ids) > room else [start, *ids, end]


def padded(rows: Sequence[np.ndarray | list[int]], pad: int) -> tuple[Int64[Tensor, "r n"], Bool[Tensor, "r n"]]:
    """Pad rows of tokens to a table; its mask is False where a token is padding."""
    tokens = np.full((len(rows), max(map(len, rows), default=2)), pad, np.int64)
    attention_mask = np.zeros(tokens.shape, np.bool_)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = row
        attention_mask[number, : len(row)] = True
    return torch.from_numpy(tokens), torch.from_numpy(attention_mask)


class Transcripts:
    """Encodes transcripts."""

    def __init__(self, tokenizer: Tokenizer, form: TokenFormat, *, clean: bool) -> None:
        """Set how.

        Args:
            tokenizer: Encodes a text.
            form: The format of the texts that the decoder writes.
            clean: Whether texts are cleaned first (`clean_transcript`).
        """
        self.tokenizer, self.clean, self.form, self.room = tokenizer, clean, form, form.room
        self._unknown = tokenizer.id_of("[UNK]")
        # a vocabulary that keeps spaces has words with a space before them, which the first word of a text needs, too
        self._space = " " if tokenizer.decode(tokenizer.encode(" a")) == " a" else ""

    def check(self, records: SpeechRecords) -> None:
        """Make sure that the vocabulary has all characters of the transcripts.

        Raises:
            InputError: It lacks one, or a transcript is empty once it is cleaned. The message names the recording.
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
        """Encode a transcript, from the start token to the end token.

        Raises:
            InputError: There are more tokens than the decoder has positions for.
        """
        cleaned = self._cleaned(text)
        ids = self.tokenizer.encode(self._space + cleaned) if cleaned else []
        if len(ids) > self.room:
            raise InputError(
                f"the transcript must have at most {self.room} tokens, for which the decoder has positions, but has "
                f"{len(ids)} instead: {text[:40]!r} ... Cut the recording into shorter ones."
            )
        return np.array([self.form.start, *ids, self.form.end], np.int64)

    def _cleaned(self, text: str) -> str:
        return clean_transcript(text) if self.clean else text.strip()
