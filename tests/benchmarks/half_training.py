"""Training in half precision on a CPU: attention through PyTorch's kernel in bfloat16, and as ours widens it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from multiattn.attention import DotProductScore, Mask, kernel
from multiattn.models import PRESETS, ViT

from .timing import interleaved, show

SHAPES = [(128, 4, 65, 32), (24, 3, 18, 64), (16, 3, 197, 64), (8, 12, 197, 64), (1, 12, 577, 64), (1, 12, 1024, 64)]


def half_training(rounds: int) -> None:
    """Forward and backward of some sequences: our score, PyTorch's kernel in fp32, and in bfloat16 as it comes."""
    print("\nattention, forward and backward in bfloat16; the speed against PyTorch's bfloat16 kernel")
    print(f"  {'batch, heads, tokens, width':28} {'bf16 cpu ms':>12} {'fp32':>6} {'ours':>6}")
    for shape in SHAPES:
        timings = interleaved(_candidates(shape), rounds=max(5, rounds // 2))
        row = f"  {shape!s:28} {timings['bf16'].cpu * 1e3:12.1f}"
        print(f"{row} {timings['fp32'].ratio:6.2f} {timings['ours'].ratio:6.2f}", flush=True)
    model, images = ViT(PRESETS["compact"]).train(), torch.randn(128, 3, 32, 32)
    steps = {
        "fp32": lambda: _step(model, images, half=False),
        "bf16, attention not widened": lambda: _unwidened(lambda: _step(model, images, half=True)),
        "bf16": lambda: _step(model, images, half=True),
    }
    show("forward and backward, compact ViT, 128 pictures of 32 px", interleaved(steps, rounds=max(5, rounds // 4)))


def _step(model: ViT, images: torch.Tensor, *, half: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = model(images)
    logits.float().logsumexp(dim=-1).sum().backward()


def _unwidened(step: Callable[[], None]) -> None:
    limit, kernel.WIDENED_KEYS = kernel.WIDENED_KEYS, 0
    try:
        step()
    finally:
        kernel.WIDENED_KEYS = limit


def _candidates(shape: tuple[int, int, int, int]) -> dict[str, Callable[[], object]]:
    half = [torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    full = [x.detach().float().requires_grad_() for x in half]
    score = DotProductScore(shape[-1])
    return {
        "bf16": lambda: F.scaled_dot_product_attention(*half).sum().backward(),
        "fp32": lambda: F.scaled_dot_product_attention(*full).sum().backward(),
        "ours": lambda: score(*half, mask=Mask()).sum().backward(),
    }
