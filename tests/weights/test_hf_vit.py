"""The HF ViT layout apart from the numbers, which tests/parity compares: preprocessing, labels, refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models.vit import ViT, ViTConfig
from multiattn.weights import load_bundle, save_bundle
from tests.fixtures import CONFIG, LABELS, tiny_bundle

PROCESSOR = {"do_resize": True, "size": 35, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 2}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_bundle(tiny_bundle(), tmp_path / "model", layout="hf-vit")
    return tmp_path / "model"


def change_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_config_in_their_words(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    wanted = {"hidden_size": 22, "image_size": [15, 35], "patch_size": 5, "hidden_act": "gelu", "layer_norm_eps": 1e-6}
    assert {key: config[key] for key in wanted} == wanted
    assert config["id2label"] == dict(zip("0123456", LABELS, strict=True))
    assert config["label2id"]["gnu"] == 6


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (PROCESSOR, {}),
        ({**PROCESSOR, "size": {"height": 35, "width": 45}}, {"size": (35, 45), "resize_to": (35, 45)}),
        ({**PROCESSOR, "resample": 3}, {"interpolation": "bicubic"}),
        ({**PROCESSOR, "do_normalize": False}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}),
        ({**PROCESSOR, "do_rescale": False}, {"rescale": 1.0}),
        ({**PROCESSOR, "do_rescale": True, "rescale_factor": 0.5}, {"rescale": 0.5}),
        (
            {
                **PROCESSOR,
                "size": {"shortest_edge": 41},
                "do_center_crop": True,
                "crop_size": {"height": 35, "width": 35},
            },
            {"resize_to": 41, "center": "floor"},
        ),
        (
            {**PROCESSOR, "size": 41, "do_center_crop": True, "crop_size": 35},
            {"resize_to": (41, 41), "center": "floor"},
        ),
        ({**PROCESSOR, "size": [35, 45]}, {"size": (35, 45), "resize_to": (35, 45)}),
        # padding has no effect on pictures of one size, and null is the class's default
        ({**PROCESSOR, "do_pad": True, "pad_size": None, "size_divisor": 32, "do_convert_rgb": None}, {}),
        ({**PROCESSOR, "image_processor_type": "ViTImageProcessorFast"}, {}),
        ({**PROCESSOR, "feature_extractor_type": "ViTFeatureExtractor"}, {}),
        (
            {**PROCESSOR, "image_processor_type": "CLIPFeatureExtractor", "size": 41, "crop_size": 35},
            {"resize_to": 41, "center": "floor"},  # one number is the shorter side there
        ),
        (
            {"image_processor_type": "DeiTImageProcessor", "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
            {"size": (224, 224), "resize_to": (256, 256), "interpolation": "bicubic", "center": "floor"},
        ),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_preprocessing_forms(processor: dict[str, Any], expected: dict[str, Any], nested: bool, saved: Path) -> None:
    if nested:
        (saved / "preprocessor_config.json").unlink()
        (saved / "processor_config.json").write_text(json.dumps({"image_processor": processor}))
    else:
        (saved / "preprocessor_config.json").write_text(json.dumps(processor))
    plain = ImagePreprocessing(
        size=(35, 35), resize_to=(35, 35), interpolation="bilinear", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
    )
    assert load_bundle(saved).preprocessing == replace(plain, **expected)


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ({**PROCESSOR, "do_resize": False}, "`do_resize` must be True, but is False instead"),
        ({**PROCESSOR, "pad_size": {"height": 9, "width": 9}}, "`pad_size` must be one of crop_size, .* remove it if"),
        ({**PROCESSOR, "crop_pct": 0.9}, "`crop_pct` must be one of .*, or change nothing, but is 0.9 instead"),
        ({**PROCESSOR, "offset": True}, "`offset` must be one of .*, or change nothing, but is True instead"),
        ({**PROCESSOR, "auto_map": {}}, "`auto_map` must be one of .*, or change nothing, but is {} instead"),
        (
            {**PROCESSOR, "image_processor_type": "VivitImageProcessor"},
            "`image_processor_type` must be one of ViTImageProcessor, .*, but is 'VivitImageProcessor' instead",
        ),
        (
            {**PROCESSOR, "feature_extractor_type": "ConvNextFeatureExtractor"},
            "`feature_extractor_type` must be one of",
        ),
        ({**PROCESSOR, "image_processor_type": 3}, "`image_processor_type` must be the name of a class, but is 3"),
        ({**PROCESSOR, "size": {"shortest_edge": 41, "longest_edge": 50}}, "`size` must be a height and width or a"),
        ({**PROCESSOR, "size": 10**9}, "each from 1 to 8192 pixels, but is 1000000000 instead"),
        ({**PROCESSOR, "size": {"height": 35.5, "width": 35}}, "each from 1 to 8192 pixels, but is {'height': 35.5"),
        ({**PROCESSOR, "size": {"height": 0, "width": 35}}, "each from 1 to 8192 pixels, but is"),
        ({**PROCESSOR, "size": True}, "each from 1 to 8192 pixels, but is True instead"),
        ({**PROCESSOR, "do_center_crop": True, "crop_size": {"height": 10**9, "width": 5}}, "`crop_size` must be a"),
        ({**PROCESSOR, "do_center_crop": "yes"}, "`do_center_crop` must be true or false, but is 'yes' instead"),
        ({**PROCESSOR, "resample": True}, "`resample` must be one of .*, but is True instead"),
        ({**PROCESSOR, "resample": "bicubic"}, "`resample` must be one of .*, but is 'bicubic' instead"),
        ({**PROCESSOR, "image_std": [0.5, 0, 0.5]}, "`std` must be from a millionth to a million, but is"),
        ({**PROCESSOR, "image_mean": [1e300, 0, 0]}, "`mean` must be at most a million, but is"),
        ({**PROCESSOR, "image_mean": "0.5"}, "`image_mean` must be a number or a list of numbers, but is '0.5'"),
        ({**PROCESSOR, "rescale_factor": "1/255"}, "`rescale_factor` must be a number or a list of numbers, but is"),
        (
            {**PROCESSOR, "size": {"shortest_edge": 41}},
            "`size` must have a height and a width where nothing is cropped",
        ),
        ({**PROCESSOR, "size": {"longest_edge": 41}}, "`size` must be a height and width or a shortest_edge"),
        ({**PROCESSOR, "resample": 5}, "`resample` must be one of .*, but is 5 instead"),
        ({**PROCESSOR, "image_mean": [0.5, 0.4]}, "`image_mean` must have a number for each of the model's 3 channels"),
        ({**PROCESSOR, "image_mean": [0.5, "a", 0.4]}, "`image_mean` must be a number or a list of numbers"),
    ],
)
def test_preprocessing_that_ours_is_not(processor: dict[str, Any], message: str, saved: Path) -> None:
    (saved / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ModelError, match=message):
        load_bundle(saved)


def test_no_preprocessing_at_all(saved: Path) -> None:
    (saved / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"has no preprocessor_config\.json"):
        load_bundle(saved)
    (saved / "processor_config.json").write_text("{}")
    with pytest.raises(ModelError, match="must describe an `image_processor`, but does not"):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architectures": ["ViTForMaskedImageModeling"]},
            "`architectures` must be ViTForImageClassification or ViTModel",
        ),
        ({"hidden_act": "mish"}, "`hidden_act` must be one of gelu, .*, but is mish instead"),
        ({"patch_size": [5, 7]}, r"`patch_size` must be square, but is \[5, 7\] instead"),
        ({"hidden_size": "22"}, "`dim` must be int, but is '22' instead"),
        ({"num_attention_heads": 3}, "`dim` must be a multiple of `num_heads`"),
        ({"id2label": {"0": "ant", "2": "cow"}}, "`id2label` must have all of 0 to 1, but lacks '1' instead"),
        ({"id2label": ["ant", "cow"]}, r"`id2label` must be an object, but is \['ant', 'cow'\] instead"),
        ({"id2label": None}, r"- classifier\.bias \[2\]\n  \+ classifier\.bias \[7\]"),
    ],
)
def test_a_config_that_ours_is_not(changes: dict[str, Any], message: str, saved: Path) -> None:
    change_config(saved, **changes)
    with pytest.raises(ModelError, match=message):
        load_bundle(saved)


def test_one_number_for_both_sides(saved: Path) -> None:
    change_config(saved, patch_size=[5, 5])
    assert load_bundle(saved).model.config == CONFIG


def test_a_diff_is_in_the_keys_of_the_file(saved: Path) -> None:
    state = load_file(saved / "model.safetensors")
    del state["vit.encoder.layer.1.attention.attention.key.weight"]
    state["vit.pooler.dense.weight"] = state["vit.layernorm.bias"].clone()  # an intended drop: no line for it
    save_file(state, saved / "model.safetensors")
    with pytest.raises(ModelError) as caught:
        load_bundle(saved)
    assert str(caught.value).splitlines()[1:] == ["  - vit.encoder.layer.1.attention.attention.key.weight [22, 22]"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_registers": 3}, "`num_registers` to be 0, but it is 3 instead"),
        ({"layer_scale": 0.1}, "`layer_scale` to be None, but it is 0.1 instead"),
        ({"pool": "mean"}, "`pool` to be 'class', but it is 'mean' instead"),
        ({"positions": "sinusoidal"}, "`positions` to be 'learned', but it is 'sinusoidal' instead"),
    ],
)
def test_what_theirs_is_not_is_not_saved(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    bundle = replace(tiny_bundle(), model=ViT(replace(CONFIG, **changes)))
    with pytest.raises(ModelError, match=f"the hf-vit layout needs {message}"):
        save_bundle(bundle, tmp_path / "out", layout="hf-vit")
    assert not (tmp_path / "out").exists()


def test_a_backbone_is_saved_without_a_prefix(tmp_path: Path) -> None:
    headless = ViT(ViTConfig(**{**vars(CONFIG), "num_classes": 0}))
    save_bundle(replace(tiny_bundle(), model=headless, labels=()), tmp_path, layout="hf-vit")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["ViTModel"] and "id2label" not in config
    assert "embeddings.cls_token" in load_file(tmp_path / "model.safetensors")
    assert load_bundle(tmp_path).model.config == headless.config
