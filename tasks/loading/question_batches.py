"""Pictures with questions as samples and batches: the questions that an epoch draws, and their tokens as a table.

b pictures, g questions a picture, r = b x g rows, n tokens of a question, t of an answer; A answers of a closed list; m
picture tokens and D width of an encoder's features.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, Int64
from torch import Tensor
from torch.utils.data import Dataset

from multiattn.data.answer_list import AnswerList, answer_shares
from multiattn.data.questions import Question, QuestionRecords
from multiattn.inputs import Tokenizer

from ..contracts import TokenFormat
from .box_patches import BoxPatches
from .pictures import Sample, TextDataset, stacked
from .readable import Unreadable, positions_of, unreadable_of
from .tokens import TokenRows, is_known, known_tokens, padded, with_ends


class AnswerBatch(NamedTuple):
    """A batch of the answering task. Row r belongs to picture r // g."""

    images: Float32[Tensor, "b c h w"] | None
    """None where there are features."""

    features: Float16[Tensor, "b m D"] | None
    """The frozen encoder's output for the pictures, where it is kept on disk."""

    questions: Int64[Tensor, "r n"]
    """From the start token to the end token; then padding."""

    attention_mask: Bool[Tensor, "r n"]
    """False where a question's token is padding."""

    counts: Bool[Tensor, " r"]
    """False for a row that repeats a question of its picture, only so that each picture has g rows."""

    weights: Float32[Tensor, " r"]
    """The weight of each row in the loss: 1; 0 for a row that does not count, or whose answers the closed list lacks
    (it is then answered wrongly). All may be 0."""

    targets: Float32[Tensor, "r A"] | None
    """For a closed list: the share of the people who gave each answer, 0 to 1."""

    answer_tokens: Int64[Tensor, "r t"] | None
    """For a decoder: an answer, from the start token to the end token, which an answer that was cut lacks; then
    padding. In training it is drawn with its share of the votes as probability; otherwise it is the most frequent
    one."""

    answer_attention_mask: Bool[Tensor, "r t"] | None
    """False where an answer's token is padding."""

    inside: Bool[Tensor, "r 2 2 y x"] | None
    """The patches of the things that each answer is about and of those that its question names (`BoxPatches.inside`);
    None where the task does not use them."""

    texts: tuple[str, ...]
    """The question of each row, as it was written."""

    answers: tuple[tuple[str, ...], ...]
    """People's answers to the question, as they were written."""

    types: tuple[str, ...]
    """The type of each question; empty where the data does not state it."""

    indices: Int64[Tensor, " b"]
    """The index of each picture in the split's records."""

    unreadable: tuple[Unreadable, ...]
    """File and reason of each picture that could not be read while this batch was made."""


class QuestionRow(NamedTuple):
    """One question about a picture, as tokens and targets."""

    question: Question
    tokens: np.ndarray
    target: Any
    """The answer to learn, as the `target` of `Answers`."""

    weight: float
    """The weight in the loss."""

    inside: np.ndarray | None
    """The patches of boxes, as `BoxPatches.inside`; None where the task does not use them."""


class QuestionSample(NamedTuple):
    """One picture, or its features, with some of its questions."""

    sample: Sample
    rows: tuple[QuestionRow, ...]
    """None where the picture cannot be read."""


class ClosedAnswers:
    """Answers from a closed list, as soft targets: kept in arrays, which worker processes share, as `TokenRows`."""

    def __init__(self, records: QuestionRecords, answers: AnswerList) -> None:
        """Find the answers of the list to each question.

        Args:
            records: The split.
            answers: The list.
        """
        found = [[answers.targets(question.answers) for question in questions] for _, questions in records.items]
        self._indices = TokenRows([list(targets) for targets in row] for row in found)
        scores = [score for row in found for targets in row for score in targets.values()]
        self._scores = np.array(scores, np.float32)

    def is_taught(self, item: int, number: int) -> bool:
        """Whether question `number` of a picture has an answer in the list, so that it can be learned."""
        return len(self._indices.row(item, number)) > 0

    def target(self, item: int, number: int, generator: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray]:
        """Indices in the list, and the share of the votes for each; nothing is drawn."""
        return self._indices.row(item, number), self._scores[self._indices.span(item, number)]


class GenerativeAnswers:
    """Answers as texts that a decoder learns to write."""

    def __init__(self, records: QuestionRecords, tokenizer: Tokenizer, form: TokenFormat) -> None:
        """Encode the answers.

        Args:
            records: The split.
            tokenizer: Encodes an answer.
            form: The format of the texts that the decoder writes.

        Raises:
            InputError: No answer to a question has a word that the vocabulary has. Where some have, those without one,
                such as "?", are left out.
        """

        @cache
        def has_words(answer: str) -> bool:
            return is_known(tokenizer.encode(answer), tokenizer)

        rows: list[list[list[int]]] = []
        shares: list[float] = []
        for path, questions in records.items:
            for question in questions:
                voted = answer_shares(question.answers)
                known = {answer: share for answer, share in voted.items() if has_words(answer)} or voted
                ids = [known_tokens(answer, tokenizer, place=str(path), kind="answer") for answer in known]
                rows.append([with_ends(one, start=form.start, end=form.end, room=form.room) for one in ids])
                shares += [share / sum(known.values()) for share in known.values()]
        self._shares = np.array(shares, np.float64)
        self._tokens = TokenRows(rows)  # its items are the questions
        self._first = np.cumsum([0, *(len(questions) for _, questions in records.items)])

    def is_taught(self, item: int, number: int) -> bool:
        """Always true."""
        return True

    def target(self, item: int, number: int, generator: np.random.Generator | None) -> np.ndarray:
        """The tokens of an answer: drawn by their shares, or the most frequent one."""
        question = int(self._first[item]) + number
        first, end = self._tokens.first(question), self._tokens.first(question + 1)
        chosen = 0
        if generator is not None and end - first > 1:
            chosen = int(generator.choice(end - first, p=self._shares[first:end]))
        return self._tokens.row(question, chosen)


Answers = ClosedAnswers | GenerativeAnswers
"""The answers to the questions of a split, as targets."""


class QuestionDataset(TextDataset[QuestionSample]):
    """Pictures, or features, with at most `per_picture` questions; None for all."""

    draw = 3

    def __init__(
        self,
        items: Dataset[Sample],
        questions: TokenRows,
        answers: Answers,
        *,
        per_picture: int | None,
        seed: int | None,
        patches: BoxPatches | None = None,
    ) -> None:
        """Join pictures, questions and answers.

        Args:
            items: The pictures, as in `TextDataset`.
            questions: The tokens of the pictures' questions.
            answers: The answers to learn.
            per_picture: The largest number of questions of a picture; None for all.
            seed: Of the draw; None takes the questions in order, whether their answers can be learned or not.
            patches: The patches of boxes, for a task that uses them.
        """
        super().__init__(items, per_picture=per_picture, seed=seed)
        self.questions, self.answers, self.patches = questions, answers, patches

    def with_texts(self, sample: Sample, generator: np.random.Generator | None) -> QuestionSample:
        """Add questions to a picture."""
        if sample.content is None:
            return QuestionSample(sample, ())
        item = sample.position
        numbers = list(range(self.questions.count(item)))
        if generator is not None:
            numbers = [int(number) for number in generator.permutation(numbers)]
            # a question that teaches nothing is only there for a picture that has no other
            numbers = [number for number in numbers if self.answers.is_taught(item, number)] or numbers[:1]
        rows = [
            QuestionRow(
                sample.label[number],
                self.questions.row(item, number),
                self.answers.target(item, number, generator),
                float(self.answers.is_taught(item, number)),
                None if self.patches is None else self.patches.inside(item, number),
            )
            for number in numbers[: self.per_picture]
        ]
        return QuestionSample(sample, tuple(rows))


def collate_questions(
    items: Sequence[QuestionSample],
    *,
    pad: int,
    answers: int,
    answer_pad: int | None,
    shape: Sequence[int],
    of_features: bool,
) -> AnswerBatch:
    """Stack samples into a batch, without those that could not be read; perhaps an empty one.

    Each picture gets as many rows as the picture with the most questions.

    Args:
        items: The samples.
        pad: The token after the end of a question.
        answers: The number of answers of the closed list; 0 for a decoder.
        answer_pad: The token after the end of an answer, for a decoder.
        shape: Of one picture, or of the features of one picture.
        of_features: Whether the samples hold features.
    """
    samples = [item.sample for item in items]
    images, features = stacked(samples, shape, of_features=of_features)
    most = max((len(item.rows) for item in items), default=0)
    # a picture with fewer questions repeats them, in turn
    filled = [(item.rows[n % len(item.rows)], n < len(item.rows)) for item in items if item.rows for n in range(most)]
    rows = [row for row, _ in filled]
    questions, attention_mask = padded([row.tokens for row in rows], pad)
    targets, answer_tokens, answer_attention_mask = None, None, None
    if answer_pad is None:
        targets = _closed_targets([row.target for row in rows], answers)
    else:
        answer_tokens, answer_attention_mask = padded([row.target for row in rows], answer_pad)
    inside = [row.inside for row in rows if row.inside is not None]
    return AnswerBatch(
        images,
        features,
        questions,
        attention_mask,
        torch.tensor([is_first for _, is_first in filled], dtype=torch.bool),
        torch.tensor([row.weight * is_first for row, is_first in filled], dtype=torch.float32),
        targets,
        answer_tokens,
        answer_attention_mask,
        torch.from_numpy(np.stack(inside)) if inside else None,
        tuple(row.question.text for row in rows),
        tuple(row.question.answers for row in rows),
        tuple(row.question.type for row in rows),
        positions_of(samples),
        unreadable_of(samples),
    )


def _closed_targets(found: Sequence[tuple[np.ndarray, np.ndarray]], answers: int) -> Float32[Tensor, "r A"]:
    """The targets of `ClosedAnswers` as a table."""
    targets = np.zeros((len(found), answers), np.float32)
    for row, (indices, scores) in enumerate(found):
        targets[row, indices] = scores
    return torch.from_numpy(targets)
