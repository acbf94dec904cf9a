"""`multiattn evaluate answer`: how often does a model answer as people do, and would it without the picture?"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Option, not_empty
from .evaluate import Evaluator as BaseEvaluator
from .evaluate import Figures
from .output import printable

if TYPE_CHECKING:
    from ..data.questions import Question, QuestionRecords
    from ..metrics.vqa import AnswerScores
    from ..pipelines import Answer, Failure

_BATCH = 64
"""Questions about the blank picture that are asked at once."""


FILES = (
    Option("--questions", "FILE", not_empty, "a questions JSON of VQA v2, in FOLDER"),
    Option("--annotations", "FILE", not_empty, "the JSON with its answers, in FOLDER"),
)


class Evaluator(BaseEvaluator[Path, "Question", "Answer"]):
    """Measures a model that answers on pictures with questions that people answered."""

    things = "questions"
    measures = """\
figures of answers (compared in lower case, without punctuation and articles,
with numbers up to ten in figures)
  accuracy      share that is the answer most people gave
  vqa_accuracy  right in full where three others gave it, by a third where one
         did, each person left out in turn (Antol et al. 2015)
  by_type       accuracy by the data's `type`, or the question's first two words
  --baselines   question_only: the same model, but each picture is of the mean
         color everywhere; most_frequent: for each type the most frequent
         answer of the train split
  WUPS, which accepts an answer of similar meaning, is left out: it needs
  WordNet
"""
    data = """\
  for answers file_name, question, and answer or answers (a list of what several
  people said), and type where known; VQA v2 as published: --questions,
  --annotations and --pictures
"""
    examples = """\
  multiattn evaluate answer --data .data/easy-vqa --baselines
"""
    output = """\
  {"accuracy": 0.99, "vqa_accuracy": 0.99, "by_type": {"what color":
   {"accuracy": 1.0, "items": 880}, ...}, "baselines": {"question_only":
   {"accuracy": 0.52, ...}, "most_frequent": {...}}, "items": 4847,
   "skipped": 0, "model": "answer", "data": "easy-vqa", "split": "validation"}
"""
    own_options = (
        *FILES,
        Option(
            "--baselines",
            action="store_const",
            const=True,
            help="also measure what the question alone gives away (see below)",
        ),
    )
    options = ("num_beams", "pictures", "questions", "annotations", "baselines")

    def read(self) -> "Sequence[tuple[Path, Sequence[Question]]]":
        """Read the pictures, each with its questions and what people answered; for the baselines, also `train`."""
        items = self._records(self.args.split).items
        self._training = list(self._records("train").questions()) if self.args.baselines else None
        return items

    def results(self, items: "Sequence[tuple[Path, Sequence[Question]]]") -> "Iterator[Answer | Failure]":
        """Load the model, and return its answer to every question."""
        import multiattn

        args = self.args
        self._answer = multiattn.load(args.model, task="answer", device=args.device, precision=args.precision)
        asked = ((path, [question.text for question in questions]) for path, questions in items)
        return self._answer.stream(
            asked, batch_size=args.batch_size, num_beams=args.num_beams, strict=True, max_pixels=args.max_pixels
        )

    def figures(self, truths: "Sequence[Question]", results: "Sequence[Answer]") -> Figures:
        """Compare answers with what people said, by kind of question; and the baselines' answers likewise."""
        from ..metrics.vqa import answer_scores

        kinds = [_kind(question) for question in truths]
        columns = {"answers": [result.answer for result in results]}
        if self._training is not None:
            columns |= {"question_only": self._without_pictures(truths), "most_frequent": self._most_frequent(kinds)}
        given = [question.answers for question in truths]
        scores = {name: answer_scores(answers, given, kinds) for name, answers in columns.items()}
        values = {name: asdict(one) for name, one in scores.items()}
        found = values.pop("answers")
        return Figures(found | ({"baselines": values} if values else {}), _table(scores))

    def _records(self, split: str) -> "QuestionRecords":
        from ..data.questions import read_questions  # imports numpy

        args = self.args
        return read_questions(
            args.data, split, questions=args.questions, annotations=args.annotations, pictures=args.pictures
        )

    def _without_pictures(self, questions: "Sequence[Question]") -> list[str]:
        """Return the model's answers where each picture has the mean color everywhere."""
        from PIL import Image

        pictures = self._answer.bundle.pictures
        height, width = pictures.size
        red, green, blue = (round(255 * share) for share in pictures.mean)
        blank = Image.new("RGB", (width, height), (red, green, blue))
        texts = list(dict.fromkeys(question.text for question in questions))
        batches = ((blank, texts[first : first + _BATCH]) for first in range(0, len(texts), _BATCH))
        results = self._answer.stream(batches, batch_size=1, num_beams=self.args.num_beams)
        answers = {text: result.answer for text, result in zip(texts, results, strict=True) if result.error is None}
        return [answers[question.text] for question in questions]

    def _most_frequent(self, kinds: Sequence[str]) -> list[str]:
        """Return the most frequent answer of the training split to this kind of question; to all, for a new kind."""
        from ..metrics.vqa import most_frequent

        training = self._training or []
        known = most_frequent([one.answers for one in training], [_kind(one) for one in training])
        return [known.get(kind, known[""]) for kind in kinds]


def _kind(question: "Question") -> str:
    """Return the type that the data states, or else the first two words of the question."""
    from ..metrics.vqa import question_type

    return question.type or question_type(question.text)


def _table(columns: "dict[str, AnswerScores]") -> list[str]:
    """Return a row for all questions by each measure, and one for each kind of question."""
    kinds = {kind: f"  {printable(kind)}" for kind in columns["answers"].by_type}
    width = max(map(len, ("VQA accuracy", *kinds.values())))

    def row(name: str, values: Sequence[float]) -> str:
        return f"{name:{width}}" + "".join(f"  {value:13.2%}" for value in values)

    return [
        " " * width + "".join(f"  {name.replace('_', ' '):>13}" for name in columns),
        row("accuracy", [one.accuracy for one in columns.values()]),
        row("VQA accuracy", [one.vqa_accuracy for one in columns.values()]),
        "accuracy by the kind of question",
        *(
            row(name, [one.by_type[kind].accuracy for one in columns.values()])
            + f"  of {columns['answers'].by_type[kind].items}"
            for kind, name in kinds.items()
        ),
    ]
