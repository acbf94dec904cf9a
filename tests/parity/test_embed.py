"""Embeddings against timm, transformers and sentence encoders, from files, through the real converters."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf

import multiattn
from multiattn.pipelines.embed_text import TextEmbedder
from multiattn.pipelines.embedder import load_embedder, reads_of
from tests.fixtures import draw, save_tiny_whisper
from tests.parity.picture_encoders import CASES
from tests.parity.random_weights import randomize
from tests.parity.test_bert import save_theirs as save_bert

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")


def close(found: object, wanted: torch.Tensor) -> None:
    assert wanted.std() > 0.1, "a comparison says little unless the values are of order 1"
    torch.testing.assert_close(torch.as_tensor(np.asarray(found)), wanted.float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["vit headless", "dinov2 headless", "dinov2 registers headless"])
@torch.inference_mode()
def test_headless_models_of_transformers(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    theirs = case.save(tmp_path)
    picture = draw(3, size=(35, 35))  # as large as the input: how each resizes is compared elsewhere
    processor = getattr(transformers, case.processor).from_pretrained(tmp_path)
    states = theirs(**processor(picture, return_tensors="pt")).last_hidden_state[0]
    first = len(states) - 49
    backbone = multiattn.load(tmp_path, task="classify", device="cpu")
    close(backbone.embed(picture), states[0])
    close(backbone.embed(picture, tokens="class"), states[0])
    close(backbone.embed(picture, tokens="mean"), states[first:].mean(dim=0))
    every = backbone.embed(picture, tokens="all")
    close(every, states[first:])
    assert every.grid == (7, 7)
    close(backbone.embed(picture, normalize=True), torch.nn.functional.normalize(states[0], dim=0))


@pytest.mark.parametrize("pool", ["token", "avg"])
@torch.inference_mode()
def test_timm_without_classes(pool: str, tmp_path: Path) -> None:
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2, global_pool=pool, weight_init="skip")
    theirs = randomize(theirs, seed=5)
    save_for_hf(theirs, tmp_path, safe_serialization=True)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs), is_training=False)
    images = transform(draw(5))[None]
    backbone = multiattn.load(tmp_path, task="classify", device="cpu")
    close(backbone.embed(draw(5)), theirs(images)[0])
    tokens = theirs.forward_features(images)[0]
    close(backbone.embed(draw(5), tokens="all"), tokens[1:])
    close(backbone.embed(draw(5), tokens="class"), tokens[0])


@torch.inference_mode()
def test_a_text_encoder_as_sentence_encoders_pool_it(tmp_path: Path) -> None:
    theirs = save_bert(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = ["a red fox", "a", "a red fox a red a fox"]
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    states, mask = theirs(**encoded).last_hidden_state, encoded["attention_mask"][..., None]
    wanted = (states * mask).sum(dim=1) / mask.sum(dim=1)
    embedder = TextEmbedder.load(tmp_path, device="cpu")
    for one, text, row in zip(embedder.embed(texts), texts, wanted, strict=True):
        assert one.text == text
        close(one, row)
    close(embedder.embed(texts, normalize=True), torch.nn.functional.normalize(wanted, dim=1))
    close(embedder.embed(texts, tokens="class"), states[:, 0])
    close(embedder.embed(texts[1], tokens="all"), states[1, :3])


@pytest.mark.parametrize("kind", ["WhisperForConditionalGeneration", "WhisperModel", "WhisperForAudioClassification"])
@torch.inference_mode()
def test_whispers_encoder(kind: str, tmp_path: Path) -> None:
    save_tiny_whisper(tmp_path)
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    if kind == "WhisperModel":
        theirs.model.save_pretrained(tmp_path)
    elif kind != "WhisperForConditionalGeneration":
        classifier = transformers.WhisperForAudioClassification(theirs.config)
        classifier.encoder.load_state_dict(theirs.model.encoder.state_dict())
        classifier.save_pretrained(tmp_path)
    prefixed = any(key.startswith("model.") for key in load_file(tmp_path / "model.safetensors"))
    assert prefixed == (kind == "WhisperForConditionalGeneration")
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(tmp_path)
    seconds = extractor.chunk_length + 1.3  # two windows
    samples = torch.randn(round(seconds * 16000), generator=torch.Generator().manual_seed(3)) * 0.1
    first = samples[: extractor.n_samples]
    windows = [
        extractor(one.numpy(), sampling_rate=16000, return_tensors="pt") for one in (first, samples[len(first) :])
    ]
    frames = [theirs.model.encoder(one.input_features).last_hidden_state[0] for one in windows]
    wanted = torch.cat([frames[0], frames[1][:65]])  # 1.3 s at 20 ms
    transcribe = load_embedder(tmp_path, device="cpu")
    assert reads_of(tmp_path) == ("audio",)
    every = transcribe.embed(samples, tokens="all", rate=16000)
    close(every, wanted)
    assert every.frame_seconds == pytest.approx(0.02)
    close(transcribe.embed(samples, rate=16000), wanted.mean(dim=0))
