"""Grapheme clusters: what a reader takes for one character, such as a letter with its accents, or an emoji.

A cluster may be many code points long: a word, a line or a label that ends within one shows half a character.

Source: Unicode Standard Annex 29, section 3.1, by the character categories of Python's `unicodedata`. Where these
cannot tell, two characters stay together: no cluster is ever split, but a few are joined.
"""

import unicodedata
from itertools import pairwise

_ZWNJ, _ZWJ = "\u200c", "\u200d"
_ALSO_EXTEND = frozenset("\u0e33\u0eb3\uff9e\uff9f") | {_ZWNJ, _ZWJ}  # vowels and marks that count as letters
_PREPENDED = (
    (0x0600, 0x0605), (0x06DD, 0x06DD), (0x070F, 0x070F), (0x0890, 0x0891), (0x08E2, 0x08E2), (0x0D4E, 0x0D4E),
    (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x111C2, 0x111C3), (0x113D1, 0x113D1), (0x1193F, 0x1193F),
    (0x11941, 0x11941), (0x11A3A, 0x11A3A), (0x11A84, 0x11A89), (0x11D46, 0x11D46), (0x11F02, 0x11F02),
)  # fmt: skip
_PICTURES = frozenset("\u203c\u2049\u2139\u2194\u3030")  # joined by ZWJ as emoji are, but of other categories
_VIRAMA = 9  # combining class of the mark that joins two consonants
_INVISIBLE_STACKERS = frozenset("\u1039\u17d2\U00010a3f")  # the same, in all versions of Unicode


def clusters(text: str) -> list[str]:
    """Cut a text into its grapheme clusters, which joined are the text."""
    starts = [i for i in range(len(text)) if not within_cluster(text, i)]
    return [text[start:end] for start, end in pairwise([*starts, len(text)])]


def within_cluster(text: str, index: int) -> bool:
    """Tell whether a cut before the character at `index`, from 0 to the text's length, would split a cluster."""
    if not 0 < index < len(text):
        return False
    before, after = text[index - 1], text[index]
    if (before, after) == ("\r", "\n"):
        return True
    if _is_control(before) or _is_control(after):
        return False
    if _extends(after) or _is_prepended(before) or _is_one_syllable(before, after):
        return True
    if _is_flag_half(before) and _is_flag_half(after):
        halves = len(text[:index]) - len(text[:index].rstrip("".join(map(chr, range(0x1F1E6, 0x1F200)))))
        return halves % 2 == 1
    base = index - 1  # the character that the marks before `index` belong to
    while base and _extends(text[base]):
        base -= 1
    marks = text[base + 1 : index]
    if marks.endswith(_ZWJ) and _is_picture(text[base]) and _is_picture(after):
        return True
    joins = any(unicodedata.combining(mark) == _VIRAMA or mark in _INVISIBLE_STACKERS for mark in marks)
    return joins and unicodedata.category(text[base]) == unicodedata.category(after) == "Lo"


def _extends(character: str) -> bool:
    """Tell whether a character belongs to the one before it."""
    is_mark = unicodedata.category(character) in ("Mn", "Me", "Mc")
    code = ord(character)
    return is_mark or character in _ALSO_EXTEND or 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F


def _is_control(character: str) -> bool:
    is_control = unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")
    return is_control and not _extends(character) and not _is_prepended(character)


def _is_prepended(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _PREPENDED)


def _is_flag_half(character: str) -> bool:
    return 0x1F1E6 <= ord(character) <= 0x1F1FF


def _is_picture(character: str) -> bool:
    is_unknown = unicodedata.category(character) == "Cn" and 0x1F000 <= ord(character) <= 0x1FFFF  # newer emoji
    return unicodedata.category(character) in ("So", "Sm") or is_unknown or character in _PICTURES


def _is_one_syllable(before: str, after: str) -> bool:
    """Tell whether two characters are of one Hangul syllable: leading consonants, vowels, trailing consonants."""
    first, second = _hangul(before), _hangul(after)
    return (
        (first == "L" and second in ("L", "V", "LV", "LVT"))
        or (first in ("LV", "V") and second in ("V", "T"))
        or (first in ("LVT", "T") and second == "T")
    )


def _hangul(character: str) -> str | None:
    code = ord(character)
    if 0x1100 <= code <= 0x115F or 0xA960 <= code <= 0xA97C:
        return "L"
    if 0x1160 <= code <= 0x11A7 or 0xD7B0 <= code <= 0xD7C6:
        return "V"
    if 0x11A8 <= code <= 0x11FF or 0xD7CB <= code <= 0xD7FB:
        return "T"
    if 0xAC00 <= code <= 0xD7A3:
        return "LV" if (code - 0xAC00) % 28 == 0 else "LVT"
    return None
