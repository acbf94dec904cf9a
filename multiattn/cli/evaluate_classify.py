"""`multiattn evaluate classify`: how often is the right label first, and can the stated probability be trusted?"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from ..errors import InputError, ModelError
from .output import Report, say, spinner
from .report import EvaluationReport, evenly_spread

_BINS = 15


@dataclass(frozen=True)
class ClassEvaluation:
    """What `multiattn evaluate classify` measures."""

    top1: float
    """Share of the items whose label came first, 0 to 1."""

    top5: float
    """Share of the items whose label was among the first five, 0 to 1."""

    ece: float
    """Expected calibration error, 0 to 1."""


def run(args: argparse.Namespace) -> int:
    """Evaluates; returns 0 when every picture could be used."""
    with spinner("loading the model"):
        import multiattn

        from ..data.image_folder import read_folder

        records = read_folder(args.data, args.split)
        items = evenly_spread(records.items, args.limit)
        classifier = multiattn.load(args.model, task="classify", device=args.device)
    check_labels(records.class_names, classifier.labels)
    ranks: list[int | None] = []  # of each picture's label among the five first choices
    scores: list[float] = []  # of each picture's first choice
    skipped = 0
    with Report(len(items)) as report:
        truths = (records.class_names[index] for _, index in items)
        results = classifier.stream((path for path, _ in items), top_k=5, batch_size=args.batch_size)
        for truth, result in zip(truths, results, strict=True):
            if result.error is not None:
                skipped += 1
                report.message(f"skipped: {result.error}")
            else:
                labels = [prediction.label for prediction in result.predictions]
                ranks.append(labels.index(truth) if truth in labels else None)
                scores.append(result.score)
            report.advance()
        if not ranks:
            raise InputError(f"{args.data}: none of the {skipped} pictures of the split {args.split!r} could be read")
        correct = [rank == 0 for rank in ranks]
        measured = ClassEvaluation(
            top1=sum(correct) / len(ranks),
            top5=sum(rank is not None for rank in ranks) / len(ranks),
            ece=expected_calibration_error(scores, correct),
        )
        evaluated = EvaluationReport.of(args, items=len(ranks), skipped=skipped)
        as_json = args.format == "json"
        report.result(json.dumps(asdict(measured) | asdict(evaluated)) if as_json else as_text(measured, evaluated))
    if skipped:
        say(f"{skipped} of {len(items)} pictures could not be used")
    return 1 if skipped else 0


def check_labels(classes: Sequence[str], labels: Sequence[str]) -> None:
    """Makes sure that the model can give the right answer for every class of the data.

    Raises:
        ModelError: A class of the data is no label of the model.
    """
    unknown = [name for name in classes if name not in set(labels)]
    if unknown:
        raise ModelError(
            f"the data's classes must be labels of the model, but {len(unknown)} of {len(classes)} are not: "
            f"{_some(unknown)}; the model's {len(labels)} labels are: {_some(labels)}; "
            "rename the classes, or give a --model trained on them"
        )


def expected_calibration_error(scores: Sequence[float], correct: Sequence[bool], *, bins: int = _BINS) -> float:
    """The mean distance between what the model claims and what is right, over equally wide bins of its claim.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.

    Args:
        scores: Probability of the first choice, 0 to 1, for each item.
        correct: Whether the first choice was right, for each item.
        bins: How many.
    """
    claimed, right = [0.0] * bins, [0] * bins
    for score, is_right in zip(scores, correct, strict=True):
        index = min(int(score * bins), bins - 1)
        claimed[index] += score
        right[index] += is_right
    # |right/n - claimed/n| weighted by n/N: the bin's own n cancels
    return sum(abs(right[i] - claimed[i]) for i in range(bins)) / len(scores)


def as_text(measured: ClassEvaluation, evaluated: EvaluationReport) -> str:
    """A few lines to read."""
    return "\n".join(
        (
            f"top-1  {measured.top1:6.2%}",
            f"top-5  {measured.top5:6.2%}",
            f"ECE    {measured.ece:6.2%}",
            evaluated.line("pictures"),
        )
    )


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")
