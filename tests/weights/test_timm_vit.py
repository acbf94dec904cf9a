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
        ("vit_base_patch16_siglip_gap_224", {"depth": 1, "global_pool": "prr"}, "attention pooling of type .*Prr"),
        ("vit_base_patch16_siglip_gap_224", {"depth": 1, "global_pool": "max"}, "max pooling"),
        ("vit_base_patch16_rpn_224", {"depth": 1}, "blocks of type ResPostBlock"),
        ("vit_small_patch16_18x2_224", {"depth": 1}, "blocks of type ParallelThingsBlock"),
        ("vit_tiny_patch16_224", {"depth": 0}, "no blocks"),
        ("vit_tiny_patch16_224", {"dynamic_img_pad": True}, "padding to whole patches"),
        ("vit_tiny_patch16_224", {"img_size": 230, "dynamic_img_size": True}, "a picture size of no whole patches"),
        ("vit_tiny_patch16_224", {"patch_size": (16, 8)}, "patches that are not square"),
        ("vit_tiny_patch16_224", {"act_layer": "tanh"}, "the activation Tanh"),
        ("vit_tiny_patch16_224", {"norm_layer": "groupnorm1"}, "norms of type GroupNorm1"),
        ("vit_tiny_patch16_224", {"embed_norm_layer": "rmsnorm"}, "norms of different types"),
        ("eva02_tiny_patch14_224", {"depth": 1, "rope_type": "mrope"}, "rotary positions of type RotaryEmbeddingMRope"),
        ("eva02_tiny_patch14_224", {"depth": 1, "use_post_norm": True}, "blocks of type EvaBlockPostNorm"),
        ("vit_pe_core_tiny_patch16_384", {"depth": 1, "global_pool": "avgmax"}, "avgmax pooling"),
        (
            "vit_pe_core_tiny_patch16_384",
            {"depth": 1, "swiglu_mlp": True},
            "attention pooling with another act.*",
        ),
        ("beit_base_patch16_224", {"depth": 1, "use_shared_rel_pos_bias": True}, "relative positions of the blocks.*"),
        ("vit_tiny_patch16_224", {"attn_layer": "diff"}, "attention of type DiffAttention"),
    ],
)
def test_what_ours_is_not_is_refused_by_name(architecture: str, arguments: dict[str, Any], feature: str) -> None:
    with pytest.raises(ModelError, match=rf"here: this timm model has (.*, )?{feature}(, .*)?, which is not supported"):
        structure(architecture, **arguments)


@pytest.mark.parametrize("architecture", ["vit_relpos_small_patch16_224", "samvit_base_patch16", "resnet18"])
def test_other_families_are_refused(architecture: str) -> None:
    with pytest.raises(ModelError, match=r"here: timm's \w+ is not supported, only its VisionTransformer"):
        structure(architecture)


ROTARY = {"positions": "rotary_2d", "rotary_pairs": "neighbors", "norm_eps": 1e-6}


@pytest.mark.parametrize(
    ("changes", "architecture"),
    [
        ({"rotary": "centered", "layer_scale": 0.1, **ROTARY}, "vit_small_patch16_rope_224"),
        ({"rotary_grid": (3, 5), **ROTARY}, "eva02_tiny_patch14_224"),
        ({"rotary_grid": (3, 5), **ROTARY, "norm_eps": 1e-5}, "vit_pe_core_tiny_patch16_384"),
        ({"gated": True, "activation": "silu"}, "vit_giant_patch14_dinov2"),
        ({"distilled": True}, "deit_tiny_distilled_patch16_224"),
        ({"positions": "none", "relative_bias": "shared", "pool": "mean"}, "beit_base_patch16_224"),
        ({"norm": "rms"}, "vit_base_patch16_224"),
        ({"norm": "rms", "num_kv_heads": (3, 1), "layer_scale": 0.1, **ROTARY}, "vit_base_patch16_sapiens2"),
    ],
)
def test_a_model_that_no_file_of_timm_was_read_for_has_an_architecture(
    changes: dict[str, Any], architecture: str
) -> None:
    config = replace(PRESETS["tiny"], depth=2, dim=24, mlp_dim=29, num_classes=5, **changes)
    assert write_structure(config)[0] == architecture


def test_a_bias_of_the_keys_that_matters_is_kept(tmp_path: Path) -> None:
    """With rotary positions it does not cancel: an architecture that has none is not what a trained one is saved as."""
    torch.manual_seed(0)
    with torch.device("meta"):
        theirs = timm.create_model(
            "vit_base_patch16_rope_reg1_gap_256", embed_dim=24, num_heads=3, depth=2, img_size=32
        )
    config = replace(read_structure(theirs, where="here"), num_classes=7)
    model = ViT(config).eval()
    bundle = replace(tiny_bundle(), model=model, card={"architecture": "vit_base_patch16_rope_reg1_gap_256"})
    bundle.preprocessing = replace(bundle.preprocessing, size=(32, 32), resize_to=(32, 32))
    images = torch.randn(2, 3, 32, 32)
    for architecture, start in (("vit_base_patch16_rope_reg1_gap_256", 0.0), ("vit_small_patch16_rope_224", 3.0)):
        with torch.no_grad():
            for block in model.blocks:
                torch.nn.init.normal_(block.attention.qkv.weight)
                block.attention.qkv.bias[24:48] = start
        save_bundle(bundle, tmp_path / architecture, layout="timm")
        assert json.loads((tmp_path / architecture / "config.json").read_text())["architecture"] == architecture
        torch.testing.assert_close(load_bundle(tmp_path / architecture).model(images), model(images))


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
