"""Ours against timm, through the real converter: timm's own exporter, our loader, and the way back."""

import json
from pathlib import Path

import pytest
import timm
import torch
from timm.models import save_for_hf

from multiattn.weights import load_bundle, save_bundle
from tests.parity.random_weights import randomize

CLASSES = 11

# architecture, arguments on top, what of the configuration the variant is here for; one is whole, the others have a few
# of their alike blocks
VARIANTS = [
    ("vit_tiny_patch16_224", {}, {}),
    ("deit3_small_patch16_224", {"depth": 4}, {"layer_scale": 1e-6, "position_prefix": False}),
    (
        "vit_small_patch14_reg4_dinov2",
        {"depth": 3},
        {"num_registers": 4, "image_size": (518, 518), "position_prefix": False},
    ),
    ("vit_base_patch32_clip_224", {"depth": 3}, {"stem_norm": True, "stem_bias": False, "norm_eps": 1e-5}),
    ("vit_base_patch32_clip_quickgelu_224", {"depth": 3}, {"stem_norm": True, "activation": "gelu_quick"}),
    ("vit_tiny_patch16_224", {"depth": 3, "qk_norm": True}, {"qk_norm": True}),
    (
        "vit_tiny_patch16_224",
        {"depth": 3, "global_pool": "avg"},
        {"pool": "mean", "pool_norm": True, "final_norm": False},
    ),
    (
        "vit_little_patch16_reg4_gap_256",
        {"depth": 3},
        {"pool": "mean", "pool_norm": True, "class_token": False, "num_registers": 4},
    ),
    (
        "vit_tiny_patch16_224",
        {"depth": 3, "img_size": [112, 176], "act_layer": "gelu_tanh"},
        {"image_size": (112, 176)},
    ),
]


def build(architecture: str, arguments: dict) -> torch.nn.Module:
    with torch.device("meta"):  # spares timm's own initialisation, of which nothing would be left
        model = timm.create_model(architecture, num_classes=CLASSES, **arguments)
    return randomize(model.to_empty(device="cpu"), seed=5)


@torch.inference_mode()
def logits(model: torch.nn.Module, size: tuple[int, int]) -> torch.Tensor:
    batch = 2 if max(size) < 256 else 1  # the large ones only need time
    result = model(torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(7)))
    assert result.shape == (batch, CLASSES)
    assert 0.3 < result.std() < 3, "a comparison of logits says little unless they are of order 1"
    return result


def largest_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


@pytest.mark.parametrize(("architecture", "arguments", "expected"), VARIANTS, ids=lambda value: str(value)[:44])
def test_timm_loads_and_saves_back(architecture: str, arguments: dict, expected: dict, tmp_path: Path) -> None:
    theirs = build(architecture, arguments)
    if "img_size" in arguments:  # center crops of another shape than square are refused
        theirs.pretrained_cfg = {**theirs.pretrained_cfg, "crop_mode": "squash"}
    save_for_hf(theirs, tmp_path / "theirs", safe_serialization=True)

    bundle = load_bundle(tmp_path / "theirs")
    config = bundle.model.config
    assert {name: getattr(config, name) for name in expected} == expected
    assert bundle.layout == "timm" and not bundle.model.training
    wanted = logits(theirs, config.image_size)
    assert largest_difference(logits(bundle.model, config.image_size), wanted) <= 1e-5

    save_bundle(bundle, tmp_path / "ours", layout="timm")
    again = timm.create_model(f"local-dir:{tmp_path / 'ours'}", pretrained=True, weight_init="skip").eval()
    state, original = again.state_dict(), theirs.state_dict()
    assert state.keys() == original.keys()
    assert all(torch.equal(state[key], original[key]) for key in original)
    # the same weights in the same functions: what timm builds from our config.json is the model it was
    assert torch.equal(logits(again, config.image_size), wanted)
    assert load_bundle(tmp_path / "ours").preprocessing == bundle.preprocessing


def test_timm_base_at_384(tmp_path: Path) -> None:
    theirs = build("vit_base_patch16_384", {"depth": 3})
    save_for_hf(theirs, tmp_path, safe_serialization=True)
    bundle = load_bundle(tmp_path)
    assert bundle.preprocessing.size == (384, 384)
    assert largest_difference(logits(bundle.model, (384, 384)), logits(theirs, (384, 384))) <= 1e-5


def test_saved_weights_load_into_the_named_architecture(tmp_path: Path) -> None:
    theirs = build("vit_tiny_patch16_224", {"depth": 2})
    save_for_hf(theirs, tmp_path / "theirs", safe_serialization=True)
    save_bundle(load_bundle(tmp_path / "theirs"), tmp_path / "ours", layout="timm")
    from safetensors.torch import load_file

    fresh = timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, depth=2).eval()
    fresh.load_state_dict(load_file(tmp_path / "ours" / "model.safetensors"), strict=True)
    assert torch.equal(logits(fresh, (224, 224)), logits(theirs, (224, 224)))


def test_evaluation_transform_is_timms(tmp_path: Path) -> None:
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    theirs = build("vit_tiny_patch16_224", {"depth": 1})
    save_for_hf(theirs, tmp_path, safe_serialization=True)
    bundle = load_bundle(tmp_path)
    noise = torch.randint(256, (211, 307, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    picture = Image.fromarray(noise.numpy()).resize((613, 421), Image.Resampling.BICUBIC)
    wanted = create_transform(**resolve_data_config(pretrained_cfg=theirs.pretrained_cfg))(picture)
    torch.testing.assert_close(bundle.preprocessing(picture)[0], wanted, rtol=0, atol=1e-6)


def test_legacy_config_in_one_dictionary(tmp_path: Path) -> None:
    """Exports older than `pretrained_cfg` keep all in one dictionary, labels too."""
    theirs = build("vit_tiny_patch16_224", {"depth": 12})
    save_for_hf(theirs, tmp_path, safe_serialization=True)
    config = json.loads((tmp_path / "config.json").read_text())
    names = [f"kind {index}" for index in range(CLASSES)]
    legacy = {**config["pretrained_cfg"], "architecture": config["architecture"], "labels": names}
    (tmp_path / "config.json").write_text(json.dumps(legacy))
    bundle = load_bundle(tmp_path)
    assert bundle.labels == tuple(names)
    assert largest_difference(logits(bundle.model, (224, 224)), logits(theirs, (224, 224))) <= 1e-5
