"""What a worker does, in a process of its own: load the model once, and compute the inputs that it is given."""

import os
import pickle
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..feed import Job
from ..outcome import Outcome

if TYPE_CHECKING:
    from ...pipelines.base import Pipeline


class Computation(Protocol):
    """How a command computes its inputs, the part of a `Predictor` that a worker needs."""

    def load(self, device: str | None = None) -> "Pipeline[Any]":
        """Load the model, on a device other than the one that was asked for where one is given; check the options."""

    def computed(self, pipeline: "Pipeline[Any]", jobs: Sequence[Job]) -> Iterator[list[Outcome]]:
        """Compute inputs; yield for each in order what came of each of its results, with maps only as files."""


class Worker:
    """A model that is loaded, and the options of a run.

    Args:
        computation: A pickled `Computation`.
        number: Which of the workers of this machine it is, from 0; they take turns with the GPUs.
        threads: Threads to compute with; None for what torch takes by itself.

    Raises:
        UsageError: Options and model do not go together.
        MultiattnError: The model cannot be loaded, or an option is of no use for it.
    """

    def __init__(self, computation: bytes, *, number: int = 0, threads: int | None = None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self._computation: Computation = pickle.loads(computation)  # of the command that started this worker
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        self._pipeline = self._computation.load(f"cuda:{number % count}" if count > 1 else None)
        list(self._computation.computed(self._pipeline, ()))  # checks the options

    def compute(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        """Compute inputs; return for each what came of each of its results."""
        return list(self._computation.computed(self._pipeline, jobs))


def num_threads() -> int:
    """Return the number of threads that this process would compute with: `OMP_NUM_THREADS`, or one a core."""
    stated = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if stated.isdecimal() and int(stated):
        return int(stated)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
