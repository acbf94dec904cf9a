"""Random seeds that depend only on the position in a training, so that an interrupted one resumes exactly."""

import random

import numpy as np
import torch


def seed_for(*position: int) -> int:
    """A seed of 64 bits for a position, e.g. (seed, epoch, item): different positions give unrelated seeds."""
    return int(np.random.SeedSequence(position).generate_state(1, np.uint64)[0])


def seed_all(*position: int) -> None:
    """Seed the generators of torch (all devices), numpy and Python for a position."""
    torch.manual_seed(seed_item(*position))


def seed_item(*position: int) -> int:
    """As `seed_all`, but only the CPU generator of torch: cheap enough for every item. Returns the seed."""
    seed = seed_for(*position)
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    random.seed(seed)
    return seed
