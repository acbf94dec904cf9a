"""The closed list of answers: the most frequent answers to the training questions; and the votes for answers.

Answers are compared as by the metric (`normalize_answer`), and shown in their most frequent spelling.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from ..errors import InputError
from ..metrics.vqa import normalize_answer
from .questions import Question, QuestionRecords


class AnswerList:
    """Answers with their indices."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Index the answers.

        Args:
            labels: The answers in order; of those that are equal once they are normalized, the first one counts.
        """
        self.labels = tuple(labels)
        self._indices = {normalize_answer(label): index for index, label in reversed(list(enumerate(self.labels)))}

    def targets(self, answers: Sequence[str]) -> dict[int, float]:
        """Count the votes for the answers of the list that people gave to a question.

        Args:
            answers: People's answers.

        Returns:
            The index of each of them in the list, with the share of the people who gave it, above 0 to 1; empty where
            the list has none. Not the VQA accuracy, which is 1 for three people of ten and for nine: normalized to a
            sum of 1, it would teach that an answer of six is as good as one of four.
        """
        votes = Counter(map(normalize_answer, answers)).most_common()
        return {self._indices[answer]: count / len(answers) for answer, count in votes if answer in self._indices}

    def coverage(self, questions: Iterable[Question]) -> float:
        """The share of the questions that have an answer in the list."""
        has = [any(normalize_answer(answer) in self._indices for answer in question.answers) for question in questions]
        return sum(has) / max(1, len(has))


def spelled(answer: str) -> str:
    """Put an answer in lower case, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", answer).lower().split())


def most_agreed(answers: Sequence[str]) -> str:
    """The most frequent answer, in its most frequent spelling; the first one where several are equally frequent."""
    return next(iter(answer_shares(answers)))


def frequent_answers(records: QuestionRecords, *, max_answers: int, min_count: int) -> AnswerList:
    """Collect the most frequent answers of a split; each question counts for its most agreed answer.

    Args:
        records: The split.
        max_answers: The largest number of answers.
        min_count: The smallest number of questions with this answer.

    Raises:
        InputError: No answer is so frequent.
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
    """The different answers that people gave, in their most frequent spelling, with their shares of the votes.

    The most frequent answer comes first; the shares add up to 1.
    """
    found: dict[str, Counter[str]] = {}
    for answer in answers:
        if answer.strip():
            found.setdefault(normalize_answer(answer), Counter())[spelled(answer)] += 1
    total = sum(spellings.total() for spellings in found.values())
    ranked = sorted(found, key=lambda answer: -found[answer].total())
    return {found[answer].most_common(1)[0][0]: found[answer].total() / total for answer in ranked}
