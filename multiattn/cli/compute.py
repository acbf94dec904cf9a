"""How a command computes its inputs: the part of it that also runs in a worker, where the model is."""

import argparse
import dataclasses
from abc import ABC
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from ..inputs.files import PICTURES, Kind
from ..registry import load_part
from .engines import Place
from .feed import Job
from .inputs import can_be_several
from .map_files import MapDrafts, MapFiles, Written
from .map_index import card_of
from .map_options import MAP_FORMATS
from .outcome import Outcome
from .runtime import check_runtime, on_onnxruntime

if TYPE_CHECKING:
    from ..errors import InputError
    from ..pipelines import Failure, Result
    from ..pipelines.base import Pipeline

__all__ = ["Computing"]

_Result = TypeVar("_Result", bound="Result")


_EXPLAINED = ("target", "versus", "explain_text")
"""Options of some commands that say what the maps explain."""


class Computing(ABC, Generic[_Result]):
    """How inputs are computed.

    Args:
        args: The command's options.
    """

    task: ClassVar[str]
    kind: Kind = PICTURES

    options: ClassVar[tuple[str, ...]] = ()
    """The options that are handed to the pipeline, by their names there and in `args`."""

    def __init__(self, args: argparse.Namespace) -> None:
        check_runtime(args, self.task)
        self.args = args
        self.check: bool | str = getattr(args, "check", False)
        self.methods: list[str] | None = None
        self.map_formats: list[str] = getattr(args, "map_format", None) or list(MAP_FORMATS)
        self._quiet = getattr(args, "quiet", False)
        self._map_files: MapFiles | MapDrafts | None = None
        self._is_worker = False
        self._pipeline: Pipeline[Any] | None = None

    @property
    def is_distributed(self) -> bool:
        """Whether workers compute, and this process only collects."""
        return getattr(self.args, "processes", None) is not None or getattr(self.args, "engine", "local") == "ray"

    @property
    def _draws_cards(self) -> bool:
        """Whether there may be an index of pages: not of one input, unless an earlier run left others."""
        paths, listed = getattr(self.args, "paths", ()), getattr(self.args, "files", None)
        several = can_be_several(paths, listed) or getattr(self.args, "resume", False)
        return "html" in self.map_formats and several

    @property
    def batch(self) -> int:
        """The number of inputs that are computed at once."""
        return getattr(self.args, "batch_size", None) or 1

    def stream_options(self) -> dict[str, object]:
        """What the pipeline's `stream` is given beside the inputs."""
        shared = [name for name in ("batch_size", "strict", "max_pixels") if name in self.args]
        asked: dict[str, object] = {"maps": self.methods} | ({"check": self.check} if self.check else {})
        asked |= {name: getattr(self.args, name) for name in _EXPLAINED if getattr(self.args, name, None)}
        return asked | {name: getattr(self.args, name) for name in (*shared, *self.options)}

    def load(self, place: Place | None = None) -> "Pipeline[Any]":
        """Load the model, and check the options against it.

        Args:
            place: What a worker has of its machine; None where this process has all of it.

        Raises:
            UsageError: An option does not go with the model.
            MultiattnError: The model cannot be loaded.
        """
        if on_onnxruntime(self.args):
            threads = None if place is None else place.threads
            load = load_part("multiattn.deploy.onnx.loading:load")
            made = load(self.args.model, task=self.task, threads=threads)
        else:
            device = self.args.device if place is None else place.take(self.args.device)
            load = load_part("multiattn:load")
            made = load(self.args.model, task=self.task, device=device, precision=self.args.precision)
        pipeline: Pipeline[Any] = self.opened(made)
        if self.args.maps or self.check:
            self.methods = self.args.map_method or [pipeline.bundle.first_map_method]
        self.loaded(pipeline)
        return pipeline

    def computed(self, pipeline: "Pipeline[Any]", jobs: Iterable[Job]) -> Iterator[list[Outcome]]:
        """Check the options, and return what comes of each input, in order, computed as it is taken."""
        taken = deque[Job]()
        self._pipeline = pipeline

        def noted() -> Iterator[Job]:
            for job in jobs:
                taken.append(job)
                yield job

        results = self.stream(pipeline, noted())

        def outcomes() -> Iterator[list[Outcome]]:
            for result in results:
                job = taken.popleft()
                self._pass_others()  # whose maps have names already
                yield self._outcomes(job, [result, *islice(results, job.num_results - 1)])

        return outcomes()

    def stream(self, pipeline: "Pipeline[Any]", jobs: Iterable[Job]) -> "Iterator[_Result | Failure]":
        """Return the results for all inputs, in order, computed as they are taken."""
        found = pipeline.stream((job.input for job in jobs), **self.stream_options())
        return cast("Iterator[_Result | Failure]", found)

    def opened(self, pipeline: "Pipeline[Any]") -> "Pipeline[Any]":
        """Return the pipeline that computes, made of the one of the model; by default, that itself."""
        return pipeline

    def loaded(self, pipeline: "Pipeline[Any]") -> None:
        """Check the options against the model that has been loaded; nothing by default.

        Raises:
            UsageError: An option does not go with it.
        """

    def _outcomes(self, job: Job, results: "Sequence[_Result | Failure]") -> list[Outcome]:
        """Write the maps of an input, and return what is to be said and written of its results."""
        shown = [None if result.error is not None else self.shown(result) for result in results]
        good = [result for result in shown if result is not None]
        files: Iterator[Written] = iter(())
        if self._map_files and any(result.maps for result in good):
            files = iter(self._map_files.write(good, lambda page: self.save_page(good, page)))
        outcomes: list[Outcome] = []
        errors: list[InputError] = []  # all questions about a picture that cannot be used have the same one
        for index, (result, of_result) in enumerate(zip(results, shown, strict=True)):
            if result.error is not None:
                is_new = not any(result.error is error for error in errors)
                errors.append(result.error)
                origin = f"{job.origins[index]}: " if job.origins else ""
                outcomes.append(Outcome([f"{origin}{result.error}"] if is_new else (), result.error))
                continue
            told = [f"{result.file or '--text'} {one}" for one in (result.damaged, result.remark) if one]
            if not self._quiet and (remark := self.remark(result)):
                told.append(remark)
            written = None if of_result is None else next(files, None)
            card = None
            if written and of_result is not None and self._draws_cards:
                card = card_of(of_result, index + 1, several=len(results) > 1)
            outcomes.append(Outcome(told, None, bool(result.damaged), self._carried(of_result), written, card))
        return outcomes

    def _carried(self, result: _Result | None) -> _Result | None:
        """Return what a worker answers of a result: not its maps, which are files by now."""
        if result is None or not self._is_worker or not result.maps:
            return result
        assert dataclasses.is_dataclass(result)
        return dataclasses.replace(result, maps=())

    def _pass_others(self) -> None:
        """Write what is known of the inputs before the one that is computed; nothing in a worker."""

    def remark(self, result: _Result) -> str | None:
        """Return what must be said about a result on standard error, or None."""
        mark = result.out_of_domain
        return None if mark is None else f"{result.file}: out of domain: {mark}; the result may mean nothing"

    def shown(self, result: _Result) -> _Result | None:
        """Return what is written of a result, by default all of it; None to leave it out, which is no failure."""
        return result

    def save_page(self, results: Sequence[_Result], path: str) -> None:
        """Write the page with the maps of one input."""
        results[0].save_html(path, **self.page_options(results))

    def page_options(self, results: Sequence[_Result]) -> dict[str, Any]:
        """What `save_html` is given: with `--tokens`, the attention among the patches of the picture."""
        if not getattr(self.args, "tokens", False):
            return {}
        assert self._pipeline is not None
        shown: Any = next(one for result in results for one in result.maps)  # maps over pictures
        return {"tokens": load_part("multiattn.pipelines:token_attention")(self._pipeline, shown.picture)}
