"""The data module of the answering task: pictures with questions to batches, and texts to a vocabulary and a list."""

import sys
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import Dataset

from multiattn.checks import require
from multiattn.data.answer_list import AnswerList, answer_shares, frequent_answers
from multiattn.data.questions import QuestionRecords, read_questions
from multiattn.errors import InputError
from multiattn.inputs import Tokenizer

from .loading.box_patches import BoxPatches
from .loading.picture_data import ImageTextData
from .loading.pictures import Sample
from .loading.question_batches import (
    AnswerBatch,
    AnswerCollate,
    Answers,
    ClosedAnswers,
    GenerativeAnswers,
    QuestionDataset,
)
from .loading.tokens import TokenRows, known_tokens
from .loading.transforms import Augmentation

__all__ = ["AnswerBatch", "AnswerData"]


class AnswerData(ImageTextData):
    """Pictures with questions from `root/train`, `root/validation` and, where it is there, `root/test`.

    Each split holds a `metadata.jsonl` or `metadata.csv` with `file_name`, `question`, and `answer` or `answers`, and
    perhaps `type` and `boxes`; `questions`, `annotations` and `pictures` name files of VQA v2's kind instead. The
    vocabulary is the model's, where it has one, and is learnt from the training questions and their answers otherwise.
    The closed list of answers is that of the most frequent training answers. Of the task this asks for
    `preprocessing`, `tokenizer` (None where it has none), and of its `model` for the `encoder`, `question.config` and
    `decoder` (None where it answers out of the list).
    """

    def __init__(
        self,
        root: str | list[str],
        *,
        questions: str | None = None,
        annotations: str | None = None,
        pictures: str | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        questions_per_picture: int = 4,
        max_answers: int = 3000,
        min_count: int = 1,
        vocabulary: Literal["bpe", "characters"] = "bpe",
        vocab_size: int = 4000,
        augmentation: Augmentation | None = None,
        features: str | None = None,
        num_workers: int = 2,
        cache_side: int | None = None,
        max_bad_share: float = 0.01,
        predict_split: str = "test",
    ) -> None:
        """Name the data; nothing is read yet.

        Args:
            root: The folder with the data in it; or several, whose splits are joined.
            questions: A questions file of VQA v2's kind, from `root`; `{split}` in it stands for the split.
            annotations: The file with its answers, in the same way.
            pictures: Its pictures, in the same way; `{id:012}` stands for the number of one, in so many digits.
            batch_size: Pictures a training batch, in each process.
            eval_batch_size: Pictures a batch elsewhere; the same where it is not given.
            questions_per_picture: Questions that a training picture brings along at most, drawn anew in each epoch;
                elsewhere it brings all of them. The encoder sees the picture once for all of them.
            max_answers: Answers of the closed list at most, the most frequent ones.
            min_count: Training questions that an answer of the list must be to.
            vocabulary: Kind of the vocabulary that is learnt: `bpe` (frequent words whole, others in pieces) or
                `characters`.
            vocab_size: Its tokens at most.
            augmentation: How training pictures are varied; by default not at all, for what is left of something, and
                what is in the picture at all, is what people ask.
            features: A folder in which what the encoder makes of each picture is computed once and kept; it must be
                frozen then. Features of another encoder or of other files are not mixed up with these, but they are
                not removed either.
            num_workers: Processes that prepare pictures, beside each training process.
            cache_side: Keep the decoded training pictures in memory, shrunk to this shorter side in pixels.
            max_bad_share: A picture that cannot be read is named, skipped and counted; past this share of the split the
                run stops. Each process counts what it has met itself, in evaluation of its own part of the split.
            predict_split: The split that `predict` goes through.
        """
        super().__init__(
            root,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            augmentation=augmentation,
            features=features,
            views=1,
            num_workers=num_workers,
            cache_side=cache_side,
            max_bad_share=max_bad_share,
            predict_split=predict_split,
            default_augmentation=Augmentation(crop="none", flip=0.0),
        )
        least = {"questions_per_picture": questions_per_picture, "max_answers": max_answers, "min_count": min_count}
        for name, value in least.items():
            require(value >= 1, name, must="at least 1", value=value, error=InputError)
        self.questions, self.annotations, self.pictures = questions, annotations, pictures
        self.questions_per_picture = questions_per_picture
        self.max_answers, self.min_count = max_answers, min_count
        self.vocabulary, self.vocab_size = vocabulary, vocab_size
        self._records: dict[str, QuestionRecords] = {}

    def records(self, split: str) -> QuestionRecords:
        """A split, not opened yet."""
        if split not in self._records:
            self._records[split] = read_questions(
                self.roots,
                split,
                questions=self.questions,
                annotations=self.annotations,
                pictures=self.pictures,
            )
        return self._records[split]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The task's, where it has one; learnt from the training questions and their answers otherwise."""
        own: Tokenizer | None = None if self.trainer is None else self._task.tokenizer
        if own is not None:
            return own
        questions = self.records("train").questions
        texts = [text for question in questions() for text in (question.text, *answer_shares(question.answers))]
        return Tokenizer.train(texts, kind=self.vocabulary, vocab_size=self.vocab_size, marks=False)

    @property
    def answer_list(self) -> tuple[str, ...]:
        """The closed list, the most frequent training answer first."""
        return self._list.labels

    @cached_property
    def coverage(self) -> dict[str, float]:
        """Of the training and the validation split, the share of questions that have an answer in the closed list."""
        return {split: self._list.coverage(self.records(split).questions()) for split in ("train", "validation")}

    @cached_property
    def _list(self) -> AnswerList:
        return frequent_answers(self.records("train"), max_answers=self.max_answers, min_count=self.min_count)

    def card(self) -> dict[str, Any]:
        """As all data modules, and the coverage of a closed list."""
        found = super().card()
        if self._is_closed:
            found["answers_cover"] = {split: round(share, 6) for split, share in self.coverage.items()}
        return found

    def training_items(self) -> QuestionDataset:
        """The training split, with questions drawn for each epoch."""
        if self._is_closed and self.trainer is not None and self.trainer.is_global_zero:
            print(self._covered(), file=sys.stderr, flush=True)
        return self._asked(
            self.training_pictures(),
            "train",
            per_picture=self.questions_per_picture,
            seed=self.seed,
            places=self._places() if self._task.pointing_weight else None,
        )

    def evaluation_items(self, split: str) -> QuestionDataset:
        """A split as inference sees it, with all its questions."""
        return self._asked(self.evaluation_pictures(split), split, per_picture=None, seed=None)

    def collate(self) -> AnswerCollate:
        """Pictures, or features, with their questions."""
        pad = self._task.model.question.config.pad_token
        return AnswerCollate(
            pad=pad,
            answers=len(self.answer_list) if self._is_closed else 0,
            answer_pad=None if self._is_closed else self._task.model.decoder.config.pad_token,
            shape=self.shape(),
            of_features=self.features is not None,
        )

    def _places(self) -> BoxPatches:
        """Where what the training questions are about is.

        Raises:
            InputError: No question has boxes, or the pictures are moved about, so that boxes would not fit.
        """
        if self.augmentation.crop != "none" or self.augmentation.flip:
            raise InputError(
                "`augmentation` must leave things where they are (crop: none, flip: 0) for `pointing_weight`, but "
                "moves them. Change it, or leave `pointing_weight` out."
            )
        records = self.records("train")
        if not any(question.boxes for question in records.questions()):
            raise InputError(
                f"{' and '.join(map(str, self.roots))}: questions must have `boxes` for `pointing_weight`, but none "
                "has any. Add them to the metadata, or leave `pointing_weight` out."
            )
        return BoxPatches(records, self._task.model.encoder.grid(self._task.preprocessing.size))

    @property
    def _is_closed(self) -> bool:
        """Whether the model answers out of the list."""
        return self._task.model.decoder is None

    def _covered(self) -> str:
        """What is told of the closed list."""
        parts, left = [], 0
        for split, share in self.coverage.items():
            count = sum(1 for _ in self.records(split).questions())
            parts.append(f"{share:.2%} of the {count} {'training' if split == 'train' else split} questions")
            left += round(count * (1 - share))
        more = f"; the other {left} are not learnt from, and count as wrong" if left else ""
        return f"The list of {len(self.answer_list)} answers covers {' and '.join(parts)}{more}."

    def _asked(
        self,
        items: Dataset[Sample],
        split: str,
        *,
        per_picture: int | None,
        seed: int | None,
        places: BoxPatches | None = None,
    ) -> QuestionDataset:
        records = self.records(split)
        questions, answers = self._questions(records), self._answers(records)
        return QuestionDataset(items, questions, answers, per_picture=per_picture, seed=seed, patches=places)

    def _questions(self, records: QuestionRecords) -> TokenRows:
        """The tokens of all questions."""
        config = self._task.model.question.config
        room = config.max_length - 2

        def encoded(path: Path, text: str) -> list[int]:
            ids = known_tokens(text, self.tokenizer, place=str(path), kind="question")
            if len(ids) > room:
                raise InputError(
                    f"{path}: a question must have at most {room} tokens, for which the model has positions, but "
                    f"{text[:40]!r} ... has {len(ids)} instead. Shorten it, or raise `question.max_length`."
                )
            return [config.start_token, *ids, config.end_token]

        return TokenRows([encoded(path, question.text) for question in asked] for path, asked in records.items)

    def _answers(self, records: QuestionRecords) -> Answers:
        """What all questions are to be answered."""
        if self._is_closed:
            return ClosedAnswers(records, self._list)
        config = self._task.model.decoder.config
        return GenerativeAnswers(
            records,
            self.tokenizer,
            start=config.start_token,
            end=config.end_token,
            room=config.max_length - 1,
        )
