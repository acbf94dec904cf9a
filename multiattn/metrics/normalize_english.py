"""The normalization of transcripts before error rates are computed, for any language and for English.

These are Whisper's rules, so that error rates can be compared with published ones, with one exception: its table of
1,700 British spellings is not here, so "color" and "colour" stay two words.
Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C.
"""

import re
import unicodedata

from .normal_form import normal_form
from .normalize_numbers import normalize_numbers

_OPENING, _CLOSING = re.compile(r"[<\[(]"), re.compile(r"[>\]]")
_SIGNS = "MSP"  # marks, symbols and punctuation, among Unicode's categories
_FILLERS = re.compile(r"\b(?:hmm|mm|mhm|mmm|uh|um)\b")
_WHOLE = {  # whole words that are expanded
    "won't": "will not",
    "can't": "can not",
    "let's": "let us",
    "ain't": "aint",
    "y'all": "you all",
    "wanna": "want to",
    "gotta": "got to",
    "gonna": "going to",
    "i'ma": "i am going to",
    "imma": "i am going to",
    "woulda": "would have",
    "coulda": "could have",
    "shoulda": "should have",
    "ma'am": "madam",
}
_TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "st": "saint",
    "dr": "doctor",
    "prof": "professor",
    "capt": "captain",
    "gov": "governor",
    "ald": "alderman",
    "gen": "general",
    "sen": "senator",
    "rep": "representative",
    "pres": "president",
    "rev": "reverend",
    "hon": "honorable",
    "asst": "assistant",
    "assoc": "associate",
    "lt": "lieutenant",
    "col": "colonel",
    "jr": "junior",
    "sr": "senior",
    "esq": "esquire",
}
_PERFECT = {  # the meaning of 'd and 's before these words; "'s done" is ambiguous
    "'d been": "had been",
    "'s been": "has been",
    "'d gone": "had gone",
    "'s gone": "has gone",
    "'d done": "had done",
    "'s got": "has got",
}
_ENDINGS = {
    "n't": "not",
    "'re": "are",
    "'s": "is",
    "'d": "would",
    "'ll": "will",
    "'t": "not",
    "'ve": "have",
    "'m": "am",
}
_CONTRACTIONS = tuple(  # in this order: an ending comes after all endings that contain it
    [(re.compile(rf"\b{word}\b"), meant) for word, meant in _WHOLE.items()]
    + [(re.compile(rf"\b{title}\b"), f"{meant} ") for title, meant in _TITLES.items()]
    + [(re.compile(rf"{end}\b"), f" {meant}") for ends in (_PERFECT, _ENDINGS) for end, meant in ends.items()]
)
_NUMBER_SIGNS = ".%$¢€£"  # may belong to a number
_LETTERS = str.maketrans(  # letters that Unicode does not decompose
    {
        "œ": "oe",
        "Œ": "OE",
        "ø": "o",
        "Ø": "O",
        "æ": "ae",
        "Æ": "AE",
        "ß": "ss",
        "ẞ": "SS",
        "đ": "d",
        "Đ": "D",
        "ð": "d",
        "Ð": "D",
        "þ": "th",
        "Þ": "th",
        "ł": "l",
        "Ł": "L",
    }
)


def normalize_text(text: str) -> str:
    """Normalize a text in any language: lower case, no remarks in brackets, spaces instead of signs."""
    found = normal_form("NFKC", _without_remarks(text.lower()))
    return " ".join("".join(" " if _is_sign(c) else c for c in found).lower().split())


def normalize_english(text: str) -> str:
    """Normalize an English text: numbers in digits, contractions in full, no punctuation and no fillers."""
    text = _FILLERS.sub("", _without_remarks(text.lower()))
    text = re.sub(r"(?<!\s)\s+'", "'", text)  # from the first space on: a search from each takes long
    for pattern, meant in _CONTRACTIONS:
        text = pattern.sub(meant, text)
    text = re.sub(r"(\d),(\d)", r"\1\2", text)
    text = re.sub(r"\.([^0-9]|$)", r" \1", text)  # a full stop, no decimal point
    text = normalize_numbers(_without_signs(text))
    text = re.sub(r"[.$¢€£]([^0-9])", r" \1", text)  # signs that belong to no number after all
    text = re.sub(r"([^0-9])%", r"\1 ", text)
    return " ".join(text.split())


def _without_signs(text: str) -> str:
    """Remove accents, and replace signs by spaces unless they may belong to a number."""
    # without accents (Mn), which NFKD has separated from their letters
    letters = (c for c in normal_form("NFKD", text) if unicodedata.category(c) != "Mn")
    return "".join(" " if _is_sign(c) and c not in _NUMBER_SIGNS else c for c in letters).translate(_LETTERS)


def _without_remarks(text: str) -> str:
    """Remove remarks in brackets: [applause], <unk>, (laughs); not an empty pair of round ones."""
    kept: list[str] = []
    start = at = 0
    unclosed = set[str]()  # brackets that are not closed any more
    while opening := _OPENING.search(text, at):
        at = opening.end()
        bracket = "(" if opening[0] == "(" else "["
        if bracket in unclosed:
            if len(unclosed) == 2:
                break
            continue
        if bracket == "(":
            end = text.find(")", at)
        else:
            end = found.start() if (found := _CLOSING.search(text, at)) else -1
        if end < 0:
            unclosed.add(bracket)
        elif bracket == "[" or end > at:
            kept.append(text[start : opening.start()])
            start = at = end + 1
    return "".join([*kept, text[start:]])


def _is_sign(letter: str) -> bool:
    """Return whether a character is a mark, a symbol or punctuation."""
    return unicodedata.category(letter)[0] in _SIGNS
