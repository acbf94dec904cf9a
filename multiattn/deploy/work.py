"""What a request for a model is, what comes of it, and what an engine does: the contract of HTTP layer and engines.

Pure Python: importing this imports neither torch nor a web framework.
"""

import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import ModelError, MultiattnError

EMBED = "embed"
TRANSLATE = "translate"
"""Tasks that no model is for: other models do them, too."""


@dataclass(frozen=True)
class Work:
    """One request for one model."""

    model: str
    """The name under which the model is served."""

    task: str
    """classify, caption, answer, match, embed, transcribe or translate."""

    input: Any
    """The bytes of a picture or recording, already read or fetched; or a text."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the pipeline, checked by the schema of the HTTP layer, with hashable values: requests with equal ones
    may be computed in one batch."""

    questions: tuple[str, ...] = ()
    """The questions about a picture, of the task answer."""

    maps: str | None = None
    """Which files of maps are wanted: "png", "json" or "html"."""

    check: bool = False
    """Whether maps are checked."""

    deadline: float | None = None
    """When the answer is no longer waited for, by `time.monotonic()`."""

    cancelled: threading.Event = field(default_factory=threading.Event, compare=False)
    """Set when the caller has gone: work stops at its next step."""


@dataclass(frozen=True)
class Reply:
    """What came of a request, or of a part of it."""

    body: dict[str, Any]
    """What `--format json` prints of the result."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files of maps by name. They are made in a thread, never in the event loop."""


@dataclass(frozen=True)
class Served:
    """A model that is served."""

    name: str
    """The name that requests give."""

    task: str
    """The task that it is for."""

    model: str
    """What was loaded, or will be: as `multiattn.load` takes it."""

    is_loaded: bool = False
    """Whether it is in memory now."""

    default: bool = False
    """Whether requests of its task that name no model are for it."""

    created: int = 0
    """When it was first served, in seconds since 1970."""


@dataclass(frozen=True)
class ModelStatistics:
    """What one model has done since the start."""

    queue: int
    """Requests that wait."""

    running: int
    """Requests that are computed now."""

    batches: int
    """Batches computed."""

    items: int
    """Requests computed in them."""

    tokens: int
    """Tokens, or words where the result tells no tokens, that were written."""

    seconds: float
    """Seconds of computing."""

    memory: int
    """Bytes of the weights in memory; 0 where the model is not loaded."""


class BusyError(MultiattnError):
    """The queue of a model is full.

    Args:
        retry_after: Seconds after which to try again.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the queue of this model is full: try again in {retry_after:.0f} s")
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type["BusyError"], tuple[float]]:
        return type(self), (self.retry_after,)  # as an exception is pickled, it would be made of its message


class UnknownModelError(MultiattnError):
    """No model of this name is served, or it is for another task."""


class DrainingError(MultiattnError):
    """The server ends, or is not ready yet."""


class UnavailableError(ModelError):
    """A model that is served cannot be loaded."""


class TooLateError(MultiattnError):
    """A request took longer than is allowed."""


class CancelledWork(MultiattnError):  # noqa: N818
    """The caller has gone before the work was done."""


class Engine(Protocol):
    """What computes. One object serves all requests of a server; its methods are called in one event loop."""

    async def start(self) -> None:
        """Get ready: start threads, load what is to be loaded at the start.

        Raises:
            ModelError: A model cannot be loaded.
        """

    async def close(self, patience: float) -> None:
        """Take no more work, finish what was accepted for at most `patience` seconds, and end."""

    def served(self) -> Sequence[Served]:
        """Return the models, in the order in which they were named."""

    def find(self, name: str | None, task: str) -> Served:
        """Return the model that a request is for.

        Args:
            name: What the request names; None, or a speech model that is not known here (`whisper-1`), means the
                default of the task.
            task: As of `Work`.

        Raises:
            UnknownModelError: There is none.
        """

    async def run(self, work: Work) -> Reply:
        """Do one piece of work.

        Raises:
            BusyError: The queue is full.
            DrainingError: The engine ends.
            TooLateError: `deadline` has passed.
            CancelledWork: `cancelled` was set.
            UnavailableError: The model cannot be loaded.
            InputError: The input cannot be used; `WrongKindError` and `TooLargeError` say why.
            ModelError: An option does not fit the model.
        """

    def stream(self, work: Work) -> AsyncIterator[Reply]:
        """Yield the reply segment by segment for a recording to transcribe, else the whole; errors as of `run`."""

    def statistics(self) -> Mapping[str, ModelStatistics]:
        """Return what each model has done, by name."""
