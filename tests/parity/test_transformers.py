"""Ours against transformers' ViTForImageClassification, through the real converter and on real pictures."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.weights import load_bundle, save_bundle
from multiattn.weights.hf_pictures import PROCESSORS, read_preprocessing
from multiattn.weights.model_files import ModelFiles
from tests.fixtures import draw
from tests.parity.random_weights import randomize

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

PROJECT = Path(__file__).parents[2]
PUBLISHED = PROJECT / "../shared/data/vit-tiny-tinyimagenet"
CIFAR = PROJECT / ".data/cifar10/validation"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()


def save_theirs(directory: Path, **changes: object) -> torch.nn.Module:
    """A random model of theirs, saved with its processor as they save it."""
    fields = {
        "hidden_size": 26,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 37,
        "image_size": 35,
        "patch_size": 5,
        "num_labels": 11,
    }
    config = transformers.ViTConfig(**{**fields, **changes})
    model = randomize(transformers.ViTForImageClassification(config), seed=13)
    model.save_pretrained(directory)
    side = config.image_size if isinstance(config.image_size, list) else [config.image_size] * 2
    processor = transformers.ViTImageProcessor(size={"height": side[0], "width": side[1]}, resample=3)
    processor.save_pretrained(directory)
    return model


@torch.inference_mode()
def largest_difference(ours: torch.nn.Module, theirs: torch.nn.Module, size: tuple[int, int]) -> float:
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(7))
    wanted = theirs(images).logits
    assert 0.3 < wanted.std() < 3, "a comparison of logits says little unless they are of order 1"
    return float((ours(images) - wanted).abs().max())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qkv_bias": False},
        {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
        {"hidden_act": "gelu_new"},
        {"image_size": [35, 55]},
    ],
    ids=str,
)
def test_transformers_loads_and_saves_back(changes: dict, tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs", **changes)
    bundle = load_bundle(tmp_path / "theirs")
    size = bundle.model.config.image_size
    assert bundle.layout == "hf-vit" and len(bundle.labels) == 11
    assert largest_difference(bundle.model, theirs, size) <= 1e-5

    save_bundle(bundle, tmp_path / "ours", layout="hf-vit")
    again, report = transformers.ViTForImageClassification.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float32
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert again.config.id2label == theirs.config.id2label
    assert largest_difference(bundle.model, again.eval(), size) <= 1e-5
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "ours")
    assert (processor.size["height"], processor.size["width"]) == size


def test_base_size(tmp_path: Path) -> None:
    """Google's ViT-B/16 with four of its blocks: the widths that people use."""
    sizes = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "image_size": 224}
    theirs = save_theirs(tmp_path, **sizes, patch_size=16, num_hidden_layers=4)
    assert largest_difference(load_bundle(tmp_path).model, theirs, (224, 224)) <= 1e-5


def test_backbone_without_classifier(tmp_path: Path) -> None:
    """A pre-trained `ViTModel` is a start for fine-tuning; its pooler is not used."""
    config = transformers.ViTConfig(
        hidden_size=26,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        image_size=35,
        patch_size=5,
    )
    theirs = randomize(transformers.ViTModel(config), seed=17)
    theirs.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 35, "width": 35}).save_pretrained(tmp_path)
    bundle = load_bundle(tmp_path)
    assert bundle.labels == () and bundle.model.config.num_classes == 0
    images = torch.randn(2, 3, 35, 35, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        wanted = theirs(images).last_hidden_state
        torch.testing.assert_close(bundle.model.features(images), wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(bundle.model(images), wanted[:, 0], rtol=0, atol=1e-5)


def test_crop_is_saved_for_transformers(tmp_path: Path) -> None:
    from dataclasses import replace

    save_theirs(tmp_path / "theirs")
    bundle = load_bundle(tmp_path / "theirs")
    bundle.preprocessing = replace(bundle.preprocessing, resize_to=41, center="floor")
    save_bundle(bundle, tmp_path / "ours", layout="hf-vit")
    assert load_bundle(tmp_path / "ours").preprocessing == bundle.preprocessing
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "ours")
    picture = Image.linear_gradient("L").convert("RGB").resize((97, 61))
    theirs = processor(picture, return_tensors="pt").pixel_values[0]
    # they resize tensors, we resize pictures: the same filter, rounded at other places
    torch.testing.assert_close(bundle.preprocessing(picture)[0], theirs, rtol=0, atol=2.1 / 255 / 0.5)


def real_pictures() -> dict[str, Image.Image]:
    data = pytest.importorskip("skimage.data", reason="the photographs are in the `demo` extra")
    pictures = {name: Image.fromarray(getattr(data, name)()) for name in ("cat", "coffee", "astronaut", "rocket")}
    for path in sorted(CIFAR.glob("*/*.jpg"))[::971]:  # a handful, spread over the classes
        pictures[f"{path.parent.name}/{path.name}"] = Image.open(path).convert("RGB")
    return pictures


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs ../shared/data/vit-tiny-tinyimagenet")
def test_published_weights_on_real_pictures() -> None:
    bundle = load_bundle(PUBLISHED)
    theirs = transformers.ViTForImageClassification.from_pretrained(PUBLISHED, dtype=torch.float32).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(PUBLISHED)
    pictures = real_pictures()
    own_input = torch.stack([bundle.preprocessing(picture)[0] for picture in pictures.values()])
    with torch.inference_mode():
        ours = bundle.model(own_input)
        assert (ours - theirs(own_input).logits).abs().max() <= 1e-5
        their_input = processor(list(pictures.values()), return_tensors="pt")
        wanted = theirs(**their_input).logits.softmax(-1)
    for name, mine, yours in zip(pictures, ours.softmax(-1), wanted, strict=True):
        top = int(yours.argmax())
        assert int(mine.argmax()) == top, name
        assert bundle.labels[top] == theirs.config.id2label[top]
        assert (mine - yours).abs().max() < 0.02, name


@pytest.mark.parametrize("kind", PROCESSORS)
def test_every_class_of_processor_prepares_as_theirs(kind: str, tmp_path: Path) -> None:
    """With the defaults of its class, as its file states them, and where the file states its name alone."""
    theirs = getattr(transformers, f"{kind}Pil", getattr(transformers, kind))()
    theirs.save_pretrained(tmp_path)
    picture = draw(3, size=(301, 207))
    wanted = torch.from_numpy(np.asarray(theirs(picture)["pixel_values"][0]))
    ours = read_preprocessing(ModelFiles(tmp_path))
    # DINOv3's resizes numbers of any size, and ours pictures, whose values are whole: one of 255 steps apart at most
    step = 1 / 255 / min(ours.std) if kind.startswith("DINOv3") else 0.0
    assert (ours(picture)[0] - wanted).abs().max() <= step + 1e-5
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind}))
    assert read_preprocessing(ModelFiles(tmp_path)) == ours
