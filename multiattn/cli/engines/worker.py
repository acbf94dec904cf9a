"""What a worker does, in a process of its own: load the model once, and compute the inputs that it is given."""

import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..feed import Job
from ..outcome import Outcome

if TYPE_CHECKING:
    from ...pipelines.base import Pipeline


@dataclass(frozen=True)
class Place:
    """What a worker has of its machine.

    Args:
        number: Which of the workers there it is, from 0.
        threads: Threads to compute with; None for what torch takes by itself.
    """

    number: int = 0
    threads: int | None = None

    def take(self, device: str) -> str:
        """Compute with these threads from now on; return the device, which is one of the GPUs where there are several.

        Args:
            device: The device that was asked for: auto, cpu or cuda.
        """
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        count = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else 0
        return f"cuda:{self.number % count}" if count > 1 else device


class Computation(Protocol):
    """How a command computes its inputs, the part of a `Predictor` that a worker needs."""

    def load(self, place: Place | None = None) -> "Pipeline[Any]":
        """Load the model, and check the options against it."""

    def computed(self, pipeline: "Pipeline[Any]", jobs: Sequence[Job]) -> Iterator[list[Outcome]]:
        """Compute inputs; yield for each in order what came of each of its results, with maps only as files."""


class Worker:
    """A model that is loaded, and the options of a run.

    Args:
        computation: A pickled `Computation`.
        place: What the worker has of its machine.

    Raises:
        UsageError: Options and model do not go together.
        MultiattnError: The model cannot be loaded, or an option is of no use for it.
    """

    def __init__(self, computation: bytes, place: Place) -> None:
        self._computation: Computation = pickle.loads(computation)  # of the command that started this worker
        self._pipeline = self._computation.load(place)
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
