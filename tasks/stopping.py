"""Ctrl-C as an exception of its own. Needs neither torch nor Lightning: it is in force before they are imported."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class Stopped(BaseException):
    """The user pressed Ctrl-C. No `Exception`: nothing on the way out may take it for a failure.

    And no `KeyboardInterrupt`, which Lightning turns into an exit with status 1.
    """

    def __init__(self, state: Path | None = None) -> None:
        super().__init__()
        self.state = state
        """The state to go on from, where there is one."""


@contextmanager
def stopping_at_interrupt() -> Iterator[None]:
    """Raise `Stopped` at Ctrl-C in here."""
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers, and gets signals
        yield
        return
    before = signal.signal(signal.SIGINT, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped
