"""`multiattn evaluate maps`: which map method can be trusted, with this model on data like yours?"""

import argparse
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, ModelError
from ..registry import load_part, task_spec, tasks
from ..writing import write_json
from .arguments import Option, Parser, UsageError, at_least_one, not_empty
from .evaluate_options import DATA, MODEL, SPLIT
from .inputs import status
from .map_options import map_methods
from .map_tables import as_json, table
from .options import DEVICE, model_or_shipped, output_format
from .output import Report, named_errors, printable, say, spinner

if TYPE_CHECKING:
    from ..maps.evaluation import MapEvaluation
    from ..pipelines.explained import Explainer

_DESCRIPTION = """\
Measure how far the maps of a model can be trusted. Parts of each input are
hidden, those first that a map calls important: with a map that is right, the
probability of what it explains falls fast. Every map method is measured on the
same inputs, beside two maps that know nothing of the model: a blob in the
middle, and a random order.
"""

_EPILOG = """\
what is measured, of inputs in an order drawn with a fixed seed, until there are
N; FOLDER/SPLIT is searched for pictures or recordings, and has questions as
`multiattn evaluate answer` reads them
{rules}

columns
  area       mean probability while the brightest parts are shown first, into an
             empty input, less that while they are hidden first; with its 95 %
             interval (bootstrap over the inputs). About 0: the map says
             nothing. Parts are patches, or 0.1 s of a recording
  shown, hidden   these two means
  wins       share of the inputs on which its area is larger than that of the
             blob in the middle (of a word of a recording: of one where the word
             would be if all took the same time)
  1/3, all   what is left of the map (Spearman's correlation, -1 to 1) with the
             weights of the top third of the blocks, or of all, shuffled: near 1
             where the map does not depend on what these blocks learned (Adebayo
             et al. 2018); of the first {randomized} inputs
  label      the same for the map of another label: of the second most probable
             one, or of another word of the text. 1: the map is the same for
             every label
  points     share of the inputs whose highest patch is on what the question is
             about, where the data has boxes
Below it, the best method against each other: the difference of the areas on the
same inputs, and on which share of these it is larger.

With --keep the method with the largest area is stated in the model's
config.json, and --maps and the model's pages show it first.

examples
  multiattn evaluate maps --task classify --data .data/cifar10
  multiattn evaluate maps --task answer --data .data/scenes --items 300 \\
      --picture maps.png
  multiattn evaluate maps --task transcribe --data recordings --model M --keep

with --format json, one object
  {{"first": "relevance", "scores": {{"relevance": {{"area": {{"mean": 0.29,
   "low": 0.26, "high": 0.31}}, "insertion": 0.55, "deletion": 0.26,
   "randomized": [0.61, ...], "other_label": 0.4, "pointing": null}}, ...}},
   "pairs": [{{"method": "relevance", "other": "attention", "difference":
   {{"mean": 0.11, ...}}, "wins": 0.87}}, ...], "task": "classify", "filling":
   "mean", "items": 100, "left_out": 12, "skipped": 0, "model": "classify",
   "data": ".data/cifar10", "split": "validation"}}

A file that cannot be read, or is damaged, is named on standard error, left
out and counted as skipped, and the exit status is 1.
"""

_ENOUGH = 100
_LEAST = 10  # `maps.evaluation.LEAST_ITEMS`, which imports NumPy
_RANDOMIZED = 10  # `maps.measuring.RANDOMIZED_ITEMS`
_FILLINGS = ("mean", "blur")  # `maps.masking.FILLINGS`
_RULES = {
    "classify": "the label of each picture, where its probability is at least 0.5",
    "caption": "a word of each caption, of those that the picture makes likelier",
    "transcribe": "a word of each recording, of those of probability 0.5 or more",
    "answer": "the answer to each question, where its probability is at least 0.5",
    "match": "the text that fits each picture best, of 10, if it has 0.5 or more",
}


def parser() -> Parser:
    """The command's options."""
    known = [name for name, spec in tasks().items() if spec.explainer]
    methods = tuple(dict.fromkeys(method for name in known for method in task_spec(name).map_methods))
    rules = "\n".join(f"  {name:10}  {rule}" for name, rule in _RULES.items())
    return Parser(
        Option("--task", "TASK", choices=known, help=", ".join(known), required=True),
        DATA,
        SPLIT,
        Option("--items", "N", at_least_one, f"how many to measure, at least {_LEAST} (default: {_ENOUGH})", _ENOUGH),
        MODEL,
        Option(
            "--map-method",
            "NAME",
            map_methods(methods),
            "the methods to measure (default: all of the task); repeat it, or separate names with commas",
            action="extend",
        ),
        Option(
            "--filling",
            choices=_FILLINGS,
            default="mean",
            help="what stands in place of what is hidden: the picture's mean color, or the mean of each band of a "
            "recording (default); or the input itself, blurred",
        ),
        Option("--picture", "FILE", not_empty, "also draw the areas and what shuffled weights leave, as a PNG"),
        Option("--keep", action="store_true", help="state the best method in the model's directory (see below)"),
        output_format("json: one object"),
        DEVICE,
        prog="multiattn evaluate maps",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(rules=rules, randomized=_RANDOMIZED),
    )


def run(args: argparse.Namespace) -> int:
    """Measure; return 0 where every input that was tried could be used."""
    spec = task_spec(args.task)
    asked = args.map_method or ["all"]
    methods = spec.map_methods if "all" in asked else tuple(dict.fromkeys(asked))
    if unknown := [name for name in methods if name not in spec.map_methods]:
        known = ", ".join(spec.map_methods)
        raise UsageError(f"argument --map-method: must be of {known} for {args.task}, but is {unknown[0]!r} instead")
    if args.items < _LEAST:
        raise UsageError(f"argument --items: must be at least {_LEAST}, but is {args.items} instead")
    args.model = model_or_shipped(args.model, args.task)
    explainer, file = loaded_explainer(args, keep=args.keep)
    inputs = list(explainer.read(args.data, args.split))
    drawn = random.Random(0)
    drawn.shuffle(inputs)
    from ..maps.measuring import Measurement

    measurement = Measurement(explainer.model, methods)
    tried = iter(inputs)
    used = left_out = skipped = 0
    with Report(args.items + measurement.num_blocks, doing="measuring maps") as report:
        while used < args.items and (one := next(tried, None)) is not None:
            try:
                explained = explainer(one, drawn)
            except InputError as error:
                skipped += 1
                report.message(f"skipped: {error}")
                continue
            if explained is None:
                left_out += 1
                continue
            measurement.add(explained)
            used += 1
            report.advance()
        if used < _LEAST:
            raise InputError(
                f"{args.data}: at least {_LEAST} {explainer.things} are needed, but of {used + left_out + skipped} "
                f"only {used} could be measured ({_RULES.get(args.task, 'all')}): give more data, or a model that was "
                "trained on such"
            )
        found = measurement.result(report.advance)
        facts = {"task": args.task, "filling": args.filling, "items": used, "left_out": left_out, "skipped": skipped}
        facts |= {name: getattr(args, name) for name in ("model", "data", "split")}
        if args.format == "json":
            report.result(json.dumps(as_json(found) | facts))
        else:
            text = printable(f"{used} {explainer.things} of {args.data} ({args.split}) with {args.model}")
            more = f"; {left_out} left out" * bool(left_out) + f"; {skipped} skipped" * bool(skipped)
            report.result("\n".join([*table(found), f"{text}; filling: {args.filling}{more}"]))
    if args.picture is not None:
        from ..export.map_evaluation import draw_map_evaluation

        draw_map_evaluation(found, args.picture, title=f"{args.data} ({args.split}) with {args.model}")
    if file is not None:
        keep(file, found, data=f"{Path(args.data).name}/{args.split}", filling=args.filling)
        say(f"{file} states that maps by {found.first} are shown first")
    return status(skipped, used + left_out + skipped)


def loaded_explainer(args: argparse.Namespace, *, keep: bool = False) -> "tuple[Explainer[object], Path | None]":
    """Load the model; return what explains its predictions, and the `config.json` where it is to `keep` something.

    Args:
        args: `task`, `model`, `device` and, where a command has it, `filling`.
        keep: Whether its directory must be one of ours.

    Raises:
        ModelError: It is a model for another task, or its directory is none of ours.
    """
    with spinner("loading the model"):
        from ..pipelines.base import find_device
        from ..weights import load_bundle

        device = find_device(args.device)
        bundle = load_bundle(args.model)
        if bundle.task != args.task:
            raise ModelError(
                f"{args.model} must be a model for {args.task}, but is one for {bundle.task}: give another"
            )
        file = None
        if keep:
            file = Path(bundle.source) / "config.json"
            if bundle.layout != "multiattn" or not file.is_file():
                raise ModelError(
                    f"--keep needs a model directory of yours in our own layout, but {bundle.source} is none: write "
                    f"one with `multiattn convert {bundle.source} DIRECTORY --to multiattn`"
                )
        explainer: Explainer[object] = load_part(task_spec(args.task).explainer)(
            bundle, device=device, filling=getattr(args, "filling", "mean")
        )
    return explainer, file


def keep(file: Path, found: "MapEvaluation", *, data: str, filling: str) -> None:
    """State the best method, with its figure, in a model's `config.json`.

    Args:
        file: The `config.json`.
        found: The evaluation.
        data: What it was measured on.
        filling: What stood in place of what was hidden.

    Raises:
        MultiattnError: The file cannot be read or written.
    """
    area = found.scores[found.first].area
    with named_errors(f"--keep: {file}"):
        facts = json.loads(file.read_text(encoding="utf-8"))
        facts["maps"] = {
            "first": found.first,
            "area": round(area.mean, 4),
            "interval": [round(area.low, 4), round(area.high, 4)],
            "items": found.items,
            "data": data,
            "filling": filling,
        }
        write_json(file, facts)
