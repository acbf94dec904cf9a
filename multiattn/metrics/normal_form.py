"""Unicode's normal forms in time that grows with the text's length alone."""

import unicodedata
from typing import Literal

_LONGEST_RUN = 32  # marks on one letter; no writing has as many. Source: Unicode Standard Annex 15, "Stream-Safe Text"


def normal_form(form: Literal["NFC", "NFKC", "NFKD"], text: str) -> str:
    """Return `unicodedata.normalize(form, text)`; of more than 32 marks on a letter, the rest are ordered apart.

    Python sorts the marks of a letter by insertion: a hundred thousand of them take a minute.
    """
    if text.isascii():
        return text
    parts: list[str] = []
    start = run = 0
    for index, letter in enumerate(text):
        run = run + 1 if unicodedata.combining(letter) else 0
        if run > _LONGEST_RUN:
            parts.append(text[start:index])
            start, run = index, 1
    return "".join(unicodedata.normalize(form, part) for part in [*parts, text[start:]])
