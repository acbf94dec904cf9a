"""The memory that a map takes, before it is computed: of all layers' weights, the square of the number of patches.

A method that follows attention through all layers keeps the weights of every row in every layer, and several copies
while it combines them. On a ViT-Ti and a picture of 1024 patches (139 MB of weights) relevance took 3.4 times the
weights and rollout 1.5 times. `attention` keeps the rows of one token, and `gradient_x_input` none.
"""

import os
from contextlib import suppress
from pathlib import Path

import torch

from ..errors import ModelError

COPIES = {"attention": 0.0, "gradient_x_input": 0.0, "rollout": 1.6}
"""How many times the weights of all layers a method takes at its peak."""

MOST_COPIES = 3.5
"""Of a method that is not listed."""


def free_bytes(device: torch.device) -> int:
    """Return how much memory a device has free, in bytes; on a system that does not tell, its physical memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:")))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def pictures_at_once(weights: int, method: str, *, patches: int, instead: str, free: int) -> int:
    """Return how many pictures a method can explain together.

    Args:
        weights: The bytes of the weights of one picture in all layers.
        method: The method.
        patches: Of one picture, for the message.
        instead: Methods that take less, for the message.
        free: The memory that there is, in bytes.

    Raises:
        ModelError: There is not enough for one picture.
    """
    needed = int(weights * COPIES.get(method, MOST_COPIES))
    if needed > free:
        raise ModelError(
            f"`images` must have fewer patches for the method {method}, whose {patches} patches take "
            f"{needed / 1e9:.3g} GB in all layers, but there are {free / 1e9:.3g} GB: make the picture smaller, or ask "
            f"for {instead}"
        )
    return max(1, free // max(1, needed))
