"""Peak memory of one forward pass, each way to look in a process of its own: allocators remember.

`python -m tests.benchmarks.memory WAY BATCH` prints the bytes by which the process's peak grew in the pass.
"""

import subprocess
import sys
from pathlib import Path

import torch

WAYS = ("multiattn", "multiattn, class row", "multiattn, all maps", "timm", "timm extract, all maps")
WAYS += ("transformers sdpa", "transformers eager, all maps")


def measure(way: str, batch: int) -> int:
    """Bytes from before the first pass to its peak."""
    from .vit import captures

    torch.set_num_threads(1)
    images = torch.randn(batch, 3, 224, 224)
    run = captures(images)[way]
    with torch.inference_mode():
        run()  # the first pass also loads kernels
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
        before = _status("VmRSS")
        run()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def memory(rounds: int) -> None:
    """Peak growth and the whole process's peak, for batch 8."""
    del rounds
    print("\npeak memory of a pass, vit_tiny_patch16_224, batch 8 (a process each)")
    for way in WAYS:
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.memory", way, "8"], capture_output=True, text=True, check=True
        )
        print(f"  {way:34} {done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    grown = measure(sys.argv[1], int(sys.argv[2]))
    print(f"{grown / 2**20:7.1f} MiB above rest, {_status('VmHWM') / 2**20:7.1f} MiB in all")
