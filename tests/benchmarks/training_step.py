"""A training step: peak memory and time with checkpointed activations, and time with torch.compile."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from multiattn.models import PRESETS, ViT

from .timing import interleaved, show

_BATCH = 32

_FREED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
"""Lets glibc give memory back when it is freed; by default it keeps up to a half of the peak in fragments."""


def checkpointing(rounds: int) -> None:
    """ViT-B/16, batch 32, AdamW in fp32: the peak of a process that takes two steps, and the time of the second."""
    del rounds
    for title, environment in (("freed memory is given back", _FREED_AT_ONCE), ("glibc's defaults", {})):
        print(f"\ntraining step, vit_base_patch16_224, batch {_BATCH}, {title}")
        peaks, seconds = [], []
        for name in ("plain", "checkpointed"):
            command = [sys.executable, "-m", __name__, name]
            done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True)
            peak, took = map(float, done.stdout.split())
            peaks.append(peak)
            seconds.append(took)
            shares = f"{peak / peaks[0]:5.2f} of the memory, {took / seconds[0]:5.2f} of the time"
            print(f"  {name:14} {peak:6.0f} MiB   {took:5.1f} s of processor time   {shares}", flush=True)


def compiling(rounds: int) -> None:
    """ViT-Ti/16 at 224 px, batch 8: a step of the model as it is, and compiled."""
    models = {"plain": ViT(PRESETS["tiny"]).train(), "torch.compile": ViT(PRESETS["tiny"]).train()}
    models["torch.compile"].compile()
    steps = {name: _step(model, batch=8) for name, model in models.items()}
    show("training step, vit_tiny_patch16_224, batch 8", interleaved(steps, rounds=max(5, rounds // 2)))


def _step(model: ViT, *, batch: int, checkpoint_activations: bool = False) -> Callable[[], None]:
    """A step of AdamW on random pictures."""
    images = torch.randn(batch, 3, *model.config.image_size)
    labels = torch.randint(0, model.config.num_classes, (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images, checkpoint_activations=checkpoint_activations), labels).backward()
        optimizer.step()

    return step


def _measure(name: str) -> None:
    """Print this process's peak in MiB, and the processor time of its second step, in which AdamW has its averages."""
    torch.set_num_threads(1)
    step = _step(ViT(PRESETS["base"]).train(), batch=_BATCH, checkpoint_activations=name == "checkpointed")
    step()
    start = time.process_time()
    step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time() - start)


if __name__ == "__main__":
    _measure(sys.argv[1])
