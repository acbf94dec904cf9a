"""The match pipeline: its scores are the model's, and labels of one's own make a classifier."""

import numpy as np
import pytest
import torch

import multiattn
from multiattn.alignment.replay import word_labels
from multiattn.errors import InputError, ModelError
from multiattn.export import load_map
from multiattn.maps.lrp import PropagationRules
from multiattn.models import TwoTowers, ViT
from multiattn.pipelines import ClassifyPipeline, Failure, MatchPipeline
from tests.fixtures import draw, save_tiny_matcher, tiny_bundle, tiny_match_bundle

TEXTS = ["a red square", "two green rings near a tree", "the sky"]


@pytest.fixture(scope="module", params=["softmax", "sigmoid"])
def match(request) -> MatchPipeline:
    return MatchPipeline(tiny_match_bundle(request.param), device="cpu")


def logits_of(pipeline: MatchPipeline, picture, texts: list[str]) -> torch.Tensor:
    """The logits of one picture, each text encoded alone."""
    bundle = pipeline.bundle
    model = bundle.require(TwoTowers)
    pixels, _ = bundle.pictures(picture)
    config = model.config.text
    with torch.inference_mode():
        found = [model(pixels[None], torch.tensor([config.framed(bundle.vocabulary.encode(text))])) for text in texts]
    return torch.cat(found, dim=1)[0]


def test_scores_are_those_of_the_model(match: MatchPipeline) -> None:
    results = match([draw(3), draw(5)], TEXTS)
    for seed, result in zip((3, 5), results, strict=True):
        logits = logits_of(match, draw(seed), TEXTS)
        if match.score_kind == "probability":
            expected = logits.softmax(0)
        else:
            expected = logits.sigmoid()
        assert result.scores == pytest.approx(expected.tolist(), abs=1e-5)
        assert [one.text for one in result.matches] == TEXTS
        assert result.best.text == TEXTS[int(logits.argmax())]
        assert all(-1 <= one.similarity <= 1 for one in result.matches)
    assert results[0].scores != results[1].scores
    one = match(draw(3), TEXTS)
    assert one.scores == pytest.approx(results[0].scores, abs=1e-6)
    assert one.to_dict()["texts"][0] == {
        "text": "a red square",
        "score": one.scores[0],
        "similarity": one.matches[0].similarity,
    }
    assert ("score_kind" in one.to_dict()) == (match.score_kind == "independent probability")


def test_labels_are_put_into_the_template(match: MatchPipeline) -> None:
    found = match.classify(draw(3), ["fox", "tree", "wall"], template="a very small {}", top_k=2)
    by_hand = match(draw(3), ["a very small fox", "a very small tree", "a very small wall"])
    best = sorted(zip(by_hand.scores, ("fox", "tree", "wall"), strict=True), reverse=True)[:2]
    assert [one.label for one in found.predictions] == [label for _, label in best]
    assert [one.score for one in found.predictions] == pytest.approx([score for score, _ in best], abs=1e-6)
    assert found.score_kind == match.score_kind
    default = match.zero_shot(["a fox", "a tree"])
    assert default.texts.texts == ("a photo of a fox", "a photo of a tree")


def test_embeddings_of_several_templates_are_averaged(match: MatchPipeline) -> None:
    templates = ["a very small {}", "nothing but a {}", "{}"]
    found = match.classify([draw(3)], ["fox", "tree"], template=templates)[0]
    mean = np.stack(
        [match.embed_texts([one.replace("{}", label) for one in templates]).mean(axis=0) for label in ("fox", "tree")]
    )
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    model, (pixels, _) = match.bundle.require(TwoTowers), match.bundle.pictures(draw(3))
    with torch.inference_mode():
        logits = model.logits(model.encode_pictures(pixels[None]), torch.from_numpy(mean))[0]
    expected = logits.softmax(0) if match.score_kind == "probability" else logits.sigmoid()
    scores = {one.label: one.score for one in found.predictions}
    assert [scores["fox"], scores["tree"]] == pytest.approx(expected.tolist(), abs=1e-5)


def test_embeddings_do_not_depend_on_the_batch(match: MatchPipeline) -> None:
    texts = [f"{text} {'small ' * (i % 7)}{i}" for i, text in enumerate(TEXTS * 50)]  # more than a batch
    together = match.embed_texts(texts)
    assert together.shape == (150, 17) and together.dtype == np.float32
    for i in (0, 77, 149):
        np.testing.assert_allclose(match.embed_texts([texts[i]])[0], together[i], atol=1e-5)


def test_a_text_that_is_too_long_is_cut(match: MatchPipeline) -> None:
    text = "two green rings near a tree " * 9
    found = match.encode_texts([text, "the sky"])
    longest = match.bundle.require(TwoTowers).config.text.longest
    assert found.cut == (text,) and found.longest == longest
    ids = match.bundle.vocabulary.encode(text)
    assert found.tokens[0][1 : longest + 1] == tuple(ids[:longest])
    assert found.words[0][-1].pieces[-1] < longest and len(found.words[0]) < len(text.split())


def test_one_label(match: MatchPipeline) -> None:
    if match.score_kind == "probability":
        with pytest.raises(InputError, match="`labels` must be at least two for a model whose probabilities are share"):
            match.classify(draw(3), ["fox"])
    else:
        found = match.classify(draw(3), ["fox"], template="{}")
        assert found.score == pytest.approx(match(draw(3), ["fox"]).scores[0], abs=1e-6)


@pytest.mark.parametrize("method", ["attention", "rollout", "relevance", "lrp", "gradient_x_input"])
def test_labels_have_maps(match: MatchPipeline, method: str) -> None:
    """Those of a classifier: the picture tower's, of the logit of the label's text."""
    found = match.classify(draw(3), ["fox", "tree"], maps=method, check=method == "relevance")
    (shown,) = found.maps
    assert shown.map.values.shape == (3, 7) and shown.map.values.std() > 0
    assert (shown.map.target == found.label) == (method not in ("attention", "rollout"))
    assert len(found.verdicts) == (method == "relevance")
    if method not in ("attention", "rollout"):
        labels = match.zero_shot(["fox", "tree"])
        other = labels(draw(3), maps=method, target="tree" if found.label == "fox" else "fox")
        assert not np.allclose(other.maps[0].map.values, shown.map.values)


def test_contributions_add_up_to_the_logit(match: MatchPipeline) -> None:
    """LRP keeps the sum where a picture tower has no biases and no layer that takes part of it."""
    labels = match.zero_shot(["fox", "tree"])
    model = labels.bundle.require(ViT)
    pooled = torch.randn(1, 22, generator=torch.Generator().manual_seed(3), requires_grad=True)
    with PropagationRules():
        logit = model.head(pooled)[0, 1]
        (gradient,) = torch.autograd.grad(logit, pooled)
    bias = 0.0 if model.head.logit_bias is None else model.head.logit_bias.item()
    assert (pooled * gradient).sum().item() == pytest.approx(logit.item() - bias, abs=1e-5)


def test_maps_of_both_towers(match: MatchPipeline, tmp_path) -> None:
    methods = ["relevance", "attention"]
    results = match([draw(3), draw(5)], TEXTS, maps=methods, check=True, map_labels=2)
    for seed, result in zip((3, 5), results, strict=True):
        assert [one.map.method for one in result.maps] == methods
        best = result.best.text
        for one in result.maps:
            assert one.map.values.shape == (3, 7)
            assert one.text.axes[0].labels == tuple(word_labels(match.encode_texts([best]).words[0]))
            assert one.text.target == best == one.explained
            assert one.checked is not None and one.checked.lines[1].startswith("words of the text: ")
            assert len(one.by_text) == len(one.by_label) == (2 if one.map.method == "relevance" else 0)
        assert [word.value for word in result.words] == result.maps[0].text.values.tolist()
        assert [best[word.start : word.end] for word in result.words] == [word.word for word in result.words]
        alone = match(draw(seed), TEXTS, maps="relevance")
        np.testing.assert_allclose(alone.maps[0].map.values, result.maps[0].map.values, rtol=1e-3, atol=1e-5)
        assert alone.to_dict()["words"][0].keys() == {"word", "start", "end", "value"}
        result.save_html(tmp_path / "page.html")
        result.maps[0].save(tmp_path / "map.npz")
        assert load_map(tmp_path / "map.text.npz").equals(result.maps[0].text)
    other = next(text for text in TEXTS if text != results[0].best.text)
    explained = match(draw(3), TEXTS, target=other)
    assert explained.maps[0].explained == explained.maps[0].map.target == other


def test_maps_that_cannot_be_made(match: MatchPipeline) -> None:
    with pytest.raises(InputError, match="`target` must be one of the texts, but is 'a fox' instead: add it to them"):
        match(draw(3), TEXTS, target="a fox")
    with pytest.raises(ModelError, match="`maps` must be of attention, rollout, relevance, lrp or all, but is 'x'"):
        match(draw(3), TEXTS, maps="x")
    if match.score_kind == "probability":
        with pytest.raises(InputError, match="`check` needs two texts or more for a model whose probabilities are sha"):
            match(draw(3), TEXTS[:1], check=True)
    else:
        assert len(match(draw(3), TEXTS[:1], check=True).verdicts) == 1


@pytest.mark.slow
def test_ten_thousand_labels(match: MatchPipeline) -> None:
    labels = [f"fox {i}" for i in range(10_000)]
    found = match.classify(draw(3), labels, template="{}", top_k=3)
    assert len({one.label for one in found.predictions}) == 3


def test_a_picture_that_cannot_be_used_is_a_failure(match: MatchPipeline, tmp_path) -> None:
    (tmp_path / "no.png").write_bytes(b"no picture")
    found = match([draw(3), tmp_path / "no.png"], TEXTS)
    assert isinstance(found[1], Failure) and not isinstance(found[0], Failure)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "`labels` must have at least one text, but is empty instead"),
        (["fox", " "], "`labels` must be texts with more than spaces, but has ' ' instead"),
        (["fox", "tree", "fox"], "`labels` must have each text once, but has 'fox' twice: leave one out"),
        ("fox", "`labels` must be a list of texts, but is 'fox' instead"),
    ],
)
def test_labels_that_cannot_be_used(match: MatchPipeline, labels, message) -> None:
    with pytest.raises(InputError, match=message):
        match.classify(draw(3), labels)


@pytest.mark.parametrize("template", ["a photo", "{} or {}", []])
def test_templates_that_cannot_be_used(match: MatchPipeline, template) -> None:
    with pytest.raises(InputError, match="`template` must be a text with"):
        match.classify(draw(3), ["fox", "tree"], template=template)


def test_a_model_for_another_task(tmp_path) -> None:
    with pytest.raises(ModelError, match="must be a model for match, but is one for classify instead"):
        MatchPipeline(tiny_bundle(), device="cpu")
    with pytest.raises(ModelError, match="is one for match instead: it needs labels of your own, `--labels 'a cat'"):
        ClassifyPipeline(tiny_match_bundle("sigmoid"), device="cpu")
    loaded = multiattn.load(save_tiny_matcher(tmp_path / "model", "sigmoid"), device="cpu")
    assert isinstance(loaded, MatchPipeline)
    assert (
        loaded(draw(3), TEXTS).scores
        == MatchPipeline(tiny_match_bundle("sigmoid"), device="cpu")(draw(3), TEXTS).scores
    )
