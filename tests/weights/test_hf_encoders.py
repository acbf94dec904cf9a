"""The layouts of transformers' picture encoders apart from the numbers, which tests/parity compares: refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.models.domain import Domain
from multiattn.models.vit import ViT
from multiattn.weights import load_bundle, save_bundle
from multiattn.weights.directory import known_layouts
from multiattn.weights.unsupported import PARTS, TEXTS
from tests.fixtures import CONFIG, LABELS, tiny_bundle

DINOV2: dict[str, Any] = {"pool": "class_mean", "layer_scale": 0.5, "resampling": "bicubic_aliased", "mlp_dim": 44}
REGISTERS: dict[str, Any] = {
    "pool": "class_mean",
    "layer_scale": 0.5,
    "num_registers": 3,
    "position_prefix": "class",
    "mlp_dim": 44,
}
DINOV3: dict[str, Any] = {"positions": "rotary_2d", "rotary": "centered", "layer_scale": 0.5, "dim": 24}
BEIT: dict[str, Any] = {"positions": "none", "relative_bias": "shared", "resampling": "bicubic_aliased"}


def save(directory: Path, layout: str, **changes: Any) -> Path:
    config = replace(CONFIG, **changes)
    bundle = replace(tiny_bundle(), model=ViT(config), labels=LABELS[: config.num_classes])
    save_bundle(bundle, directory, layout=layout)
    return directory


@pytest.mark.parametrize(
    ("layout", "changes", "message"),
    [
        ("hf-dinov2", {**DINOV2, "layer_scale": None}, "`layer_scale` to be a number, but it is None instead"),
        ("hf-dinov2", {**DINOV2, "pool": "class"}, "`pool` to be 'class_mean', but it is 'class' instead"),
        ("hf-dinov2", {**DINOV2, "mlp_dim": 43}, "`mlp_dim` to be 44, but it is 43 instead"),
        ("hf-dinov2", {**DINOV2, "num_registers": 3}, "`num_registers` to be 0, but it is 3 instead"),
        ("hf-dinov2", {**REGISTERS, "position_prefix": True}, "`position_prefix` to be 'class', but it is True"),
        ("hf-dinov2", {**DINOV2, "resampling": "bilinear"}, "`resampling` to be 'bicubic_aliased', but it is 'bilin"),
        ("hf-dinov2", {**DINOV2, "stem_norm": True}, "`stem_norm` to be False, but it is True instead"),
        ("hf-dinov2", {**DINOV2, "gated": True}, "`activation` to be 'silu', but it is 'gelu' instead"),
        ("hf-deit", {"distilled": True, "num_registers": 1}, "`num_registers` to be 0, but it is 1 instead"),
        ("hf-deit", {"distilled": True, "num_classes": 0}, "`distilled` to be False, but it is True instead"),
        ("hf-deit", {}, "`num_registers` to be 1, but it is 0 instead"),
        ("hf-beit", {"relative_bias": "block"}, "`resampling` to be 'bicubic_aliased', but it is 'bicubic' instead"),
        ("hf-beit", {"pool": "mean"}, "`pool_norm` to be True, but it is False instead"),
        ("hf-beit", {"positions": "sinusoidal"}, "`positions` to be 'none', but it is 'sinusoidal' instead"),
        ("hf-dinov3", DINOV3, "a model without a head, but it has one"),
        ("hf-dinov3", {**DINOV3, "num_classes": 0, "rotary": "axial"}, "`rotary` to be 'centered', but it is 'axial'"),
        ("hf-clip-vision", {}, "`pool` to be 'mean', but it is 'class' instead"),
        ("hf-clip-vision", {"pool": "mean"}, "`stem_bias` to be False, but it is True instead"),
        ("hf-siglip-vision", {"pool": "attention"}, "`pool` to be 'mean', but it is 'attention' instead"),
        ("timm", {"pool": "class_mean"}, "`pool` to be 'class', but it is 'class_mean' instead"),
        ("timm", {"resampling": "bicubic_aliased"}, "`resampling` to be 'bicubic', but it is 'bicubic_aliased'"),
        ("timm", {**REGISTERS, "pool": "class"}, "`position_prefix` to be True, but it is 'class' instead"),
    ],
)
def test_what_theirs_is_not_is_not_saved(layout: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"the {layout} layout needs {message}"):
        save(tmp_path / "out", layout, **changes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("layout", "model", "changes", "message"),
    [
        (
            "hf-dinov2",
            DINOV2,
            {"mlp_ratio": "2"},
            "`mlp_ratio` must be a whole number .*, but is '2'",
        ),
        ("hf-beit", BEIT, {"use_relative_position_bias": True}, "`use_relative_position_bias` must be false where"),
        ("hf-beit", BEIT, {"use_mean_pooling": 1}, "`use_mean_pooling` must be true or false, but is 1 instead"),
        ("hf-beit", BEIT, {"layer_scale_init_value": "1"}, "`layer_scale_init_value` must be a number, but is '1'"),
        (
            "hf-dinov3",
            {**DINOV3, "num_classes": 0},
            {"value_bias": False},
            r"`value_bias` must be `query_bias`",
        ),
        ("hf-dinov3", {**DINOV3, "num_classes": 0}, {"mlp_bias": False}, r"`mlp_bias` must be `proj_bias` \(True\)"),
        ("hf-dinov2", DINOV2, {"architectures": ["Dinov2Backbone"]}, "`architectures` must be Dinov2ForImageClass"),
        (
            "hf-dinov2",
            REGISTERS,
            {"num_register_tokens": 2},
            r"- .*embeddings.register_tokens \[1, 2, 22\]",
        ),
    ],
)
def test_a_config_that_ours_is_not(
    layout: str, model: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    save(tmp_path, layout, **model)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)


UNKNOWN = {"model_type": "other", "hidden_size": 22}


@pytest.mark.parametrize("form", ["safetensors", "index", "pickle"])
def test_an_unknown_layout_names_the_nearest_and_the_first_tensor(form: str, tmp_path: Path) -> None:
    save(tmp_path, "hf-dinov2", **DINOV2)
    (tmp_path / "config.json").write_text(json.dumps(UNKNOWN))
    state = load_file(tmp_path / "model.safetensors")
    state = {key.replace("dinov2.", "other."): tensor for key, tensor in state.items()} | {"neck.proj": torch.ones(2)}
    (tmp_path / "model.safetensors").unlink()
    if form == "pickle":
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        save_file(state, tmp_path / ("part.safetensors" if form == "index" else "model.safetensors"))
    if form == "index":
        listed = {"weight_map": dict.fromkeys(state, "part.safetensors")}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(listed))
    count = len(state)
    message = (
        rf"\(\"model_type\": 'other'\): the nearest is hf-dinov2 \({count - 1} of {count} .* place for its neck\.proj\)"
    )
    with pytest.raises(ModelError, match=message) as caught:
        load_bundle(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model_type", TEXTS)
def test_a_model_of_texts_alone_names_its_loader(model_type: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(
        ModelError, match=f"of the type {model_type} reads texts alone, .*`multiattn.weights.load_text_"
    ):
        load_bundle(tmp_path)


@pytest.mark.parametrize("model_type", PARTS)
def test_a_model_that_is_not_supported_is_named_with_the_part(model_type: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(ModelError) as caught:
        load_bundle(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: a model of the type {model_type} is not supported: it has {PARTS[model_type]}"
    )
    assert not any(layout.recognizes({"model_type": model_type}) for layout in known_layouts())


def test_a_domain_is_as_wide_as_what_the_head_reads(tmp_path: Path) -> None:
    config = replace(CONFIG, pool="class_mean")
    domain = Domain(torch.zeros(44), torch.eye(44), torch.zeros(1, 44))
    save_bundle(replace(tiny_bundle(), model=ViT(config), domain=domain), tmp_path)
    loaded = load_bundle(tmp_path).domain
    assert loaded is not None and loaded.mean.shape == (44,)
