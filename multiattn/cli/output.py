"""What a command writes where: results to standard output or a file, everything else to standard error."""

import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from ..errors import MultiattnError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


_JOINERS = "\u200c\u200d"  # without them, names in Persian or Hindi, and some emoji, are others


def printable(text: object) -> str:
    r"""`text` with what could break a line or command a terminal written as in Python source, such as `\n`, `\x1b`.

    Bytes of a file name that are no valid text (Python holds them as U+DC80 to U+DCFF) are kept: they come out as they
    went in.
    """
    return "".join(
        character.encode("unicode_escape").decode() if _is_unsafe(character) else character for character in str(text)
    )


def _is_unsafe(character: str) -> bool:
    if character.isprintable() or character in _JOINERS or "\udc80" <= character <= "\udcff":
        return False
    # control, format (it can turn the direction of writing), half a character, and the two separators of lines; other
    # spaces, and characters younger than Python's table, harm nobody
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def say(message: str) -> None:
    """A message of one line for the person at the terminal, in the program's name."""
    print(f"multiattn: {printable(message)}", file=sys.stderr, flush=True)


def say_lines(message: str) -> None:
    """A message that may have several lines, otherwise as `say`."""
    lines = "\n".join(printable(line) for line in message.split("\n"))
    print(f"multiattn: {lines}", file=sys.stderr, flush=True)


def make_folder(path: str | Path, *, subject: str) -> Path:
    """Makes a folder, and those above it, where they are missing.

    Args:
        path: Where.
        subject: What the user calls it, such as `--maps out`; an error begins with it.

    Raises:
        MultiattnError: A file is in the way, or the system refuses.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        in_the_way = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        which = "" if in_the_way == folder else f"{in_the_way} "
        kind = "a file" if in_the_way.exists() else "a link that leads nowhere"
        raise MultiattnError(f"{subject} must be a folder, but {which}is {kind} instead") from None
    except OSError as error:
        raise MultiattnError(f"{subject} cannot be made: {error.strerror}") from None
    return folder


@contextmanager
def spinner(message: str) -> Iterator[None]:
    """Shows that something is going on while it takes its time; nothing where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(message):
        yield


class Report:
    """Writes results as they are ready, messages, and on a terminal a progress bar, without mixing them up.

    Args:
        total: How many steps the bar has.
        out: The file to write the results to, in a folder that is made where it is missing; standard output where
            None. An existing file is replaced.
        doing: What the bar says is going on.

    Raises:
        MultiattnError: The file cannot be written.
    """

    def __init__(self, total: int, *, out: str | None = None, doing: str = "classifying") -> None:
        self._file: TextIO | None = None
        self._out = out
        if out is not None:
            make_folder(Path(out).parent, subject=f"the parent of --out {out}")
            try:
                self._file = Path(out).open("w", encoding="utf-8", errors="surrogateescape")
            except OSError as error:
                raise self._refused(error) from None
        self._bar: Progress | None = None
        self._step: TaskID | None = None
        self._shares_terminal = False
        if sys.stderr.isatty():
            self._start_bar(total, doing)

    def _start_bar(self, total: int, doing: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(
            *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._step = self._bar.add_task("", total=total)
        self._bar.start()
        self._shares_terminal = self._file is None and sys.stdout.isatty() and os.path.sameopenfile(1, 2)

    def result(self, text: str) -> None:
        """Writes one result, at once: what is finished stays when the rest is interrupted."""
        if self._file is not None:
            try:
                self._file.write(text + "\n")
                self._file.flush()
            except OSError as error:
                raise self._refused(error) from None
        elif self._shares_terminal:
            self._print_above_bar(text)
        else:
            print(text, flush=True)

    def _refused(self, error: OSError) -> MultiattnError:
        return MultiattnError(f"--out {self._out}: cannot be written: {error.strerror}")

    def message(self, text: str) -> None:
        """Writes a message of one line to standard error."""
        if self._bar is not None:
            self._print_above_bar(f"multiattn: {printable(text)}")
        else:
            say(text)

    def advance(self) -> None:
        """One step is done."""
        if self._bar is not None and self._step is not None:
            self._bar.advance(self._step)

    def _print_above_bar(self, text: str) -> None:
        # the bar's own console moves the bar out of the way; the text goes to the terminal as it is
        if self._bar is not None:
            self._bar.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._file is not None:
            with suppress(OSError):  # of what could not be written, `result` has told
                self._file.close()
