"""The closed list of answers: the most frequent ones of the training questions; and how well each answers a question.

An answer is compared as the metric does it (`normalize_answer`), and shown as most people have written it.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

from ..errors import InputError
from ..metrics.vqa import agreements, normalize_answer
from .questions import Question, QuestionRecords


class AnswerList:
    """Answers with their places."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Take them up.

        Args:
            labels: In order; where two are the same once they are normalized, the first one counts.
        """
        self.labels = tuple(labels)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {normalize_answer(label): place for place, label in reversed(list(enumerate(self.labels)))}

    def targets(self, answers: Sequence[str]) -> dict[int, float]:
        """The answers of the list that somebody gave, by their places, and how well they answer the question.

        Args:
            answers: What people said.

        Returns:
            Their `agreement`, above 0 to 1; nothing where the list has none of the answers.
        """
        return {self._places[answer]: score for answer, score in agreements(answers).items() if answer in self._places}

    def coverage(self, questions: Iterable[Question]) -> float:
        """Share of the questions that have an answer in the list."""
        has = [any(normalize_answer(answer) in self._places for answer in question.answers) for question in questions]
        return sum(has) / max(1, len(has))


def spelled(answer: str) -> str:
    """An answer in lower case, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", answer).lower().split())


def most_agreed(answers: Sequence[str]) -> str:
    """The answer that most people gave, as most of them spelled it; the earliest where several are equally frequent."""
    return next(iter(answer_shares(answers)))


def frequent_answers(records: QuestionRecords, *, max_answers: int, min_count: int) -> AnswerList:
    """The most frequent answers of a split, each question counted for its most agreed one.

    Args:
        records: The split.
        max_answers: How many to take at most.
        min_count: Questions that an answer must be to.

    Raises:
        InputError: None is so frequent.
    """
    spellings: dict[str, Counter[str]] = {}
    for question in records.questions():
        answer = most_agreed(question.answers)
        spellings.setdefault(normalize_answer(answer), Counter())[answer] += 1
    counts = {answer: found.total() for answer, found in spellings.items()}
    chosen = sorted((answer for answer, count in counts.items() if count >= min_count), key=lambda a: (-counts[a], a))
    if not chosen:
        raise InputError(
            f"`min_count` must be at most {max(counts.values())}, the count of the most frequent answer, but is "
            f"{min_count} instead."
        )
    return AnswerList([spellings[answer].most_common(1)[0][0] for answer in chosen[:max_answers]])


def answer_shares(answers: Sequence[str]) -> dict[str, float]:
    """The answers that people gave, as `most_agreed` spells them, each with its share of the agreement.

    The most agreed one comes first; the shares add up to 1.
    """
    scores = agreements(answers)
    found: dict[str, Counter[str]] = {}
    for answer in answers:
        if answer.strip():
            found.setdefault(normalize_answer(answer), Counter())[spelled(answer)] += 1
    total = sum(scores[answer] for answer in found)
    ranked = sorted(found, key=lambda answer: -found[answer].total())
    return {found[answer].most_common(1)[0][0]: scores[answer] / total for answer in ranked}
