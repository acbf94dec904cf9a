"""Pictures, texts and recordings as vectors: what the embeddings are made of, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import multiattn
from multiattn.errors import InputError, ModelError
from multiattn.inputs import Tokenizer
from multiattn.models import ViT
from multiattn.models.text_encoder import TextEncoder, TextEncoderConfig
from multiattn.pipelines import (
    AnswerPipeline,
    CaptionPipeline,
    ClassifyPipeline,
    Embedding,
    Failure,
    TranscribePipeline,
)
from multiattn.pipelines.embed_text import TextEmbedder, TextInput
from multiattn.pipelines.embedding import check_tokens
from tests.fixtures import (
    CONFIG,
    SENTENCES,
    draw,
    save_drawing,
    tiny_answer_bundle,
    tiny_bundle,
    tiny_caption_bundle,
    tiny_speech_bundle,
)


def features(pipeline: ClassifyPipeline | CaptionPipeline) -> torch.Tensor:
    """The tokens of one picture, computed by the model itself."""
    pixels, _ = pipeline.bundle.pictures(draw(3))
    with torch.inference_mode():
        return pipeline.vision.features(pixels[None])[0]


def text_embedder(max_length: int = 41) -> TextEmbedder:
    tokenizer = Tokenizer.train(SENTENCES, kind="bpe", vocab_size=83)
    config = TextEncoderConfig(
        vocab_size=83,
        dim=26,
        depth=2,
        num_heads=2,
        mlp_dim=37,
        max_length=max_length,
        context_dim=None,
        start_token=1,
        end_token=2,
    )
    torch.manual_seed(3)
    return TextEmbedder(TextEncoder(config), tokenizer, device="cpu")


def test_the_tokens_of_a_picture(classify: ClassifyPipeline) -> None:
    states = features(classify)
    assert np.allclose(classify.embed(draw(3)), states[0], atol=1e-6)  # the head reads the class token
    assert np.allclose(classify.embed(draw(3), tokens="class"), states[0], atol=1e-6)
    assert np.allclose(classify.embed(draw(3), tokens="mean"), states[1:].mean(dim=0), atol=1e-6)
    every = classify.embed(draw(3), tokens="all")
    assert np.allclose(every, states[1:], atol=1e-6)
    assert every.grid == (3, 7) and every.values.dtype == np.float32
    unit = classify.embed(draw(3), tokens="all", normalize=True)
    assert np.allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)


def test_what_a_classifier_embeds_is_what_its_head_reads() -> None:
    bundle = tiny_bundle()
    config = replace(CONFIG, pool="mean", pool_norm=True, final_norm=False)
    torch.manual_seed(5)
    pipeline = ClassifyPipeline(replace(bundle, model=ViT(config)), device="cpu")
    found = torch.from_numpy(np.asarray(pipeline.embed(draw(3))))
    scores = pipeline.vision.head(found).softmax(dim=0)  # type: ignore[misc]
    best = pipeline(draw(3)).predictions
    assert [one.score for one in best] == pytest.approx(scores.sort(descending=True).values[: len(best)].tolist())


def test_captioners_and_answerers_embed_by_their_encoder() -> None:
    caption = CaptionPipeline(tiny_caption_bundle(), device="cpu")
    assert np.allclose(caption.embed(draw(3), tokens="all"), features(caption)[1:], atol=1e-6)
    answer = AnswerPipeline(tiny_answer_bundle(), device="cpu")
    assert answer.embed(draw(3)).values.shape == (CONFIG.dim,)


def test_the_frames_of_a_recording() -> None:
    pipeline = TranscribePipeline(tiny_speech_bundle(), device="cpu")
    rate = pipeline.bundle.sound.sample_rate
    samples = torch.randn(rate, generator=torch.Generator().manual_seed(3))
    every = pipeline.embed(samples, tokens="all")
    frames = pipeline.speech.model.encoder.frames(pipeline.bundle.sound.frames(rate))
    assert every.values.shape == (frames, pipeline.speech.model.config.encoder.dim)
    assert np.allclose(pipeline.embed(samples), every.values.mean(axis=0), atol=1e-5)
    with pytest.raises(ModelError, match="`tokens` must be one of pooled, mean, all, but is 'class' instead"):
        pipeline.embed(samples, tokens="class")
    with pytest.raises(InputError, match="must have at least one sample"):
        pipeline.embed(torch.zeros(0))


def test_a_list_has_a_failure_for_what_cannot_be_used(classify: ClassifyPipeline, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    whole = save_drawing(tmp_path / "whole.png", 3)
    first, second, third = classify.embed([whole, broken, whole], batch_size=2)
    assert isinstance(first, Embedding) and isinstance(third, Embedding) and isinstance(second, Failure)
    assert np.array_equal(first, third) and first.file == str(whole)
    with pytest.raises(InputError, match="broken.jpg"):
        classify.embed(broken)


def test_an_embedding_as_json_gives_its_float32_back(classify: ClassifyPipeline) -> None:
    one = classify.embed(draw(3), tokens="all")
    record = json.loads(json.dumps(one.to_dict()))
    assert record.keys() == {"file", "grid", "embedding"}
    assert np.array_equal(np.array(record["embedding"], dtype=np.float32), one.values)
    with pytest.raises(InputError, match="an embedding has no maps"):
        one.save_html("page.html")


def test_texts_are_padded_and_cut(tmp_path: Path) -> None:
    embedder = text_embedder()
    alone = [embedder.embed(text) for text in SENTENCES]
    together = embedder.embed(list(SENTENCES), batch_size=3)
    assert np.allclose(np.stack(alone), np.stack(together), atol=1e-6)
    assert all(one.remark is None for one in alone)
    long = " ".join(SENTENCES)
    count = len(embedder.tokenizer.encode(long)) + 2
    cut = embedder.embed(TextInput(long, "texts.txt:3"))
    assert cut.remark == f"has {count} tokens, of which the first 40 and the last one are used"
    assert cut.file == "texts.txt:3" and cut.to_dict()["text"] == long
    exact = text_embedder(max_length=count)
    assert exact.embed(long).remark is None
    assert np.allclose(exact.embed(long, tokens="all").values.shape, (count, 26))


def test_a_backbone_embeds_and_does_not_classify(tmp_path: Path) -> None:
    bundle = replace(tiny_bundle(labels=()), model=ViT(replace(CONFIG, num_classes=0)))
    backbone = ClassifyPipeline(bundle, device="cpu")
    assert backbone.embed(draw(3)).values.shape == (CONFIG.dim,)
    with pytest.raises(ModelError, match="tiny must have labels to classify, .* `multiattn embed` gives its features"):
        backbone(draw(3))
    with pytest.raises(ModelError, match="`tokens` must be one of pooled, class, mean, all, but is 'first' instead"):
        check_tokens("first")
    plain = replace(CONFIG, num_classes=0, class_token=False, pool="mean")
    with pytest.raises(ModelError, match="tiny must have a class token for `tokens` class, but has none"):
        ClassifyPipeline(replace(bundle, model=ViT(plain)), device="cpu").embed(draw(3), tokens="class")


def test_the_shipped_models_embed() -> None:
    found = multiattn.load("classify", device="cpu").embed(draw(3), normalize=True)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
