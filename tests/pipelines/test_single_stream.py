"""A single stream answers and is explained by the same pipeline, also about pictures seen at sizes of their own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import multiattn
from multiattn.errors import ModelError
from multiattn.inputs import Fit, ImagePreprocessing, Tokenizer
from multiattn.models import SingleStream, SingleStreamConfig, TextEncoderConfig
from multiattn.pipelines.answer import AnswerPipeline
from multiattn.weights import ModelBundle, save_bundle
from tests.fixtures import ANSWERS, QUESTIONS, SENTENCES, tiny_answer_bundle, tiny_bundle
from tests.parity.random_weights import randomize

METHODS = ("attention", "relevance", "rollout")
SIZES = ((35, 52), (61, 38), (35, 35), (70, 105))  # height and width, of which two come out the same


def bundle() -> ModelBundle:
    tokenizer = Tokenizer.train((*SENTENCES, *QUESTIONS, *ANSWERS), kind="bpe", vocab_size=97)
    question = TextEncoderConfig(
        vocab_size=tokenizer.vocab_size,
        dim=26,
        depth=3,
        num_heads=2,
        mlp_dim=37,
        max_length=29,
        context_dim=None,
        embed_norm=True,
        norm_eps=1e-12,
    )
    config = SingleStreamConfig(question, answers=len(ANSWERS), head_dim=52, image_size=(35, 35), patch_size=5)
    fit = Fit(shorter=35, longer=58, multiple=5)
    half = (0.5, 0.5, 0.5)
    return ModelBundle(
        task="answer",
        model=randomize(SingleStream(config), seed=17),
        preprocessing=ImagePreprocessing((35, 35), fit, "bicubic", half, half),
        labels=ANSWERS,
        tokenizer=tokenizer,
        source="tiny",
    )


@pytest.fixture(scope="module")
def answering() -> AnswerPipeline:
    return AnswerPipeline(bundle(), device="cpu")


def picture(size: tuple[int, int], seed: int = 3) -> Image.Image:
    """Coarse noise: what is resized stays of order 1."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.NEAREST)


def test_pictures_of_different_sizes_in_a_batch(answering: AnswerPipeline) -> None:
    pictures = [picture(size, seed) for seed, size in enumerate(SIZES)]
    pairs = [(one, list(QUESTIONS[: 1 + i % 3])) for i, one in enumerate(pictures)]
    together = list(answering.stream(pairs, batch_size=4, maps="attention", top_k=len(ANSWERS)))
    alone = [
        answering(one, question, maps="attention", top_k=len(ANSWERS)) for one, asked in pairs for question in asked
    ]
    assert len(together) == len(alone) == 7
    for ours, wanted in zip(together, alone, strict=True):
        assert (ours.question, ours.answer) == (wanted.question, wanted.answer)
        scores = {one.text: one.score for one in wanted.candidates}
        assert scores.keys() == set(ANSWERS) and sum(scores.values()) == pytest.approx(1, abs=1e-5)
        for candidate in ours.candidates:
            assert candidate.score == pytest.approx(scores[candidate.text], abs=1e-5)
        for found, expected in zip(ours.maps, wanted.maps, strict=True):
            np.testing.assert_allclose(found.map.values, expected.map.values, atol=1e-5)
            np.testing.assert_allclose(found.question.values, expected.question.values, atol=1e-5)
    first = [one.candidates[0].score for one in together]
    assert max(first) - min(first) > 1e-3, "other pictures and questions must be answered otherwise"


@pytest.mark.parametrize("size", SIZES)
def test_maps_lie_on_the_whole_picture(size: tuple[int, int], answering: AnswerPipeline) -> None:
    answer = answering(picture(size), QUESTIONS[0], maps=METHODS)
    height, width = Fit(shorter=35, longer=58, multiple=5).size(size)
    assert [one.map.method for one in answer.maps] == list(METHODS)
    for one in answer.maps:
        assert one.map.values.shape == (1, height // 5, width // 5)
        assert one.question.values.shape == (len(answer.question_words), height // 5, width // 5)
        assert one.map.geometry.source_box() == pytest.approx((0, 0, size[1], size[0]))
        assert one.map.values.min() >= 0 and one.map.values.max() > 0
        assert one.map.sites == tuple(f"blocks.{i}.self" for i in range(3))
    for stack in answer.stacks:
        assert stack.values.shape[:2] == (3, 2)  # layers and heads
        assert stack.values.sum(axis=(3, 4)).max() < 1  # the rest went to the question and the class token


@pytest.mark.parametrize("layout", ["multiattn", "hf-vilt"])
def test_from_a_directory(layout: str, answering: AnswerPipeline, tmp_path: Path) -> None:
    save_bundle(bundle(), tmp_path, layout=layout)
    again = multiattn.load(tmp_path, task="answer", device="cpu")
    assert again.bundle.layout == layout
    for question in QUESTIONS:
        ours, wanted = again(picture((35, 52)), question), answering(picture((35, 52)), question)
        assert ours.answer == wanted.answer and ours.score == pytest.approx(wanted.score, abs=1e-5)


def test_an_answer_can_be_chosen_among_some(answering: AnswerPipeline) -> None:
    answer = answering(picture((35, 52)), QUESTIONS[1], answers=["yes", "no"])
    assert {one.text for one in answer.candidates} == {"yes", "no"}
    assert sum(one.score for one in answer.candidates) == pytest.approx(1)


def test_other_layouts_have_no_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the hf-vilt layout needs a single stream, but the model is another"):
        save_bundle(tiny_answer_bundle(), tmp_path, layout="hf-vilt")
    for layout in ("hf-blip", "blip"):
        with pytest.raises(ModelError, match=f"the {layout} layout"):
            save_bundle(bundle(), tmp_path, layout=layout)


def test_a_resize_to_a_fit_is_said_by_no_other_layout(tmp_path: Path) -> None:
    fitted = replace(tiny_bundle().pictures, size=(15, 15), resize_to=Fit(15, 24, 5))
    classifier = replace(tiny_bundle(), preprocessing=fitted)
    for layout, message in (("hf-vit", "a ViTImageProcessor has no way to say"), ("timm", "has no way to say")):
        with pytest.raises(ModelError, match=rf"{message} a resize to Fit\(shorter=15, longer=24, multiple=5"):
            save_bundle(classifier, tmp_path, layout=layout)


def test_it_does_not_embed_pictures_alone(answering: AnswerPipeline) -> None:
    with pytest.raises(
        ModelError, match="must be a model with an encoder of pictures to embed them, but reads a picture"
    ):
        answering.embed(picture((53, 37)))
