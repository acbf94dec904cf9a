"""The items of each batch: a pure function of the seed and the epoch, for any number of processes."""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Key(NamedTuple):
    """An item of a training batch."""

    epoch: int
    item: int

    turn: int = 0
    """How often the epoch has had the item before."""

    batch: tuple[int, ...] = ()
    """The items of its batch, one of which takes its place where it cannot be read; empty for any item."""


_BALANCED = 5  # sets the order of balanced epochs apart from other draws with the same seed and epoch


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

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[list[Key]]:
        """This process's batches of an epoch, from batch `start` on."""
        order = self._order(epoch)
        width = self.batch_size * self.world
        for b in range(start, len(self)):
            mine = order[b * width : (b + 1) * width][self.rank :: self.world]
            yield [self._key(epoch, int(entry)) for entry in mine]

    def _order(self, epoch: int) -> np.ndarray:
        """The entries of an epoch in order."""
        return np.random.default_rng((self.seed, epoch)).permutation(self.size)

    def _key(self, epoch: int, entry: int) -> Key:
        return Key(epoch, entry)


class BalancedBatches(EpochBatches):
    """As `EpochBatches`, but with each class equally often, as far as the size of an epoch allows.

    An epoch has as many items as the data set. A class's items are drawn in a new order in each epoch, and again from
    the first on where there are fewer than its part: a key's `turn` counts that, so that the
    item is varied otherwise than the first time. Of a frequent class, each epoch has other items.
    """

    def __init__(self, labels: Sequence[int], *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        """Prepare the batches of a data set.

        Args:
            labels: The class of each item.
            batch_size: As for `EpochBatches`.
            seed: As for `EpochBatches`.
            rank: As for `EpochBatches`.
            world: As for `EpochBatches`.
        """
        super().__init__(len(labels), batch_size=batch_size, seed=seed, rank=rank, world=world)
        known = np.asarray(labels, np.int64)
        self._classes = [np.flatnonzero(known == label) for label in np.unique(known)]

    def _order(self, epoch: int) -> np.ndarray:
        generator = np.random.default_rng((self.seed, epoch, _BALANCED))
        parts = []
        # the remainder of the division goes to other classes in each epoch
        first = int(generator.integers(len(self._classes)))
        for number, items in enumerate(self._classes):
            place = (number - first) % len(self._classes)
            count = self.size // len(self._classes) + (place < self.size % len(self._classes))
            turns = np.arange(count) // len(items)
            parts.append(turns * self.size + np.resize(generator.permutation(items), count))
        return generator.permutation(np.concatenate(parts))

    def _key(self, epoch: int, entry: int) -> Key:
        turn, index = divmod(entry, self.size)
        return Key(epoch, index, turn)


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

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[list[Key]]:
        """This process's batches of an epoch, from batch `start` on."""
        orders: dict[int, np.ndarray] = {}
        for number in self._order(epoch)[start:]:
            items, bucket, first, end = self._slices[int(number)]
            if bucket not in orders:
                orders[bucket] = np.random.default_rng((self.seed, epoch, bucket)).permutation(items)
            yield [Key(epoch, int(index)) for index in orders[bucket][first:end][self.rank :: self.world]]

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(len(self._slices))


class ShardBatches:
    """Batches of items that lie in shards, which are read one after the other, in a drawn order.

    In each epoch the shards are put into a drawn order, and their items, one after the other, are divided into as many
    equal parts as there are processes: so each process reads shards of its own, apart from those at the ends of its
    part, and all have as many batches; what fills no batch is left out of the epoch. Within its part a process moves
    each item back by less than `buffer` places. All of this follows from the seed, the epoch and the sizes of the
    shards alone: nothing is read for it, and a training that is resumed at batch b sees the same batches.
    """

    def __init__(
        self, sizes: Sequence[int], *, buffer: int, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        """Prepare the batches of a data set.

        Args:
            sizes: Items of each shard, which have the indices in this order.
            buffer: How far an item may be moved.
            batch_size: Items of a batch, in each process; not more than there are for each process.
            seed: Of all draws.
            rank: Index of this process.
            world: Number of processes.
        """
        self._sizes, self._starts = np.asarray(sizes, np.int64), np.cumsum([0, *sizes])
        self.part = int(self._starts[-1]) // world
        self.buffer, self.batch_size, self.seed, self.rank, self.world = buffer, batch_size, seed, rank, world

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.part // self.batch_size

    def plan(self) -> dict[str, int]:
        """What decides about the batches: a training resumes within an epoch where it is equal."""
        return {
            "batches": len(self),
            "items": int(self._starts[-1]),
            "shards": zlib.crc32(self._sizes.tobytes()),
            "items in a batch of a process": self.batch_size,
            "processes": self.world,
            "buffer": self.buffer,
            "seed": self.seed,
        }

    def wanted(self, epoch: int, number: int) -> int:
        """The number of items that this process's batch `number` of an epoch must have: the same in all batches."""
        return self.batch_size

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[list[Key]]:
        """This process's batches of an epoch, from batch `start` on; a key has the items of its batch, too.

        One of them takes the place of an item that cannot be read: it is in a shard that is open.
        """
        left: np.ndarray = np.zeros(0, np.int64)
        number = 0
        for some in self._moved(epoch):
            left = np.concatenate([left, some])
            while len(left) >= self.batch_size and number < len(self):
                if number >= start:
                    batch = tuple(left[: self.batch_size].tolist())
                    yield [Key(epoch, index, batch=batch) for index in batch]
                left, number = left[self.batch_size :], number + 1

    def _moved(self, epoch: int) -> Iterator[np.ndarray]:
        """The items of this process's part, moved."""
        rng = np.random.default_rng((self.seed, epoch, self.rank))
        waiting, places = np.zeros(0, np.int64), np.zeros(0)
        position = 0
        for items in self._in_order(epoch):
            drawn = position + np.arange(len(items)) + rng.uniform(0, self.buffer, len(items))
            waiting, places = np.concatenate([waiting, items]), np.concatenate([places, drawn])
            position += len(items)
            order = np.argsort(places)
            done = int(np.searchsorted(places[order], position))  # no later item comes before these
            yield waiting[order[:done]]
            waiting, places = waiting[order[done:]], places[order[done:]]
        yield waiting

    def _in_order(self, epoch: int) -> Iterator[np.ndarray]:
        """The items of this process's part, shard by shard."""
        first, last, before = self.rank * self.part, (self.rank + 1) * self.part, 0
        for shard in np.random.default_rng((self.seed, epoch)).permutation(len(self._sizes)):
            size = int(self._sizes[shard])
            begin, end = max(first - before, 0), min(last - before, size)
            if begin < end:
                yield int(self._starts[shard]) + np.arange(begin, end)
            before += size


Batches = EpochBatches | BucketBatches | ShardBatches
"""Batches of keys, equally many in each epoch."""

_SHORTEST = 0.1
"""Seconds; all shorter items are in the first bucket."""

_SPREAD = 1.2
"""Longest item of a bucket / shortest."""


def share_of(size: int, *, rank: int = 0, world: int = 1, in_a_row: bool = False) -> range:
    """This process's items of an evaluation split: each item is in exactly one process, so that metrics are exact.

    Args:
        size: Items of the split.
        rank: Index of this process.
        world: Number of processes.
        in_a_row: Whether they follow each other, as those of a shard do; else they are spread over the split.
    """
    return range(rank * size // world, (rank + 1) * size // world) if in_a_row else range(rank, size, world)
