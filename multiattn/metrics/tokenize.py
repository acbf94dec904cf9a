"""The words that the caption metrics count: lower case, split as in the Penn Treebank, without punctuation.

Source: Stanford's PTBTokenizer as pycocoevalcap calls it (`-preserveLines -lowerCase`), with its list of punctuation.
"""

import re

PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
"""The tokens that pycocoevalcap drops. Its list has brackets too, but in capitals, after the text was put in lower
case: so "-lrb-" counts as a word there. It does here as well, for the same scores."""

_SAME = str.maketrans(
    {"’": "'", "‘": "`", "“": "``", "”": "''", '"': "''", "–": "--", "—": "--", "…": "...", "£": "#", "€": "$"}
)
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_SPLIT = {  # words that the treebank splits in two
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "gimme": ("gim", "me"),
    "lemme": ("lem", "me"),
    "'tis": ("'t", "is"),
    "'twas": ("'t", "was"),
}

_TITLES = "mr|mrs|ms|dr|st|ave|jr|sr|inc|etc|vs|prof|gen|sgt|lt|capt|col|rev|mt|ft|co|corp|ltd"

_TOKEN = re.compile(
    rf"""
      https?://\S*[\w/]                                     # an address
    | (?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+             # of mail; not from within a run, which takes long
    | [a-z](?:\.[a-z])*\.(?!\w|\.|\s*$)                     # "u. miami", but not the end of "hepatitis c."
    | [a-z](?:\.[a-z])+\b\.?                                # "5 p.m.", at the end too
    | (?:{_TITLES})\.(?!\w) | no\.(?=\s*\d)                 # mr., no. 5
    | 'n'(?!\w) | '(?:tis|twas|em|til|cause|n)\b            # words without their beginning
    | '\d\ds?\b                                             # the '90s
    | [+-]?\d+(?:[.,:]\d+)*(?![\w/-])                       # -3.5, 1,000, 10:30
    | \w*n't\b                                              # doesn't: split below
    | ma'am\b
    | (?:[odl]'(?=\w\w)(?!re\b|ve\b|ll\b))?                 # o'clock is one word, i'll is not
      \w+(?:(?:[-/_]+|[.](?=\w\w)|(?<=\d)[.,:](?=\d))\w+)*  # a word, with hyphens and the like inside
    | '(?:s|m|d|re|ve|ll)\b                                 # the end of man's, i'm
    | '' | `` | \.{{3,}} | -{{2,}} | [?!]+                    # runs of one sign
    | \S                                                    # any other sign by itself
    """,
    re.VERBOSE,
)


def tokenize(sentence: str) -> list[str]:
    """Split a sentence into words.

    Returns:
        Lower-case words; "doesn't" becomes "does" and "n't", "man's" becomes "man" and "'s". Hyphenated words stay
        whole.
    """
    words: list[str] = []
    for token in _TOKEN.findall(sentence.lower().translate(_SAME)):
        if token.endswith("n't") and token != "n't":
            words += [token[:-3], "n't"]
        elif token in _SPLIT:
            words += _SPLIT[token]
        elif token not in PUNCTUATION:
            words.append(_BRACKETS.get(token, token))
    return words
