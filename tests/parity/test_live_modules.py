"""Live modules of transformers, of every kind that is read: what is made of them is what is made of their files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import multiattn
from multiattn.errors import ModelError
from multiattn.weights import bundle_of, load_bundle
from tests.fixtures import draw
from tests.parity import blip_models, test_transformers, test_vilt, test_vit_gpt2, test_whisper_weights
from tests.parity.picture_encoders import CASES

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")

Make = Callable[[Path], nn.Module]

CLASSIFIERS = ("dinov2", "deit distilled", "beit", "clip")
HEADLESS = ("dinov2 giant headless", "dinov3", "siglip headless")
MAKERS: dict[str, Make] = {
    "ViTForImageClassification": test_transformers.save_theirs,
    "BlipForConditionalGeneration": lambda path: blip_models.save_theirs(path, "BlipForConditionalGeneration"),
    "BlipForQuestionAnswering": lambda path: blip_models.save_theirs(
        path, "BlipForQuestionAnswering", vision={"hidden_size": 26}
    ),
    "VisionEncoderDecoderModel": test_vit_gpt2.save_theirs,
    "ViltForQuestionAnswering": test_vilt.save_theirs,
    "WhisperForConditionalGeneration": test_whisper_weights.save_theirs,
    **{CASES[name].kind: CASES[name].save for name in (*CLASSIFIERS, *HEADLESS)},
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_live_module_is_what_its_files_are(name: str, tmp_path: Path) -> None:
    theirs = MAKERS[name](tmp_path)
    assert type(theirs).__name__ == name
    wanted, found = load_bundle(tmp_path), bundle_of(theirs.train(), processor=tmp_path)
    assert (found.task, found.layout, found.labels) == (wanted.task, wanted.layout, wanted.labels)
    assert found.config == wanted.config and found.preprocessing == wanted.preprocessing
    assert found.decoding == wanted.decoding and found.score_function == wanted.score_function
    read, shared = wanted.model.state_dict(), found.model.state_dict()
    assert all(torch.equal(tensor, read[key]) for key, tensor in shared.items())
    there = {tensor.data_ptr() for tensor in theirs.state_dict().values()}
    assert sum(tensor.data_ptr() in there for tensor in shared.values()) > len(shared) / 2
    assert all(part.training for part in theirs.modules()) and not found.model.training


def picture_or_recording(name: str) -> Any:
    if "Whisper" in name:
        return np.random.default_rng(3).normal(0, 0.1, 16_000).astype(np.float32)
    return draw(3)


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in {CASES[one].kind for one in HEADLESS}])
def test_every_task_is_explained(name: str, tmp_path: Path) -> None:
    theirs = MAKERS[name](tmp_path)
    options: dict[str, Any] = {"question": "a red fox"} if "Answering" in name else {}
    if name in ("BlipForConditionalGeneration", "VisionEncoderDecoderModel", "WhisperForConditionalGeneration"):
        options["max_tokens"] = 5
    source = picture_or_recording(name)
    found = multiattn.explain(theirs, source, processor=tmp_path, **options)
    pipeline = multiattn.load(tmp_path)
    inputs = [(source, options.pop("question"))] if "question" in options else [source]
    method = multiattn.registry.task_spec(pipeline.bundle.task).default_map_method
    (wanted,) = pipeline.stream(inputs, maps=method, **options)
    assert {**found.to_dict(), "file": None} == {**wanted.to_dict(), "file": None}
    assert len(found.maps) == len(wanted.maps)
    assert all(one.map.equals(other.map) for one, other in zip(found.maps, wanted.maps, strict=True))


def test_processors_are_taken_as_they_are(tmp_path: Path) -> None:
    """The objects of transformers in place of their files."""
    theirs = blip_models.save_theirs(tmp_path, "BlipForConditionalGeneration")
    images = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    words = transformers.BertTokenizer.from_pretrained(tmp_path)
    wanted = bundle_of(theirs, processor=tmp_path)
    for given in (
        {"processor": transformers.BlipProcessor(images, words)},
        {"processor": images, "tokenizer": words},
        {"processor": wanted.preprocessing, "tokenizer": wanted.tokenizer},
    ):
        found = bundle_of(theirs, **given)
        assert found.preprocessing == wanted.preprocessing
        text = "a red fox, jumping over the dog's wall"
        assert found.tokenizer.encode(text) == wanted.tokenizer.encode(text)
        assert found.tokenizer.decode(found.tokenizer.encode(text)) == wanted.tokenizer.decode(
            wanted.tokenizer.encode(text)
        )
    speaking = test_whisper_weights.save_theirs(tmp_path / "whisper")
    sound = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "whisper")
    wanted = bundle_of(speaking, processor=tmp_path / "whisper")
    found = bundle_of(speaking, processor=sound, tokenizer=wanted.tokenizer)
    assert found.preprocessing == wanted.preprocessing


def test_a_module_read_by_from_pretrained(tmp_path: Path) -> None:
    """Which renames tensors on loading."""
    theirs = test_transformers.save_theirs(tmp_path)
    again = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
    found = bundle_of(again, processor=tmp_path)
    images = torch.randn(2, 3, 35, 35, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        torch.testing.assert_close(found.model(images), theirs(images).logits, rtol=0, atol=1e-5)


def test_a_backbone_without_a_head(tmp_path: Path) -> None:
    config = transformers.ViTConfig(
        hidden_size=26, num_hidden_layers=2, num_attention_heads=2, intermediate_size=37, image_size=35, patch_size=5
    )
    theirs = transformers.ViTModel(config)
    pixels = torch.randn(1, 3, 35, 35, generator=torch.Generator().manual_seed(7))
    found = multiattn.explain(theirs, pixels)
    assert found.maps[0].map.method == "attention" and found.to_dict()["predictions"] == []
    with torch.inference_mode():
        theirs.eval().set_attn_implementation("eager")
        weights = theirs(pixels, output_attentions=True).attentions[-1]  # (1, heads, tokens, tokens)
    wanted = weights[0, :, 0, 1:].mean(0).unflatten(0, (7, 7))
    torch.testing.assert_close(torch.from_numpy(np.array(found.maps[0])), wanted, rtol=0, atol=1e-6)
    with pytest.raises(ModelError, match="`method` must be one of attention, .* for a ViTModel, which has no head"):
        multiattn.explain(theirs, pixels, method="relevance")


def test_what_is_not_supported_is_named() -> None:
    tiny = {"embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2]}
    swin = transformers.SwinForImageClassification(transformers.SwinConfig(**tiny))
    with pytest.raises(ModelError, match="SwinForImageC.*: a model of the type swin is not supported: it has windows"):
        bundle_of(swin)
    sizes = {"hidden_size": 26, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 37}
    yolos = transformers.YolosModel(transformers.YolosConfig(**sizes, image_size=[35, 35], patch_size=5))
    with pytest.raises(ModelError, match=r"YolosModel instead: the nearest is hf-vit \(24 of 26 .* no place for its"):
        bundle_of(yolos)
    masked = transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**sizes, image_size=35, patch_size=5))
    with pytest.raises(ModelError, match="`architectures` must be ViTFor.* or ViTModel, but is ViTForMaskedImage"):
        bundle_of(masked)
