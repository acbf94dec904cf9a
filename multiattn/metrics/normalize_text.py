"""Text as error rates compare it in any language: lower case, without punctuation and what stands in brackets.

Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C, the last steps,
for languages other than English.
"""

import re
import unicodedata

_REMARK = re.compile(r"[<\[][^>\]]*[>\]]|\([^)]+?\)")  # [applause], <unk>, (laughs)
_SIGNS = "MSP"  # marks, symbols and punctuation, among Unicode's categories


def normalize_text(text: str) -> str:
    """A text in lower case, signs as spaces, single spaces between words."""
    found = unicodedata.normalize("NFKC", without_remarks(text.lower()))
    return " ".join("".join(" " if is_sign(c) else c for c in found).lower().split())


def without_remarks(text: str) -> str:
    """A text without what stands in square, angled or round brackets."""
    return _REMARK.sub("", text)


def is_sign(letter: str) -> bool:
    """Whether a character is a mark, a symbol or punctuation."""
    return unicodedata.category(letter)[0] in _SIGNS
