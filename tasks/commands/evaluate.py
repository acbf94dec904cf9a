"""`multiattn evaluate`: how good is a model on data of which the right answers are known?"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from multiattn.errors import InputError, ModelError

from .console import Report, printable, say, spinner
from .options import Parser, add_compute, add_format, at_least_one, not_empty

_DESCRIPTION = """\
Measure a classifier on labelled pictures, a captioner on pictures with captions
that people wrote, or a recogniser on recordings of which it is known what is
said. A classifier's labels are matched to the data's classes by name.
"""

_EPILOG = """\
what is measured of a classifier
  top1   share of the pictures whose label is the model's first choice
  top5   share of the pictures whose label is among its first five
  ece    expected calibration error: how far the stated probability is from the
         share that is right, in the mean over 15 bins (Guo et al. 2017); 0 is a
         model that can be taken at its word

what is measured of a captioner (by the published definitions, without Java)
  bleu1, bleu2, bleu3, bleu4
         runs of one to four words that are in a reference too
  meteor words matched with the best reference, exactly or by their stem;
         without synonyms and paraphrases, so a little below Meteor 1.5
  rouge_l   longest common subsequence with a reference
  cider  CIDEr-D: likeness to the references, rare words counting more; 0 to 10
  self_retrieval   how often a caption is more like its own picture's references
         than like those of 99 other pictures: a model that says the same of
         every picture gets 0.01

what is measured of a recogniser
  wer    word error rate: words that are others, missing or put in, over the
         words that were said
  cer    the same of characters
  both after --normaliser: english, Whisper's rules (numbers in figures,
  contractions in full, no punctuation; but without its table of British
  spellings); basic, lower case without punctuation; none
  "one two three" is one word by the English rules: take basic for digits

data
  FOLDER/SPLIT/CLASS/*.jpg, or FOLDER/SPLIT/metadata.jsonl (or metadata.csv)
  with the columns file_name and label; for captions file_name and text or texts
  COCO and Flickr8k as published: --captions and --pictures ({split} in them is
  the name of the split)
  recordings: file_name and text, or LibriSpeech's folders as published;
  --join makes 400 fixed recordings of 1 to 8 short ones each, with pauses and
  noise

examples
  multiattn evaluate classify --data .data/cifar10
  multiattn evaluate classify --data pets --split test --model runs/pets/model
  multiattn evaluate caption --data flickr8k --split test --beams 3
  multiattn evaluate caption --data coco --limit 500 --pictures {split}2017 \\
      --captions annotations/captions_{split}2017.json
  multiattn evaluate transcribe --data LibriSpeech --split test-clean --model M
  multiattn evaluate transcribe --data .data/fsdd --join --normaliser basic

with --format json, one object
  {"top1": 0.84, "top5": 0.99, "ece": 0.02, "items": 10000, "skipped": 0,
   "model": "classify", "data": "pets", "split": "test"}
  {"bleu1": 0.61, "bleu2": 0.42, "bleu3": 0.28, "bleu4": 0.18, "meteor": 0.19,
   "rouge_l": 0.44, "cider": 0.45, "self_retrieval": 0.41, "items": 500,
   "skipped": 0, "model": "caption", "data": "flickr8k", "split": "test"}
  {"wer": 0.0123, "cer": 0.0098, "substitutions": 9, "deletions": 7,
   "insertions": 6, "words": 1800, "normaliser": "basic", "items": 400,
   "skipped": 0, "model": "transcribe", "data": "digits", "split": "validation"}

A file that cannot be read is named on standard error, left out and counted
as skipped, and the exit status is 1.
"""

_BINS = 15

_MADE = {"caption": "captions", "transcribe": "transcripts"}
_ONLY = {  # options, and the tasks that have them
    "beams": ("caption", "transcribe"),
    "captions": ("caption",),
    "pictures": ("caption",),
    "normaliser": ("transcribe",),
    "language": ("transcribe",),
    "join": ("transcribe",),
}

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Evaluation:
    """What `multiattn evaluate classify` prints."""

    top1: float
    """Share of the items whose label came first, 0 to 1."""

    top5: float
    """Share of the items whose label was among the first five, 0 to 1."""

    ece: float
    """Expected calibration error, 0 to 1."""

    items: int
    """Pictures that were classified."""

    skipped: int
    """Pictures that could not be used."""

    model: str
    """As it was asked for."""

    data: str
    """As it was asked for."""

    split: str
    """The sub-folder of the data."""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn evaluate", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "task", metavar="TASK", choices=("classify", "caption", "transcribe"), help="classify, caption or transcribe"
    )
    parser.add_argument("--data", metavar="FOLDER", type=not_empty, required=True, help="the files (see below)")
    parser.add_argument(
        "--split",
        metavar="NAME",
        type=not_empty,
        default="validation",
        help="sub-folder to use (default: validation)",
    )
    parser.add_argument(
        "--limit", metavar="N", type=at_least_one, help="use only N files, evenly spread over the split"
    )
    parser.add_argument(
        "--model",
        metavar="M",
        type=not_empty,
        help="a model directory, a hub id, or a task's name; default: the small model for TASK that is shipped with "
        "this package",
    )
    add_format(parser, json_help="json: one object")
    add_compute(parser)
    texts = parser.add_argument_group("captions and transcripts only")
    texts.add_argument(
        "--beams",
        metavar="N",
        type=at_least_one,
        help="texts that the search keeps at once (default: as the model says, or 3, for transcripts 5)",
    )
    captions = parser.add_argument_group("captions only")
    captions.add_argument(
        "--captions",
        metavar="FILE",
        type=not_empty,
        help="a captions JSON of COCO, or Flickr8k's token file, in FOLDER",
    )
    captions.add_argument("--pictures", metavar="DIR", type=not_empty, help="its pictures, in FOLDER")
    transcripts = parser.add_argument_group("transcripts only")
    transcripts.add_argument(
        "--normaliser",
        choices=("english", "basic", "none"),
        help="what is done to texts before they are compared (see below; default: english)",
    )
    transcripts.add_argument(
        "--language", metavar="CODE", type=not_empty, help="of the recordings, for a model of several languages"
    )
    # None, not False, where it is not given: as with the other options of one task
    transcripts.add_argument(
        "--join", action="store_const", const=True, help="join short recordings by a fixed recipe (see below)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Evaluates; returns 0 when every picture could be used."""
    args.model = args.model or args.task
    for name, tasks in _ONLY.items():
        if getattr(args, name) is not None and args.task not in tasks:
            things = " and ".join(_MADE[task] for task in tasks)
            parser().error(f"argument --{name}: is for {things} only, but the task is {args.task}")
    if args.task == "caption":
        from .evaluate_caption import run as run_caption  # NumPy, which the help need not wait for

        return run_caption(args)
    if args.task == "transcribe":
        from .evaluate_transcribe import run as run_transcribe

        return run_transcribe(args)
    return _run_classify(args)


def _run_classify(args: argparse.Namespace) -> int:
    with spinner("loading the model"):
        import multiattn

        from ..data.folder import read_folder

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
        measured = Evaluation(
            top1=sum(correct) / len(ranks),
            top5=sum(rank is not None for rank in ranks) / len(ranks),
            ece=expected_calibration_error(scores, correct),
            items=len(ranks),
            skipped=skipped,
            model=args.model,
            data=args.data,
            split=args.split,
        )
        report.result(json.dumps(asdict(measured)) if args.format == "json" else as_text(measured))
    if skipped:
        say(f"{skipped} of {len(items)} pictures could not be used")
    return 1 if skipped else 0


def evenly_spread(items: Sequence[_Item], limit: int | None) -> Sequence[_Item]:
    """At most `limit` items, from the first on at equal distances; all where None. Splits are often sorted."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


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


def as_text(measured: Evaluation) -> str:
    """A few lines to read."""
    return "\n".join(
        (
            f"top-1  {measured.top1:6.2%}",
            f"top-5  {measured.top5:6.2%}",
            f"ECE    {measured.ece:6.2%}",
            printable(f"on {measured.items} pictures of {measured.data} ({measured.split}) with {measured.model}")
            + (f"; {measured.skipped} skipped" if measured.skipped else ""),
        )
    )


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")
