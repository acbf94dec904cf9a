"""What became of an input, in five columns, and the table of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

COLUMNS = ("result", "clear error", "foreign exception", "crash", "too slow", "too large")
"""The first two are right; the others are faults of the program."""

SECONDS = 20.0
"""An input that takes longer, in the time of its process, is too slow."""

MEGABYTES = 1024.0
"""An input that takes more memory than this, over that of the process before it, is too large."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    column: str
    detail: str = ""
    """The message, or the end of the traceback."""
    seconds: float = 0.0
    megabytes: float = 0.0
    """Peak of memory over that before."""
    noise: str = ""
    """What was written to standard error by a library."""

    @property
    def is_right(self) -> bool:
        """Whether the program did as it should."""
        return self.column in COLUMNS[:2]


def table(counts: Mapping[str, Counter[str]]) -> str:
    """A table in Markdown with a row for each kind, and their sum."""
    rows = [("kind", "inputs", *COLUMNS)]
    total = sum(counts.values(), Counter())
    for kind, found in [*counts.items(), ("all", total)]:
        rows.append((kind, f"{found.total():,}", *(f"{found[column]:,}" for column in COLUMNS)))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- " + "| ---: " * (len(COLUMNS) + 1) + "|", *lines[1:]])
