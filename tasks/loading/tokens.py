"""Texts as data has them: what may stand in one, and its tokens, padded to a table."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from multiattn.errors import InputError
from multiattn.inputs import Tokenizer


def known_tokens(text: str, tokenizer: Tokenizer, *, place: str, kind: str) -> list[int]:
    """The tokens of a question or an answer, without special ones at its ends.

    Args:
        text: As it was written.
        tokenizer: That makes them.
        place: Whose it is, for the message.
        kind: What it is: "question".

    Raises:
        InputError: No word is in the vocabulary, or there is none.
    """
    ids = tokenizer.encode(text)
    if not is_known(ids, tokenizer):
        raise InputError(
            f"{place}: the {kind} must have words in letters that the vocabulary has, but is {text[:60]!r} instead. "
            "Correct it, or learn a vocabulary from training questions that have them."
        )
    return ids


def is_known(ids: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Whether tokens of a text have a word that the vocabulary has."""
    return bool(tokenizer.decode(ids).strip())


class TokenRows:
    """The tokens of the texts of a split's items, in one array, which worker processes share; lists they cannot."""

    def __init__(self, items: Iterable[Iterable[Sequence[int]]]) -> None:
        """Take them up.

        Args:
            items: Of each item its texts, as tokens.
        """
        rows: list[Sequence[int]] = []
        self.first = [0]
        """The first text of each item; then the number of texts."""
        for texts in items:
            rows.extend(texts)
            self.first.append(len(rows))
        self._starts = np.cumsum([0, *map(len, rows)])
        self._tokens = np.fromiter((token for row in rows for token in row), np.int32, self._starts[-1])

    def count(self, item: int) -> int:
        """How many texts an item has."""
        return self.first[item + 1] - self.first[item]

    def row(self, item: int, number: int) -> np.ndarray:
        """The tokens of one."""
        return self._tokens[self.span(item, number)]

    def span(self, item: int, number: int) -> slice:
        """Where they are among the tokens of all texts."""
        row = self.first[item] + number
        return slice(self._starts[row], self._starts[row + 1])


def with_ends(ids: Sequence[int], *, start: int, end: int, room: int) -> list[int]:
    """The tokens of a text that a decoder is to write, from the start token to the end token.

    Args:
        ids: Without them.
        start: The token before each text.
        end: The token after it.
        room: Tokens a text may have between them. A longer one is cut after one more, and then has no end token: it
            teaches no end where there is none.
    """
    return [start, *ids[: room + 1]] if len(ids) > room else [start, *ids, end]


def padded(rows: Sequence[np.ndarray], pad: int) -> tuple[Int64[Tensor, "r n"], Bool[Tensor, "r n"]]:
    """Rows of tokens as a table, and where a token of it is none of the padding."""
    tokens = np.full((len(rows), max(map(len, rows), default=2)), pad, np.int64)
    attention_mask = np.zeros(tokens.shape, np.bool_)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
        attention_mask[place, : len(row)] = True
    return torch.from_numpy(tokens), torch.from_numpy(attention_mask)
