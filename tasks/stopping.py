"""Ctrl-C as an exception of its own. Needs neither torch nor Lightning: it works before they are imported."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class Stopped(BaseException):
    """The user pressed Ctrl-C.

    It is not an `Exception`, so that no handler of failures catches it, and not a `KeyboardInterrupt`, which Lightning
    turns into an exit with status 1.
    """

    def __init__(self, state: Path | None = None) -> None:
        super().__init__()
        self.state = state
        """The state to resume from; None where there is none."""


@contextmanager
def stopping_at_interrupt() -> Iterator[None]:
    """Raise `Stopped` at Ctrl-C inside the `with` block."""
    if threading.current_thread() is not threading.main_thread():  # others may not set handlers
        yield
        return
    before = signal.signal(signal.SIGINT, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped
