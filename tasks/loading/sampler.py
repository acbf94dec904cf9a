"""The items of each batch: a pure function of the seed and the epoch, for any number of processes."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np


class EpochBatches:
    """Batches of `(epoch, index)` keys, one epoch at a time.

    Global batch b of an epoch is a slice of that epoch's permutation, and rank r of W takes every W-th key of it. So W
    processes with `batch_size` see together what one process with W times the batch size sees, and a training that is
    resumed at batch b sees the same batches. The keys hold the epoch because an item's augmentation depends on it, also
    in a worker process that was started in an earlier epoch.
    """

    def __init__(self, size: int, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        """Prepare the batches of a data set.

        Args:
            size: Number of items in the data set; a remainder that fills no batch is left out of the epoch.
            batch_size: Items of a batch, in each process.
            seed: Of the permutations.
            rank: Index of this process.
            world: Number of processes.
        """
        if size < batch_size * world:
            raise ValueError(
                f"`batch_size` times the number of processes ({batch_size} x {world}) must be at most the number of "
                f"items, but there are {size}."
            )
        self.size, self.batch_size, self.seed, self.rank, self.world = size, batch_size, seed, rank, world

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.size // (self.batch_size * self.world)

    def plan(self) -> dict[str, int]:
        """What decides about the batches of all processes: a training resumes within an epoch where it is equal."""
        width = self.batch_size * self.world
        return {"batches": len(self), "items": self.size, "items in a batch": width, "seed": self.seed}

    def wanted(self, epoch: int, number: int) -> int:
        """The number of items that this process's batch `number` of an epoch must have: the same in all batches."""
        return self.batch_size

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[list[tuple[int, int]]]:
        """This process's batches of an epoch, from batch `start` on."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.size)
        width = self.batch_size * self.world
        for b in range(start, len(self)):
            mine = order[b * width : (b + 1) * width][self.rank :: self.world]
            yield [(epoch, int(index)) for index in mine]


class BucketBatches:
    """Batches of items of about the same length, so that there is little padding; otherwise as `EpochBatches`.

    The items are sorted into buckets, whose longest item is at most 1.2 times as long as the shortest. A batch is a
    slice of the bucket's permutation in that epoch, as large as fits; the last batch of a bucket is smaller. The order
    of the batches is drawn in each epoch.
    """

    def __init__(
        self,
        seconds: Sequence[float],
        *,
        batch_seconds: float,
        most: int | None = None,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Prepare the batches of a data set.

        Args:
            seconds: Length of each item.
            batch_seconds: The largest total length of a batch, in each process, with all items padded to the longest
                one of the bucket; a batch has at least one item.
            most: The largest number of items of a batch, in each process; None for any.
            seed: Of the permutations.
            rank: Index of this process.
            world: Number of processes.
        """
        self.seed, self.rank, self.world = seed, rank, world
        lengths = np.maximum(np.asarray(seconds, np.float64), _SHORTEST)
        bucket = np.floor(np.log(lengths / _SHORTEST) / np.log(_SPREAD)).astype(np.int64)
        self._slices: list[tuple[np.ndarray, int, int, int]] = []  # items of the bucket, its number, start, end
        for number in np.unique(bucket):
            items = np.flatnonzero(bucket == number)
            fitting = max(1, int(batch_seconds / lengths[items].max()))
            width = (fitting if most is None else min(most, fitting)) * world
            for start in range(0, len(items), width):
                # all processes get equally many; the remainder at the end of a bucket is left out of the epoch
                count = min(width, len(items) - start) // world * world
                if count:
                    self._slices.append((items, int(number), start, start + count))
        if not self._slices:
            raise ValueError(f"there must be at least as many items of about the same length as processes ({world}).")

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._slices)

    def plan(self) -> dict[str, int]:
        """What decides about the batches of all processes: a training resumes within an epoch where it is equal."""
        ends = np.array([(len(items), bucket, start, end) for items, bucket, start, end in self._slices])
        items = int(sum(end - start for _, _, start, end in self._slices))
        return {"batches": len(self), "items": items, "slices": zlib.crc32(ends.tobytes()), "seed": self.seed}

    def wanted(self, epoch: int, number: int) -> int:
        """This process's share of the batch's slice."""
        _, _, start, end = self._slices[int(self._order(epoch)[number])]
        return (end - start) // self.world

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[list[tuple[int, int]]]:
        """This process's batches of an epoch, from batch `start` on."""
        orders: dict[int, np.ndarray] = {}
        for number in self._order(epoch)[start:]:
            items, bucket, first, end = self._slices[int(number)]
            if bucket not in orders:
                orders[bucket] = np.random.default_rng((self.seed, epoch, bucket)).permutation(items)
            yield [(epoch, int(index)) for index in orders[bucket][first:end][self.rank :: self.world]]

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(len(self._slices))


Batches = EpochBatches | BucketBatches
"""Batches of `(epoch, index)` keys, equally many in each epoch."""

_SHORTEST = 0.1
"""Seconds; all shorter items are in the first bucket."""

_SPREAD = 1.2
"""Longest item of a bucket / shortest."""


def share_of(size: int, *, rank: int = 0, world: int = 1) -> range:
    """This process's items of an evaluation split: each item is in exactly one process, so that metrics are exact."""
    return range(rank, size, world)
