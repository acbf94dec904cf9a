"""Classifiers that are not softmax over red, green and blue, against transformers and timm: scores, labels, channels.

The pictures have the size of the model's input where scores are compared: transformers resizes tensors, and rounds at
other places.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import multiattn
from multiattn.errors import ModelError
from multiattn.inputs.channels import MODES, with_alpha
from multiattn.pipelines import ClassifyPipeline
from multiattn.weights import load_bundle, save_bundle
from tests.parity.random_weights import randomize
from tests.parity.test_transformers import save_theirs

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

SIDE = 35
# the changes of a configuration, our function, and what results say of their scores
HEADS = {
    "softmax": ({"num_labels": 5}, "softmax", "probability"),
    "stated softmax": (
        {"num_labels": 5, "problem_type": "single_label_classification"},
        "softmax",
        "probability",
    ),
    "multi-label": (
        {"num_labels": 5, "problem_type": "multi_label_classification"},
        "sigmoid",
        "independent probability",
    ),
    "one output": ({"num_labels": 1}, "sigmoid", "independent probability"),
    "one value": ({"num_labels": 1, "problem_type": "regression"}, "identity", "value"),
    "values": ({"num_labels": 3, "problem_type": "regression"}, "identity", "value"),
}


def picture(mode: str = "RGB", *, seed: int = 3, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (*size, len(mode)), dtype=np.uint8)
    return Image.fromarray(values[:, :, 0] if len(mode) == 1 else values)


def save_head(directory: Path, **changes: Any) -> torch.nn.Module:
    sizes = {"hidden_size": 14, "num_hidden_layers": 1, "intermediate_size": 13, "image_size": SIDE}
    return save_theirs(directory, **(sizes | changes))


@pytest.mark.parametrize("head", HEADS)
def test_scores_are_those_of_their_pipeline(head: str, tmp_path: Path) -> None:
    changes, function, kind = HEADS[head]
    theirs = save_head(tmp_path / "theirs", **changes)
    processor = transformers.ViTImageProcessor.from_pretrained(tmp_path / "theirs")
    reference = transformers.ImageClassificationPipeline(model=theirs, image_processor=processor)
    bundle = load_bundle(tmp_path / "theirs")
    assert bundle.score_function == function
    save_bundle(bundle, tmp_path / "ours", layout="hf-vit")
    classify = ClassifyPipeline(bundle, device="cpu")
    assert classify.score_kind == kind
    for seed in range(3):
        expected = reference(picture(seed=seed), top_k=5)
        result = classify(picture(seed=seed))
        assert [one.label for one in result.predictions] == [one["label"] for one in expected]
        assert [one.score for one in result.predictions] == pytest.approx([one["score"] for one in expected], abs=1e-5)
        assert result.to_dict().get("score_kind", "probability") == result.score_kind == kind
    expected = reference(picture(), top_k=5)
    theirs.config = transformers.ViTConfig.from_pretrained(tmp_path / "ours")
    assert reference(picture(), top_k=5) == expected


def test_one_label_out_of_one_is_refused_as_there(tmp_path: Path) -> None:
    save_head(tmp_path, num_labels=1)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace("{", '{"problem_type": "single_label_classification",', 1))
    with pytest.raises(ValueError, match="requires `num_labels > 1`"):
        transformers.ViTConfig.from_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match="`problem_type` must be multi_label_classification or regression for one label"
    ):
        load_bundle(tmp_path)


@pytest.mark.parametrize("mode", ["L", "RGBA"])
@pytest.mark.parametrize("normalize", [[0.45], 0.5, None], ids=str)
def test_channels_against_transformers(mode: str, normalize: Any, tmp_path: Path) -> None:
    channels = len(mode)
    theirs = save_head(tmp_path, num_labels=5, num_channels=channels)
    numbers = [0.5] * channels if normalize is None else [0.1 + 0.2 * i for i in range(channels)]
    processor = transformers.ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=numbers, image_std=numbers, resample=3
    )
    processor.save_pretrained(tmp_path)
    bundle = load_bundle(tmp_path)
    assert bundle.pictures.mean == pytest.approx(numbers)
    source = picture(mode, size=(61, 47))
    inputs = processor(source, return_tensors="pt").pixel_values
    opaque = source.convert("RGB") if mode == "L" else source
    torch.testing.assert_close(bundle.pictures(opaque)[0], inputs[0], rtol=0, atol=1e-5)
    source.save(tmp_path / "picture.png")
    result = ClassifyPipeline(bundle, device="cpu")(tmp_path / "picture.png", top_k=5)
    with torch.inference_mode():
        wanted = theirs(inputs).logits.softmax(-1)[0]
    assert {one.label: one.score for one in result.predictions} == pytest.approx(
        {theirs.config.id2label[i]: float(score) for i, score in enumerate(wanted)}, abs=1e-5
    )


def test_equal_numbers_for_three_channels_are_for_any_number(tmp_path: Path) -> None:
    """As the processors of transformers and timm have them by default, whatever the model's channels."""
    save_head(tmp_path, num_labels=5, num_channels=1)
    assert load_bundle(tmp_path).pictures.mean == (0.5,)
    size = {"height": SIDE, "width": SIDE}
    transformers.ViTImageProcessor(size=size, image_mean=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"`image_mean` must have a number for each of the model's 1 channels"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(("channels", "classes"), [(1, 3), (4, 1)])
@pytest.mark.filterwarnings("ignore")  # timm's own
def test_timm(channels: int, classes: int, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from timm.models import save_for_hf

    sizes = {"img_size": SIDE, "patch_size": 5, "embed_dim": 14, "depth": 1, "num_heads": 2, "mlp_ratio": 2.0}
    arguments = {**sizes, "in_chans": channels}
    theirs = randomize(timm.create_model("vit_tiny_patch16_224", num_classes=classes, **arguments), seed=5)
    theirs.pretrained_cfg = {**theirs.pretrained_cfg, "mean": (0.4, 0.5, 0.6), "crop_pct": 1.0}
    save_for_hf(theirs, tmp_path / "theirs", model_args=arguments, safe_serialization=True)
    classify = multiattn.load(tmp_path / "theirs", task="classify", device="cpu")
    assert classify.score_kind == ("probability" if classes > 1 else "independent probability")
    source = picture(MODES[channels], size=(61, 47))
    data = timm.data.resolve_input_data_config(theirs)
    transform = timm.data.create_transform(**data, is_training=False)
    with torch.inference_mode():
        logits = theirs(transform(source)[None])
    wanted = logits.softmax(-1)[0] if classes > 1 else logits.sigmoid()[0]
    result = classify(source, top_k=5)
    assert [one.score for one in result.predictions] == pytest.approx(sorted(wanted.tolist(), reverse=True), abs=1e-5)
    save_bundle(classify.bundle, tmp_path / "ours", layout="timm")
    again = timm.create_model(f"local-dir:{tmp_path / 'ours'}", pretrained=True).eval()
    with torch.inference_mode():
        torch.testing.assert_close(again(transform(source)[None]), logits, rtol=0, atol=1e-5)
    assert load_bundle(tmp_path / "ours").preprocessing == classify.bundle.preprocessing


def test_alpha_of_every_kind_of_source(tmp_path: Path) -> None:
    source = picture("RGBA")
    source.save(tmp_path / "a.png")
    opaque = Image.alpha_composite(Image.new("RGBA", source.size, (255,) * 4), source).convert("RGB")
    data = (tmp_path / "a.png").read_bytes()
    for one in (tmp_path / "a.png", str(tmp_path / "a.png"), data, source, np.asarray(source)):
        np.testing.assert_array_equal(np.asarray(with_alpha(one, opaque)), np.asarray(source))
    floats = with_alpha(np.asarray(source) / 255, opaque)
    np.testing.assert_array_equal(np.asarray(floats), np.asarray(source))
    for one in (opaque, np.asarray(opaque), torch.zeros(3, SIDE, SIDE), b"damaged"):
        np.testing.assert_array_equal(np.asarray(with_alpha(one, opaque)), np.asarray(opaque.convert("RGBA")))
