"""Questions as a model reads them. No torch."""

from typing import NamedTuple

from ..errors import InputError
from ..inputs import Tokenizer, Word


class Question(NamedTuple):
    """A question as the model reads it."""

    text: str
    tokens: tuple[int, ...]  # including the special ones
    words: tuple[Word, ...]

    def unknown_words(self, tokenizer: Tokenizer) -> tuple[str, ...]:
        """Return its words that the vocabulary does not know."""
        unknown = tokenizer.id_of("[UNK]")
        # pieces count from the token after the special one
        return tuple(
            word.text for word in self.words if any(self.tokens[1 + piece] == unknown for piece in word.pieces)
        )


def encoded_question(text: object, tokenizer: Tokenizer, *, first_token: int, end_token: int, most: int) -> Question:
    """Return a question as a model reads it.

    Args:
        text: The question.
        tokenizer: The model's tokenizer.
        first_token: The token before it.
        end_token: The token after it.
        most: The most tokens between the two.

    Raises:
        InputError: It is no text, has no word that the vocabulary knows, or is too long.
    """
    if not isinstance(text, str):
        raise InputError(f"`question` must be text, but is {text!r} instead")
    if not text.strip():
        raise InputError(f"`question` must have a word, but is {text!r} instead: ask something")
    ids, words = tokenizer.encode_words(text)
    if len(ids) > most:
        raise InputError(
            f"`question` must have at most {most} tokens, but {quoted(text)} has {len(ids)} instead: shorten it"
        )
    if not tokenizer.decode(ids).strip():
        raise InputError(
            f"`question` must have a word that the model's vocabulary knows, but is {quoted(text)} instead: "
            "ask in the language of the model"
        )
    return Question(text, (first_token, *ids, end_token), tuple(words))


def quoted(text: str) -> str:
    """Return a text in quotes for a message, cut if it is long."""
    return repr(text if len(text) <= 40 else f"{text[:40]} ...")
