"""Peak memory of one forward pass for each way to look, counted by torch's own allocator: exact, and repeatable."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from .vit import captures


def peak_bytes(run: Callable[[], object]) -> int:
    """The most that a call holds at once beyond what was held before it, its result included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        result = run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(path))
        events = [e for e in json.loads(path.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    del result
    events.sort(key=lambda event: event["ts"])
    held, peak = 0, 0
    for event in events:
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


def memory(rounds: int) -> None:
    """ViT-Ti/16, batch 8: the peak above the weights and the input, and against our plain pass with its weights."""
    del rounds
    print("\npeak memory of a pass, vit_tiny_patch16_224, batch 8 (weights are 21.8 MiB more)")
    plain = 0
    with torch.inference_mode():
        for name, run in captures(torch.randn(8, 3, 224, 224)).items():
            run()
            peak = peak_bytes(run)
            plain = plain or peak
            print(f"  {name:34} {peak / 2**20:7.1f} MiB   {peak / plain:5.2f} of the plain pass", flush=True)
