"""timm's layout apart from the numbers, which tests/parity compares: structure, preprocessing, labels, refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import save_for_hf

from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models.vit import PRESETS, ViT, ViTConfig
from multiattn.weights import load_bundle, save_bundle
from multiattn.weights.timm_structure import read_structure, write_structure
from tests.fixtures import tiny_bundle


def structure(architecture: str, **arguments: Any) -> ViTConfig:
    with torch.device("meta"):
        return read_structure(timm.create_model(architecture, **arguments), where="here")


def save_theirs(directory: Path, *, classes: int = 7, tag: str = "", **config: Any) -> None:
    """A small model as timm exports it, with entries of `config.json` replaced."""
    model = timm.create_model("vit_tiny_patch16_224", num_classes=classes, embed_dim=24, depth=2)
    save_for_hf(model, directory, safe_serialization=True)
    path = directory / "config.json"
    data = json.loads(path.read_text())
    data["pretrained_cfg"] |= {"tag": tag, **config.pop("pretrained_cfg", {})}
    path.write_text(json.dumps({**data, **config}))


@pytest.mark.parametrize(("preset", "architecture"), [("tiny", "tiny"), ("base", "base"), ("large", "large")])
def test_presets_are_what_timm_calls_so(preset: str, architecture: str) -> None:
    assert structure(f"vit_{architecture}_patch16_224") == PRESETS[preset]


@pytest.mark.parametrize(
    ("architecture", "arguments", "feature"),
    [
        ("vit_giant_patch14_dinov2", {"depth": 1}, "a feedforward of type GluMlp"),
        ("vit_base_patch16_siglip_224", {"depth": 1}, "attention pooling"),
        ("vit_base_patch16_siglip_gap_224", {"depth": 1, "global_pool": "max"}, "max pooling"),
        ("vit_tiny_patch16_224", {"global_pool": "avg", "pool_include_prefix": True}, "pooling over prefix tokens"),
        ("vit_base_patch16_rpn_224", {"depth": 1}, "blocks of type ResPostBlock"),
        ("vit_small_patch16_18x2_224", {"depth": 1}, "blocks of type ParallelThingsBlock"),
        ("vit_tiny_patch16_224", {"pos_embed": "none"}, "no positions"),
        ("vit_tiny_patch16_224", {"depth": 0}, "no blocks"),
        ("vit_tiny_patch16_224", {"dynamic_img_pad": True}, "padding to whole patches"),
        ("vit_tiny_patch16_224", {"img_size": 230, "dynamic_img_size": True}, "a picture size of no whole patches"),
        ("vit_tiny_patch16_224", {"patch_size": (16, 8)}, "patches that are not square"),
        ("vit_tiny_patch16_224", {"act_layer": "silu"}, "the activation SiLU"),
        ("vit_tiny_patch16_224", {"norm_layer": "rmsnorm"}, "norms of type RmsNorm"),
        ("vit_tiny_patch16_224", {"scale_attn_norm": True}, "a norm after attention"),
        ("vit_tiny_patch16_224", {"scale_mlp_norm": True}, "a norm inside the feedforward"),
        (
            "vit_tiny_patch16_224",
            {"proj_bias": False},
            "an attention projection without bias, a feedforward without bias",
        ),
        ("vit_tiny_patch16_224", {"attn_layer": "diff"}, "attention of type DiffAttention"),
    ],
)
def test_what_ours_is_not_is_refused_by_name(architecture: str, arguments: dict[str, Any], feature: str) -> None:
    with pytest.raises(ModelError, match=rf"here: this timm model has (.*, )?{feature}(, .*)?, which is not supported"):
        structure(architecture, **arguments)


@pytest.mark.parametrize("architecture", ["deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224", "resnet18"])
def test_other_families_are_refused(architecture: str) -> None:
    with pytest.raises(ModelError, match=r"here: timm's \w+ is not supported, only its VisionTransformer"):
        structure(architecture)


def test_training_settings_do_not_stand_in_the_way_of_saving() -> None:
    config = replace(PRESETS["tiny"], dropout=0.1, attention_dropout=0.2, stochastic_depth=0.3, layer_scale=0.1)
    name, arguments = write_structure(config)
    assert name == "vit_base_patch16_224" and arguments["init_values"] == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_eps": 1e-12}, "needs `norm_eps` to be 1e-06 or 1e-05, but it is 1e-12 instead"),
        ({"positions": "sinusoidal_2d"}, "needs `positions` to be 'learned', but it is 'sinusoidal_2d' instead"),
        ({"stem_norm": True}, "needs `stem_bias` to be False, but it is True instead"),
        ({"final_norm": True, "pool_norm": True}, "needs `final_norm` to be False, but it is True instead"),
    ],
)
def test_what_timm_is_not_is_not_saved(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    bundle = replace(tiny_bundle(), model=ViT(replace(PRESETS["tiny"], num_classes=7, dim=24, depth=1, **changes)))
    with pytest.raises(ModelError, match=f"the timm layout {message}"):
        save_bundle(bundle, tmp_path / "out", layout="timm")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "resize_to"),
    [({"crop_pct": 0.875}, 256), ({"crop_pct": 0.9}, 248), ({"crop_pct": 1.0}, 224), ({}, 248)]
    + [({"crop_pct": 0.9, "crop_mode": "squash"}, (248, 248)), ({"crop_pct": 1.0, "crop_mode": "squash"}, (224, 224))],
)
def test_preprocessing_from_config(settings: dict[str, Any], resize_to: Any, tmp_path: Path) -> None:
    colors = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}
    save_theirs(tmp_path / "theirs", pretrained_cfg={**colors, **settings})
    bundle = load_bundle(tmp_path / "theirs")
    assert bundle.preprocessing == ImagePreprocessing(
        size=(224, 224), resize_to=resize_to, interpolation="bilinear", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
    )
    save_bundle(bundle, tmp_path / "ours", layout="timm")
    assert load_bundle(tmp_path / "ours").preprocessing == bundle.preprocessing


def test_borders_are_refused(tmp_path: Path) -> None:
    save_theirs(tmp_path, pretrained_cfg={"crop_mode": "border"})
    with pytest.raises(ModelError, match="`crop_mode` must be squash, or center with a square input, but is border"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rescale": 1.0}, "needs `rescale` to be 1/255, but it is 1.0 instead"),
        ({"resize_to": 19}, r"has no way to say a resize to 19 for an input of \(15, 35\)"),
        ({"resize_to": (10, 35)}, r"has no way to say a resize to \(10, 35\) for an input of \(15, 35\)"),
    ],
)
def test_preprocessing_that_timm_cannot_say(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    bundle = tiny_bundle()
    bundle.preprocessing = replace(bundle.preprocessing, **changes)
    with pytest.raises(ModelError, match=f"the timm layout {message}"):
        save_bundle(bundle, tmp_path, layout="timm")


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"label_names": ["ant", "bee", "cow"]}, ("ant", "bee", "cow")),
        ({"label_names": {"0": "ant", "2": "cow"}}, ("ant", "1", "cow")),
        ({"label_names": ["n1", "n2", "n3"], "label_descriptions": {"n1": "ant", "n3": "cow"}}, ("ant", "n2", "cow")),
        ({}, ("0", "1", "2")),
    ],
)
def test_labels(config: dict[str, Any], labels: tuple[str, ...], tmp_path: Path) -> None:
    save_theirs(tmp_path, classes=3, **config)
    assert load_bundle(tmp_path).labels == labels


def test_labels_that_do_not_match(tmp_path: Path) -> None:
    save_theirs(tmp_path, classes=3, label_names=["ant", "bee"])
    with pytest.raises(ModelError, match=r"must have a label for each of 3 classes, but has 2 instead"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(("tag", "first"), [("augreg_in21k_ft_in1k", "tench, Tinca tinca"), ("mine", "0")])
def test_imagenet_labels_only_where_the_tag_says_so(tag: str, first: str, tmp_path: Path) -> None:
    save_theirs(tmp_path, classes=1000, tag=tag)
    bundle = load_bundle(tmp_path)
    assert bundle.labels[0] == first
    assert bundle.card == {"architecture": "vit_tiny_patch16_224", "tag": tag}


def test_older_exports_name_the_pooling_outside_the_arguments(tmp_path: Path) -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=7, embed_dim=24, depth=2, global_pool="avg")
    save_for_hf(model, tmp_path, safe_serialization=True)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert config["global_pool"] == "avg" and config["model_args"].pop("global_pool") == "avg"
    path.write_text(json.dumps(config))
    assert load_bundle(tmp_path).model.config.pool == "mean"


def test_an_architecture_timm_does_not_know(tmp_path: Path) -> None:
    save_theirs(tmp_path, architecture="vit_minuscule")
    with pytest.raises(ModelError, match=r"timm cannot build this model \(.*vit_minuscule"):
        load_bundle(tmp_path)
    save_theirs(tmp_path, model_args={"num_heads": 0})
    with pytest.raises(ModelError, match=r"timm cannot build this model \(.*modulo by zero"):
        load_bundle(tmp_path)
    save_theirs(tmp_path, model_args={"embed_dim": 24, "depth": 2, "num_heads": -2})
    with pytest.raises(
        ModelError, match="a model in the layout timm, but is .*`num_heads` must be at least 1, but is -2"
    ):
        load_bundle(tmp_path)
    save_theirs(tmp_path, model_args={"odd": 3})
    with pytest.raises(ModelError, match=r"timm cannot build this model \(.*odd"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("part", ["model_args", "pretrained_cfg"])
def test_a_part_that_is_no_object(part: str, tmp_path: Path) -> None:
    save_theirs(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), part: "x"}))
    with pytest.raises(ModelError, match=rf"config\.json: `{part}` must be an object, but is 'x' instead"):
        load_bundle(tmp_path)


def test_a_diff_is_in_the_keys_of_the_file(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_theirs(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["odd"] = state.pop("blocks.1.attn.qkv.bias")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ModelError) as caught:
        load_bundle(tmp_path)
    assert str(caught.value).splitlines()[1:] == ["  - blocks.1.attn.qkv.bias [72]", "  + odd [72]"]
