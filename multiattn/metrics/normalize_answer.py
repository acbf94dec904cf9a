"""Answers as visual question answering compares them: "A  dog." and "dog" are one, and so are "two" and "2".

Punctuation, articles and number words are treated as in the evaluation code of the VQA data set. Three things differ:
it leaves answers as they are where all people gave the same one, and here every answer is normalized; apostrophes that
are missing ("dont") are put back by rules of grammar instead of by a list of words, so that a few rare ones
("somebodyd") come out otherwise; and a letter with an accent is one letter, however Unicode spells it.
Source: Antol et al. 2015, "VQA: Visual Question Answering", section 4.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import product

_SIGNS = '!"()+,-/;<=>?@[\\]_`{}'  # the others, such as ' and $ and %, belong to answers
_FULL_STOP = re.compile(r"\.(?!\d)")
_GROUPED = re.compile(r"\d,\d")
_ARTICLES = frozenset(("a", "an", "the"))
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}

_HELPERS = ("could", "had", "might", "must", "should", "would")  # could've, couldn't, couldn't've
_NEGATED = (
    *_HELPERS,
    "ai",
    "are",
    "ca",
    "did",
    "do",
    "does",
    "has",
    "have",
    "is",
    "need",
    "ought",
    "sha",
    "was",
    "were",
)
_SUBJECTS = ("he", "how", "i", "it", "she", "that", "there", "they", "we", "what", "when", "where", "who", "why", "you")
_ENDINGS = ("'d", "'ll", "'re", "'s", "'ve", "'d've")
_OTHERS = ("can't", "won't", "i'm", "let's", "ma'am", "not've", "o'clock", "y'all", "y'all'll", "'twas")
_WORDS_OF_THEIR_OWN = frozenset(
    ("hell", "here", "id", "ill", "ire", "is", "its", "shed", "shell", "wed", "well", "were", "whore")
)
_WHOLE = [
    *(f"{word}n't" for word in (*_NEGATED, "wo")),
    *(f"{word}n't've" for word in _HELPERS),
    *(f"{word}'ve" for word in _HELPERS),
    *(f"{word}{ending}" for word, ending in product(_SUBJECTS, _ENDINGS)),
    *_OTHERS,
]
_WITH_APOSTROPHES = {bare: whole for whole in _WHOLE if (bare := whole.replace("'", "")) not in _WORDS_OF_THEIR_OWN}


@lru_cache(2**16)  # people give the same answers again and again
def normalize_answer(text: str) -> str:
    """An answer in lower case, without punctuation and articles, numbers up to ten in figures.

    A sign that stands beside a space goes; one between two letters ("black/white") leaves a space, but for a comma in a
    number ("1,000"). A full stop stays before a digit ("1.5").
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    goes = bool(_GROUPED.search(text))
    found = text
    for sign in _SIGNS:
        found = found.replace(sign, "" if goes or f"{sign} " in text or f" {sign}" in text else " ")
    words = (_NUMBERS.get(word, word) for word in _FULL_STOP.sub("", found).lower().split())
    return " ".join(_WITH_APOSTROPHES.get(word.replace("'", ""), word) for word in words if word not in _ARTICLES)
