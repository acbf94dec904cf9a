"""One small model of each family of timm's vision transformers: logits, the way back, live modules and maps."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import multiattn
from multiattn.attention import Tap
from multiattn.maps import METHODS, NO_CLASS, explain
from multiattn.weights import bundle_of, load_bundle, save_bundle
from tests.parity.timm_table import MODULES, TOLERANCE, build, difference, names, row, verdict

SMALL = {"embed_dim": 48, "num_heads": 4, "depth": 2}
ROTARY = {"positions": "learned_rotary_2d", "rotary_pairs": "neighbors"}
# architecture, arguments on top of small sizes, what of the configuration the family is here for
FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "SigLIP": ("vit_base_patch16_siglip_224", {"num_classes": 5}, {"pool": "attention", "pool_prefix": False}),
    "attention pooling of registers, too": (
        "test_vit3",
        {"num_heads": 3, "img_size": 64},
        {"pool": "attention", "pool_prefix": True, "num_registers": 1},
    ),
    "AIMv2": (
        "aimv2_large_patch14_224",
        {},
        {"patch_norm": True, "norm": "rms", "gated": True, "branch_bias": False, "num_classes": 0},
    ),
    "DINOv2 giant": ("vit_giant_patch14_dinov2", {}, {"gated": True, "activation": "silu", "layer_scale": 1e-5}),
    "BEiT 3": ("beit3_base_patch16_224", {"num_classes": 5}, {"attention_norm": True, "mlp_norm": True}),
    "DeiT, distilled": ("deit_tiny_distilled_patch16_224", {"num_classes": 5}, {"distilled": True}),
    "EVA": ("eva_giant_patch14_224", {"num_classes": 5}, {"positions": "learned", "pool": "mean", "qkv_bias": True}),
    "EVA-02 tiny": ("eva02_tiny_patch14_336", {"num_classes": 5}, {**ROTARY, "gated": True, "rotary_grid": (16, 16)}),
    "EVA-02 base": ("eva02_base_patch14_448", {"num_classes": 5}, {**ROTARY, "gated": True, "mlp_norm": True}),
    "EVA-02 CLIP": ("eva02_base_patch16_clip_224", {}, {**ROTARY, "attention_norm": True}),
    "RoPE-ViT": (
        "vit_small_patch16_rope_224",
        {"num_classes": 5},
        {"positions": "rotary_2d", "rotary_order": "columns", "rotary_period": 100.0},
    ),
    "RoPE-ViT, mixed": ("vit_small_patch16_rope_mixed_ape_224", {"num_classes": 5}, {**ROTARY, "rotary": "mixed"}),
    "Perception Encoder": (
        "vit_pe_core_tiny_patch16_384",
        {"num_classes": 5, "attn_pool_num_heads": 2},
        {**ROTARY, "rotary_offset": 1.0, "pool": "attention", "pool_heads": 2, "pool_prefix": True},
    ),
    "DINOv3": (
        "vit_small_patch16_dinov3_qkvb",
        {"img_size": 64},
        {"rotary": "centered", "rotary_pairs": "halves", "num_registers": 4, "pool": "mean"},
    ),
    "Sapiens 2": (
        "vit_base_patch16_sapiens2",
        {"img_size": 64, "num_kv_heads": (4, 2), "num_classes": 5},
        {"num_kv_heads": (4, 2), "scale_feedforward": False, "qk_norm": True, "norm": "rms"},
    ),
    "BEiT": (
        "beitv2_base_patch16_224",
        {"num_classes": 5},
        {"positions": "none", "relative_bias": "block", "pool": "mean", "pool_norm": True},
    ),
}


def small(family: str) -> torch.nn.Module:
    """The small model of a family, with random weights, for pictures of 64 or 56 px."""
    architecture, arguments, _ = FAMILIES[family]
    size = 56 if "patch14" in architecture else 64
    theirs = build(architecture, **{**SMALL, "img_size": size, **arguments})
    theirs.pretrained_cfg = {**theirs.pretrained_cfg, "crop_mode": "squash", "tag": ""}
    return theirs


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_loads_and_saves_back(family: str, tmp_path: Path) -> None:
    theirs = small(family)
    timm.models.save_for_hf(theirs, tmp_path / "theirs", safe_serialization=True)
    bundle = load_bundle(tmp_path / "theirs")
    config, expected = bundle.model.config, FAMILIES[family][2]
    assert {name: getattr(config, name) for name in expected} == expected
    images = torch.randn(2, 3, *config.image_size, generator=torch.Generator().manual_seed(7))
    wanted = theirs(images)
    assert difference(bundle.model(images), wanted) <= TOLERANCE
    tokens = theirs.forward_features(images)
    found = bundle.model.features(images)
    assert difference(found, tokens) <= TOLERANCE

    save_bundle(bundle, tmp_path / "ours", layout="timm")
    again = timm.create_model(f"local-dir:{tmp_path / 'ours'}", pretrained=True).eval()
    assert type(again) is type(theirs)
    assert difference(again(images), wanted) <= TOLERANCE
    assert load_bundle(tmp_path / "ours").config == config

    live = bundle_of(theirs)
    assert live.config == config and live.preprocessing == bundle.preprocessing
    assert torch.equal(live.model(images), bundle.model(images))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_maps(family: str) -> None:
    """The attention that a map is made of is that of timm's own tokens; every method gives one."""
    theirs = small(family)
    model = bundle_of(theirs).model
    images = torch.randn(1, 3, *model.config.image_size, generator=torch.Generator().manual_seed(7))
    grid = model.grid(model.config.image_size)
    for method in METHODS if model.config.num_classes else NO_CLASS:
        (found,) = explain(model, images, method=method)
        assert found.values.shape == grid and np.isfinite(found.values).all() and found.values.any()
    tap = Tap(model.attention_sites())
    with torch.no_grad():
        model(images, tap=tap)
    for site in tap.sites:
        weights = tap.weights[site.name]
        assert weights.shape == (1, site.num_heads, site.q_len, site.k_len)
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["SigLIP", "DeiT, distilled", "Sapiens 2", "BEiT", "RoPE-ViT, mixed"])
def test_a_live_module_is_explained(family: str) -> None:
    theirs = small(family)
    noise = np.random.default_rng(3).integers(256, size=(71, 83, 3), dtype=np.uint8)
    found = multiattn.explain(theirs, Image.fromarray(noise), method="relevance", target=3)
    assert found.maps[0].map.method == "relevance" and found.maps[0].map.target == "3"


PAGE = Path(__file__).parents[2] / "docs" / "timm.md"


def table() -> dict[str, str]:
    """What the page says of each name."""
    lines = re.findall(r"^\| (\S+) \| [\d.]+ \| \d+ \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(lines)


def test_the_page_has_every_name_once() -> None:
    wanted = [name for module in MODULES for name in names(module)]
    assert list(table()) == wanted
    refused = {name for name, found in table().items() if found.startswith("refused: ")}
    assert len(refused) <= 0.1 * len(wanted)


@pytest.mark.slow
def test_every_name_is_what_the_page_says() -> None:
    """Rather long: some 250 models, of up to 300 million parameters."""
    said = table()
    for module in MODULES:
        for name in names(module):
            found = verdict(name)
            assert found.refused or found.agrees, row(found)
            assert said[name].startswith("refused: ") == bool(found.refused), name
            if found.refused:
                assert said[name].startswith(f"refused: {found.refused} "), name
