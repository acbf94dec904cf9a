"""Attention for long inputs: time and memory as the length grows, an hour of sound, a large picture, and the depth."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch.nn import functional as F

from multiattn.attention import DotProductScore, LSHScore, Mask
from multiattn.attention.score import Score
from multiattn.models import PRESETS, SpeechEncoder, ViT, ViTConfig, speech

from .memory import peak_bytes

LENGTHS = (4096, 8192, 16384, 32768, 65536)
HEADS, WIDTH = 4, 32
FULL_UP_TO = 16384

KINDS = {
    "full": {},
    "window of 128, 16 global": {"window": 128, "global_tokens": 16},
    "hashing, 2 rounds": {"attention": "lsh"},
}


def long_attention(rounds: int) -> None:
    """One attention of 4 heads of 32: processor time and peak memory by length, and the slope of the logarithms."""
    calls = max(1, rounds // 13)
    tokens = torch.arange(16)[None] * 256
    dot, wide = DotProductScore(WIDTH), Mask(window=256)
    ways: dict[str, tuple[Score, Mask]] = {
        "full": (dot, Mask()),
        "window of 256": (dot, wide),
        "the same, 16 global tokens": (dot, replace(wide, global_tokens=tokens)),
        "the same, every 4th token": (dot, replace(wide, global_tokens=tokens, dilation=4)),
        "hashing, 2 rounds": (LSHScore(HEADS, WIDTH, rounds=2), Mask()),
        "hashing, 4 rounds": (LSHScore(HEADS, WIDTH, rounds=4), Mask()),
    }
    print(f"\none attention of {HEADS} heads of {WIDTH}: ms of processor time (least of {calls}) / peak MiB")
    print(f"  {'':32}" + "".join(f"{length:>16}" for length in LENGTHS) + f"{'slope of time':>16}{'of memory':>12}")
    for name, (score, mask) in ways.items():
        lengths = [length for length in LENGTHS if name != "full" or length <= FULL_UP_TO]
        times, peaks = zip(*(_at(score, mask, length, calls) for length in lengths), strict=True)
        cells = "".join(f"{t * 1e3:>9.0f} /{p / 2**20:5.0f}" for t, p in zip(times, peaks, strict=True))
        cells += " " * 16 * (len(LENGTHS) - len(lengths))
        print(f"  {name:32}{cells}{_slope(lengths, times):>16.2f}{_slope(lengths, peaks):>12.2f}", flush=True)


@torch.inference_mode()
def _at(score: Score, mask: Mask, length: int, calls: int) -> tuple[float, int]:
    torch.manual_seed(0)
    q, v = (torch.randn(1, HEADS, length, WIDTH) for _ in range(2))
    peak = peak_bytes(lambda: score(q, q, v, mask=mask))  # warms up, too
    return min(_seconds(lambda: score(q, q, v, mask=mask)) for _ in range(calls)), peak


def _seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def _slope(lengths: list[int], values: tuple[float, ...]) -> float:
    """The slope of log value against log length, by least squares."""
    x, y = ([math.log(one) for one in part] for part in (lengths, values))
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)


def long_sound(rounds: int) -> None:
    """The encoder of the speech preset `compact`, 40 ms a frame: minutes of sound in one piece."""
    del rounds
    print("\nspeech encoder of the preset compact, one recording in one piece: s of processor time / peak MiB")
    config = replace(speech.PRESETS["compact"].encoder, window=None, attention="full", max_frames=90_000)
    _table(
        (7.5, 60.0),
        "minutes",
        {name: SpeechEncoder(replace(config, **options)) for name, options in KINDS.items()},
        lambda minutes: torch.randn(1, config.mels, int(minutes * 6000)),
        full_up_to=7.5,
    )


def long_picture(rounds: int) -> None:
    """ViT-Ti/16 at 1,024 and at 4,096 pixels: 4,096 and 65,536 patches."""
    del rounds
    print("\nViT-Ti/16, one picture: s of processor time / peak MiB")
    _table(
        (1024.0, 4096.0),
        "pixels",
        {name: ViT(replace(PRESETS["tiny"], **options)) for name, options in KINDS.items()},
        lambda side: torch.randn(1, 3, int(side), int(side)),
        full_up_to=1024.0,
    )


@torch.inference_mode()
def _table(
    sizes: tuple[float, ...],
    unit: str,
    models: dict[str, torch.nn.Module],
    make: Callable[[float], torch.Tensor],
    *,
    full_up_to: float,
) -> None:
    print(f"  {'':32}" + "".join(f"{f'{size:g} {unit}':>20}" for size in sizes))
    for name, model in models.items():
        cells = ""
        for size in sizes:
            if name == "full" and size > full_up_to:
                continue
            x = make(size)
            start = time.process_time()
            peak = peak_bytes(partial(model.eval(), x))
            cells += f"{time.process_time() - start:>12.1f} /{peak / 2**20:6.0f}"
        print(f"  {name:32}{cells}", flush=True)


def reversible(rounds: int) -> None:
    """A training step by depth: what autograd keeps is flat with reversible blocks."""
    del rounds
    print("\ntraining step, 4 pictures of 1,025 tokens of width 64: peak MiB beyond the weights / s of processor time")
    depths = (2, 4, 8)
    print(f"  {'':32}" + "".join(f"{f'depth {depth}':>16}" for depth in depths) + f"{'8 against 2':>16}")
    ways = {
        "full, all kept": ({}, False),
        "full, checkpointed": ({}, True),
        "full, reversible": ({"reversible": True}, False),
        "hashing, reversible": ({"attention": "lsh", "reversible": True}, False),
    }
    for name, (options, checkpointed) in ways.items():
        measured = [_step(depth, options, checkpointed) for depth in depths]
        cells = "".join(f"{peak / 2**20:>9.1f} /{seconds:5.1f}" for peak, seconds in measured)
        print(f"  {name:32}{cells}{measured[-1][0] / measured[0][0]:>16.2f}", flush=True)


def _step(depth: int, options: dict[str, object], checkpointed: bool) -> tuple[int, float]:
    torch.manual_seed(0)
    config = ViTConfig(image_size=(64, 64), patch_size=2, num_classes=10, dim=64, depth=depth, num_heads=4, mlp_dim=128)
    model = ViT(replace(config, **options)).train()
    images, labels = torch.randn(4, 3, 64, 64), torch.randint(10, (4,))

    def step() -> None:
        F.cross_entropy(model(images, checkpoint_activations=checkpointed), labels).backward()

    step()  # allocates the gradients, which are added to from then on
    peak = peak_bytes(step)
    return peak, _seconds(step)
