"""The loop of every command that predicts: find the inputs, load the model, write each result as soon as it is ready.

`classify`, `caption`, `transcribe` and `answer` are each a subclass of `Predictor`, which states how the model is
run and how a result is written as text.
"""

import argparse
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, TypeVar

from ..inputs.files import PICTURES, Kind
from ..registry import load_part, task_spec
from .inputs import find_inputs, status
from .map_files import MapFiles, Written
from .options import UsageError, model_or_shipped
from .output import Report, printable, say, spinner

if TYPE_CHECKING:
    from ..errors import InputError
    from ..pipelines import Failure, Result

_Result = TypeVar("_Result", bound="Result")


class Job(NamedTuple):
    """One input, and what is asked about it by a task that takes questions."""

    file: Path

    questions: Sequence[str] | None = None
    """The questions, each with a result; None for one result."""

    origins: Sequence[str] = ()
    """Where each question was read ("asked.jsonl, line 3"), for messages; empty where they are from the command."""

    @property
    def input(self) -> Path | tuple[Path, list[str]]:
        """What a pipeline's `stream` is given: the file, or the file and its questions."""
        return self.file if self.questions is None else (self.file, list(self.questions))

    @property
    def num_results(self) -> int:
        """The number of its results."""
        return 1 if self.questions is None else len(self.questions)


class Predictor(ABC, Generic[_Result]):
    """One run of a command that predicts.

    Args:
        args: The command's options: `options`, and those of `paths_of`, `model_of`, `results_of`.

    Raises:
        UsageError: Options do not go together.
    """

    task: ClassVar[str]
    kind: ClassVar[Kind] = PICTURES

    options: ClassVar[tuple[str, ...]] = ()
    """The options that are handed to the pipeline, by their names there and in `args`."""

    report: Report
    """The output, once the loop has begun."""

    job: Job
    """The input that is computed or written."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        if args.map_method and not args.maps:
            raise UsageError("--map-method says how to make maps, and needs --maps DIR to say where to")
        default = [task_spec(self.task).default_map_method]
        self.methods: list[str] | None = (args.map_method or default) if args.maps else None
        self.out: str | None = args.out

    def jobs(self) -> tuple[Sequence[Job], int]:
        """Find the inputs; return them and the number of paths that lead to none."""
        files, unusable = find_inputs(self.args.paths, self.kind, maps=self.args.maps, out=self.out)
        return [Job(file) for file in files], unusable

    def stream_options(self) -> dict[str, object]:
        """What the pipeline's `stream` is given beside the inputs."""
        return {"maps": self.methods} | {
            name: getattr(self.args, name) for name in ("batch_size", "strict", *self.options)
        }

    def results(self, jobs: Sequence[Job]) -> "Iterator[_Result | Failure]":
        """Load the model, and return the results for all jobs in order, computed as they are taken."""
        options = self.stream_options()
        pipeline = load_part("multiattn:load")(self.args.model, task=self.task, device=self.args.device)
        results: Iterator[_Result | Failure] = pipeline.stream([job.input for job in jobs], **options)
        return results

    @staticmethod
    @abstractmethod
    def as_text(result: _Result, written: Written | None) -> str:
        """Return a result as lines to read, with the page of its maps where there is one."""

    @staticmethod
    def as_json(result: "Result", written: Written | None) -> str:
        """Return a result as one line of JSON."""
        return json.dumps(result.to_dict() | ({"maps": written.by_method} if written and written.by_method else {}))

    def remark(self, result: _Result) -> str | None:
        """Return what must be said about a result on standard error, or None."""
        mark = result.out_of_domain
        return None if mark is None else f"{result.file}: out of domain: {mark}; the result may mean nothing"

    def save_page(self, results: Sequence[_Result], path: str) -> None:
        """Write the page with the maps of one input."""
        results[0].save_html(path)

    def write(self, result: _Result, written: Written | None) -> None:
        """Write a result in the format that was asked for."""
        self.report.result((self.as_json if self.args.format == "json" else self.as_text)(result, written))

    def run(self) -> int:
        """Do all inputs; return the exit status: 0 where every one could be used."""
        self.args.model = model_or_shipped(self.args.model, self.task)
        with spinner("loading the model"):
            jobs, unusable = self.jobs()
            if not jobs:
                return 1
            map_files = MapFiles(self.args.maps) if self.args.maps else None
            results = self.results(jobs)
        failures = unusable
        damaged = 0
        said = set[str]()
        with Report(len(jobs), doing=task_spec(self.task).doing, out=self.out) as self.report:
            for self.job in jobs:
                found = list(islice(results, self.job.num_results))
                failures += self._finish(found, map_files, said)
                damaged += any(result.error is None and result.damaged for result in found)
                self.report.advance()
        if damaged:
            say(f"{damaged} of {len(jobs)} inputs could be used only in part")
        return max(status(failures, unusable + sum(job.num_results for job in jobs)), int(damaged > 0))

    def _finish(self, results: "list[_Result | Failure]", map_files: MapFiles | None, said: set[str]) -> int:
        """Write the results of one job; return the number of failures. A message in `said` is not repeated."""
        good = [result for result in results if result.error is None]
        files: Iterator[Written] = iter(())
        if map_files and any(result.maps for result in good):
            files = iter(map_files.write(good, lambda page: self.save_page(good, page)))
        errors: list[InputError] = []  # all questions about a picture that cannot be used have the same one
        for index, result in enumerate(results):
            if result.error is not None:
                if not any(result.error is error for error in errors):
                    errors.append(result.error)
                    origin = f"{self.job.origins[index]}: " if self.job.origins else ""
                    self._say(f"{origin}{result.error}", said)
                continue
            if result.damaged:
                self._say(f"{result.file} {result.damaged}", said)
            if remark := self.remark(result):
                self._say(remark, said)
            self.write(result, next(files, None))
        return len(results) - len(good)

    def _say(self, message: str, said: set[str]) -> None:
        if message not in said:
            said.add(message)
            self.report.message(message)


def block(title: str, lines: Sequence[str], written: Written | None) -> str:
    """Return a result to read: a title, indented lines, and the path of the page with the maps."""
    maps = [f"  maps  {printable(written.page)}"] if written else []
    return "\n".join([printable(title), *(f"  {line}" for line in [*lines, *maps])])


def domain_line(result: "Result") -> list[str]:
    """Return the line that marks a result whose input is unlike those that the model was trained on, if it is one."""
    mark = result.out_of_domain
    return [] if mark is None else [f"out of domain: {printable(mark)}"]


def score_line(score: float, text: str) -> str:
    """Return a probability and what it belongs to, as a line to read."""
    return f"{score:6.1%}  {printable(text)}"
