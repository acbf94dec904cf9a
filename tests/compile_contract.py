"""Run as a program by `test_compile.py`: the models compile to one graph, with the tap off and on.

A process of its own because the shape checker that pytest installs is no part of what is compiled.
"""

import numpy as np
import torch

from multiattn.attention import Tap
from multiattn.maps import explain
from multiattn.models import PRESETS, ViT, ViTConfig

SIZES = {"image_size": (15, 21), "patch_size": 3, "num_classes": 5, "dim": 24, "depth": 2, "num_heads": 3}
VARIANTS = {
    "learned": ViTConfig(**SIZES),
    "rotary, q/k norm, registers": ViTConfig(**SIZES, positions="rotary_2d", qk_norm=True, num_registers=2),
    "plain": ViTConfig(**SIZES, positions="sinusoidal_2d", class_token=False, pool="mean", layer_scale=0.1),
    "clip": ViTConfig(**SIZES, stem_norm=True, activation="gelu_quick", pool="mean", pool_norm=True, final_norm=False),
    "compact": PRESETS["compact"],
}


def main() -> None:
    for name, config in VARIANTS.items():
        torch.manual_seed(0)
        model = ViT(config).eval()
        images = torch.randn(2, 3, *config.image_size)

        asked = {"rows": [0], "heads": [2, 0]} if name == "learned" else {}
        tap = Tap(model.attention_sites(), **asked)
        plain = model(images, tap=tap)
        for backend in ("eager", "inductor") if name == "learned" else ("eager",):
            torch.compiler.reset()
            compiled = torch.compile(model, fullgraph=True, backend=backend)
            torch.testing.assert_close(compiled(images), plain, atol=1e-5, rtol=0)
            compiled_tap = Tap(model.attention_sites(), **asked)
            torch.testing.assert_close(compiled(images, tap=compiled_tap), plain, atol=1e-5, rtol=0)
            assert list(compiled_tap.weights) == list(tap.weights)
            for site, expected in tap.weights.items():
                torch.testing.assert_close(compiled_tap.weights[site], expected, atol=1e-6, rtol=0)
            print(f"{name}: one graph under {backend}")
        relevance = explain(model, images, method="relevance", target=[1, 2])
        torch.compiler.reset()
        model.compile(backend="eager")  # in place, as a training does it
        for before, after in zip(relevance, explain(model, images, method="relevance", target=[1, 2]), strict=True):
            np.testing.assert_allclose(after.values, before.values, atol=1e-6)


if __name__ == "__main__":
    main()
