"""Any label, one label rather than another, any answer, and any text: what maps explain when a caller says so."""

from pathlib import Path

import numpy as np
import pytest
import torch

from multiattn.errors import InputError, ModelError
from multiattn.maps import explain, explain_words
from multiattn.pipelines import AnswerPipeline, CaptionPipeline, ClassifyPipeline
from multiattn.pipelines.targets import label_index
from tests.fixtures import ANSWERS, QUESTIONS, SENTENCES, draw, tiny_answer_bundle, tiny_bundle, tiny_caption_bundle


@pytest.fixture(scope="module")
def classify() -> ClassifyPipeline:
    return ClassifyPipeline(tiny_bundle(), device="cpu")


@pytest.fixture(scope="module")
def caption() -> CaptionPipeline:
    return CaptionPipeline(tiny_caption_bundle(), device="cpu")


@pytest.fixture(scope="module")
def answering() -> AnswerPipeline:
    return AnswerPipeline(tiny_answer_bundle("closed"), device="cpu")


@pytest.fixture(scope="module")
def writing() -> AnswerPipeline:
    return AnswerPipeline(tiny_answer_bundle("decoder"), device="cpu")


def values(result) -> np.ndarray:
    return np.array(result.maps[0])


# --- labels ---


@pytest.mark.parametrize("target", ["dog", 3, "3"])
def test_maps_explain_the_label_that_is_asked_for(classify: ClassifyPipeline, target: str | int) -> None:
    found = classify(draw(3), maps="relevance", target=target)
    pixels, geometry = classify.bundle.pictures(draw(3))
    wanted = explain(classify.bundle.model, pixels[None], method="relevance", target=[3], geometries=[geometry])
    np.testing.assert_allclose(values(found), wanted[0].values, rtol=1e-5)
    assert found.maps[0].map.target == "dog" and found.predictions == classify(draw(3)).predictions


def test_why_one_label_and_not_another(classify: ClassifyPipeline) -> None:
    found = classify(draw(3), target="dog", versus="gnu")
    pixels, _ = classify.bundle.pictures(draw(3))
    method = found.maps[0].map.method
    (wanted,) = explain(classify.bundle.model, pixels[None], method=method, target=[3], versus=[6])
    np.testing.assert_allclose(values(found), wanted.values, rtol=1e-4, atol=1e-6)
    assert found.maps[0].map.target == "dog rather than gnu"
    # without a target: the best label, or where that is the other one, the second
    best, second = (one.label for one in found.predictions[:2])
    assert classify(draw(3), versus=second).maps[0].map.target == f"{best} rather than {second}"
    assert classify(draw(3), versus=best).maps[0].map.target == f"{second} rather than {best}"


def test_a_contrast_is_checked_by_the_probability_of_one_of_the_two(classify: ClassifyPipeline) -> None:
    found = classify(draw(3), maps="relevance", target="dog", versus="gnu", check=True)
    pixels, _ = classify.bundle.pictures(draw(3))
    with torch.inference_mode():
        scores = classify.bundle.model(pixels[None])[0]
    assert found.verdicts[0].verdict.whole == pytest.approx(float((scores[3] - scores[6]).sigmoid()), abs=1e-4)


def test_a_page_has_the_map_of_each_label(classify: ClassifyPipeline, tmp_path: Path) -> None:
    found = classify(draw(3), maps=["relevance", "attention"], map_labels=3)
    relevance, attention = found.maps
    assert attention.by_label == () and len(relevance.by_label) == 3
    for one, prediction in zip(relevance.by_label, found.predictions, strict=False):
        assert one.target == prediction.label
        wanted = classify(draw(3), maps="relevance", target=prediction.label)
        np.testing.assert_allclose(one.values, values(wanted), rtol=1e-4, atol=1e-7)
    found.save_html(tmp_path / "page.html")
    assert '"labels"' in (tmp_path / "page.html").read_text()
    narrowed = found.narrowed(top_k=1)
    assert len(narrowed.maps[0].by_label) == 1
    narrowed.save_html(tmp_path / "narrowed.html")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "dgo"}, "`target` must be a label of tiny, but is 'dgo' instead: did you mean 'dog'"),
        ({"target": "ZZZ"}, "`target` must be a label of tiny, but is 'ZZZ' instead: its 7 labels are ant, bee, cow"),
        ({"target": 7}, "`target` must be a label's number from 0 to 6, but is 7 instead"),
        ({"target": -1}, "`target` must be a label's number from 0 to 6, but is -1 instead"),
        ({"versus": "9"}, "`versus` must be a label's number from 0 to 6, but is 9 instead"),
        ({"target": "dog", "versus": 3}, "`versus` must be another label than `target`, but is 'dog', too"),
        (
            {"target": "dog", "maps": "rollout"},
            "`target` must be left out for rollout, whose map is the same for every",
        ),
        ({"versus": "dog", "maps": ["attention"]}, "`versus` must be left out for attention, whose map is the same"),
        ({"map_labels": -1, "maps": "relevance"}, "`map_labels` must be at least 0, but is -1 instead"),
    ],
    ids=str,
)
def test_labels_that_cannot_be_explained(classify: ClassifyPipeline, options: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        classify(draw(3), **options)
    assert "\n" not in str(raised.value)


def test_names_that_are_not_clear() -> None:
    assert label_index("1", ["1", "7"], name="target", source="it") == 0, "a name comes before a number"
    assert label_index("0", ["7", "1"], name="target", source="it") == 0
    with pytest.raises(ModelError, match="`target` must be one label, but 'ant' is the name of 0 and 2 instead"):
        label_index("ant", ["ant", "bee", "ant"], name="target", source="it")


# --- captions ---


def test_a_given_text_has_words_and_maps(caption: CaptionPipeline) -> None:
    text = SENTENCES[0]
    given = caption(draw(3), maps="relevance", explain_text=text)
    assert given.text == text and 0 < given.score < 1
    model, tokenizer = caption.bundle.model, caption.bundle.tokenizer
    ids, words = tokenizer.encode_words(text)
    config = model.config.decoder
    pixels, geometry = caption.bundle.pictures(draw(3))
    tokens = [config.start_token, *ids, config.end_token]
    (wanted,) = explain_words(
        model, pixels[None], [tokens], [words], prompt_length=1, method="relevance", geometries=[geometry]
    )
    np.testing.assert_allclose(values(given), wanted.values, rtol=1e-3, atol=1e-6)
    with torch.inference_mode():
        log_probs = model(pixels[None], torch.tensor([tokens[:-1]]))[0].double().log_softmax(-1)
    for word, known in zip(given.words, words, strict=True):
        expected = sum(float(log_probs[piece, ids[piece]]) for piece in known.pieces)
        assert word.probability == pytest.approx(float(np.exp(expected)), rel=1e-3)
    assert caption(draw(3), explain_text=text).maps == ()


def test_a_text_that_the_vocabulary_lacks(caption: CaptionPipeline) -> None:
    with pytest.raises(
        InputError, match="`explain_text` must have words of the model's vocabulary, but '\u6f22' is none"
    ):
        caption(draw(3), explain_text="a \u6f22")


# --- answers ---


def test_any_answer_of_the_list_is_explained(answering: AnswerPipeline) -> None:
    found = answering(draw(3), QUESTIONS[0], maps="relevance")
    other = next(name for name in ANSWERS if name != found.answer)
    given = answering(draw(3), QUESTIONS[0], maps="relevance", target=other)
    assert (given.answer, given.maps[0].map.target) == (found.answer, other)
    assert np.abs(values(given) - values(found)).max() > 1e-4
    same = answering(draw(3), QUESTIONS[0], maps="relevance", target=found.answer)
    np.testing.assert_allclose(values(same), values(found), rtol=1e-5)
    scores = answering(draw(3), QUESTIONS[0], top_k=len(ANSWERS)).candidates
    (score,) = (one.score for one in scores if one.text == other)
    assert given.maps[0].words[0].probability == pytest.approx(score, rel=1e-4)


def test_one_answer_rather_than_another(answering: AnswerPipeline) -> None:
    """The head's rows, subtracted, give a model whose score is the difference."""
    one, other = ANSWERS[1], ANSWERS[2]
    found = answering(draw(3), QUESTIONS[0], maps="relevance", target=one, versus=other)
    assert found.maps[0].map.target == f"{one} rather than {other}"
    changed = tiny_answer_bundle("closed")
    last = [part for part in changed.model.modules() if isinstance(part, torch.nn.Linear)][-1]
    assert last.out_features == len(ANSWERS)
    with torch.no_grad():
        for part in (last.weight, last.bias):
            part[0] = part[1] - part[2]
    wanted = AnswerPipeline(changed, device="cpu")(draw(3), QUESTIONS[0], maps="relevance", target=0)
    np.testing.assert_allclose(values(found), values(wanted), rtol=1e-3, atol=1e-6)


def test_a_contrast_of_answers_is_checked_by_the_probability_of_one_of_the_two(answering: AnswerPipeline) -> None:
    found = answering(draw(3), QUESTIONS[0], maps="relevance", target=ANSWERS[1], versus=ANSWERS[2], check=True)
    scores = {one.text: one.score for one in answering(draw(3), QUESTIONS[0], top_k=len(ANSWERS)).candidates}
    share = scores[ANSWERS[1]] / (scores[ANSWERS[1]] + scores[ANSWERS[2]])
    (checked,) = found.verdicts
    assert checked.verdict.whole == pytest.approx(share, abs=1e-4)
    assert checked.question is not None and checked.question.whole == pytest.approx(share, abs=1e-4)


def test_a_page_has_the_maps_of_each_answer(answering: AnswerPipeline, tmp_path: Path) -> None:
    found = answering(draw(3), [QUESTIONS[0], QUESTIONS[1]], maps=["relevance", "attention"], map_labels=3, top_k=4)
    for one, question in zip(found, QUESTIONS, strict=False):
        relevance, attention = one.maps
        assert attention.by_label == () and len(relevance.by_label) == 3
        for maps, candidate in zip(relevance.by_label, one.candidates, strict=False):
            wanted = answering(draw(3), question, maps="relevance", target=candidate.text).maps[0]
            np.testing.assert_allclose(maps.answer.values, wanted.map.values, rtol=1e-4, atol=1e-7)
            np.testing.assert_allclose(maps.question.values, wanted.question.values, rtol=1e-4, atol=1e-7)
            assert maps.answer.target == candidate.text
        one.save_html(tmp_path / "page.html")
        assert '"labels"' in (tmp_path / "page.html").read_text()
    given = answering(draw(3), QUESTIONS[0], maps="relevance", target=ANSWERS[2], map_labels=1)
    first = given.maps[0].by_label[0].answer
    assert first.target == given.answer  # the best answer's, though another is explained
    fewer = answering(draw(3), QUESTIONS[0], maps="relevance", map_labels=9, top_k=2)
    assert len(fewer.maps[0].by_label) == 2


def test_any_text_is_explained_where_the_model_writes(writing: AnswerPipeline) -> None:
    given = writing(draw(3), QUESTIONS[0], maps="all", target="red fox")
    assert given.answer != "red fox" and {one.map.target for one in given.maps} == {"red fox"}
    ranked = writing(draw(3), QUESTIONS[0], answers=["red fox", "a dog"])
    (score,) = (one.score for one in ranked.candidates if one.text == "red fox")
    words = given.maps[0].words
    assert [word.text for word in words] == ["red", "fox"] and np.prod([word.probability for word in words]) > score


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"versus": 1}, ModelError, "`versus` must come with `target`, the answer to explain"),
        ({"target": 1, "versus": 1}, ModelError, "`versus` must be another label than `target`"),
        ({"target": 99}, ModelError, "`target` must be a label's number from 0 to"),
        ({"target": 1, "maps": "attention"}, ModelError, "`target` must be left out for attention, whose map is the"),
        ({"map_labels": -1, "maps": "relevance"}, ModelError, "`map_labels` must be at least 0, but is -1 instead"),
        ({"target": 1, "answers": [ANSWERS[0]]}, ModelError, "`target` must be one of `answers`, but is"),
    ],
    ids=str,
)
def test_answers_that_cannot_be_explained(answering, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        answering(draw(3), QUESTIONS[0], **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"target": "red", "versus": "blue"},
            ModelError,
            "`versus` must be left out for tiny, which writes",
        ),
        ({"target": " "}, InputError, "`target` must have a word, but is ' ' instead"),
        ({"target": "\u6f22"}, InputError, "`target` must have words of the model's vocabulary, but '\u6f22' is none"),
    ],
    ids=str,
)
def test_texts_that_cannot_be_explained(writing, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        writing(draw(3), QUESTIONS[0], **options)
