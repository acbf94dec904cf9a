from pathlib import Path

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed

from multiattn.errors import ModelError
from multiattn.models.vit import ViT, ViTConfig
from multiattn.weights import adapt

CONFIG = ViTConfig(
    image_size=(15, 35), patch_size=5, num_classes=7, dim=22, depth=3, num_heads=2, mlp_dim=13, num_registers=2
)


def states(first: ViT, second: ViT) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return first.state_dict(), second.state_dict()


def test_nothing_changed_is_a_copy() -> None:
    model = ViT(CONFIG).eval()
    copy = adapt(model)
    old, new = states(model, copy)
    assert copy.config == CONFIG and not copy.training
    assert all(torch.equal(old[key], new[key]) for key in old)
    with torch.no_grad():
        copy.class_token.zero_()
    assert model.class_token.abs().sum() > 0


@pytest.mark.parametrize("classes", [5, 11])
def test_other_classes_get_a_fresh_head(classes: int) -> None:
    model = ViT(CONFIG)
    adapted = adapt(model, num_classes=classes)
    old, new = states(model, adapted)
    assert adapted.config.num_classes == classes and adapted.training
    assert new["head.weight"].shape == (classes, 22)
    assert new["head.weight"].std() < 0.05 and not new["head.bias"].any()
    assert all(torch.equal(old[key], new[key]) for key in old if not key.startswith("head."))


def test_a_backbone_gets_a_head() -> None:
    backbone = adapt(ViT(CONFIG), num_classes=5)
    headless = ViT(ViTConfig(**{**vars(CONFIG), "num_classes": 0}))
    headless.load_state_dict({key: value for key, value in backbone.state_dict().items() if "head" not in key})
    assert adapt(headless).head is None
    images = torch.randn(3, 3, 15, 35)
    assert adapt(headless, num_classes=13)(images).shape == (3, 13)


@pytest.mark.parametrize("prefix", [True, False])
def test_positions_are_resampled_as_timm_does(prefix: bool) -> None:
    model = ViT(ViTConfig(**{**vars(CONFIG), "position_prefix": prefix}))
    adapted = adapt(model, image_size=(55, 25))
    old, new = states(model, adapted)
    wanted = resample_abs_pos_embed(
        old["positions.weight"], new_size=[11, 5], old_size=[3, 7], num_prefix_tokens=3 if prefix else 0
    )
    torch.testing.assert_close(new["positions.weight"], wanted, rtol=0, atol=1e-6)
    assert all(torch.equal(old[key], new[key]) for key in old if key != "positions.weight")
    # and so the adapted model computes what the model itself computes at that size
    images = torch.randn(2, 3, 55, 25)
    with torch.inference_mode():
        torch.testing.assert_close(adapted.eval()(images), model.eval()(images), rtol=0, atol=1e-6)


def test_fixed_positions_need_no_resampling() -> None:
    model = ViT(ViTConfig(**{**vars(CONFIG), "dim": 24, "positions": "sinusoidal_2d"}))
    old, new = states(model, adapt(model, image_size=(55, 25)))
    assert all(torch.equal(old[key], new[key]) for key in old)


def test_dtype_is_kept() -> None:
    adapted = adapt(ViT(CONFIG).double(), num_classes=5)
    assert {parameter.dtype for parameter in adapted.parameters()} == {torch.float64}


def test_impossible_targets() -> None:
    model = ViT(CONFIG)
    with pytest.raises(ModelError, match="`num_classes` must be at least 1, but is 0 instead"):
        adapt(model, num_classes=0)
    for size in ((15, 36), (0, 35)):
        with pytest.raises(ModelError, match=r"`image_size` must be multiples of the patch size \(5\), but is"):
            adapt(model, image_size=size)


def test_from_timm_at_another_size_equals_timm(tmp_path: Path) -> None:
    """The whole way that fine-tuning goes: published weights, another grid, and timm's own resizing agrees."""
    from timm.models import save_for_hf

    from multiattn.weights import load_bundle

    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=7, depth=2).eval()
    save_for_hf(theirs, tmp_path, safe_serialization=True)
    adapted = adapt(load_bundle(tmp_path).model, image_size=(112, 176))
    theirs.set_input_size(img_size=(112, 176))
    images = torch.randn(2, 3, 112, 176, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        torch.testing.assert_close(adapted(images), theirs(images), rtol=0, atol=1e-5)
