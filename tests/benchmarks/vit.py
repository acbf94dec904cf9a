"""ViT-Ti/16 and ViT-B/16 at 224 px: ours, timm's and transformers' on the same random weights."""

from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch
from timm.layers import set_fused_attn
from timm.utils import AttentionExtract
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ViTConfig as HFConfig
from transformers import ViTForImageClassification

from multiattn.attention import Tap
from multiattn.models import PRESETS, ViT
from multiattn.weights.timm_structure import read_structure
from multiattn.weights.timm_vit import TABLE

from .timing import interleaved, matmul_rate, show

SIZES = {"tiny": "vit_tiny_patch16_224", "base": "vit_base_patch16_224"}


@dataclass(frozen=True)
class Models:
    """One size in every implementation."""

    ours: ViT
    timm: nn.Module
    transformers: nn.Module


def build(size: str, *, attention: str = "sdpa") -> Models:
    """Ours and timm's with the same weights; transformers' with weights of its own, for its speed."""
    torch.manual_seed(0)
    reference = timm.create_model(SIZES[size], pretrained=False).eval()
    config = PRESETS[size]
    ours = ViT(config).eval()
    ours.load_state_dict(TABLE.to_ours(reference.state_dict(), ours.state_dict()))
    hf = HFConfig(
        hidden_size=config.dim,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        intermediate_size=config.mlp_dim,
        num_labels=1000,
        layer_norm_eps=1e-6,
        attn_implementation=attention,
    )
    return Models(ours, reference, ViTForImageClassification(hf).eval())


def forward(rounds: int) -> None:
    """One forward pass, batch 1 and 8."""
    rate = matmul_rate()
    print(f"matrix products on one thread: {rate / 1e9:.0f} GFLOP/s")
    for size in SIZES:
        models = build(size)
        for batch in (1, 8):
            _forward(size, models, batch, rate, rounds=rounds if size == "tiny" else max(5, rounds // 4))


def _forward(size: str, models: Models, batch: int, rate: float, *, rounds: int) -> None:
    images = torch.randn(batch, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(models.ours(images), models.timm(images), atol=1e-5, rtol=1e-4)
        timings = interleaved(
            {
                "timm": lambda: models.timm(images),
                "multiattn": lambda: models.ours(images),
                "transformers": lambda: models.transformers(pixel_values=images),
            },
            rounds=rounds,
        )
    c, tokens = PRESETS[size], 197
    flops = batch * c.depth * tokens * (2 * (4 * c.dim**2 + 2 * c.dim * c.mlp_dim) + 4 * tokens * c.dim)
    show(f"forward, {SIZES[size]}, batch {batch}", timings, flops=flops, rate=rate)


def training(rounds: int) -> None:
    """One training step (forward, backward, AdamW) of ViT-Ti/16, batch 8, and of a 4 M ViT on 32 px, batch 32."""
    small = {"img_size": 32, "patch_size": 4, "embed_dim": 256, "depth": 5, "num_heads": 4, "num_classes": 10}
    cases = {
        "vit_tiny_patch16_224, batch 8": ("vit_tiny_patch16_224", {}, 8, 224),
        "4 M parameters, 32 px, 64 patches, batch 32": ("vit_tiny_patch16_224", small, 32, 32),
    }
    for title, (name, arguments, batch, side) in cases.items():
        torch.manual_seed(0)
        reference = timm.create_model(name, pretrained=False, **arguments).train()
        ours = ViT(read_structure(reference, where=name)).train()
        ours.load_state_dict(TABLE.to_ours(reference.state_dict(), ours.state_dict()))
        images, labels = torch.randn(batch, 3, side, side), torch.randint(0, 10, (batch,))
        timings = interleaved(
            {"timm": _step(reference, images, labels), "multiattn": _step(ours, images, labels)},
            rounds=max(5, rounds // 2),
        )
        show(f"training step, {title}", timings)


def _step(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def captures(images: Tensor) -> dict[str, Callable[[], object]]:
    """Ways to look at ViT-Ti/16's attention, the plain forward first."""
    models = build("tiny")
    eager = build("tiny", attention="eager")
    set_fused_attn(False)
    explicit = build("tiny").timm
    set_fused_attn(True)
    hooked = AttentionExtract(explicit, method="hook")
    ours, sites = models.ours, models.ours.attention_sites()

    def tapped(rows: list[int] | None) -> object:
        tap = Tap(sites, rows=rows)
        ours(images, tap=tap)
        return tap.weights

    assert len(hooked(images)) == 12
    return {
        "multiattn": lambda: ours(images),
        "multiattn, class row": lambda: tapped([0]),
        "multiattn, all maps": lambda: tapped(None),
        "timm": lambda: models.timm(images),
        "timm extract, all maps": lambda: hooked(images),
        "transformers sdpa": lambda: models.transformers(pixel_values=images),
        "transformers eager, all maps": lambda: eager.transformers(pixel_values=images, output_attentions=True),
    }


def capture(rounds: int) -> None:
    """The class row of all layers, and all maps: time."""
    for batch in (1, 8):
        with torch.inference_mode():
            timings = interleaved(captures(torch.randn(batch, 3, 224, 224)), rounds=max(5, rounds // 2))
        show(f"capture, vit_tiny_patch16_224, batch {batch}", timings)
