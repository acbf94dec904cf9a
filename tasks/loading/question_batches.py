"""Pictures with questions as items and batches: which questions a picture brings, and how they become a table.

b pictures, g questions a picture, r = b x g rows, n tokens of a question, t of an answer; A answers of a closed list; m
picture tokens and D width of an encoder's features.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, Int64
from torch import Tensor
from torch.utils.data import Dataset

from multiattn.data.answer_list import AnswerList, answer_shares
from multiattn.data.questions import Question, QuestionRecords
from multiattn.inputs import Tokenizer

from ..seeding import seed_for
from .box_patches import BoxPatches
from .pictures import Sample, stacked
from .tokens import TokenRows, is_known, known_tokens, padded, with_ends

_QUESTIONS = 3  # sets the draw of questions apart from the other draws of the same place


class AnswerBatch(NamedTuple):
    """What a step of the answering task gets. Row r belongs to picture r // g."""

    images: Float32[Tensor, "b 3 h w"] | None
    """None where there are features."""

    features: Float16[Tensor, "b m D"] | None
    """What the frozen encoder made of the pictures, where that is kept on disk."""

    questions: Int64[Tensor, "r n"]
    """From the start token to the end token; then padding."""

    attention_mask: Bool[Tensor, "r n"]
    """False where a question's token is padding."""

    counts: Bool[Tensor, " r"]
    """False for a row that repeats one of its picture, only so that each picture has as many."""

    weights: Float32[Tensor, " r"]
    """How much is to be learnt of each row: 1; 0 where it does not count, or the closed list lacks the answers (which
    is then answered wrongly). All may be 0."""

    targets: Float32[Tensor, "r A"] | None
    """For a closed list: how well each answer answers the question (its agreement), 0 to 1."""

    answer_tokens: Int64[Tensor, "r t"] | None
    """For a decoder: an answer, from the start token to the end token, which one that was cut lacks; then padding. In
    training it is drawn, each by its share of the agreement; elsewhere it is the most agreed one."""

    answer_attention_mask: Bool[Tensor, "r t"] | None
    """False where an answer's token is padding."""

    inside: Bool[Tensor, "r 2 2 y x"] | None
    """The patches of what each answer is about and of what its question names, as `BoxPatches` has them, none where that
    is not known; None where nobody wants them."""

    texts: tuple[str, ...]
    """Each row's question, as it was written."""

    answers: tuple[tuple[str, ...], ...]
    """What people answered to it, as they wrote it."""

    types: tuple[str, ...]
    """What kind of question it is; empty where the data does not say."""

    indices: Int64[Tensor, " b"]
    """Place of each picture in the split's records."""

    unreadable: tuple[tuple[str, str], ...]
    """File and reason of each picture that could not be read while this batch was made."""


class AskedSample(NamedTuple):
    """One picture, or its features, with some of its questions; none where the picture cannot be read."""

    sample: Sample
    asked: tuple[Question, ...]
    questions: tuple[np.ndarray, ...]
    """The tokens of each."""

    answers: tuple[Any, ...]
    """What each is to be answered, as `Answers.target`."""

    weights: tuple[float, ...]
    """How much is to be learnt of each."""

    inside: tuple[np.ndarray, ...] = ()
    """The patches of each, as `BoxPatches` has them, where somebody wants them."""


class Answers(Protocol):
    """What the questions of a split are to be answered."""

    def is_taught(self, item: int, number: int) -> bool:
        """Whether something can be learnt of question `number` of a picture."""

    def target(self, item: int, number: int, generator: np.random.Generator | None) -> Any:
        """What to learn of it, for `AnswerCollate`; drawn where there is a generator and a choice."""


class ListedAnswers:
    """Answers out of a closed list, as soft targets: kept in arrays, as `TokenRows` and for its reason."""

    def __init__(self, records: QuestionRecords, answers: AnswerList) -> None:
        """Look them up.

        Args:
            records: The split.
            answers: The list.
        """
        found = [[answers.targets(question.answers) for question in questions] for _, questions in records.items]
        self._places = TokenRows([list(targets) for targets in row] for row in found)
        scores = [score for row in found for targets in row for score in targets.values()]
        self._scores = np.array(scores, np.float32)

    def is_taught(self, item: int, number: int) -> bool:
        """Whether the list has an answer."""
        return len(self._places.row(item, number)) > 0

    def target(self, item: int, number: int, generator: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray]:
        """Places in the list, and how well each answers the question; nothing is drawn."""
        del generator
        return self._places.row(item, number), self._scores[self._places.span(item, number)]


class WrittenAnswers:
    """Answers as texts that a decoder writes."""

    def __init__(self, records: QuestionRecords, tokenizer: Tokenizer, *, start: int, end: int, room: int) -> None:
        """Encode them.

        Args:
            records: The split.
            tokenizer: Makes tokens of an answer.
            start: The token before each answer.
            end: The token after it.
            room: Tokens an answer may have between them, as `with_ends`.

        Raises:
            InputError: No answer to a question has anything that the vocabulary has; else those that have nothing, such
                as "?", are left out.
        """

        @cache
        def has_words(answer: str) -> bool:
            return is_known(tokenizer.encode(answer), tokenizer)

        rows: list[list[list[int]]] = []
        shares: list[float] = []
        for path, questions in records.items:
            for question in questions:
                agreed = answer_shares(question.answers)
                known = {answer: share for answer, share in agreed.items() if has_words(answer)} or agreed
                ids = [known_tokens(answer, tokenizer, place=str(path), kind="answer") for answer in known]
                rows.append([with_ends(one, start=start, end=end, room=room) for one in ids])
                shares += [share / sum(known.values()) for share in known.values()]
        self._shares = np.array(shares, np.float64)
        self._tokens = TokenRows(rows)  # whose items are questions
        self._first = np.cumsum([0, *(len(questions) for _, questions in records.items)])

    def is_taught(self, item: int, number: int) -> bool:
        """Always."""
        del item, number
        return True

    def target(self, item: int, number: int, generator: np.random.Generator | None) -> np.ndarray:
        """The tokens of an answer."""
        question = int(self._first[item]) + number
        first, end = self._tokens.first[question], self._tokens.first[question + 1]
        chosen = 0
        if generator is not None and end - first > 1:
            chosen = int(generator.choice(end - first, p=self._shares[first:end]))
        return self._tokens.row(question, chosen)


class Asked(Dataset[AskedSample]):
    """Pictures, or features, with questions: in training those that the seed, the epoch and the picture draw."""

    def __init__(
        self,
        items: Dataset[Sample],
        questions: TokenRows,
        answers: Answers,
        *,
        per_picture: int | None,
        seed: int | None,
        places: BoxPatches | None = None,
    ) -> None:
        """Join them.

        Args:
            items: Of the split; with keys (epoch, index) in training, and places otherwise.
            questions: The tokens of the pictures' questions.
            answers: What they are to be answered.
            per_picture: Questions of each picture at most; None for all.
            seed: Of the draw; None takes them in order, whether something can be learnt of them or not.
            places: Where what they are about and what they name is, for batches that say so.
        """
        self.items, self.questions, self.answers, self.places = items, questions, answers, places
        self.per_picture, self.seed = per_picture, seed

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type]

    def __getitem__(self, key: Any) -> AskedSample:
        """The picture, or its replacement, with questions of its own."""
        sample = self.items[key]
        if sample.image is None:
            return AskedSample(sample, (), (), (), ())
        item = sample.place
        numbers, generator = list(range(self.questions.count(item))), None
        if self.seed is not None:
            generator = np.random.default_rng(seed_for(self.seed, key[0], item, _QUESTIONS))
            numbers = [int(number) for number in generator.permutation(numbers)]
            # one of which nothing can be learnt only stands for a picture that has no other
            numbers = [number for number in numbers if self.answers.is_taught(item, number)] or numbers[:1]
        numbers = numbers[: self.per_picture]
        return AskedSample(
            sample,
            tuple(sample.label[number] for number in numbers),
            tuple(self.questions.row(item, number) for number in numbers),
            tuple(self.answers.target(item, number, generator) for number in numbers),
            tuple(float(self.answers.is_taught(item, number)) for number in numbers),
            () if self.places is None else tuple(self.places.inside(item, number) for number in numbers),
        )


class AnswerCollate:
    """Stack items into a batch, without those that could not be read.

    Each picture gets as many rows as the one with the most questions.
    """

    def __init__(
        self, *, pad: int, answers: int, answer_pad: int | None, shape: Sequence[int], of_features: bool
    ) -> None:
        """Say what comes.

        Args:
            pad: The token after the end of a question.
            answers: How many the closed list has; 0 where a decoder answers.
            answer_pad: The token after the end of an answer, for a decoder.
            shape: Of one picture, or of one picture's features.
            of_features: Which of them it is.
        """
        self.pad, self.answers, self.answer_pad = pad, answers, answer_pad
        self.shape, self.of_features = tuple(shape), of_features

    def __call__(self, items: Sequence[AskedSample]) -> AnswerBatch:
        """Stack the items; the batch is empty where none of them could be read."""
        readable = [item for item in items if item.sample.image is not None]
        images, features = stacked([item.sample for item in readable], self.shape, of_features=self.of_features)
        most = max((len(item.asked) for item in readable), default=0)
        # goes round where there are too few
        rows = [(item, row % len(item.asked), row < len(item.asked)) for item in readable for row in range(most)]
        questions, attention_mask = padded([item.questions[number] for item, number, _ in rows], self.pad)
        targets_of_rows = [item.answers[number] for item, number, _ in rows]
        targets, answer_tokens, answer_attention_mask = None, None, None
        if self.answer_pad is None:
            targets = self._targets(targets_of_rows)
        else:
            answer_tokens, answer_attention_mask = padded(targets_of_rows, self.answer_pad)
        asked = [item.asked[number] for item, number, _ in rows]
        return AnswerBatch(
            images,
            features,
            questions,
            attention_mask,
            torch.tensor([is_first for _, _, is_first in rows], dtype=torch.bool),
            torch.tensor([item.weights[number] * is_first for item, number, is_first in rows], dtype=torch.float32),
            targets,
            answer_tokens,
            answer_attention_mask,
            self._inside(rows),
            tuple(question.text for question in asked),
            tuple(question.answers for question in asked),
            tuple(question.type for question in asked),
            torch.tensor([item.sample.place for item in readable], dtype=torch.int64),
            tuple(entry for item in items for entry in item.sample.unreadable),
        )

    def _inside(self, rows: Sequence[tuple[AskedSample, int, bool]]) -> Bool[Tensor, "r 2 2 y x"] | None:
        """The patches of the rows, where their items say so."""
        if not rows or not rows[0][0].inside:
            return None
        return torch.from_numpy(np.stack([item.inside[number] for item, number, _ in rows]))

    def _targets(self, targets_of_rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> Float32[Tensor, "r A"]:
        """The targets_of_rows of `ListedAnswers` as a table."""
        targets = np.zeros((len(targets_of_rows), self.answers), np.float32)
        for row, (places, scores) in enumerate(targets_of_rows):
            targets[row, places] = scores
        return torch.from_numpy(targets)
