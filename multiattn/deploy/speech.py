"""Recordings: from a request to a reply, segment by segment. A stub."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import ModelError, MultiattnError
from .work import Reply, Work


def read(pipeline: Any, work: Work, *, max_seconds: float) -> Any:
    """Read the recording of a request, in a reader's thread; what is returned is given to `compute` and `stream`.

    Raises:
        InputError: It cannot be used; `TooLargeError` where it is longer than `max_seconds`.
    """
    raise ModelError("recordings are not served yet")


def compute(pipeline: Any, read: Sequence[Any], works: Sequence[Work]) -> list[Reply | MultiattnError]:
    """Transcribe recordings with equal options, in the model's thread; return a reply or an error for each."""
    raise ModelError("recordings are not served yet")


def stream(pipeline: Any, read: Any, work: Work) -> Iterator[Reply]:
    """Transcribe one recording, in the model's thread; yield each segment as soon as it is ready."""
    raise ModelError("recordings are not served yet")
