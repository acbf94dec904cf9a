"""English text as error rates compare it: numbers in figures, contractions in full, no punctuation, no fillers.

These are Whisper's rules, so that figures can be held against published ones, with one exception: its table of 1,700
British spellings is not here, so "color" and "color" stay two words.
Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C.
"""

import re
import unicodedata

from .normalize_numbers import normalize_numbers
from .normalize_text import is_sign, without_remarks

_FILLERS = re.compile(r"\b(?:hmm|mm|mhm|mmm|uh|um)\b")
_WHOLE = {  # words that are written out where they stand alone
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
_PERFECT = {  # what 'd and 's mean before these; "'s done" could be either
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
_CONTRACTIONS = tuple(  # in this order: an ending is looked at only after all that contain it
    [(re.compile(rf"\b{word}\b"), meant) for word, meant in _WHOLE.items()]
    + [(re.compile(rf"\b{title}\b"), f"{meant} ") for title, meant in _TITLES.items()]
    + [(re.compile(rf"{end}\b"), f" {meant}") for ends in (_PERFECT, _ENDINGS) for end, meant in ends.items()]
)
_OF_NUMBERS = ".%$¢€£"  # signs that may belong to a number
_LETTERS = str.maketrans(  # which no decomposition takes apart
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


def normalize_english(text: str) -> str:
    """A text as words and figures with single spaces between them."""
    text = _FILLERS.sub("", without_remarks(text.lower()))
    text = re.sub(r"\s+'", "'", text)
    for pattern, meant in _CONTRACTIONS:
        text = pattern.sub(meant, text)
    text = re.sub(r"(\d),(\d)", r"\1\2", text)
    text = re.sub(r"\.([^0-9]|$)", r" \1", text)  # a point that is no decimal point
    text = normalize_numbers(_without_signs(text))
    text = re.sub(r"[.$¢€£]([^0-9])", r" \1", text)  # what belonged to no number after all
    text = re.sub(r"([^0-9])%", r"\1 ", text)
    return " ".join(text.split())


def _without_signs(text: str) -> str:
    """Letters without their accents, and signs as spaces, but for those that may belong to a number."""
    found = []
    for c in unicodedata.normalize("NFKD", text):
        if c in _OF_NUMBERS:
            found.append(c)
        elif unicodedata.category(c) != "Mn":  # accents, which stand apart now
            found.append(" " if is_sign(c) else c)
    return "".join(found).translate(_LETTERS)
