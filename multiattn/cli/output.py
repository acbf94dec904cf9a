"""The output of a command: results to standard output or a file, everything else to standard error."""

import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..errors import MultiattnError

if TYPE_CHECKING:
    from rich.progress import Progress


_JOINERS = "\u200c\u200d"  # names in Persian or Hindi, and some emoji, change without them


def printable(text: object) -> str:
    r"""Return `text` with characters that could break a line or control a terminal escaped, such as `\n`, `\x1b`.

    Bytes of a file name that are no valid text (Python holds them as U+DC80 to U+DCFF) are kept, so that they are
    written as they were read.
    """
    return "".join(
        character.encode("unicode_escape").decode() if _is_unsafe(character) else character for character in str(text)
    )


def _is_unsafe(character: str) -> bool:
    if character.isprintable() or character in _JOINERS or "\udc80" <= character <= "\udcff":
        return False
    # control, format (it can turn the direction of writing), half a character, and the two separators of lines; other
    # spaces, and characters newer than Python's table, are harmless
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def listed(names: Sequence[str], most: int) -> str:
    """Return the first `most` names, and dots where there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def say(message: str, *, lines: bool = False) -> None:
    """Write a message to standard error, in the program's name and on one line; with `lines`, it may have several."""
    parts = message.split("\n") if lines else [message]
    print("multiattn:", "\n".join(map(printable, parts)), file=sys.stderr, flush=True)


def make_folder(path: str | Path, *, subject: str) -> Path:
    """Make a folder, and those above it, where they are missing.

    Args:
        path: The folder.
        subject: The option that names it, such as `--maps out`; an error begins with it.

    Raises:
        MultiattnError: A file is in the way, or the system refuses.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        in_the_way = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        which = "" if in_the_way == folder else f"{in_the_way} "
        kind = "a file" if in_the_way.exists() else "a link that leads nowhere"
        raise MultiattnError(f"{subject} must be a folder, but {which}is {kind} instead") from None
    except OSError as error:
        raise MultiattnError(f"{subject} cannot be made: {error.strerror}") from None
    return folder


@contextmanager
def named_errors(subject: str) -> Iterator[None]:
    """Write files in the body; an error of the system becomes "`subject` cannot be written: ...".

    Raises:
        MultiattnError: A file cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        raise MultiattnError(f"{subject} cannot be written: {error.strerror}") from None


@contextmanager
def spinner(message: str, *, quiet: bool = False) -> Iterator[None]:
    """Show a message while the body runs; nothing where standard error is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(message):
        yield


class Report:
    """Writes results as they are ready, messages, and on a terminal a progress bar, without mixing them up.

    Args:
        total: The number of steps of the bar; None where it is not known yet.
        doing: What the bar says is going on.
        write: Takes the results, each with its line end; None for standard output.
        quiet: Whether to show no bar.
    """

    def __init__(
        self, total: int | None, *, doing: str, write: Callable[[str], None] | None = None, quiet: bool = False
    ) -> None:
        self._write = write
        self._bar: Progress | None = None if quiet or not sys.stderr.isatty() else _start_bar(total, doing)
        self._shares_terminal = (
            self._bar is not None and write is None and sys.stdout.isatty() and os.path.sameopenfile(1, 2)
        )

    def result(self, text: str, *, end: str = "\n") -> None:
        """Write one result at once, so that what is finished stays when the rest is interrupted."""
        if self._write is not None:
            self._write(text + end)
        elif self._bar is not None and self._shares_terminal:
            _print_above(self._bar, text)
        else:
            print(text, end=end, flush=True)

    def message(self, text: str) -> None:
        """Write a message of one line to standard error."""
        if self._bar is not None:
            _print_above(self._bar, f"multiattn: {printable(text)}")
        else:
            say(text)

    def advance(self) -> None:
        """Move the bar by one step."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def set_total(self, total: int) -> None:
        """Set the number of steps, once it is known."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _start_bar(total: int | None, doing: str) -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False)
    bar.add_task("", total=total)
    bar.start()
    return bar


def _print_above(bar: "Progress", text: str) -> None:
    # the bar's own console moves the bar out of the way; the text goes to the terminal as it is
    bar.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
