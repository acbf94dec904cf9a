"""A text that is given: its sentences, its words, and how they are compared with what a model writes."""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from ...alignment.word_grouping import UNSPACED
from ...errors import InputError

_SENTENCE_END = re.compile(r"""(?P<stop>[.!?…])[.!?…]*["'”’»)\]]*(?=\s)|[。！？]+[」』”’]*""")
"""The end of a sentence; behind `stop`, its last word may be an abbreviation."""

_LAST_WORD = re.compile(r"[^\s.!?…]*\Z")
_LONGEST_ABBREVIATION = 8  # characters, with quotes and brackets before it

_ABBREVIATIONS = re.compile(r"\W*(?:[A-Z]|Mrs?|Ms|Dr|St|Prof|Capt|Gen|Col|Rev|vs)", re.ASCII)
_NUMBER = re.compile(r"(\d[\d,]*)(?:\.(\d+))?(st|nd|rd|th)?")
_TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint"}
_SIGNS = {"&": "and", "%": "percent", "$": "dollars", "£": "pounds", "€": "euros"}
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_LONGEST_NUMBER = 15  # digits: longer ones are read digit by digit


class GivenWord(NamedTuple):
    """A word of a given text; in a language without spaces, a character."""

    text: str
    start: int
    """Index of its first character in its sentence."""

    end: int
    sentence: int
    """Index of its sentence."""

    key: str
    """Its letters as they are compared: lower case, without accents and signs, numbers spelled out in English."""


class GivenText(NamedTuple):
    """A text, divided."""

    sentences: tuple[str, ...]
    """As they are written, without spaces around them."""

    words: tuple[GivenWord, ...]
    """Those of all sentences in order. Signs alone, such as a dash, are no words."""

    @classmethod
    def of(cls, text: str, *, language: str | None, source: str = "`text`") -> "GivenText":
        """Divide a text into sentences, at line ends and after full stops, and into words.

        Args:
            text: Any text; runs of spaces count as one.
            language: The code of its language; None: as English.
            source: What the text is called in messages.

        Raises:
            InputError: It has no word.
        """
        sentences = [
            " ".join(sentence.split())
            for line in text.removeprefix("\ufeff").splitlines()
            for sentence in _sentences(line)
        ]
        sentences = [sentence for sentence in sentences if sentence]
        words = [
            GivenWord(piece, start, start + len(piece), index, key)
            for index, sentence in enumerate(sentences)
            for start, piece in _pieces(sentence, language)
            if (key := key_of(piece, language))
        ]
        if not words:
            raise InputError(f"{source} must have at least one word, but has none instead.")
        return cls(tuple(sentences), tuple(words))


def _sentences(line: str) -> list[str]:
    ends = [
        found.end()
        for found in _SENTENCE_END.finditer(line)
        if found["stop"] is None or not _is_abbreviation(line, found.start())
    ]
    return [line[start:end] for start, end in zip([0, *ends], [*ends, len(line)], strict=True)]


def _is_abbreviation(line: str, end: int) -> bool:
    """Tell whether what stands before a full stop at `end` is an abbreviation; only so much of it is looked at."""
    before = _LAST_WORD.search(line[max(0, end - _LONGEST_ABBREVIATION - 1) : end])
    return before is not None and _ABBREVIATIONS.fullmatch(before[0]) is not None


def _pieces(sentence: str, language: str | None) -> list[tuple[int, str]]:
    pattern = r"\S" if language in UNSPACED else r"\S+"
    return [(found.start(), found[0]) for found in re.finditer(pattern, sentence)]


@lru_cache(maxsize=1 << 15)
def key_of(word: str, language: str | None = None) -> str:
    """Return the letters of a word as they are compared; empty where it has none."""
    english = language in (None, "en")
    text = word.casefold()
    if english:
        text = "".join(_SIGNS.get(sign, sign) for sign in text)
        text = _NUMBER.sub(lambda found: _spelled(found[1], found[2], found[3]), text)
    letters = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", text)
        if letter.isalnum() or unicodedata.category(letter) == "Mc"
    )
    return _TITLES.get(letters, letters) if english else letters


def _spelled(whole: str, decimals: str | None, ordinal: str | None) -> str:
    digits = whole.replace(",", "")
    if len(digits) > _LONGEST_NUMBER or len(digits) > 1 and digits[0] == "0":
        words = " ".join(_ONES[int(digit)] for digit in digits)
    elif len(digits) == 4 and "," not in whole and "1100" <= digits < "2000" and digits[1:] != "000":
        rest = int(digits[2:])  # as a year
        last = "hundred" if not rest else f"oh {_ONES[rest]}" if rest < 10 else _cardinal(rest)
        words = f"{_cardinal(int(digits[:2]))} {last}"
    else:
        words = _cardinal(int(digits))
    if decimals:
        words += " point " + " ".join(_ONES[int(digit)] for digit in decimals)
    return words + (ordinal or "")


def _cardinal(number: int) -> str:
    for size, name in _SCALES:
        if number >= size:
            rest = number % size
            return f"{_cardinal(number // size)} {name}" + (f" {_cardinal(rest)}" if rest else "")
    if number < 20:
        return _ONES[number]
    return _TENS[number // 10] + (f" {_ONES[number % 10]}" if number % 10 else "")
