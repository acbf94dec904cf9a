"""A number as it grows word by word, in decimal digits, of any length: a step costs the same however long it is.

Python's `int` reads and writes at most 4,300 digits, and a change to a long number or string copies all of it.
"""

import unicodedata

_WIDTH = 60  # digits of the low part of an integer: more than the largest multiplier in words has
_LIMIT = 10**_WIDTH


class Digits:
    """An integer, to which words add; or a text of digits and points, which grows at its end.

    Such a text holds digits that are said one by one, decimals, or the parts of a network address.

    Args:
        text: The text.
    """

    def __init__(self, text: str = "") -> None:
        self._head: list[str] = []  # the first digits of a long integer; later steps leave them as they are
        self._low: int | None = None  # its last `_WIDTH` digits; all of a short one; None for a text
        self._tail = [text] if text else []  # the pieces of a text, after `_head`

    @classmethod
    def integer(cls, value: int) -> "Digits":
        """Return an integer of at most 60 digits."""
        found = cls()
        found._low = value
        return found

    @classmethod
    def number(cls, digits: str) -> "Digits":
        """Return what is written in digits, with or without decimals: an integer where it is a whole number."""
        return cls(digits).times(0) or cls(digits)

    @property
    def is_text(self) -> bool:
        """Whether it is a text, and no integer."""
        return self._low is None

    @property
    def ends_with_point(self) -> bool:
        """Whether it is a text with a point at its end."""
        return self.is_text and self._tail[-1:] != [] and self._tail[-1].endswith(".")

    def ends_with_zeros(self, count: int) -> bool:
        """Whether it is an integer with so many zeros at its end, or zero."""
        return self._low is not None and self._low % 10**count == 0

    def or_empty(self) -> "Digits":
        """Return it, or an empty text for zero."""
        return Digits() if self._low == 0 and not self._head else self

    def append(self, digits: str) -> "Digits":
        """Append to the text; an integer becomes one. Returns itself."""
        if self._low is not None:
            self._tail, self._low = [self._low_digits()], None
        self._tail.append(digits)
        return self

    def drop_last(self) -> None:
        """Remove the last character of a text."""
        self._tail.append(self._tail.pop()[:-1])

    def add(self, value: int) -> None:
        """Add to an integer."""
        assert self._low is not None
        self._set_low(self._low + value)

    def multiply_last(self, multiplier: int) -> None:
        """Multiply the last three digits of an integer: 2,005 by a thousand is 7,000."""
        assert self._low is not None
        self._set_low(self._low // 1000 * 1000 + self._low % 1000 * multiplier)

    def times(self, multiplier: int) -> "Digits | None":
        """Multiply a text by 10**`multiplier`; None where the product is no integer, or the text is no number."""
        whole, _, rest = "".join(self._tail).partition(".")
        if not (whole or rest) or not all(part.isdecimal() for part in (whole, rest) if part):
            return None
        decimals = _ascii(rest).rstrip("0")
        if len(decimals) > multiplier:
            return None
        digits = _ascii(whole) + decimals.ljust(multiplier, "0")
        found = Digits()
        found._head = self._head
        if not found._head:
            digits = digits.lstrip("0") or "0"
        found._low = int(digits[-_WIDTH:])
        if digits[:-_WIDTH]:
            found._head.append(digits[:-_WIDTH])
        return found

    def _set_low(self, low: int) -> None:
        carry, self._low = divmod(low, _LIMIT)
        if carry:  # of 1, and at most once in any text: afterwards there is room for 10**24 words
            self._head = [_plus_one("".join(self._head))]

    def _low_digits(self) -> str:
        return f"{self._low:0{_WIDTH}d}" if self._head else str(self._low)

    def __str__(self) -> str:
        return "".join([*self._head, *(self._tail if self._low is None else [self._low_digits()])])


def _plus_one(digits: str) -> str:
    kept = digits.rstrip("9")
    zeros = "0" * (len(digits) - len(kept))
    return f"{kept[:-1]}{int(kept[-1]) + 1}{zeros}" if kept else f"1{zeros}"


def _ascii(digits: str) -> str:
    """Return decimal digits of any script as 0 to 9."""
    return digits if digits.isascii() else "".join(str(unicodedata.decimal(digit)) for digit in digits)
