"""The loop of every command that predicts: find the inputs, load the model, write each result as soon as it is ready.

`classify`, `caption`, `transcribe` and `answer` are each a subclass of `Predictor`, which states how the model is
run and how a result is written as text.
"""

import argparse
import copy
import hashlib
import pickle
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from ..inputs.files import PICTURES
from ..inputs.walk import Unusable
from ..registry import task_spec
from .arguments import UsageError
from .compute import Computing
from .engines import Pool, workers_of
from .feed import Feed, Job
from .inputs import find_inputs, status
from .map_files import MapDrafts, MapFiles, Written
from .map_index import MapIndex
from .npy_file import NpyFile
from .options import model_or_shipped
from .out_file import OutFile, Parse, parse_csv, parse_json
from .outcome import Outcome
from .output import Report, say, spinner
from .parquet_folder import ParquetFolder
from .records import FORMATS, Column, Record, columns, csv_line, json_line, key_of, row, with_exact_name
from .result_lines import record_of

if TYPE_CHECKING:
    from ..errors import InputError
    from ..pipelines import Result

__all__ = ["Job", "Predictor"]

_Result = TypeVar("_Result", bound="Result")
_parse_json: Parse = parse_json


class Predictor(Computing[_Result]):
    """One run of a command that predicts.

    Args:
        args: The command's options: `options`, and those of `paths_of`, `model_of`, `results_of`.

    Raises:
        UsageError: Options do not go together.
    """

    formats: ClassVar[tuple[str, ...]] = FORMATS
    """The formats of records."""

    doing: ClassVar[str] = ""
    """What a progress bar shows; empty for what the task states."""

    columns: ClassVar[tuple[Column, ...]] = ()
    """The columns of this task in a table, each with what records have by its name; `table` may make others."""

    report: Report
    """The output, once the loop has begun."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._check_paths()
        if args.map_method and not args.maps and not self.check:
            raise UsageError("--map-method says how to make maps, and needs --maps DIR to say where to, or --check")
        for name in ("target", "versus"):
            if getattr(args, name, None) and not args.maps and not self.check:
                raise UsageError(f"--{name} says what maps explain, and needs --maps DIR to say where to, or --check")
        if getattr(args, "map_format", None) and not args.maps:
            raise UsageError("--map-format says what to write of maps, and needs --maps DIR to say where to")
        if getattr(args, "tokens", False) and not args.maps:
            raise UsageError("--tokens needs --maps DIR: it adds to the pages there")
        if "compare" in self.map_formats and (self.kind is not PICTURES or len(set(args.map_method or ())) < 2):
            raise UsageError("--map-format compare is for maps of pictures, and needs two names of --map-method")
        self.out: str | None = args.out
        self._verbose = getattr(args, "verbose", False)
        self._resume = getattr(args, "resume", False)
        if self._quiet and self._verbose:
            raise UsageError("-q and -v exclude each other; give one")
        if self._resume and (args.format not in self.formats or not args.out):
            raise UsageError(
                f"--resume goes on with records in a file, and needs --out and one of {', '.join(self.formats)}"
            )
        if args.format == "parquet" and not args.out:
            raise UsageError("--format parquet writes a folder, and needs --out DIR to say where")
        self._index: MapIndex | None = None
        self._store: OutFile | ParquetFolder | NpyFile | None = None
        self._feed = Feed(())
        self._pool: Pool | None = None
        self._num_written = 0  # of the inputs that were computed
        self._said = set[str]()
        self._failures = self._damaged = 0

    def _check_paths(self) -> None:
        """Raise UsageError where no input is named."""
        if not self.args.paths and not self._list:
            raise UsageError("the following arguments are required: PATH (or --files LIST)")
        if self.args.paths.count("-") + (self._list == "-") > 1:
            raise UsageError("- is standard input, which can be read once only")
        if self.is_distributed and "-" in self.args.paths:
            raise UsageError("- is one file on standard input, which no other process can read: leave out --processes")
        if getattr(self.args, "address", None) and self.args.engine != "ray":
            raise UsageError("--address is that of a Ray cluster, and needs --engine ray")

    @property
    def _list(self) -> str | None:
        return getattr(self.args, "files", None)

    @property
    def job(self) -> Job:
        """The input that is computed or written."""
        what = self._feed.waiting[0].what
        assert isinstance(what, Job)
        return what

    def jobs(self) -> Iterator[Job | Unusable]:
        """Find the inputs, each when it is asked for."""
        found = find_inputs(self.args.paths, self.kind, listed=self._list, maps=self.args.maps, out=self.out)
        return (one if isinstance(one, Unusable) else Job(one) for one in found)

    def prepare(self) -> None:
        """Make what the results need, before the model is loaded; nothing by default."""

    @staticmethod
    @abstractmethod
    def as_text(result: _Result, written: Written | None) -> str:
        """Return a result as lines to read, with the page of its maps where there is one."""

    @staticmethod
    def as_json(result: "Result", written: Written | None) -> str:
        """Return a result as one line of JSON."""
        return json_line(record_of(result, written))

    def table(self) -> Sequence[Column]:
        """Return the columns of this task in a table."""
        return self.columns

    def _columns(self) -> tuple[Column, ...]:
        return columns([*self.table(), *([Column("verdict")] if self.check else [])])

    def flat(self, record: Record) -> Record:
        """Return a record with what the columns of `table` need."""
        return record

    def write(self, result: _Result, written: Written | None) -> None:
        """Write a result in the format that was asked for."""
        if self.args.format in self.formats:
            self._write_record(record_of(result, written), result.marks)
        else:
            self.report.result(self.as_text(result, written))

    def _write_record(self, record: Record, marks: Mapping[str, object] | None = None) -> None:
        if isinstance(self._store, OutFile | ParquetFolder) and record.get("error"):
            self._store.earlier.replace(key_of(with_exact_name(record)))
        if self.args.format == "json":
            self.report.result(json_line(record))
            return
        others = {name: value for name, value in (marks or {}).items() if name != "damaged"}
        cells = row(self.flat(record) | {"marks": others}, self._columns())
        if isinstance(self._store, ParquetFolder):
            self._store.append(cells)
        else:
            self.report.result(csv_line(cells), end="")

    def run(self) -> int:
        """Do all inputs; return the exit status: 0 where every one could be used."""
        self.args.model = model_or_shipped(self.args.model, self.task, quiet=self._quiet)
        self._start = time.monotonic()
        self._feed = feed = Feed(self.jobs())
        outcomes: Iterator[list[Outcome]] = iter(())
        with self._engine():
            with spinner("loading the model", quiet=self._quiet):
                has_job = feed.has_job()
                if has_job:
                    if self.args.maps:
                        self._map_files = MapFiles(self.args.maps, self.map_formats)
                        self._index = MapIndex(self.args.maps, resume=self._resume)
                    outcomes = self._started()
            if has_job or self.args.format in self.formats:
                self._store = self._opened()
            with self._reported():
                for one in outcomes if has_job else self._inputs():
                    assert not isinstance(one, Job)
                    self._pass_others()
                    self._finish(one)
                    self._done()
                self._pass_others()
        if not has_job:
            return 1
        if self._verbose:
            seconds = time.monotonic() - self._start
            say(f"{feed.num_inputs} inputs in {seconds:.1f} s, {feed.num_inputs / max(seconds, 1e-3):.3g} a second")
        if self._damaged:
            say(f"{self._damaged} of {feed.num_inputs} inputs could be used only in part")
        return max(status(self._failures, feed.count), int(self._damaged > 0))

    def _started(self) -> Iterator[list[Outcome]]:
        """Load the model, or start the workers that do; return what comes of all inputs, in order."""
        self.prepare()
        if self.check == "words" and not self._quiet:
            say("--check words runs the model 12 times more for each word, and for each map method")
        if not self.is_distributed:
            return self.computed(self.load(), self._inputs())
        twin = copy.copy(self)
        twin._feed, twin._is_worker = Feed(()), True
        twin._map_files = MapDrafts(self.args.maps, self.map_formats) if self.args.maps else None
        self._pool = Pool(
            workers_of(self.args, pickle.dumps(twin)),
            self._inputs(),
            batch=self.batch,
            what=self.kind.one,
            tell=lambda text: self.report.message(text),
        )
        self._pool.start()
        return self._pool.outcomes()

    @contextmanager
    def _engine(self) -> Iterator[None]:
        """End the workers, if there are any, after the body."""
        is_over = False
        try:
            yield
            is_over = True
        finally:
            if self._pool is not None:
                self._pool.stop(at_once=not is_over)
                self._pool = None  # which refers to this object: with it, the lock on --maps would stay
                if isinstance(self._map_files, MapFiles):
                    self._map_files.remove_drafts()

    def _inputs(self) -> Iterator[Job]:
        # the store is opened after the model is loaded, and before the first input is taken
        take = self._store.earlier.take if self._resume and self._store is not None else None
        yield from self._feed.inputs(take, self.batch, self._pass_others)

    def _opened(self) -> "OutFile | ParquetFolder | NpyFile | None":
        """Open the place for the results; None where it is standard output."""
        if self.out is None:
            return None
        names = self._columns()
        if self.args.format == "parquet":
            return ParquetFolder(self.out, names, resume=self._resume, options=self._settings())
        header, parse = b"", _parse_json
        if self.args.format == "csv":
            header, parse = self._header().encode(), parse_csv([column.name for column in names])
        return OutFile(self.out, header=header, resume=self._resume, parse=parse, options=self._settings())

    def _header(self) -> str:
        return csv_line([column.name for column in self._columns()])

    def _settings(self) -> dict[str, str]:
        """Return the options that results depend on, each as a short text."""
        settings = {}
        for name, value in vars(self.args).items():
            if name not in ("out", "resume", "quiet", "verbose", "processes", "engine", "address"):
                text = repr(value)
                short = text if len(text) < 64 else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
                settings["PATH" if name == "paths" else f"--{name.removeprefix('num_').replace('_', '-')}"] = short
        return settings

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Write results in the body; at its end, or when it is interrupted, they take their place."""
        store = self._store
        write = store.append if isinstance(store, OutFile) else None
        doing = self.doing or task_spec(self.task).doing
        try:
            with Report(None, doing=doing, write=write, quiet=self._quiet) as self.report:
                if store is None and self.args.format == "csv":
                    self.report.result(self._header(), end="")
                yield
        except KeyboardInterrupt:
            if store is not None:
                self._keep(store)
                store.finish()
            self._write_index()
            raise
        except BaseException:
            if store is not None:
                store.abandon()
            raise
        if store is not None:
            if gone := len(store.earlier.rest(failures=False)):
                say(f"{gone} results of inputs that are no longer there are left out")
            store.finish()
        self._write_index()

    def _write_index(self) -> None:
        if self._index is not None:
            self._index.write()

    def _keep(self, store: "OutFile | ParquetFolder | NpyFile") -> None:
        """Write what is finished, or was in an earlier run, of the inputs that are not written yet."""
        finished = {} if self._pool is None else self._pool.finished
        while waiting := self._feed.waiting:
            one = waiting[0]
            if one.is_computed and (outcomes := finished.get(self._num_written)):
                self._finish(outcomes)
            else:
                store.keep(one.earlier)
            self._num_written += one.is_computed
            waiting.popleft()
        store.keep(store.earlier.rest(failures=True))

    def _pass_others(self) -> None:
        """Write what is known of the next inputs that are not computed: no files, and those done earlier."""
        waiting = self._feed.waiting
        while waiting and not waiting[0].is_computed:
            one = waiting[0]
            if isinstance(one.what, Unusable):
                self._failures += 1
                self.report.message(str(one.what.error))
                if self.args.format in self.formats:
                    self._write_record({"file": one.what.path, "error": str(one.what.error)})
            elif self._store is not None:
                earlier = self._store.earlier
                if isinstance(self._map_files, MapFiles):
                    self._map_files.reserve(name for number in one.earlier for name in earlier.map_names(number))
                self._damaged += any(earlier.is_damaged(number) for number in one.earlier)
                self._store.keep(one.earlier)
            self._done()

    def _done(self) -> None:
        """Go on to the next input."""
        one = self._feed.waiting.popleft()
        what = one.what
        self._num_written += one.is_computed
        self.report.advance()
        if self._feed.is_over:
            self.report.set_total(self._feed.num_inputs)
        if self._verbose:
            name = what.path if isinstance(what, Unusable) else what.file
            self.report.message(f"{time.monotonic() - self._start:8.2f} s  {name}")

    def _finish(self, outcomes: Sequence[Outcome]) -> None:
        """Write the results of the next input."""
        self._feed.waiting[0].earlier = ()  # replaced by those of now
        if self._pool is not None and isinstance(self._map_files, MapFiles):
            drafts = [one.written for one in outcomes if one.written is not None]
            places = iter(self._map_files.adopt(drafts) if drafts else ())
            outcomes = [one if one.written is None else one._replace(written=next(places)) for one in outcomes]
        for index, one in enumerate(outcomes):
            for message in one.messages:
                self._say(message)
            if one.error is not None:
                self._fail(one.error, index)
            elif one.shown is not None:
                self.write(cast(_Result, one.shown), one.written)
            if one.card is not None and one.written is not None and self._index is not None:
                self._index.add(one.card, one.written)
        self._damaged += any(one.is_damaged for one in outcomes)

    def _fail(self, error: "InputError", index: int) -> None:
        self._failures += 1
        if self.args.format in self.formats:
            asked = {} if self.job.questions is None else {"question": self.job.questions[index]}
            self._write_record({"file": str(self.job.file), **asked, "error": str(error)})

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self.report.message(message)
