"""Signals that end a run, as an exception of its own. It works before torch and Lightning are imported."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C; what a scheduler sends before it kills a process; what SLURM sends before a job's time is over."""


class Stopped(BaseException):
    """A signal asked the run to end.

    It is not an `Exception`, so that no handler of failures catches it, and not a `KeyboardInterrupt`, which Lightning
    turns into an exit with status 1.
    """

    def __init__(self, by: int = signal.SIGINT, state: Path | None = None) -> None:
        super().__init__()
        self.by = by
        """The number of the signal."""

        self.state = state
        """The state to resume from; None where there is none."""

    @property
    def status(self) -> int:
        """The exit status, as shells state it: 128 and the signal's number. So 130 for Ctrl-C, and never 0.

        A scheduler that starts a job again unless it ended with 0 (Kubernetes, a spot machine's) starts this one again.
        """
        return 128 + self.by


@contextmanager
def stopping_at_signals() -> Iterator[None]:
    """Raise `Stopped` at Ctrl-C, SIGTERM and SIGUSR1 inside the `with` block."""
    if threading.current_thread() is not threading.main_thread():  # others may not set handlers
        yield
        return
    before = {number: signal.signal(number, _stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals_to_parent() -> None:
    """Let a worker process go on at the signals that end a run, which go to all processes of a terminal or of a job.

    Only a SIGTERM of the parent itself ends it: so does `multiprocessing` end the workers that are left at an exit, and
    waits for them without end. Where the sender cannot be told (macOS, Windows), any SIGTERM ends it.
    """
    for number in SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_at_parents_signal, args=(os.getppid(),), daemon=True).start()


def _end_at_parents_signal(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)
