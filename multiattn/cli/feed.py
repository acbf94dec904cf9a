"""The inputs on their way: found one by one, handed to the pipeline, and waited for in their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..inputs.walk import Unusable
from .inputs import Found
from .records import Key, key_of, with_exact_name

if TYPE_CHECKING:
    from ..pipelines import TextInput


class Job(NamedTuple):
    """One input, and what is asked about it by a task that takes questions."""

    file: "Found | TextInput"

    questions: Sequence[str] | None = None
    """The questions, each with a result; None for one result."""

    origins: Sequence[str] = ()
    """Where each question was read ("asked.jsonl, line 3"), for messages; empty where they are from the command."""

    @property
    def input(self) -> "Found | TextInput | tuple[Found | TextInput, list[str]]":
        """What a pipeline's `stream` is given: the file, or the file and its questions."""
        return self.file if self.questions is None else (self.file, list(self.questions))

    @property
    def num_results(self) -> int:
        """The number of its results."""
        return 1 if self.questions is None else len(self.questions)

    @property
    def keys(self) -> list[Key]:
        """What the records of its results are about."""
        asked = [{}] if self.questions is None else [{"question": question} for question in self.questions]
        return [key_of(with_exact_name({"file": str(self.file)} | one)) for one in asked]


@dataclass
class Waiting:
    """An input that was found, and whose results are not written yet."""

    what: Job | Unusable
    is_computed: bool
    """Whether the pipeline has it, and gives its results."""

    earlier: Sequence[int] = ()
    """The numbers of its records of an earlier run; where it is computed again, they are not used."""


class Feed:
    """Hands inputs to a pipeline, which takes them when it needs them.

    Args:
        found: The inputs.
    """

    def __init__(self, found: Iterable[Job | Unusable]) -> None:
        self._found = iter(found)
        self._ahead: deque[Job | Unusable] = deque()
        self.waiting: deque[Waiting] = deque()
        self.count = 0
        """The number of results and failures of all inputs found so far."""
        self.num_inputs = 0
        """The number of inputs found so far."""
        self.is_over = False
        """Whether all have been found."""

    def has_job(self) -> bool:
        """Look for the first file, and return whether there is one."""
        for one in self._found:
            self._ahead.append(one)
            if isinstance(one, Job):
                return True
        return False

    def inputs(
        self,
        take: Callable[[Sequence[Key]], list[int] | None] | None,
        group: int,
        passed: Callable[[], None] = lambda: None,
    ) -> Iterator[Job]:
        """Yield the inputs to compute, when they are asked for; `waiting` has these and the others.

        Args:
            take: Gives the numbers of the records that an earlier run has for some keys, or None; None without one.
            group: The number of inputs that are computed at once. Where one of a group has no record, all of it is
                computed again, so that every batch is what it is without an interruption: results depend on the others
                of their batch in their last digits.
            passed: Is called after each group that is not computed, which may be written: a million more may follow.
        """
        for batch in self._groups(group if take else 1):
            jobs = [one for one in batch if isinstance(one, Job)]
            known = [take(job.keys) if take else None for job in jobs]
            is_known = all(numbers is not None for numbers in known)
            numbers = iter(known)
            for one in batch:
                self.num_inputs += 1
                self.count += one.num_results if isinstance(one, Job) else 1
                earlier = next(numbers) if isinstance(one, Job) else None
                self.waiting.append(Waiting(one, isinstance(one, Job) and not is_known, earlier or ()))
            if is_known:
                passed()
            else:
                yield from jobs
        self.is_over = True

    def _groups(self, size: int) -> Iterator[list[Job | Unusable]]:
        group: list[Job | Unusable] = []
        count = 0
        for one in self._all():
            group.append(one)
            count += isinstance(one, Job)
            if count == size or size == 1:
                yield group
                group, count = [], 0
        if group:
            yield group

    def _all(self) -> Iterator[Job | Unusable]:
        while self._ahead:
            yield self._ahead.popleft()
        yield from self._found
