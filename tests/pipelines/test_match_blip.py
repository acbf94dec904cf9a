"""BLIP as a matcher of pictures and texts: the model, and the pipeline over it."""

from pathlib import Path

import numpy as np
import pytest
import torch

import multiattn
from multiattn.attention import Tap
from multiattn.errors import InputError, ModelError
from multiattn.pipelines import BlipMatchPipeline
from multiattn.weights import load_bundle, save_bundle
from tests.fixtures import draw, tiny_blip_matcher_bundle

TEXTS = ("a red square above a blue disc", "two rings", "the fox jumps over an old wall")


@pytest.fixture
def pipeline() -> BlipMatchPipeline:
    return BlipMatchPipeline(tiny_blip_matcher_bundle(), device="cpu")


def test_scores_are_those_of_each_pair_by_itself(pipeline: BlipMatchPipeline) -> None:
    model, text = pipeline.bundle.model, pipeline.bundle.config.text
    pictures = [draw(3), draw(4)]
    results = pipeline(pictures, TEXTS)
    for picture, result in zip(pictures, results, strict=True):
        pixels = pipeline.bundle.pictures(picture)[0][None]
        for wanted, found in zip(TEXTS, result.matches, strict=True):
            tokens = torch.tensor([text.framed(pipeline.bundle.vocabulary.encode(wanted))])
            with torch.inference_mode():
                score = model(pixels, tokens).sigmoid().item()
                cosine = (model.encode_pictures(pixels) @ model.encode_texts(tokens).T).item()
            assert found.text == wanted
            assert found.score == pytest.approx(score, abs=1e-6) and found.similarity == pytest.approx(cosine, abs=1e-6)
        assert result.score_kind == "independent probability"
        assert result.best.score == max(result.scores)
    assert np.ptp([result.scores for result in results], axis=0).max() > 0.01, "the picture must count"


def test_many_texts_are_read_in_parts(pipeline: BlipMatchPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = pipeline([draw(3), draw(4)], TEXTS)
    monkeypatch.setattr("multiattn.pipelines.match_blip._PAIRS", 2)
    found = pipeline([draw(3), draw(4)], TEXTS)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)


def test_embeddings_and_similarities_agree(pipeline: BlipMatchPipeline) -> None:
    texts = pipeline.embed_texts(TEXTS)
    (picture,) = pipeline.embed([draw(3)])
    assert np.linalg.norm(texts, axis=1) == pytest.approx(1, abs=1e-5)
    (found,) = pipeline.similarities([draw(3)], texts=pipeline.encode_texts(TEXTS))
    np.testing.assert_allclose(found.values, texts @ picture.values, atol=1e-6)
    assert [one.similarity for one in pipeline(draw(3), TEXTS).matches] == pytest.approx(
        found.values.tolist(), abs=1e-6
    )


def test_our_layout_keeps_it_and_load_makes_its_pipeline(pipeline: BlipMatchPipeline, tmp_path: Path) -> None:
    save_bundle(pipeline.bundle, tmp_path)
    assert load_bundle(tmp_path).config == pipeline.bundle.config
    loaded = multiattn.load(tmp_path, device="cpu")
    assert type(loaded) is BlipMatchPipeline
    assert loaded(draw(3), TEXTS).scores == pipeline(draw(3), TEXTS).scores


def test_what_it_does_not_do(pipeline: BlipMatchPipeline) -> None:
    with pytest.raises(ModelError, match="`maps`, `check` and `target` must be left out for tiny, a BLIP for matching"):
        pipeline.stream([draw(3)], texts=TEXTS, maps="attention")
    with pytest.raises(
        ModelError, match="tiny must be a model of two towers .* to classify by labels of your own, but"
    ):
        pipeline.zero_shot(["a cat", "a dog"])
    with pytest.raises(InputError, match="`texts` must have at least one text"):
        pipeline(draw(3), [])


@torch.no_grad()
def test_the_tap_captures_every_site_and_changes_nothing() -> None:
    model = tiny_blip_matcher_bundle().model
    images = torch.randn(2, 3, 35, 35, generator=torch.Generator().manual_seed(7))
    tokens = torch.randint(3, 90, (3, 7), generator=torch.Generator().manual_seed(3))
    tap = Tap(model.attention_sites((35, 35), tokens=7))
    assert torch.equal(model(images, tokens, tap=tap), model(images, tokens))
    assert len(tap.weights) == 3 + 2 * 3
    for site in model.attention_sites((35, 35), tokens=7):
        assert tap.weights[site.name].shape[1:] == (site.num_heads, site.q_len, site.k_len), site.name
    # pictures with the same texts differ, and rows are distributions
    cross = tap.weights["text.blocks.1.cross"]
    torch.testing.assert_close(cross.sum(-1), torch.ones(cross.shape[:-1]))
    assert not torch.allclose(cross[:3], cross[3:])
