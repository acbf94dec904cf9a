"""Parts of a source that are sources themselves: one channel, or a stretch of time.

Two views of a source are read one after the other: each `seek` moves the source for all of them.
"""

from collections.abc import Callable

import numpy as np

from .audio_files import Source
from .damage import Damage


class _View:
    """A source that reads from another one, which its owner closes."""

    def __init__(self, source: Source, owner: object) -> None:
        self.name, self.rate, self.seconds = source.name, source.rate, source.seconds
        self._source = source
        self._owner = owner  # closes the source when it is collected

    @property
    def damage(self) -> Damage | None:
        """What is missing of the source."""
        return self._source.damage

    def close(self) -> None:
        """Leave the source open."""


class Channel(_View):
    """One channel of a source.

    Args:
        source: The source.
        index: The channel, from 0.
        owner: What closes the source, and must live as long as this.
    """

    def __init__(self, source: Source, index: int, owner: object) -> None:
        super().__init__(source, owner)
        self._index = index

    def seek(self, position: int) -> None:
        """Go to a sample."""
        self._source.seek(position)

    def read(self, count: int) -> np.ndarray:
        """Read the next samples, `[samples, 1]`."""
        return self._source.read(count)[:, self._index, None]


class Part(_View):
    """The samples of a source from `first` to before `last`, or to the end where that is None; see `Channel`."""

    def __init__(self, source: Source, first: int, last: int | None, owner: object) -> None:
        super().__init__(source, owner)
        self._first, self._last, self._position = first, last, 0
        self.seconds = None

    def seek(self, position: int) -> None:
        """Go to a sample, counted from the start of the part."""
        self._position = position
        self._source.seek(self._first + position)

    def read(self, count: int) -> np.ndarray:
        """Read the next samples of the part."""
        left = count if self._last is None else min(count, self._last - self._first - self._position)
        samples = self._source.read(max(0, left))
        self._position += len(samples)
        return samples


class Watched(_View):
    """A source that says, before each read, up to which second it has been read, and is closed with this.

    Args:
        source: The source.
        watch: Called with the second where the next samples begin, in the thread that reads. What it raises ends the
            reading: a recording is so given up between two windows of a model, whatever its header states.
    """

    def __init__(self, source: Source, watch: Callable[[float], None]) -> None:
        super().__init__(source, None)
        self._watch, self._position = watch, 0

    def seek(self, position: int) -> None:
        """Go to a sample."""
        self._position = position
        self._source.seek(position)

    def read(self, count: int) -> np.ndarray:
        """Read the next samples."""
        self._watch(self._position / max(1, self.rate))
        samples = self._source.read(count)
        self._position += len(samples)
        return samples

    def close(self) -> None:
        """Close the source."""
        self._source.close()
