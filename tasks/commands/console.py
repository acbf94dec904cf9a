"""What a command writes where: results to standard output or a file, everything else to standard error."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from multiattn.errors import MultiattnError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def say(message: str) -> None:
    """A message for the person at the terminal, in the program's name."""
    print(f"multiattn: {message}", file=sys.stderr, flush=True)


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
        out: The file to write the results to; standard output where None. An existing file is replaced.

    Raises:
        MultiattnError: The file cannot be written.
    """

    def __init__(self, total: int, *, out: str | None = None) -> None:
        self._file: TextIO | None = None
        if out is not None:
            try:
                self._file = Path(out).open("w", encoding="utf-8", errors="surrogateescape")
            except OSError as error:
                raise MultiattnError(f"--out {out}: cannot be written: {error.strerror}") from None
        self._bar: Progress | None = None
        self._step: TaskID | None = None
        self._shares_terminal = False
        if sys.stderr.isatty():
            self._start_bar(total)

    def _start_bar(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(
            *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._step = self._bar.add_task("", total=total)
        self._bar.start()
        self._shares_terminal = self._file is None and sys.stdout.isatty() and os.path.sameopenfile(1, 2)

    def result(self, text: str) -> None:
        """Writes one result, at once: what is finished stays when the rest is interrupted."""
        if self._file is not None:
            self._file.write(text + "\n")
            self._file.flush()
        elif self._shares_terminal:
            self._print_above_bar(text)
        else:
            print(text, flush=True)

    def message(self, text: str) -> None:
        """Writes a message to standard error."""
        if self._bar is not None:
            self._print_above_bar(f"multiattn: {text}")
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
            self._file.close()
