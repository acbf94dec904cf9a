"""Counts what would wait for a GPU: values of tensors that the program reads."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_READS = ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "nonzero")
_ON_CPU_ONLY = {"_forbid_in", "_copied_in_place", "part"}
"""Functions that read values where the tensors lie on a CPU, and do without on a GPU."""


@contextmanager
def device_reads(part: str = "multiattn") -> Iterator[Counter[str]]:
    """Count the reads of tensors by functions of modules whose name begins with `part`, by the functions' names."""
    counts: Counter[str] = Counter()
    before = {name: getattr(torch.Tensor, name) for name in _READS}

    def counted(name: str):
        def read(self, *args, **options):
            frame = sys._getframe(1)
            where = frame.f_code.co_name
            if frame.f_globals.get("__name__", "").startswith(part) and where not in _ON_CPU_ONLY:
                counts[where] += 1
            return before[name](self, *args, **options)

        return read

    for name in _READS:
        setattr(torch.Tensor, name, counted(name))
    try:
        yield counts
    finally:
        for name, method in before.items():
            setattr(torch.Tensor, name, method)
