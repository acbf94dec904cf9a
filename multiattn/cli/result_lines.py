"""A result as a record, and as lines to read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .map_files import Written
from .output import printable
from .records import Record

if TYPE_CHECKING:
    from ..pipelines import Result


def record_of(result: "Result", written: Written | None) -> Record:
    """Return a result as a record, with the files of its maps."""
    return result.to_dict() | ({"maps": written.by_method} if written and written.by_method else {})


def block(title: str, lines: Sequence[str], written: Written | None) -> str:
    """Return a result to read: a title, indented lines, and the path of the page with the maps."""
    maps = [f"  maps  {printable(written.page)}"] if written else []
    return "\n".join([printable(title), *(f"  {line}" for line in [*lines, *maps])])


def verdict_lines(result: "Result") -> list[str]:
    """Return the verdicts on a result's maps as lines to read; none where they were not checked."""
    lines = []
    for one in result.verdicts:
        lines += [f"check  {printable(line)}" for line in one.lines]
        lines += [f"  {printable(text)}: {printable(verdict.text)}" for text, verdict in one.words]
    return lines


def domain_line(result: "Result") -> list[str]:
    """Return the line that marks a result whose input is unlike those that the model was trained on, if it is one."""
    mark = result.out_of_domain
    return [] if mark is None else [f"out of domain: {printable(mark)}"]


def score_line(score: float, text: str) -> str:
    """Return a probability and what it belongs to, as a line to read."""
    return f"{score:6.1%}  {printable(text)}"
