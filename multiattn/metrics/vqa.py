"""Accuracies of answers to questions about pictures: exact, by agreement with several people, and by kind of question.

WUPS (Malinowski and Fritz 2014), which counts a near word as nearly right, is left out: it needs WordNet.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError
from .normalize_answer import normalize_answer

_ENOUGH = 3
"""An answer that so many other people gave counts as right in full."""


@dataclass(frozen=True)
class TypeScores:
    """How good answers to one kind of question are."""

    accuracy: float
    """As `AnswerScores.accuracy`, of these questions."""

    items: int
    """Questions of this kind."""


@dataclass(frozen=True)
class AnswerScores:
    """How good a set of answers is."""

    accuracy: float
    """Share of the answers that are the one that most people gave (`is_exact`), 0 to 1."""

    vqa_accuracy: float
    """The mean of `agreement`, 0 to 1."""

    by_type: Mapping[str, TypeScores]
    """The same exact accuracy by the kind of question, the most frequent kind first."""


def answer_scores(answers: Sequence[str], given: Sequence[Sequence[str]], types: Sequence[str]) -> AnswerScores:
    """Compare answers with those that people gave, all of them normalized (`normalize_answer`).

    Args:
        answers: One a question.
        given: What people answered to each question, at least one answer.
        types: The kind of each question.

    Raises:
        InputError: There is no question, somebody gave no answer to one, or there are not as many of the three.
    """
    if not len(answers) == len(given) == len(types):
        raise InputError(
            f"`answers`, `given` and `types` must be one for each question, but are {len(answers)}, {len(given)} and "
            f"{len(types)} instead."
        )
    if not answers:
        raise InputError("`answers` must be to at least one question, but there is none.")
    exact = [is_exact(answer, people) for answer, people in zip(answers, given, strict=True)]
    agreed = [agreement(answer, people) for answer, people in zip(answers, given, strict=True)]
    items, right = Counter(types), Counter(kind for kind, hit in zip(types, exact, strict=True) if hit)
    return AnswerScores(
        accuracy=sum(exact) / len(exact),
        vqa_accuracy=sum(agreed) / len(agreed),
        by_type={kind: TypeScores(right[kind] / count, count) for kind, count in items.most_common()},
    )


def is_exact(answer: str, given: Sequence[str]) -> bool:
    """Whether an answer is the one that people gave most often, or one of these where several are equally frequent.

    Raises:
        InputError: Nobody gave an answer.
    """
    counts = _counts(given)
    return counts[normalize_answer(answer)] == max(counts.values())


def agreement(answer: str, given: Sequence[str]) -> float:
    """The VQA accuracy of an answer: right in full where three people gave it, by a third where one did.

    Each person is left out in turn, and the mean is taken, so that a person can be measured too. Where fewer than three
    others are left, all of them are enough, and the answer of a single person is right or wrong.
    Source: Antol et al. 2015, "VQA: Visual Question Answering", section 4; its evaluation code.

    Args:
        answer: To measure; normalized here, as those of `given`.
        given: What people answered, ten in the VQA data set.

    Returns:
        From 0 to 1; of ten people, 0.3 where one gave this answer, then 0.6 and 0.9, and 1 from four on.

    Raises:
        InputError: Nobody gave an answer.
    """
    counts = _counts(given)
    return _agreement(counts[normalize_answer(answer)], counts.total())


def agreements(given: Sequence[str]) -> dict[str, float]:
    """The `agreement` of each answer that somebody gave, by the normalized answer, the most frequent first.

    Raises:
        InputError: Nobody gave an answer.
    """
    counts = _counts(given)
    return {answer: _agreement(count, counts.total()) for answer, count in counts.most_common()}


def question_type(question: str) -> str:
    """The kind of a question of which nothing is said: its first two words in lower case ("how many", "is there")."""
    return " ".join(normalize_question(question).split()[:2])


def normalize_question(question: str) -> str:
    """A question in lower case, its words without the punctuation around them, single spaces between."""
    words = (word.strip(".,;:!?\"'()") for word in question.lower().split())
    return " ".join(word for word in words if word)


def most_frequent(given: Sequence[Sequence[str]], types: Sequence[str]) -> dict[str, str]:
    """The most frequent answer to each kind of question, normalized; and to all questions, under the empty kind.

    What says this and looks at nothing is the least that a model must be better than.

    Args:
        given: What people answered to each question.
        types: The kind of each question.
    """
    counts: dict[str, Counter[str]] = {"": Counter()}
    for people, kind in zip(given, types, strict=True):
        for name in {kind, ""}:
            counts.setdefault(name, Counter()).update(map(normalize_answer, people))
    return {kind: found.most_common(1)[0][0] for kind, found in counts.items() if found}


def _agreement(count: int, people: int) -> float:
    """Of an answer that so many of the people gave."""
    if people == 1:
        return float(count)
    enough = min(_ENOUGH, people - 1)
    with_it, without = min(1.0, count / enough), min(1.0, (count - 1) / enough)  # of those who did not give it, who did
    return ((people - count) * with_it + count * max(0.0, without)) / people


def _counts(given: Sequence[str]) -> Counter[str]:
    if not given:
        raise InputError("`given` must be the answers of at least one person, but is empty instead.")
    return Counter(map(normalize_answer, given))
