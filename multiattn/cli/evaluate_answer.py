"""`multiattn evaluate answer`: how often does a model answer as people do, and would it without the picture?"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError
from ..metrics.vqa import AnswerScores, answer_scores, most_frequent, question_type
from .output import Report, printable, say, spinner
from .report import EvaluationReport, evenly_spread

if TYPE_CHECKING:
    from ..data.questions import Question, QuestionRecords
    from ..pipelines import AnswerPipeline

_AT_ONCE = 64
"""Questions about the blanked picture that are asked together."""


class _Answered(NamedTuple):
    """Questions that could be used, and what the model said."""

    questions: list["Question"]
    answers: list[str]
    skipped: int

    def scores(self, answers: Sequence[str]) -> AnswerScores:
        """Of answers to these questions."""
        said, types = [question.answers for question in self.questions], [kind_of(one) for one in self.questions]
        return answer_scores(answers, said, types)


def run(args: argparse.Namespace) -> int:
    """Evaluates; returns 0 when every question could be used."""
    with spinner("loading the model"):
        import multiattn

        items = evenly_spread(_records(args, args.split).items, args.limit)
        training = _records(args, "train") if args.baselines else None
        answering = multiattn.load(args.model, task="answer", device=args.device)
    with Report(len(items), doing="answering") as report:
        found = _answered(answering, items, args, report)
        if not found.questions:
            raise InputError(
                f"{args.data}: none of the {found.skipped} questions of the split {args.split!r} could be used"
            )
        scores = found.scores(found.answers)
        baselines: dict[str, AnswerScores] = {}
        if training is not None:
            baselines["question_only"] = found.scores(_without_pictures(answering, found.questions, args.num_beams))
            baselines["most_frequent"] = found.scores(_most_frequent(training, found.questions))
        evaluated = EvaluationReport.of(args, items=len(found.questions), skipped=found.skipped)
        if args.format == "json":
            compared = {"baselines": {name: asdict(one) for name, one in baselines.items()}} if baselines else {}
            report.result(json.dumps(asdict(scores) | compared | asdict(evaluated)))
        else:
            report.result(as_text(scores, baselines, evaluated))
    if found.skipped:
        say(f"{found.skipped} of {found.skipped + len(found.questions)} questions could not be used")
    return 1 if found.skipped else 0


def kind_of(question: "Question") -> str:
    """The kind of a question: what the data says, or else its first two words."""
    return question.type or question_type(question.text)


def as_text(scores: AnswerScores, baselines: dict[str, AnswerScores], evaluated: EvaluationReport) -> str:
    """A table to read: a line for all questions by each measure, and one for each kind."""
    columns = {"answers": scores, "question only": None, "most frequent": None}
    columns |= {name.replace("_", " "): one for name, one in baselines.items()}
    shown = {name: one for name, one in columns.items() if one is not None}
    kinds = [printable(kind) for kind in scores.by_type]
    width = max(map(len, ("VQA accuracy", *(f"  {kind}" for kind in kinds))))
    lines = [" " * width + "".join(f"  {name:>13}" for name in shown)]

    def add(name: str, values: Sequence[float], items: str = "") -> None:
        lines.append(f"{name:{width}}" + "".join(f"  {value:13.2%}" for value in values) + items)

    add("accuracy", [one.accuracy for one in shown.values()])
    add("VQA accuracy", [one.vqa_accuracy for one in shown.values()])
    lines.append("accuracy by the kind of question")
    for kind, name in zip(scores.by_type, kinds, strict=True):
        values = [one.by_type[kind].accuracy for one in shown.values()]
        add(f"  {name}", values, f"  of {scores.by_type[kind].items}")
    return "\n".join([*lines, evaluated.line("questions")])


def _records(args: argparse.Namespace, split: str) -> "QuestionRecords":
    from ..data.questions import read_questions

    return read_questions(
        args.data, split, questions=args.questions, annotations=args.annotations, pictures=args.pictures
    )


def _answered(
    answering: "AnswerPipeline",
    items: Sequence[tuple[Path, Sequence["Question"]]],
    args: argparse.Namespace,
    report: Report,
) -> _Answered:
    """Ask the model all questions about all pictures, and tell of each thing that cannot be used, once."""
    asked = ((path, [question.text for question in questions]) for path, questions in items)
    results = answering.stream(asked, batch_size=args.batch_size, num_beams=args.num_beams)
    found, answers, skipped = [], [], 0
    for _, questions in items:
        told: Exception | None = None
        for question in questions:
            result = next(results)
            if result.error is None:
                found.append(question)
                answers.append(result.answer)
                continue
            skipped += 1
            if result.error is not told:  # all questions about a picture that cannot be read have the same error
                told = result.error
                report.message(f"skipped: {told}")
        report.advance()
    return _Answered(found, answers, skipped)


def _without_pictures(answering: "AnswerPipeline", questions: Sequence["Question"], num_beams: int | None) -> list[str]:
    """What the model answers where each picture is of the mean color everywhere: what the questions give away."""
    from PIL import Image

    pictures = answering.bundle.pictures
    height, width = pictures.size
    color = tuple(round(255 * share) for share in pictures.mean)
    blank = Image.new("RGB", (width, height), color)
    texts = list(dict.fromkeys(question.text for question in questions))

    def parts() -> Iterator[tuple[Any, list[str]]]:
        for first in range(0, len(texts), _AT_ONCE):
            yield blank, texts[first : first + _AT_ONCE]

    results = answering.stream(parts(), batch_size=1, num_beams=num_beams)
    said = {text: result.answer for text, result in zip(texts, results, strict=True)}
    return [said[question.text] for question in questions]


def _most_frequent(training: "QuestionRecords", questions: Sequence["Question"]) -> list[str]:
    """The answer that is most frequent for this kind of question in the training split; of all, for a new kind."""
    asked = list(training.questions())
    known = most_frequent([one.answers for one in asked], [kind_of(one) for one in asked])
    return [known.get(kind_of(one), known[""]) for one in questions]
