"""The conversion of number words to digits, in lower-case English: "two hundred and five dollars" to "$205".

Digits in a row are one number ("one oh one" to "101"); ordinals, plurals, signs, currencies, "double", "point" and "and
a half" are converted too. "one" alone stays a word.
Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C, step 9.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from .digits import Digits

_Kind = Literal["ones", "tens", "multiplier"]


class _Number(NamedTuple):
    """A number word, and the suffix of its digits: "seventh" has `th`."""

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

_DIGITS = re.compile(r"\d+(\.\d+)?")


def _vocabulary() -> dict[str, _Number]:
    """Return all number words except zero, in their cardinal, plural and ordinal forms."""
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
_ONES, _PLAIN_TENS, _MULTIPLIERS = (
    {word for word, number in _NUMBERS.items() if number.kind == kind and not number.suffix}
    for kind in ("ones", "tens", "multiplier")
)
_DECIMALS = _ONES | _PLAIN_TENS | _ZEROS
_KNOWN = {*_NUMBERS, *_ZEROS, *_SIGNS, *_MONEY, "per", "percent", *_SPECIAL}


def normalize_numbers(text: str) -> str:
    """Convert the number words of a lower-case text to digits."""
    return _tidy(" ".join(_Converter().convert(_separate(_halves(text)).split())))


def _halves(text: str) -> str:
    """Rewrite halves as decimals: "two and a half" as "two point five"."""
    *before, last = re.split(r"\band\s+a\s+half\b", text)
    found = []
    for segment in before:
        if segment.strip():
            number = segment.rsplit(maxsplit=2)[-1]
            found += [segment, "point five" if number in _DECIMALS | _MULTIPLIERS else "and a half"]
    return " ".join([*found, *([last] if last.strip() else [])])


def _separate(text: str) -> str:
    """Put a space between digits and letters, unless the letters end an ordinal or a plural."""
    text = re.sub(r"([a-z])([0-9])", r"\1 \2", text)
    text = re.sub(r"([0-9])([a-z])", r"\1 \2", text)
    return re.sub(r"([0-9])\s+(st|nd|rd|th|s)\b", r"\1\2", text)


def _tidy(text: str) -> str:
    """Join dollars and cents into one amount, and write 1 as "one" again."""
    text = re.sub(r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b", lambda m: f"{m[1]}{m[2]}.{int(m[3]):02d}", text)
    text = re.sub(r"[€£$]0.([0-9]{1,2})\b", lambda m: f"¢{int(m[1])}", text)
    return re.sub(r"\b1(s?)\b", r"one\1", text)


class _Converter:
    """Goes through the words one by one, and keeps the number that they have built so far.

    That number is an integer as long as words can be added to it by arithmetic ("two hundred", then "five"), and a
    text once its digits are given one by one or it has a decimal point.
    """

    def __init__(self) -> None:
        self._value: Digits | None = None
        self._prefix = ""
        self._skips = False  # whether the next word is part of the last one's number

    def convert(self, words: list[str]) -> Iterator[str]:
        """Yield the words, with the numbers among them in digits."""
        for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
            if self._skips:
                self._skips = False
            else:
                yield from self._word(before, word, after)
        yield from self._end()

    def _word(self, before: str, word: str, after: str) -> Iterator[str]:
        digits = word[1:] if word[0] in _PREFIXES else word
        if _DIGITS.fullmatch(digits):
            yield from self._digits(word, digits)
        elif word in _ZEROS:
            self._value = self._written().append("0")
        elif word in _NUMBERS:
            yield from self._number(before, _NUMBERS[word])
        elif word in _SIGNS:
            yield from self._end()
            if after in _KNOWN or _DIGITS.fullmatch(after):
                self._prefix = _SIGNS[word]
            else:
                yield self._out(word)
        elif word in _MONEY and self._value is not None:
            self._prefix = _MONEY[word]
            yield from self._end()
        elif self._value is not None and (word == "percent" or (word, after) == ("per", "cent")):
            self._skips = word == "per"
            yield self._out(f"{self._value}%")
        elif word in _SPECIAL and (after in _KNOWN or _DIGITS.fullmatch(after)):
            yield from self._special(before, word, after)
        else:
            yield from self._end()
            yield self._out(word)

    def _digits(self, word: str, digits: str) -> Iterator[str]:
        if self._value is not None and self._value.ends_with_point:  # decimals, or the parts of a network address
            self._value.append(word)
            return
        yield from self._end()
        if digits != word:
            self._prefix = word[0]
        self._value = Digits.number(digits)

    def _number(self, before: str, number: _Number) -> Iterator[str]:
        if number.kind == "ones":
            self._ones(before, number.value)
        elif number.kind == "tens":
            self._tens(number.value)
        else:
            yield from self._multiplier(number.value)
        if number.suffix:  # "seventh" ends a number
            yield self._out(f"{self._value}{number.suffix}")

    def _ones(self, before: str, ones: int) -> None:
        value = self._value
        if value is None:
            self._value = Digits.integer(ones)
        elif value.is_text or before in _ONES:
            if before in _PLAIN_TENS and ones < 10:  # 1, 20, 2: 122
                value.drop_last()
            value.append(str(ones))
        elif value.ends_with_zeros(1 if ones < 10 else 2):
            value.add(ones)
        else:
            value.append(str(ones))

    def _tens(self, tens: int) -> None:
        if self._value is None:
            self._value = Digits.integer(tens)
        elif self._value.ends_with_zeros(2):
            self._value.add(tens)
        else:
            self._value.append(str(tens))

    def _multiplier(self, multiplier: int) -> Iterator[str]:
        value = self._value
        if value is None:
            self._value = Digits.integer(multiplier)
        elif value.is_text:
            product = value.times(len(str(multiplier)) - 1)
            if product is None:  # no whole number, or a network address
                yield from self._end()
            self._value = product or Digits.integer(multiplier)
        else:
            value.multiply_last(multiplier)

    def _special(self, before: str, word: str, after: str) -> Iterator[str]:
        """Handle "and", "double", "triple" and "point" before a number."""
        if word == "and":
            if before not in _MULTIPLIERS:
                yield from self._end()
                yield self._out(word)
        elif word == "point":
            if after in _DECIMALS or _DIGITS.fullmatch(after):
                self._value = self._written().append(".")
        elif after in _ONES | _ZEROS:
            digit = _NUMBERS[after].value if after in _NUMBERS else 0
            self._value = self._written().append(str(digit) * (2 if word == "double" else 3))
            self._skips = True
        else:
            yield from self._end()
            yield self._out(word)

    def _written(self) -> Digits:
        """Return the number so far to append to, empty where there is none or zero."""
        return Digits() if self._value is None else self._value.or_empty()

    def _end(self) -> Iterator[str]:
        """Yield the number so far, if any, and start anew."""
        if self._value is not None:
            yield self._out(str(self._value))

    def _out(self, word: str) -> str:
        """Return a word or number with its sign, and start anew."""
        result = self._prefix + word
        self._value, self._prefix = None, ""
        return result
