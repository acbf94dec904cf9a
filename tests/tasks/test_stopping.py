import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection

import pytest

from multiattn.tasks.stopping import SIGNALS, leave_signals_to_parent


def _work(pipe: Connection) -> None:
    leave_signals_to_parent()
    pipe.send("ready")
    while pipe.recv():
        pipe.send("still there")


@pytest.mark.process
def test_a_worker_goes_on_at_signals_of_others_and_ends_at_its_parents() -> None:
    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.get_context("fork").Process(target=_work, args=(theirs,), daemon=True)
    worker.start()
    assert ours.recv() == "ready" and worker.pid is not None
    for number in SIGNALS:  # as a terminal or a scheduler sends them
        kill = f"import os; os.kill({worker.pid}, {int(number)})"
        subprocess.run([sys.executable, "-c", kill], check=True)
        time.sleep(0.1)
        ours.send(True)
        assert ours.recv() == "still there"
    os.kill(worker.pid, signal.SIGTERM)  # as `multiprocessing` does at exit
    worker.join(20)
    assert worker.exitcode == 0
