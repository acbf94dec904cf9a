"""The texts that `evaluate maps` and `evaluate heads` explain are those of the match pipeline, with its maps."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from multiattn.errors import InputError, ModelError
from multiattn.maps.randomization import randomized_models
from multiattn.pipelines import MatchPipeline
from multiattn.pipelines.explained_texts import TextExplainer
from tests.fixtures import save_drawing, tiny_blip_matcher_bundle, tiny_match_bundle

PICTURES = 23


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for seed in range(PICTURES):
        save_drawing(folder / "validation" / f"{seed}.png", seed)
        rows.append({"file_name": f"{seed}.png", "texts": [f"fox number {seed % 21}", "another"]})
    (folder / "validation" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_what_is_explained_is_what_the_pipeline_explains(scores, data, monkeypatch) -> None:
    monkeypatch.setattr("multiattn.pipelines.explained_texts.LIKELY", 0.0)  # a random model is sure of nothing
    explainer = TextExplainer(tiny_match_bundle(scores), device=torch.device("cpu"))
    one = explainer.read(str(data), "validation")[22]
    # of every second picture from the last on, beginning again at 1; pictures 22 and 1 have the same text, which is one
    assert one.texts == tuple(f"fox number {n}" for n in (1, 3, 5, 7, 9, 11, 13, 15, 17))
    explained = explainer(one, random.Random(0))
    assert explained is not None and explained.explain_second is not None
    match = MatchPipeline(tiny_match_bundle(scores), device="cpu")
    ranked = sorted(match(one.picture, one.texts).matches, key=lambda found: -found.score)
    for fits, made in zip(ranked, (explained.explain, explained.explain_second), strict=False):
        shown = match(one.picture, one.texts, maps="relevance", target=fits.text).maps[0]
        np.testing.assert_allclose(made(explainer.model, "relevance"), shown.map.values, atol=1e-6)
    assert explained.masked.whole == pytest.approx(ranked[0].score, abs=1e-6)
    *_, without = randomized_models(explainer.model)
    assert not np.allclose(explained.explain(without, "relevance"), explained.explain(explainer.model, "relevance"))


def test_a_text_that_hardly_fits_is_left_out(data) -> None:
    explainer = TextExplainer(tiny_match_bundle(), device=torch.device("cpu"))
    assert explainer(explainer.read(str(data), "validation")[0], random.Random(0)) is None


def test_heads_are_scored_on_the_text(data) -> None:
    explainer = TextExplainer(tiny_match_bundle("sigmoid"), device=torch.device("cpu"))
    one = explainer.read(str(data), "validation")[5]
    prediction = explainer.tapped(one)
    assert prediction is not None
    best = max(MatchPipeline(tiny_match_bundle("sigmoid"), device="cpu")(one.picture, one.texts).scores)
    with torch.no_grad():  # log-odds
        assert float(prediction.score(explainer.model, None).sigmoid()) == pytest.approx(best, abs=1e-6)


def test_what_cannot_be_explained(data, tmp_path) -> None:
    with pytest.raises(
        ModelError, match="must be a model of two towers, such as CLIP or SigLIP, but is a BLIP for mat"
    ):
        TextExplainer(tiny_blip_matcher_bundle(), device=torch.device("cpu"))
    save_drawing(tmp_path / "validation" / "1.png", 1)
    (tmp_path / "validation" / "metadata.jsonl").write_text(json.dumps({"file_name": "1.png", "text": "a fox"}))
    with pytest.raises(InputError, match="there must be two pictures with different texts, but are none: give more"):
        TextExplainer.read(str(tmp_path), "validation")
