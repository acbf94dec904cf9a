"""Numbers in words to numbers in figures, in lower-case English: "two hundred and five dollars" to "$205".

Digits that are said one after the other are one number ("one oh one" to "101"); ordinals, plurals, signs, currencies,
"double", "point" and "and a half" are known. "one" alone stays a word.
Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C, step 9.
"""

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

_Kind = Literal["ones", "tens", "multiplier"]


class _Number(NamedTuple):
    """A word for a number, and what follows its figures: "seventh" has `th`."""

    kind: _Kind
    value: int
    suffix: str = ""


_UP_TO_19 = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ZEROS = {"o", "oh", "zero"}
_ILLIONS = (
    "thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion"
)
_OWN_ORDINALS = {1: ("first", "st"), 2: ("second", "nd"), 3: ("third", "rd"), 5: ("fifth", "th"), 12: ("twelfth", "th")}
_SIGNS = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}
_CURRENCIES = {"pound": "£", "euro": "€", "dollar": "$", "cent": "¢"}
_MONEY = {form: sign for word, sign in _CURRENCIES.items() for form in (word, f"{word}s")}
_PREFIXES = {*_SIGNS.values(), *_MONEY.values()}
_SPECIAL = {"and", "double", "triple", "point"}

_FIGURES = re.compile(r"\d+(\.\d+)?")


def _vocabulary() -> dict[str, _Number]:
    """Every word that is a number but zero, in its cardinal, plural and ordinal form."""
    found = {"zeroth": _Number("ones", 0, "th")}
    for value, word in enumerate(_UP_TO_19, start=1):
        ordinal, ending = _OWN_ORDINALS.get(value, (f"{word}h" if word.endswith("t") else f"{word}th", "th"))
        plural = "sixes" if word == "six" else f"{word}s"
        found |= {
            word: _Number("ones", value),
            plural: _Number("ones", value, "s"),
            ordinal: _Number("ones", value, ending),
        }
    for value, word in enumerate(_TENS, start=2):
        stem = word.removesuffix("y")
        found |= {
            word: _Number("tens", 10 * value),
            f"{stem}ies": _Number("tens", 10 * value, "s"),
            f"{stem}ieth": _Number("tens", 10 * value, "th"),
        }
    for power, word in enumerate(("hundred", *_ILLIONS.split())):
        value = 100 if power == 0 else 1000**power
        found |= {word + end: _Number("multiplier", value, end) for end in ("", "s", "th")}
    return found


_NUMBERS = _vocabulary()
_ONES = {word for word, number in _NUMBERS.items() if number.kind == "ones" and not number.suffix}
_PLAIN_TENS = {word for word, number in _NUMBERS.items() if number.kind == "tens" and not number.suffix}
_MULTIPLIERS = {word for word, number in _NUMBERS.items() if number.kind == "multiplier" and not number.suffix}
_DECIMALS = _ONES | _PLAIN_TENS | _ZEROS
_KNOWN = {*_NUMBERS, *_ZEROS, *_SIGNS, *_MONEY, "per", "percent", *_SPECIAL}


def normalize_numbers(text: str) -> str:
    """A lower-case text, its words apart by spaces, with its numbers in figures."""
    words = _apart(_halves(text)).split()
    return _tidy(" ".join(_Reader().read(words)))


def _halves(text: str) -> str:
    """Halves as decimals: "two and a half" as "two point five"."""
    *before, last = re.split(r"\band\s+a\s+half\b", text)
    found = []
    for segment in before:
        if segment.strip():
            number = segment.rsplit(maxsplit=2)[-1]
            found += [segment, "point five" if number in _DECIMALS | _MULTIPLIERS else "and a half"]
    return " ".join([*found, *([last] if last.strip() else [])])


def _apart(text: str) -> str:
    """Figures and letters with a space between them, unless the letters end an ordinal or a plural."""
    text = re.sub(r"([a-z])([0-9])", r"\1 \2", text)
    text = re.sub(r"([0-9])([a-z])", r"\1 \2", text)
    return re.sub(r"([0-9])\s+(st|nd|rd|th|s)\b", r"\1\2", text)


def _tidy(text: str) -> str:
    """Dollars and cents as one amount; and "one" as the word it is easier to read as."""
    text = re.sub(r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b", lambda m: f"{m[1]}{m[2]}.{int(m[3]):02d}", text)
    text = re.sub(r"[€£$]0.([0-9]{1,2})\b", lambda m: f"¢{int(m[1])}", text)
    return re.sub(r"\b1(s?)\b", r"one\1", text)


class _Reader:
    """Reads words one by one and holds the number that is being said.

    That number is an integer as long as it can still grow by arithmetic ("two hundred" and "five"), and a string of
    figures once it is said figure by figure or has a decimal point.
    """

    def __init__(self) -> None:
        self._value: int | str | None = None
        self._prefix = ""
        self._skips = False

    def read(self, words: list[str]) -> Iterator[str]:
        """The words, numbers among them in figures."""
        for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
            if self._skips:
                self._skips = False
            else:
                yield from self._word(before, word, after)
        yield from self._end()

    def _word(self, before: str, word: str, after: str) -> Iterator[str]:
        figures = word[1:] if word[0] in _PREFIXES else word
        if _FIGURES.fullmatch(figures):
            yield from self._figures(word, figures)
        elif word in _ZEROS:
            self._value = f"{self._value or ''}0"
        elif word in _NUMBERS:
            yield from self._number(before, _NUMBERS[word])
        elif word in _SIGNS:
            yield from self._end()
            if after in _KNOWN or _FIGURES.fullmatch(after):
                self._prefix = _SIGNS[word]
            else:
                yield self._out(word)
        elif word in _MONEY and self._value is not None:
            self._prefix = _MONEY[word]
            yield from self._end()
        elif word == "percent" and self._value is not None:
            yield self._out(f"{self._value}%")
        elif word == "per" and self._value is not None and after == "cent":
            self._skips = True
            yield self._out(f"{self._value}%")
        elif word in _SPECIAL and (after in _KNOWN or _FIGURES.fullmatch(after)):
            yield from self._special(before, word, after)
        else:
            yield from self._end()
            yield self._out(word)

    def _figures(self, word: str, figures: str) -> Iterator[str]:
        if isinstance(self._value, str) and self._value.endswith("."):  # decimals, or the parts of an address
            self._value += word
            return
        yield from self._end()
        if figures != word:
            self._prefix = word[0]
        whole = Fraction(figures)
        self._value = whole.numerator if whole.denominator == 1 else figures

    def _number(self, before: str, number: _Number) -> Iterator[str]:
        joins: dict[_Kind, Callable[[str, int], Iterator[str]]] = {
            "ones": self._ones,
            "tens": self._tens,
            "multiplier": self._multiplier,
        }
        yield from joins[number.kind](before, number.value)
        if number.suffix:  # nothing goes on after "seventh"
            yield self._out(f"{self._value}{number.suffix}")

    def _ones(self, before: str, ones: int) -> Iterator[str]:
        value = self._value
        if value is None:
            self._value = ones
        elif isinstance(value, str) or before in _ONES:
            follows_tens = before in _PLAIN_TENS and ones < 10  # 1, 20, 2: 122
            self._value = f"{str(value)[:-1] if follows_tens else value}{ones}"
        else:
            self._value = value + ones if value % (10 if ones < 10 else 100) == 0 else f"{value}{ones}"
        yield from ()

    def _tens(self, before: str, tens: int) -> Iterator[str]:
        del before
        value = self._value
        if isinstance(value, str):
            self._value = f"{value}{tens}"
        elif value is None or value % 100 == 0:
            self._value = (value or 0) + tens
        else:
            self._value = f"{value}{tens}"
        yield from ()

    def _multiplier(self, before: str, multiplier: int) -> Iterator[str]:
        del before
        value = self._value
        if value is None:
            self._value = multiplier
        elif isinstance(value, int):
            self._value = value // 1000 * 1000 + value % 1000 * multiplier
        else:
            product = _times(value, multiplier)
            if product is None:
                yield from self._end()
            self._value = multiplier if product is None else product

    def _special(self, before: str, word: str, after: str) -> Iterator[str]:
        """What "and", "double", "triple" and "point" do before a number."""
        if word == "and":
            if before not in _MULTIPLIERS:
                yield from self._end()
                yield self._out(word)
        elif word == "point":
            if after in _DECIMALS or _FIGURES.fullmatch(after):
                self._value = f"{self._value or ''}."
        elif after in _ONES | _ZEROS:
            figure = _NUMBERS[after].value if after in _NUMBERS else 0
            self._value = f"{self._value or ''}{str(figure) * (2 if word == 'double' else 3)}"
            self._skips = True
        else:
            yield from self._end()
            yield self._out(word)

    def _end(self) -> Iterator[str]:
        """The number that was being said, where there is one."""
        if self._value is not None:
            yield self._out(str(self._value))

    def _out(self, word: str) -> str:
        """A word or a number with its sign; nothing is being said afterwards."""
        found = self._prefix + word
        self._value, self._prefix = None, ""
        return found


def _times(figures: str, multiplier: int) -> int | None:
    """The product with a number in figures; None where it is not whole, or the figures are no number."""
    try:
        product = Fraction(figures) * multiplier
    except ValueError:  # an address
        return None
    return product.numerator if product.denominator == 1 else None
