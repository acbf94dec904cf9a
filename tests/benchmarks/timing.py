"""Fair timing of several ways to do one thing: in one process, in turn, by the median of the ratios of each round."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """What one candidate took, over all rounds."""

    wall: float
    """Median seconds a call."""

    cpu: float
    """Median seconds of processor time a call: what a busy neighbor cannot lengthen."""

    ratio: float
    """Median over the rounds of the first candidate's processor time divided by this one's: above 1 is faster."""

    spread: tuple[float, float]
    """Quartiles of that ratio."""


def interleaved(candidates: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, Timing]:
    """Time each candidate once a round, in an order shuffled anew (seeded), after one warm-up each.

    Ratios are against the first candidate and of processor time, so run it on one thread.
    """
    assert torch.get_num_threads() == 1
    shuffle = random.Random(0)
    names = list(candidates)
    for run in candidates.values():
        run()
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in shuffle.sample(names, len(names)):
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            candidates[name]()
            cpu[name].append(time.process_time() - cpu_start)
            wall[name].append(time.perf_counter() - wall_start)
    first = cpu[names[0]]
    result = {}
    for name in names:
        ratios = [a / b for a, b in zip(first, cpu[name], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        result[name] = Timing(statistics.median(wall[name]), statistics.median(cpu[name]), middle, (low, high))
    return result


def show(title: str, timings: Mapping[str, Timing], *, flops: float | None = None, rate: float | None = None) -> None:
    """Print one table; with `flops` a call, the share of this machine's matrix-product `rate` (FLOP/s).

    The share can pass 100 %: `flops` is the work of the plain model, and ours leaves out rows that nothing reads.
    """
    print(f"\n{title}")
    first = next(iter(timings))
    share = "" if flops is None else "  share of matmul rate"
    print(f"  {'':34} {'wall ms':>9} {'cpu ms':>9}   speed against {first} (quartiles){share}")
    for name, t in timings.items():
        row = f"  {name:34} {t.wall * 1e3:9.2f} {t.cpu * 1e3:9.2f}   {t.ratio:5.3f}"
        row += f"  ({t.spread[0]:.3f} to {t.spread[1]:.3f})"
        if flops is not None and rate is not None:
            row += f"  {flops / t.cpu / rate:20.0%}"
        print(row, flush=True)


def matmul_rate() -> float:
    """This machine's FLOP/s for products of the size that a ViT's feedforward has, on one thread: the ceiling."""
    a, b = torch.randn(1576, 768), torch.randn(768, 3072)
    best = min(_cpu_seconds(lambda: a @ b) for _ in range(7))
    return 2 * 1576 * 768 * 3072 / best


def _cpu_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start
