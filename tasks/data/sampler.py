"""Which pictures make up which batch: a pure function of the seed and the epoch, for any number of processes."""

from collections.abc import Iterator

import numpy as np


class EpochBatches:
    """Batches of `(epoch, index)` keys, one epoch at a time.

    Global batch b of an epoch is a slice of that epoch's permutation, and rank r of W takes every W-th key of it. So W
    processes with `batch_size` see together what one process with W times the batch sees, and a training that starts
    again at batch b sees what it would have seen. The epoch travels with the index, for each picture's augmentation
    depends on both, also in a worker process that was started in an earlier epoch.
    """

    def __init__(self, size: int, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        """Prepare the batches of a data set.

        Args:
            size: Number of items in the data set; a remainder that fills no batch is left out in that epoch.
            batch_size: Items a batch, in each process.
            seed: Of the permutations.
            rank: Number of this process.
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

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[list[tuple[int, int]]]:
        """This process's batches of an epoch, from batch `start` on."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.size)
        width = self.batch_size * self.world
        for b in range(start, len(self)):
            mine = order[b * width : (b + 1) * width][self.rank :: self.world]
            yield [(epoch, int(index)) for index in mine]


def share_of(size: int, *, rank: int = 0, world: int = 1) -> range:
    """The items of an evaluation split that fall to a process: each exactly once, so that metrics add up exactly."""
    return range(rank, size, world)
