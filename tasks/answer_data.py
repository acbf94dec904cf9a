"""The data module of answering: images with questions to batches, texts to a vocabulary, and answers to a list."""

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Literal

from multiattn.checks import require_each
from multiattn.data.answer_list import AnswerList, answer_shares, frequent_answers
from multiattn.data.packed import Chosen, Pairs, packed_groups
from multiattn.data.questions import Question, QuestionRecords, read_questions
from multiattn.errors import InputError
from multiattn.inputs import Tokenizer

from .contracts import AnswerNeeds, TextFacts, TokenFormat
from .loading.box_patches import BoxPatches
from .loading.datamodule import BatchOptions
from .loading.loader import too_many
from .loading.picture_data import ImageTextData
from .loading.question_batches import (
    AnswerBatch,
    Answers,
    ClosedAnswers,
    GenerativeAnswers,
    QuestionDataset,
    QuestionSample,
    collate_questions,
)
from .loading.tokens import TokenRows, known_tokens
from .loading.transforms import Augmentation
from .survey.texts import Texts


class AnswerData(ImageTextData[AnswerNeeds]):
    """Images with questions from `root/train`, `root/validation` and, where it is there, `root/test`.

    Each split holds a `metadata.jsonl` or `metadata.csv` with `file_name`, `question`, and `answer` or `answers`, and
    perhaps `type` and `boxes`; `questions`, `annotations` and `pictures` name files of VQA v2's kind instead. The
    vocabulary is the model's, where it has one, and is learned from the training questions and their answers otherwise.
    The closed list of answers is that of the most frequent training answers.
    """

    def __init__(
        self,
        root: str | list[str],
        *,
        questions: str | None = None,
        annotations: str | None = None,
        pictures: str | None = None,
        batches: BatchOptions | None = None,
        questions_per_picture: int = 4,
        max_answers: int = 3000,
        min_count: int = 1,
        vocabulary: Literal["bpe", "characters"] = "bpe",
        vocab_size: int = 4000,
        augmentation: Augmentation | None = None,
        features: str | None = None,
        cache_side: int | None = None,
        predict_split: str = "test",
    ) -> None:
        """Name the data; nothing is read yet.

        Args:
            root: The folder with the data in it; or several, whose splits are joined.
            questions: A questions file of VQA v2's kind, relative to `root`; `{split}` in it stands for the split.
            annotations: The file with its answers, in the same way.
            pictures: Its images, in the same way; `{id:012}` stands for the number of one, in so many digits.
            batches: How images become batches.
            questions_per_picture: Questions of each training image in a batch at most, drawn anew in each epoch;
                elsewhere it has all of them. The encoder runs once for all of them.
            max_answers: Answers of the closed list at most, the most frequent ones.
            min_count: Training questions that have an answer of the list, at least.
            vocabulary: Kind of the vocabulary that is learned: `bpe` (frequent words whole, others in pieces) or
                `characters`.
            vocab_size: Its tokens at most.
            augmentation: How training images are varied; by default not at all, because a crop or a mirror image
                changes the answers to questions about "left" or "how many".
            features: A folder in which the encoder's output for each image is computed once and kept; it must be
                frozen then. Features of another encoder or of other files are not mixed up with these, but they are
                not removed either.
            cache_side: Keep the decoded training images in memory, shrunk to this shorter side in pixels.
            predict_split: The split that `predict` goes through.
        """
        super().__init__(
            root,
            needs=AnswerNeeds(),
            batches=batches,
            predict_split=predict_split,
            vocabulary=vocabulary,
            vocab_size=vocab_size,
            features=features,
            views=1,
            augmentation=augmentation,
            default_augmentation=Augmentation(crop="none", flip=0.0),
            cache_side=cache_side,
        )
        counts = {"questions_per_picture": questions_per_picture, "max_answers": max_answers, "min_count": min_count}
        require_each(counts, least=1, error=InputError)
        files = {"questions": questions, "annotations": annotations, "pictures": pictures}
        self._read = cache(lambda split: self.opened(read_questions(self.roots, split, **files)))
        self._in_folders = questions is None
        self._fitting = cache(self._without_long)
        self.questions_per_picture = questions_per_picture
        self.max_answers, self.min_count = max_answers, min_count

    def files(self, split: str) -> QuestionRecords:
        """A split with all its questions."""
        return self._read(split)

    def records(self, split: str) -> QuestionRecords:
        """A split, without questions that have more tokens than the model has positions for, once it is built.

        Raises:
            InputError: More questions are too long than `max_bad_share` allows.
        """
        return self._read(split) if self.needs.question is None else self._fitting(split, self._room)

    def facts(self) -> TextFacts:
        """The tokenizer, and the closed list where the model answers from one."""
        return replace(super().facts(), answers=self.answer_list if self.needs.is_closed else ())

    def learn_tokenizer(self) -> Tokenizer:
        """Learn a vocabulary from the training questions and their answers."""
        questions = self.files("train").questions
        texts = [text for question in questions() for text in (question.text, *answer_shares(question.answers))]
        return self._learn(texts, marks=False)

    def folders(self, split: str) -> Sequence[Path]:
        """See `BaseData`; none where a file names the images."""
        return super().folders(split) if self._in_folders else ()

    def texts(self, split: str) -> Sequence[Texts]:
        """See `BaseData`: the questions, and the answers that a decoder is to write."""
        questions = list(self.files(split).questions())
        found = [Texts("questions", [question.text for question in questions], str, self._room, "skipped")]
        if not self.needs.is_closed:
            answers = [answer for question in questions for answer in answer_shares(question.answers)]
            found.append(Texts("answers", answers, str, self.text.room, "cut"))
        return found

    def vocabulary_options(self) -> dict[str, Any]:
        """See `TextData`."""
        closed = {"max_answers": self.max_answers, "min_count": self.min_count} if self.needs.is_closed else {}
        return super().vocabulary_options() | closed

    @property
    def answer_list(self) -> tuple[str, ...]:
        """The closed list of answers, the most frequent one first."""
        return self._list.labels

    @cached_property
    def coverage(self) -> dict[str, float]:
        """The share of questions that have an answer in the closed list, of the training and the validation split."""
        return {split: self._list.coverage(self.records(split).questions()) for split in ("train", "validation")}

    @property
    def _list(self) -> AnswerList:
        return self._learned_list if self.needs.answers is None else AnswerList(self.needs.answers)

    @cached_property
    def _learned_list(self) -> AnswerList:
        return frequent_answers(self.files("train"), max_answers=self.max_answers, min_count=self.min_count)

    def card(self) -> dict[str, Any]:
        """The name of the data, and the coverage of a closed list."""
        found = super().card()
        if self.needs.is_closed:
            found["answers_cover"] = {split: round(share, 6) for split, share in self.coverage.items()}
        return found

    def training_items(self) -> QuestionDataset:
        """The training split, with questions drawn for each epoch."""
        if self.needs.is_closed and self.trainer is not None and self.rank == 0:
            print(self._covered(), file=sys.stderr, flush=True)
        return self._asked(
            "train",
            per_picture=self.questions_per_picture,
            seed=self.seed,
            patches=None if self.needs.box_grid is None else self._patches(self.needs.box_grid),
        )

    def evaluation_items(self, split: str) -> QuestionDataset:
        """A split as in inference, with all its questions."""
        return self._asked(split, per_picture=None, seed=None)

    def collate(self) -> Callable[[Sequence[QuestionSample]], AnswerBatch]:
        """Images, or features, with their questions."""
        return partial(
            collate_questions,
            pad=self.question.pad,
            answers=len(self.answer_list) if self.needs.is_closed else 0,
            answer_pad=None if self.needs.is_closed else self.text.pad,
            shape=self.shape(),
            of_features=self.features is not None,
        )

    @property
    def question(self) -> TokenFormat:
        """The format of the questions."""
        return self.needs.question or TokenFormat.of_tokenizer(self.tokenizer)

    def _patches(self, grid: tuple[int, int]) -> BoxPatches:
        """The patches of what the training questions are about.

        Raises:
            InputError: No question has boxes, or the augmentation moves the images, so that boxes would not fit.
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
        return BoxPatches(records, grid)

    def _covered(self) -> str:
        """A message about the coverage of the closed list."""
        parts, left = [], 0
        for split, share in self.coverage.items():
            count = sum(1 for _ in self.records(split).questions())
            parts.append(f"{share:.2%} of the {count} {'training' if split == 'train' else split} questions")
            left += round(count * (1 - share))
        more = f"; the other {left} are not learned from, and count as wrong" if left else ""
        return f"The list of {len(self.answer_list)} answers covers {' and '.join(parts)}{more}."

    def _asked(
        self,
        split: str,
        *,
        per_picture: int | None,
        seed: int | None,
        patches: BoxPatches | None = None,
    ) -> QuestionDataset:
        records = self.records(split)
        questions, answers = self._questions(records), self._answers(records)
        items = self.picture_items(split, seed=seed)
        return QuestionDataset(items, questions, answers, per_picture=per_picture, seed=seed, patches=patches)

    def _questions(self, records: QuestionRecords) -> TokenRows:
        """The tokens of all questions."""
        form = self.question

        def encoded(path: Path, text: str) -> list[int]:
            return [form.start, *known_tokens(text, self.tokenizer, place=str(path), kind="question"), form.end]

        return TokenRows([encoded(path, question.text) for question in asked] for path, asked in records.items)

    @property
    def _room(self) -> int:
        """Tokens of a question at most, without those at its ends."""
        return self.question.max_length - 2

    def _without_long(self, split: str, room: int) -> QuestionRecords:
        """A split without questions of more than so many tokens; they are counted and named."""
        records = self._read(split)
        lengths = cache(lambda text: len(self.tokenizer.encode(text)))
        fitting = ([one for one in asked if lengths(one.text) <= room] for _, asked in records.items)
        kept = {index: asked for index, asked in enumerate(fitting) if asked}
        total, left = (sum(map(len, some)) for some in ((asked for _, asked in records.items), kept.values()))
        if left == total:
            return records
        path, text = next(
            (path, one.text) for path, asked in records.items for one in asked if lengths(one.text) > room
        )
        found = f"{total - left} of {total} questions in {split}"
        reason = (
            f"a question must have at most {room} tokens, for which the model has positions, but {text[:40]!r} ... "
            f"about {path} has {lengths(text)} instead. Shorten it, or raise `question.max_length`."
        )
        if too_many(total - left, total, max_share=self.batches.max_bad_share):
            raise InputError(
                f"{found} cannot be used, more than the share of {self.batches.max_bad_share:g} that `max_bad_share` "
                f"allows: {reason}"
            )
        if self.rank == 0:
            warnings.warn(f"Skipped, {found}: {reason}", stacklevel=2)
        assert isinstance(records.items, Pairs)
        asked = packed_groups(([one.to_bytes() for one in some] for some in kept.values()), Question.of_bytes)
        return QuestionRecords(Pairs(Chosen(records.items.files, list(kept)), asked))

    def _answers(self, records: QuestionRecords) -> Answers:
        """The targets of all questions."""
        if self.needs.is_closed:
            return ClosedAnswers(records, self._list)
        return GenerativeAnswers(records, self.tokenizer, self.text)
