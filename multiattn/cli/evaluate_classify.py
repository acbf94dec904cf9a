"""`multiattn evaluate classify`: how often is the right label first, and can the stated probability be trusted?"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .arguments import Option, UsageError, finite, not_empty
from .evaluate import Evaluator as BaseEvaluator
from .evaluate import Figures
from .output import listed, printable

if TYPE_CHECKING:
    from ..metrics.multi_label import LabelScores
    from ..pipelines import ClassifyPipeline, ClassifyResult, Failure

_BINS = 15
_SHOWN = 20  # classes in the text
_MISTAKES = 5
_FEW = 5  # names that a message lists
_OTHER = {"independent probability": "each label a probability of its own", "value": "values"}


_Truth = str | tuple[str, ...]  # the label of a picture; or its labels, perhaps none


class Evaluator(BaseEvaluator[Path, _Truth, "ClassifyResult"]):
    """Measures a classifier on labeled pictures."""

    measures = """\
figures of a classifier
  top1   share of the pictures whose label is the model's first choice
  top5   share of the pictures whose label is among its first five
  ece    expected calibration error: how far the stated probability is from the
         share that is right, in the mean over 15 bins (Guo et al. 2017); 0 for
         a model whose probabilities can be taken literally
  macro_accuracy   mean of the classes' accuracies: a rare class counts as much
         as a frequent one
  per_class   accuracy and pictures of each class, the lowest first
  confusion   how many pictures of a class got a label, the most frequent first
  of pictures with several labels each, or none, and a multi-label model:
  map       mean over the labels of the average precision
  f1_macro  F1 from the --threshold on, the mean of the labels'
  f1_micro  F1 of all labels of all pictures together
"""
    data = """\
  FOLDER/SPLIT/CLASS/*.jpg, or FOLDER/SPLIT/metadata.jsonl (or metadata.csv)
  with the columns file_name and label, or labels: a list, in CSV with a
  semicolon between the names
"""
    examples = """\
  multiattn evaluate classify --data .data/cifar10
  multiattn evaluate classify --data pets --split test --model runs/pets/model \\
      --confusion pets.png
"""
    output = """\
  {"top1": 0.84, "top5": 0.99, "ece": 0.02, "macro_accuracy": 0.81,
   "per_class": {"cat": {"accuracy": 0.62, "items": 1000}, ...},
   "confusion": [{"label": "cat", "predicted": "dog", "items": 240}, ...],
   "items": 10000, "skipped": 0, "model": "classify", "data": "pets",
   "split": "test"}
  {"map": 0.71, "f1_macro": 0.6, "f1_micro": 0.66, "labels": [{"label": "cat",
    "items": 31, "average_precision": 0.8, "f1": 0.7, "best_threshold": 0.4,
    "true_positives": 22, "false_positives": 10, "false_negatives": 9,
    "true_negatives": 459}, ...], "items": ...} of a multi-label model
"""
    own_options = (
        Option("--confusion", "PNG", not_empty, "a picture of which classes are taken for which"),
        Option(
            "--threshold",
            "P",
            finite,
            "the probability from which on a label of several counts as found (default: 0.5)",
        ),
    )
    options = ("confusion", "threshold")

    def read(self) -> Sequence[tuple[Path, Sequence[_Truth]]]:
        """Read the pictures, each with its label."""
        from ..data.multi_labels import MultiLabelRecords, read_labeled

        records = read_labeled(self.args.data, self.args.split)
        self._classes, self._is_multi_label = records.class_names, isinstance(records, MultiLabelRecords)
        if (threshold := self.args.threshold) is not None and not self._is_multi_label:
            raise UsageError("argument --threshold: is for data whose pictures have several labels, but each has one")
        if self.args.confusion is not None and self._is_multi_label:
            raise UsageError("argument --confusion: is for data whose pictures have one label each, but have several")
        if threshold is not None and not 0 <= threshold <= 1:
            raise UsageError(f"argument --threshold: must be from 0 to 1, but is {threshold:g} instead")
        if isinstance(records, MultiLabelRecords):
            return [(path, (tuple(self._classes[i] for i in several),)) for path, several in records.items]
        return [(path, (self._classes[index],)) for path, index in records.items]

    def results(self, items: Sequence[tuple[Path, Sequence[_Truth]]]) -> "Iterator[ClassifyResult | Failure]":
        """Load the model, and return its first five labels for every picture."""
        import multiattn

        classify = multiattn.load(
            self.args.model, task="classify", device=self.args.device, precision=self.args.precision
        )
        classify.check_head()
        if self._is_multi_label:
            return self._several(classify, [path for path, _ in items])
        if classify.score_kind != "probability":
            raise ModelError(
                f"evaluate must have a model that gives one label for a picture, but {self.args.model or 'classify'} "
                f"gives {_OTHER[classify.score_kind]} instead: give another --model"
            )
        check_labels(self._classes, [*map(_nfc, classify.labels)])
        args = self.args
        pictures = (path for path, _ in items)
        return classify.stream(pictures, top_k=5, batch_size=args.batch_size, strict=True, max_pixels=args.max_pixels)

    def _several(self, classify: "ClassifyPipeline", pictures: Sequence[Path]) -> "Iterator[ClassifyResult | Failure]":
        """The scores of all labels."""
        if classify.score_kind != "independent probability":
            raise ModelError(
                "evaluate must have a model that gives each label a probability of its own, as the data has several "
                f"labels a picture, but {self.args.model or 'classify'} gives one label instead: give another --model"
            )
        check_labels(self._classes, classify.labels)
        args, labels = self.args, len(classify.labels)
        return classify.stream(
            pictures, top_k=labels, batch_size=args.batch_size, strict=True, max_pixels=args.max_pixels
        )

    def _figures_of_several(self, truths: Sequence[_Truth], results: "Sequence[ClassifyResult]") -> Figures:
        """Average precision and F1; labels of the model that the data lacks are not measured."""
        import numpy as np

        from ..metrics.multi_label import multi_label_scores
        from ..pipelines.image_results import LIKELY

        threshold = self.args.threshold
        by_label = [{one.label: one.score for one in result.predictions} for result in results]
        scores = np.array([[found[name] for name in self._classes] for found in by_label])
        truth = np.array([[name in names for name in self._classes] for names in truths])
        found = multi_label_scores(scores, truth, threshold=LIKELY if threshold is None else threshold)
        names = {"map": "mAP", "f1_macro": "F1, mean of labels", "f1_micro": "F1, all labels"}
        values: dict[str, object] = {name: getattr(found, name) for name in names}
        values["labels"] = [
            {"label": label, **asdict(one)} for label, one in zip(self._classes, found.labels, strict=True)
        ]
        lines = [f"{text:19}  {getattr(found, name):6.2%}" for name, text in names.items()]
        return Figures(values, [*lines, *_by_label(self._classes, found.labels)])

    def figures(self, truths: Sequence[_Truth], results: "Sequence[ClassifyResult]") -> Figures:
        """Compare labels with those of the data."""
        if self._is_multi_label:
            return self._figures_of_several(truths, results)
        from ..metrics.classes import class_scores

        found = [[_nfc(prediction.label) for prediction in result.predictions] for result in results]
        correct = [labels[0] == truth for truth, labels in zip(truths, found, strict=True)]
        among_five = sum(truth in labels for truth, labels in zip(truths, found, strict=True))
        values = {
            "top1": sum(correct) / len(truths),
            "top5": among_five / len(truths),
            "ece": expected_calibration_error([result.score for result in results], correct),
        }
        pairs = Counter((str(truth), labels[0]) for truth, labels in zip(truths, found, strict=True))
        scores = class_scores(pairs)
        names = {"top1": "top-1", "top5": "top-5", "ece": "ECE", "macro_accuracy": "macro"}
        shown = values | {"macro_accuracy": scores["macro_accuracy"]}
        lines = [f"{names[name]:5}  {value:6.2%}" for name, value in shown.items()]
        if self.args.confusion is not None:
            from ..export.confusion import draw_confusion  # imports torch

            draw_confusion(pairs, self._classes, self.args.confusion, title=f"{self.args.data} ({self.args.split})")
        return Figures({**values, **scores}, [*lines, *_by_class(scores)])


def _nfc(label: str) -> str:
    """Return a model's label in the form NFC, which the labels of data have."""
    from ..metrics.normal_form import normal_form

    return normal_form("NFC", label)


def _by_label(names: Sequence[str], labels: "Sequence[LabelScores]") -> list[str]:
    """Return a row for each of the labels with the lowest F1 that some picture has: how often it is told and missed."""
    known = [(one.f1, name, one) for name, one in zip(names, labels, strict=True) if one.f1 is not None]
    ranked = sorted(known, key=lambda found: found[:2])
    width = max((len(printable(name)) for _, name, _ in ranked[:_SHOWN]), default=0)
    lines = ["F1 by label" + (f", the {_SHOWN} lowest of {len(ranked)}" if len(ranked) > _SHOWN else "")]
    for f1, name, one in ranked[:_SHOWN]:
        lines.append(
            f"  {printable(name):{width}}  {f1:7.2%}  found {one.true_positives} of {one.items}, "
            f"told wrongly {one.false_positives}"
        )
    return lines


def _by_class(scores: Mapping[str, Any]) -> list[str]:
    """Return a row for each of the classes with the lowest accuracy, and one for each of the most frequent mistakes."""
    classes = list(scores["per_class"].items())
    mistakes = [one for one in scores["confusion"] if one["label"] != one["predicted"]]
    if len(classes) < 2:
        return []
    width = max(len(printable(name)) for name, _ in classes[:_SHOWN])
    lines = ["accuracy by class" + (f", the {_SHOWN} lowest of {len(classes)}" if len(classes) > _SHOWN else "")]
    for name, one in classes[:_SHOWN]:
        lines.append(f"  {printable(name):{width}}  {one['accuracy']:7.2%}  of {one['items']}")
    if mistakes:
        lines.append("taken for another, the most frequent")
    for one in mistakes[:_MISTAKES]:
        lines.append(f"  {printable(one['label'])} as {printable(one['predicted'])}  {one['items']}")
    return lines


def check_labels(classes: Sequence[str], labels: Sequence[str]) -> None:
    """Check that the model can give the right answer for every class of the data.

    Raises:
        ModelError: A class of the data is no label of the model.
    """
    unknown = [name for name in classes if name not in set(labels)]
    if unknown:
        raise ModelError(
            f"the data's classes must be labels of the model, but {len(unknown)} of {len(classes)} are not: "
            f"{listed(unknown, _FEW)}; the model's {len(labels)} labels are: {listed(labels, _FEW)}; "
            "rename the classes, or give a --model trained on them"
        )


def expected_calibration_error(scores: Sequence[float], correct: Sequence[bool], *, bins: int = _BINS) -> float:
    """Return the mean distance between stated probability and share that is right, over bins of equal width.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.

    Args:
        scores: Probability of the first choice, 0 to 1, for each item.
        correct: Whether the first choice was right, for each item.
        bins: The number of bins.
    """
    claimed, right = [0.0] * bins, [0] * bins
    for score, is_right in zip(scores, correct, strict=True):
        index = min(int(score * bins), bins - 1)
        claimed[index] += score
        right[index] += is_right
    # |right/n - claimed/n| weighted by n/N: the bin's own n cancels
    return sum(abs(right[i] - claimed[i]) for i in range(bins)) / len(scores)
