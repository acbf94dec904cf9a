"""Text to tokens and back, and the grouping of tokens into words.

The tokenizers are those of `tokenizers` (in Rust). Here they are loaded, saved and trained, and their tokens grouped.
"""

import os
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from ..checks import require
from ..errors import InputError, ModelError, reading
from ..writing import write_text
from .vocabulary import FILE, read_vocabulary

SPECIALS = ("[PAD]", "[START]", "[END]", "[UNK]")
"""The special tokens of a vocabulary that is trained here; their indices are their ids."""

KINDS = ("bpe", "characters")
"""The kinds of vocabularies that can be trained."""

LARGEST_VOCABULARY = 2**20
"""The largest number of tokens; published vocabularies have a quarter of it."""

_SPACE = "▁"  # U+2581 is a space within a token, as in SentencePiece
_BROKEN = "\ufffd"  # the character for bytes that are no character, or not yet
_INSIDE = "'’-"  # punctuation that may be inside a word
_MARKS = r"[.,;:?!¿¡…\"“”„«»()\[\]。、，？！]"
_AROUND_WORDS = (
    rf"(?<!\S){_MARKS}+|(?<!{_MARKS}){_MARKS}+(?!\S)"  # marks next to a space or an end of the text: not 3.5
)
_NO_MARKS = (
    normalizers.Replace(tokenizers.Regex(_AROUND_WORDS), " "),
    normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
    normalizers.Strip(),
)


class Word(NamedTuple):
    """A word of a decoded text, and its tokens."""

    text: str
    """The word as in the decoded text."""

    start: int
    """Index of its first character in the decoded text."""

    end: int
    """Index after its last character."""

    pieces: tuple[int, ...]
    """Indices of its tokens in the decoded ids."""


class Tokenizer:
    """A vocabulary with its rules: WordPiece (BERT, BLIP), byte-level BPE (GPT-2, Whisper), or one trained here.

    It is immutable, so threads may share it.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        """Wrap a tokenizer of `tokenizers`, which must not be changed afterwards.

        Raises:
            ValueError: A token has an id of `LARGEST_VOCABULARY` or more.
        """
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # "[END]" in a text is text, not the end token
        self._backend = backend
        self.special_ids = frozenset(i for i, token in backend.get_added_tokens_decoder().items() if token.special)
        """The tokens that are no text: padding, start, end, unknown and the like."""
        vocabulary = backend.get_vocab()
        largest = max(vocabulary, key=vocabulary.__getitem__, default="")
        self.vocab_size = vocabulary.get(largest, -1) + 1
        """Number of embeddings for all tokens: the largest id plus one."""
        # much is sized by it, and writing a tokenizer takes memory for each id that is unused
        if self.vocab_size > LARGEST_VOCABULARY:
            raise ValueError(
                f"the token {largest[:60]!r} has the id {self.vocab_size - 1}, which must be below {LARGEST_VOCABULARY}"
            )

    @classmethod
    def load(cls, directory: str | Path) -> "Tokenizer":
        """Read the tokenizer of a model directory.

        Args:
            directory: Has `tokenizer.json`; or `vocab.txt` (WordPiece as for BERT, lower-case unless
                `tokenizer_config.json` states otherwise); or `vocab.json` and `merges.txt` (byte-level BPE).

        Raises:
            ModelError: The directory has none of these, or a file cannot be used.
        """
        with reading(str(directory), "a directory with a vocabulary", error=ModelError):
            return cls(read_vocabulary(Path(directory)))

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Invert `to_json`.

        Raises:
            ModelError: The text describes no tokenizer.
        """
        with reading("`text`", f"the content of a {FILE}", error=ModelError):
            return cls(tokenizers.Tokenizer.from_str(text))

    def to_json(self) -> str:
        """Return the tokenizer as the content of a `tokenizer.json`."""
        return self._backend.to_str(pretty=True)

    def save(self, directory: str | Path) -> None:
        """Write `tokenizer.json` into a directory."""
        write_text(Path(directory) / FILE, self.to_json())

    @classmethod
    def train(
        cls, texts: Iterable[str], *, kind: str, vocab_size: int, lowercase: bool = True, marks: bool = True
    ) -> "Tokenizer":
        """Train a vocabulary; the same texts give the same vocabulary.

        A text without runs of spaces, in letters that the vocabulary has, decodes to itself.

        Args:
            texts: The texts to train on.
            kind: `bpe` has frequent words as a whole and others in pieces (byte pair encoding, within words);
                `characters` has single letters.
            vocab_size: Most tokens, including the four special ones and all letters; where there are more letters, the
                rare ones become [UNK].
            lowercase: Whether texts are put in lower case first, here and in `encode`.
            marks: Whether punctuation around words (full stops, question marks, quotes and the like) is part of a
                text; otherwise it is removed, here and in `encode`, so that "what is it?" is "what is it".

        Raises:
            ModelError: An option is out of range.
            InputError: The texts are empty.

        Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units".
        """
        require(kind in KINDS, "kind", must=f"one of {', '.join(KINDS)}", value=kind)
        room, least = vocab_size - len(SPECIALS), len(SPECIALS) + 2  # a space and a letter
        require(vocab_size >= least, "vocab_size", must=f"at least {least}", value=vocab_size)
        steps: list[Any] = [] if marks else list(_NO_MARKS)
        bare = normalizers.Sequence(steps)
        lines = [bare.normalize_str(line.lower() if lowercase else line) for line in texts]
        if lowercase:
            steps.append(normalizers.Lowercase())
        letters = Counter(letter for line in lines for letter in line if not letter.isspace())
        if not letters:
            raise InputError("`texts` must hold at least one letter, but hold none instead.")
        # not left to the library, which breaks ties between rare letters at random
        rarest_last = sorted(letters.items() - {(_SPACE, letters[_SPACE])}, key=lambda item: (-item[1], item[0]))
        alphabet = [_SPACE] + [letter for letter, _ in rarest_last[: room - 1]]
        backend = tokenizers.Tokenizer(models.BPE(unk_token="[UNK]"))
        if steps:
            backend.normalizer = steps[0] if len(steps) == 1 else normalizers.Sequence(steps)
        # no token has parts of two words, or of a word and the punctuation after it
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
        """Return the ids of a text, without special tokens at its ends.

        Raises:
            InputError: The text has half of a character (a lone surrogate).
        """
        try:
            return self._backend.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise InputError(f"`text` must be whole characters, but is {text!r} instead.") from error

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; special tokens, and ids that the vocabulary lacks, are left out."""
        return self._backend.decode(list(ids), skip_special_tokens=True)

    @property
    def kind(self) -> str:
        """What it divides words by, as `tokenizers` calls it: "BPE", "Unigram", "WordPiece", ..."""
        return type(self._backend.model).__name__

    def cleaning(self, *, lowercase: bool, punctuation: bool = True, underscores: str = "") -> "Tokenizer":
        """Return the tokenizer with steps before its own; one that does the same already encodes the same as before.

        Args:
            lowercase: Whether texts are put in lower case.
            punctuation: Whether ASCII punctuation stays; where it is removed, runs of spaces become one.
            underscores: What takes their place, where punctuation is removed.

        Source: Beyer et al. 2022, big_vision, `prompt_engineering.canonicalize`, as SigLIP reads texts.
        """
        backend = tokenizers.Tokenizer.from_str(self.to_json())
        steps: list[Any] = [normalizers.Lowercase()] if lowercase else []
        if not punctuation:
            marks = tokenizers.Regex(r"[!-/:-@\[-`{-~]")
            spaces = tokenizers.Regex(r"\s+")
            steps += [normalizers.Replace("_", underscores)] if underscores else []
            steps += [normalizers.Replace(marks, ""), normalizers.Replace(spaces, " "), normalizers.Strip()]
        own = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([*steps, *own])
        return Tokenizer(backend)

    def id_of(self, token: str) -> int | None:
        """Return the id of a token by its name, such as "[SEP]"; None where the vocabulary lacks it."""
        return self._backend.token_to_id(token)

    def name_of(self, token: int) -> str | None:
        """Return the name of a token by its id; None where the vocabulary lacks it."""
        return self._backend.id_to_token(token)

    def words(self, ids: Sequence[int]) -> list[Word]:
        """Return the words of `decode(ids)`, in order.

        A word has no spaces and no punctuation, except for apostrophes and hyphens between letters; a run of
        punctuation is a word of its own. Words that share a token are joined. So the words cover all of the text except
        spaces, and each token with a character belongs to one word. A token that is a space, or only the beginning of a
        character, belongs to the next word, if there is one; special tokens belong to none.
        """
        text = self.decode(ids)
        pieces = [i for i, token in enumerate(ids) if self._is_text(token)]
        return _grouped(text, pieces, list(pairwise(self._bounds([ids[i] for i in pieces], text))))

    def encode_words(self, text: str) -> tuple[list[int], list[Word]]:
        """Return the ids of a text, and its words as in `words`, with those of unknown tokens.

        Raises:
            InputError: The text has half of a character (a lone surrogate).
        """
        ids = self.encode(text)
        return ids, _grouped(text, range(len(ids)), self._backend.encode(text, add_special_tokens=False).offsets)

    def _is_text(self, token: int) -> bool:
        return token not in self.special_ids and self._backend.id_to_token(token) is not None

    def _bounds(self, ids: Sequence[int], text: str) -> list[int]:
        """Return the index in the decoded text at which each token begins, and the length of the text.

        A token begins after the part of the text that the tokens before it decode to. This holds for every decoder;
        bytes that are only part of a character count as no text.
        """
        before = [self.decode(ids[:i]).rstrip(_BROKEN) for i in range(len(ids))]
        starts = [len(os.path.commonprefix([decoded, text])) for decoded in before]
        return [*starts, len(text)]

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer.from_json, (self.to_json(),)


def _grouped(text: str, pieces: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[Word]:
    """Group the tokens of a text (`pieces`), each of which spans some of its characters, into words."""
    words = _split(text)
    starts, ends = [first for first, _ in words], [last for _, last in words]
    found: list[Word] = []
    waiting: list[int] = []  # spaces and parts of characters, which belong to the next word
    for piece, (start, end) in zip(pieces, spans, strict=True):
        if not text[start:end].strip():
            waiting.append(piece)
            continue
        # from the first to the last word that the token overlaps
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
    """Return start and end of each word, and of each run of punctuation."""
    kinds = ["space" if c.isspace() else "mark" if unicodedata.category(c)[0] == "P" else "word" for c in text]
    for i in range(1, len(text) - 1):
        if text[i] in _INSIDE and kinds[i - 1] == kinds[i + 1] == "word":
            kinds[i] = "word"
    runs = ((kind, [i for i, _ in run]) for kind, run in groupby(enumerate(kinds), key=itemgetter(1)))
    return [(indices[0], indices[-1] + 1) for kind, indices in runs if kind != "space"]
