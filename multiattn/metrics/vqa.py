"""Accuracies of answers to questions about pictures: exact, by agreement with several people, and by kind of question.

Answers are normalized before they are compared: "A  dog." and "dog" are equal, and so are "two" and "2". Punctuation,
articles and number words are treated as in the evaluation code of the VQA data set, with three differences: it leaves
answers unchanged where all people gave the same one, and here every answer is normalized; missing apostrophes ("dont")
are restored by rules of grammar instead of a list of words, so that a few rare ones ("somebodyd") differ; and a letter
with an accent is one letter, however Unicode spells it.

WUPS (Malinowski and Fritz 2014), which counts a related word as nearly correct, is left out: it needs WordNet.
Source: Antol et al. 2015, "VQA: Visual Question Answering", section 4, and its evaluation code.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from ..checks import require
from ..errors import InputError
from .normal_form import normal_form

_ENOUGH = 3
"""Number of other people whose agreement makes an answer fully correct."""

_SIGNS = '!"()+,-/;<=>?@[\\]_`{}'  # other signs, such as ' and $ and %, are part of answers
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


@dataclass(frozen=True)
class TypeScores:
    """Scores of the answers to one kind of question."""

    accuracy: float
    """Exact accuracy, as in `AnswerScores`."""

    items: int
    """Number of questions."""


@dataclass(frozen=True)
class AnswerScores:
    """Scores of a set of answers."""

    accuracy: float
    """Share of answers that are the most frequent one among the people's (`is_exact`), 0 to 1."""

    vqa_accuracy: float
    """The mean VQA accuracy (`agreement`), 0 to 1."""

    by_type: Mapping[str, TypeScores]
    """The exact accuracy by kind of question, the most frequent kind first."""


def answer_scores(answers: Sequence[str], given: Sequence[Sequence[str]], types: Sequence[str]) -> AnswerScores:
    """Compare answers with those of people; all are normalized first (`normalize_answer`).

    Args:
        answers: One answer per question.
        given: The people's answers to each question, at least one.
        types: The kind of each question.

    Raises:
        InputError: There is no question, a question has no answers by people, or the three differ in length.
    """
    if not len(answers) == len(given) == len(types):
        raise InputError(
            f"`answers`, `given` and `types` must be one for each question, but are {len(answers)}, {len(given)} and "
            f"{len(types)} instead."
        )
    require(len(answers) > 0, "answers", must="answers to at least one question", value=answers, error=InputError)
    exact = [is_exact(answer, people) for answer, people in zip(answers, given, strict=True)]
    vqa_accuracies = [agreement(answer, people) for answer, people in zip(answers, given, strict=True)]
    items, right = Counter(types), Counter(kind for kind, hit in zip(types, exact, strict=True) if hit)
    return AnswerScores(
        accuracy=sum(exact) / len(exact),
        vqa_accuracy=sum(vqa_accuracies) / len(vqa_accuracies),
        by_type={kind: TypeScores(right[kind] / count, count) for kind, count in items.most_common()},
    )


def is_exact(answer: str, given: Sequence[str]) -> bool:
    """Return whether an answer is the most frequent one among the people's, or one of several that are.

    Raises:
        InputError: `given` is empty.
    """
    counts = _counts(given)
    return counts[normalize_answer(answer)] == max(counts.values())


def agreement(answer: str, given: Sequence[str]) -> float:
    """Return the VQA accuracy of an answer: 1 where three people gave it, a third where one did.

    It is the mean over all subsets with one person left out, so that people can be scored in the same way. Where fewer
    than three others remain, all of them must agree; with a single person, the answer is right or wrong.
    Source: Antol et al. 2015, "VQA: Visual Question Answering", section 4; its evaluation code.

    Args:
        answer: The answer to score; it is normalized, as are those of `given`.
        given: The people's answers, ten in the VQA data set.

    Returns:
        0 to 1; with ten people, 0.3 where one gave this answer, 0.6 for two, 0.9 for three, and 1 from four on.

    Raises:
        InputError: `given` is empty.
    """
    counts = _counts(given)
    return _agreement(counts[normalize_answer(answer)], counts.total())


def question_type(question: str) -> str:
    """Return the kind of a question without a stated one: its first two words in lower case ("how many")."""
    return " ".join(normalize_question(question).split()[:2])


def normalize_question(question: str) -> str:
    """Normalize a question: lower case, no punctuation around words, single spaces."""
    words = (word.strip(".,;:!?\"'()") for word in question.lower().split())
    return " ".join(word for word in words if word)


def most_frequent(given: Sequence[Sequence[str]], types: Sequence[str]) -> dict[str, str]:
    """Return the most frequent answer to each kind of question, normalized; under "" that to all questions.

    These answers, which ignore the pictures, are the baseline that a model must exceed.

    Args:
        given: The people's answers to each question.
        types: The kind of each question.
    """
    counts: dict[str, Counter[str]] = {"": Counter()}
    for people, kind in zip(given, types, strict=True):
        for name in {kind, ""}:
            counts.setdefault(name, Counter()).update(map(normalize_answer, people))
    return {kind: found.most_common(1)[0][0] for kind, found in counts.items() if found}


@lru_cache(2**16)  # people give the same answers again and again
def normalize_answer(text: str) -> str:
    """Normalize an answer: lower case, no punctuation and articles, numbers up to ten in digits.

    A sign next to a space is removed; one between two letters ("black/white") becomes a space, except for a comma in a
    number ("1,000"). A full stop before a digit ("1.5") is kept.
    """
    text = " ".join(normal_form("NFC", text).split())
    drops_signs = bool(_GROUPED.search(text))
    found = text
    for sign in _SIGNS:
        found = found.replace(sign, "" if drops_signs or f"{sign} " in text or f" {sign}" in text else " ")
    words = (_NUMBERS.get(word, word) for word in _FULL_STOP.sub("", found).lower().split())
    return " ".join(_WITH_APOSTROPHES.get(word.replace("'", ""), word) for word in words if word not in _ARTICLES)


def _agreement(count: int, people: int) -> float:
    """Return the agreement of an answer that `count` of the `people` gave."""
    if people == 1:
        return float(count)
    enough = min(_ENOUGH, people - 1)
    # the score where the person left out gave another answer, and where that person gave this one
    other, same = min(1.0, count / enough), max(0.0, min(1.0, (count - 1) / enough))
    return ((people - count) * other + count * same) / people


def _counts(given: Sequence[str]) -> Counter[str]:
    require(len(given) > 0, "given", must="the answers of at least one person", value=given, error=InputError)
    return Counter(map(normalize_answer, given))
