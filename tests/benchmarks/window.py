"""Sliding-window attention at growing lengths: time and memory must grow as the length does, not as its square."""

import torch
from torch.profiler import ProfilerActivity, profile

from multiattn.attention import DotProductScore, Mask

from .timing import interleaved


def window(rounds: int) -> None:
    """Window 256, 4 heads of 64, causal and not; the open kernel beside it."""
    print("\nwindow of 256, 4 heads of 64, one sequence")
    print(f"  {'keys':>6} {'windowed cpu ms':>16} {'allocated MiB':>14} {'open cpu ms':>12}")
    for length in (4096, 8192, 16384):
        windowed, whole, allocated = _at(length, rounds=max(5, rounds // 8))
        print(f"  {length:6} {windowed * 1e3:16.1f} {allocated / 2**20:14.1f} {whole * 1e3:12.1f}", flush=True)


def _at(length: int, *, rounds: int) -> tuple[float, float, int]:
    """Seconds of processor time with and without the window, and the bytes that the windowed call allocates."""
    score = DotProductScore(64)
    q, k, v = (torch.randn(1, 4, length, 64) for _ in range(3))
    with torch.inference_mode():
        timings = interleaved(
            {
                "windowed": lambda: score(q, k, v, mask=Mask(window=256)),
                "open": lambda: score(q, k, v, mask=Mask()),
            },
            rounds=rounds,
        )
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            score(q, k, v, mask=Mask(window=256))
    allocated = sum(max(event.self_cpu_memory_usage, 0) for event in profiled.events())
    return timings["windowed"].cpu, timings["open"].cpu, allocated
