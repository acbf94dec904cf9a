"""The pages of `multiattn demo`: one for each input, and what the index and the command say of it.

This imports the pipelines, and so torch: `demo` imports it when the models are loaded.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..export import IndexEntry, RecordingEntry
from ..pipelines import Answer, CaptionResult, ClassifyResult, Failure, Result, Transcript, save_answers
from ..pipelines.index_entry import Shown, index_entry, said_by
from .map_files import own_folder
from .output import Report, printable
from .predict import Job

_LABEL_WIDTH = 20  # characters; a longer label moves what follows


class DemoInput(NamedTuple):
    """An input that a model is shown."""

    name: str
    page: str
    """The file name of its page."""

    job: Job
    mark: str = ""
    """What is put before the model's output where the model has not learned such inputs: "not outdoors: "."""


class DemoPages:
    """Writes a page for each input, and keeps what the index needs.

    Args:
        out: The folder, made where it is missing.
        width: The width of the longest name, in characters.
    """

    report: Report

    def __init__(self, out: str, *, width: int) -> None:
        self.out, self._lock = own_folder(out, subject=f"--out {out}")
        self.entries: list[IndexEntry | RecordingEntry] = []
        self.failures = 0
        self._width = width

    def add(self, item: DemoInput, results: Sequence[Result | Failure]) -> None:
        """Write the page of an input, a card for the index and a line for each result; name and count its failures."""
        good = [result for result in results if isinstance(result, Shown)]
        for message in dict.fromkeys(str(result.error) for result in results if result.error is not None):
            self.failures += 1
            self.report.message(message)
        where = ""
        if any(result.maps for result in good):  # a result without words has none
            where = printable(self.out / item.page)
            _save_page(good, item.mark, self.out / item.page)
        for number, result in enumerate(good, 1):
            question = result.question if isinstance(result, Answer) else ""
            mark = item.mark or ("" if result.out_of_domain is None else "out of domain: ")
            said = mark + printable(said_by(result))
            if result.maps:
                link = f"{item.page}#question={number}" if question else item.page
                self.entries.append(index_entry(result, name=item.name, page=link, said=said))
            measure = f"{result.duration:5.1f}s" if isinstance(result, Transcript) else f"{result.score:6.1%}"
            line = f"{printable(question)} {said}" if question else said
            if result.verdicts:
                line = f"{line:{_LABEL_WIDTH}}  map {result.verdicts[0].verdict.word}"
            self.report.result(f"{item.name:{self._width}}  {measure}  {line:{_LABEL_WIDTH}}  {where}")
        self.report.advance()


def _save_page(results: Sequence[Shown], mark: str, path: Path) -> None:
    """Write the page of an input, with its mark in the title."""
    answers = [result for result in results if isinstance(result, Answer)]
    if answers:
        save_answers(answers, path)
        return
    (result,) = results
    remark = f" ({mark.removesuffix(': ')})" if mark else ""
    if isinstance(result, ClassifyResult):
        result = replace(result, maps=tuple(replace(one, name=one.name + remark) for one in result.maps))
    elif isinstance(result, CaptionResult):
        result = replace(result, maps=tuple(replace(one, name=one.name + remark) for one in result.maps))
    result.save_html(path)
