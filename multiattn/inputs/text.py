"""Text to tokens and back, and the grouping of tokens into words. Knows no model.

What is done here is in Rust (`tokenizers`); ours are the ways in, the training of a vocabulary, and the words.
"""

import os
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from ..errors import InputError, ModelError
from .vocabulary import FILE, read_vocabulary

SPECIALS = ("[PAD]", "[START]", "[END]", "[UNK]")
"""The special tokens of a vocabulary of one's own; their places here are their ids."""

KINDS = ("bpe", "characters")
"""The vocabularies that can be learnt."""

_SPACE = "▁"  # U+2581 stands for a space within a token, as in SentencePiece
_BROKEN = "\ufffd"  # stands for bytes that make no character, or none yet
_INSIDE = "'’-"  # of the punctuation, what may stand inside a word
_MARKS = r"[.,;:?!¿¡…\"“”„«»()\[\]。、，？！]"
_AROUND_WORDS = rf"(?<!\S){_MARKS}+|{_MARKS}+(?!\S)"  # of the marks, those beside a space or an end: not 3.5
_NO_MARKS = (
    normalizers.Replace(tokenizers.Regex(_AROUND_WORDS), " "),
    normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
    normalizers.Strip(),
)


class Word(NamedTuple):
    """A word of a decoded text, and the tokens that make it."""

    text: str
    """As it stands in the decoded text."""

    start: int
    """Where it begins in the decoded text, in characters."""

    end: int
    """Where it ends there; the character at `end` is no longer part of it."""

    pieces: tuple[int, ...]
    """Its tokens, as places in the ids that were decoded."""


class Tokenizer:
    """A vocabulary with its rules: WordPiece (BERT, BLIP), byte-level BPE (GPT-2, Whisper), or one of one's own.

    Nothing in it changes after it is made, so threads may share it.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        """Wrap a tokenizer of `tokenizers`, which belongs to this object from then on."""
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # a text that spells "[END]" is text, and not the end
        self._backend = backend
        added = backend.get_added_tokens_decoder()
        self.special_ids = frozenset(i for i, token in added.items() if token.special)
        """The tokens that stand for no text: padding, start, end, unknown and the like."""
        self.vocab_size = max(backend.get_vocab().values(), default=-1) + 1
        """Rows that a table for all tokens has: the largest id and one."""

    @classmethod
    def load(cls, directory: str | Path) -> "Tokenizer":
        """Read the tokenizer of a model directory.

        Args:
            directory: With a `tokenizer.json`; or else with a `vocab.txt` (WordPiece as BERT has it, lower-case unless
                `tokenizer_config.json` says otherwise); or else with `vocab.json` and `merges.txt` (byte-level BPE).

        Raises:
            ModelError: None of these is there, or one cannot be used.
        """
        return cls(read_vocabulary(Path(directory)))

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The inverse of `to_json`.

        Raises:
            ModelError: The text describes no tokenizer.
        """
        try:
            return cls(tokenizers.Tokenizer.from_str(text))
        except Exception as error:  # the library raises bare exceptions
            raise ModelError(f"`text` must be the content of a {FILE}, but is not: {error}.") from error

    def to_json(self) -> str:
        """All of it as the content of a `tokenizer.json`."""
        return self._backend.to_str(pretty=True)

    def save(self, directory: str | Path) -> None:
        """Write `tokenizer.json` into a directory that is there."""
        (Path(directory) / FILE).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def train(
        cls, texts: Iterable[str], *, kind: str, vocab_size: int, lowercase: bool = True, marks: bool = True
    ) -> "Tokenizer":
        """Make a vocabulary of one's own; the same texts give the same one.

        A text without runs of spaces, in letters that the vocabulary has, decodes back to itself.

        Args:
            texts: What to learn from.
            kind: `bpe` has frequent words whole and others in pieces (byte pair encoding, within words); `characters`
                has single letters.
            vocab_size: Tokens at most, with the four special ones and all the letters; where the letters alone are
                more, the rare ones become [UNK].
            lowercase: Whether texts are put in lower case first, here and in `encode`.
            marks: Whether the marks of a sentence around words (full stops, question marks, quotes and the like) are
                part of a text; else they are left out, here and in `encode`, so that "what is it?" is "what is it".

        Raises:
            ModelError: An option is out of range.
            InputError: The texts are empty.

        Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units".
        """
        if kind not in KINDS:
            raise ModelError(f"`kind` must be one of {', '.join(KINDS)}, but is {kind!r} instead.")
        room = vocab_size - len(SPECIALS)
        if room < 2:  # a space and a letter
            raise ModelError(f"`vocab_size` must be at least {len(SPECIALS) + 2}, but is {vocab_size} instead.")
        steps: list[Any] = [] if marks else list(_NO_MARKS)
        bare = normalizers.Sequence(steps)
        lines = [bare.normalize_str(line.lower() if lowercase else line) for line in texts]
        if lowercase:
            steps.append(normalizers.Lowercase())
        letters = Counter(letter for line in lines for letter in line if not letter.isspace())
        if not letters:
            raise InputError("`texts` must hold at least one letter, but hold none instead.")
        # chosen here, because the library breaks ties between rare letters at random
        rarest_last = sorted(letters.items() - {(_SPACE, letters[_SPACE])}, key=lambda item: (-item[1], item[0]))
        alphabet = [_SPACE] + [letter for letter, _ in rarest_last[: room - 1]]
        backend = tokenizers.Tokenizer(models.BPE(unk_token="[UNK]"))
        if steps:
            backend.normalizer = steps[0] if len(steps) == 1 else normalizers.Sequence(steps)
        # tokens never cross from one word to the next, nor from a word to the punctuation after it
        punctuation = tokenizers.Regex(r"[\p{P}&&[^'’\-]]")
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(), pre_tokenizers.Split(punctuation, "isolated")]
        )
        backend.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size if kind == "bpe" else 0,
            special_tokens=list(SPECIALS),
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        backend.train_from_iterator(lines, trainer)
        return cls(backend)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without special tokens at its ends.

        Raises:
            InputError: The text has half a character in it (a lone surrogate).
        """
        try:
            return self._backend.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise InputError(f"`text` must be whole characters, but is {text!r} instead.") from error

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special ones, and those the vocabulary does not have, stand for none."""
        return self._backend.decode(list(ids), skip_special_tokens=True)

    def id_of(self, token: str) -> int | None:
        """The id of a token by its name, such as "[SEP]"; None where there is none."""
        return self._backend.token_to_id(token)

    def name_of(self, token: int) -> str | None:
        """The inverse of `id_of`."""
        return self._backend.id_to_token(token)

    def words(self, ids: Sequence[int]) -> list[Word]:
        """The words of `decode(ids)`, in order.

        A word has neither spaces nor punctuation in it, but for apostrophes and hyphens between letters; a run of
        punctuation is a word of its own. Where one token reaches over two words, they are one. So the words cover the
        text but for its spaces, and each token with a character in it belongs to one word: one that is only a space to
        the word after it, if there is one, as does a token that holds only the beginning of a character. Special
        tokens belong to none.
        """
        text = self.decode(ids)
        pieces = [i for i, token in enumerate(ids) if self._stands_for_text(token)]
        bounds = self._bounds([ids[i] for i in pieces], text)
        return _grouped(text, pieces, list(pairwise(bounds)))

    def encode_words(self, text: str) -> tuple[list[int], list[Word]]:
        """What `encode` gives, and the words of `text` as it was written: as `words`, but unknown ones are words too.

        Raises:
            InputError: The text has half a character in it (a lone surrogate).
        """
        ids = self.encode(text)
        return ids, _grouped(text, range(len(ids)), self._backend.encode(text, add_special_tokens=False).offsets)

    def _stands_for_text(self, token: int) -> bool:
        return token not in self.special_ids and self._backend.id_to_token(token) is not None

    def _bounds(self, ids: Sequence[int], text: str) -> list[int]:
        """Where each token begins in the decoded text, and the text's end.

        That is how much of the text the tokens before it settle, which holds for every kind of decoder: bytes that do
        not make a character yet settle nothing.
        """
        before = [self.decode(ids[:i]).rstrip(_BROKEN) for i in range(len(ids))]
        starts = [len(os.path.commonprefix([settled, text])) for settled in before]
        return [*starts, len(text)]

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer.from_json, (self.to_json(),)


def _grouped(text: str, pieces: Sequence[int], places: Sequence[tuple[int, int]]) -> list[Word]:
    """The words of a text out of its tokens (`pieces`), each of which stands from one place in it to another."""
    words = _split(text)
    starts, ends = [first for first, _ in words], [last for _, last in words]
    found: list[Word] = []
    waiting: list[int] = []  # spaces and halves of characters, whose word comes next
    for piece, (start, end) in zip(pieces, places, strict=True):
        if not text[start:end].strip():
            waiting.append(piece)
            continue
        # the words that this token has a part of
        first, last = starts[bisect_right(ends, start)], ends[bisect_left(starts, end) - 1]
        together = (*waiting, piece)
        waiting = []
        if found and found[-1].end > first:
            before = found.pop()
            together = before.pieces + together
            first, last = before.start, max(before.end, last)
        found.append(Word(text[first:last], first, last, together))
    return found


def _split(text: str) -> list[tuple[int, int]]:
    """Start and end of each word, and of each run of punctuation."""
    found: list[tuple[int, int]] = []
    kinds = ["space" if c.isspace() else "mark" if unicodedata.category(c)[0] == "P" else "word" for c in text]
    for i in range(1, len(text) - 1):
        if text[i] in _INSIDE and kinds[i - 1] == kinds[i + 1] == "word":
            kinds[i] = "word"
    for i, kind in enumerate(kinds):
        if kind == "space":
            continue
        if i and kinds[i - 1] == kind:
            found[-1] = (found[-1][0], i + 1)
        else:
            found.append((i, i + 1))
    return found
