"""`multiattn evaluate`: how good is a model on data whose right answers are known?

The loop is here: read the data, run the model, name and count what cannot be used, report the figures. What differs by
task is an `Evaluator`, one in each `evaluate_*` module.
"""

import argparse
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, TypeVar

from ..data.spread import evenly_spread
from ..errors import InputError
from ..registry import load_part, task_spec, tasks
from .arguments import Option, Parser, UsageError, at_least_one, not_empty
from .evaluate_options import DATA, MODEL, SPLIT
from .inputs import status
from .options import COMPUTE, PIXELS, beams, model_or_shipped, output_format
from .output import Report, printable, spinner

if TYPE_CHECKING:
    from ..pipelines import Failure, Result

_Input = TypeVar("_Input")
_Truth = TypeVar("_Truth")
_Result = TypeVar("_Result", bound="Result")

_DESCRIPTION = """\
Measure a model on data with known answers: a classifier on labeled pictures, a
captioner on pictures with captions that people wrote, a recognizer on
recordings with their transcripts, a model that answers on pictures with
questions that people answered. A classifier's labels are matched to the data's
classes by name. `multiattn evaluate maps` says how far maps can be trusted.
"""

_BAD_FILES = """\
A file that cannot be read, or is damaged, is named on standard error, left
out and counted as skipped, and the exit status is 1.
"""


PICTURES_OF = Option(
    "--pictures",
    "DIR",
    not_empty,
    "not for transcripts: the folder in FOLDER with the pictures of --captions; or of --questions, where {id:012} "
    "stands for the number of a picture",
)

_SHARED: tuple[Option, ...] = (
    beams(
        "beams of the search (default: the model's own, or 3, for transcripts 5); not for a model that chooses its "
        "answers from a list"
    ),
    PICTURES_OF,
)


class Figures(NamedTuple):
    """What an evaluation found."""

    values: Mapping[str, object]
    """As `--format json` has them."""

    lines: Sequence[str]
    """As text has them."""


class Evaluator(ABC, Generic[_Input, _Truth, _Result]):
    """Measures the models of one task.

    Args:
        args: The options of the command, with `model`.
    """

    things: ClassVar[str] = "pictures"
    """What messages call the things that are counted."""

    measures: ClassVar[str] = ""
    """For the help: the figures and what they mean."""

    data: ClassVar[str] = ""
    """For the help: the forms of data that can be read."""

    examples: ClassVar[str] = ""
    """For the help: commands."""

    output: ClassVar[str] = ""
    """For the help: a line of JSON."""

    own_options: ClassVar[tuple[Option, ...]] = ()
    """The options that only this task has. None must be the value of one that is not given."""

    options: ClassVar[tuple[str, ...]] = ()
    """The options of this task that not every task has, its own among them, by their names in `args`."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args

    @abstractmethod
    def read(self) -> Sequence[tuple[_Input, Sequence[_Truth]]]:
        """Read the data: inputs of the model, each with the right answers, one for each result that it gives."""

    @abstractmethod
    def results(self, items: Sequence[tuple[_Input, Sequence[_Truth]]]) -> "Iterator[_Result | Failure]":
        """Load the model, and return the results for all items of `read` in order, computed as they are taken."""

    @abstractmethod
    def figures(self, truths: Sequence[_Truth], results: Sequence[_Result]) -> Figures:
        """Compare results with what is right; there is at least one."""

    def run(self) -> int:
        """Evaluate; return the exit status: 0 where everything could be used."""
        args = self.args
        with spinner("loading the model"):
            items = evenly_spread(self.read(), args.limit)
            results = self.results(items)
        truths: list[_Truth] = []
        found: list[_Result] = []
        skipped = 0
        with Report(len(items), doing=task_spec(args.task).doing) as report:
            for _, of_input in items:
                named: Exception | None = None
                for truth in of_input:
                    result = next(results)
                    if result.error is None:
                        truths.append(truth)
                        found.append(result)
                        continue
                    skipped += 1
                    if result.error is not named:  # all questions about a picture that cannot be read share one
                        named = result.error
                        report.message(f"skipped: {named}")
                report.advance()
            if not found:
                raise InputError(
                    f"{args.data}: none of the {skipped} {self.things} of the split {args.split!r} could be used"
                )
            figures = self.figures(truths, found)
            facts = {"items": len(found), "skipped": skipped}
            facts |= {name: getattr(args, name) for name in ("model", "data", "split")}
            if args.format == "json":
                report.result(json.dumps({**figures.values, **facts}))
            else:
                text = printable(f"on {len(found)} {self.things} of {args.data} ({args.split}) with {args.model}")
                report.result("\n".join([*figures.lines, text + (f"; {skipped} skipped" if skipped else "")]))
        return status(skipped, skipped + len(found), self.things)


def evaluators() -> dict[str, type[Evaluator[object, object, "Result"]]]:
    """Return the evaluator of each task."""
    return {name: load_part(f"{spec.evaluator}:Evaluator") for name, spec in tasks().items()}


def parser() -> Parser:
    """The command's options."""
    known = evaluators()
    parts = [
        *(one.measures for one in known.values()),
        "data\n" + "".join(one.data for one in known.values()),
        "examples\n" + "".join(one.examples for one in known.values()),
        "with --format json, one object\n" + "".join(one.output for one in known.values()),
        _BAD_FILES,
    ]
    names = list(known)
    parser = Parser(
        Option("task", "TASK", choices=names, help=f"{', '.join(names[:-1])} or {names[-1]}"),
        DATA,
        SPLIT,
        Option("--limit", "N", at_least_one, "use only N files, evenly spread over the split"),
        MODEL,
        output_format("json: one object"),
        PIXELS,
        *COMPUTE,
        prog="multiattn evaluate",
        description=_DESCRIPTION,
        epilog="\n".join(parts),
    )
    groups = {"captions, transcripts and answers": _SHARED}
    groups |= {task_spec(name).output: one.own_options for name, one in known.items()}
    for things, options in groups.items():
        group = parser.add_argument_group(f"{things} only")
        for option in options:
            option.add_to(group)
    return parser


def run(args: argparse.Namespace) -> int:
    """Evaluate; return 0 where everything could be used."""
    known = evaluators()
    for option in dict.fromkeys(name for one in known.values() for name in one.options):
        if getattr(args, option) is not None and option not in known[args.task].options:
            things = " and ".join(task_spec(task).output for task, one in known.items() if option in one.options)
            name = option.removeprefix("num_")
            raise UsageError(f"argument --{name}: is for {things} only, but the task is {args.task}")
    args.model = model_or_shipped(args.model, args.task)
    return known[args.task](args).run()
