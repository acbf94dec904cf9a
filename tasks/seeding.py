"""Randomness as a function of where in a training one is, so that one that was cut off goes on as if it was not."""

import random

import numpy as np
import torch


def seed_for(*place: int) -> int:
    """A seed of 64 bits that belongs to a place, e.g. (seed, epoch, item): different places give unrelated seeds."""
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])


def seed_all(*place: int) -> None:
    """Set the generators of torch (all devices), numpy and Python for a place."""
    seed = seed_for(*place)
    torch.manual_seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    random.seed(seed)


def seed_item(*place: int) -> None:
    """As `seed_all`, but of torch only the generator of the CPU: cheap enough for every picture."""
    seed = seed_for(*place)
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    random.seed(seed)
