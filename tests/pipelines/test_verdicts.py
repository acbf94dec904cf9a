"""`check` in all four pipelines: the verdicts are those of the maps that are returned, by plain passes of the model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer
from multiattn.maps import judge, masked_answer, masked_class, masked_question, masked_speech, masked_word
from multiattn.pipelines import AnswerPipeline, CaptionPipeline, ClassifyPipeline, TranscribePipeline
from multiattn.pipelines.map_request import MapRequest
from multiattn.pipelines.verdicts import MIDDLE_WORDS, mask_token
from multiattn.registry import task_spec
from tests.fixtures import draw, tiny_answer_bundle, tiny_bundle, tiny_speech_bundle

from .conftest import wordy_bundle
from .speaking import tone


def test_a_request_names_each_method_once_and_a_check_alone_asks_for_the_default() -> None:
    assert MapRequest.of("classify", None) == MapRequest((), False)
    assert MapRequest.of("classify", None, check=True) == MapRequest((task_spec("classify").default_map_method,), True)
    assert MapRequest.of("caption", ["rollout", "attention", "rollout"], check="words").methods == (
        "rollout",
        "attention",
    )
    for task, check, message in (
        ("classify", "words", "`check` must be True or False, for labels have no words, but is 'words' instead"),
        ("caption", "word", "`check` must be True, False or \"words\", but is 'word' instead"),
    ):
        with pytest.raises(ModelError, match=f"^{message}"):
            MapRequest.of(task, None, check=check)


def test_labels_are_judged_by_what_is_left_of_them(classify: ClassifyPipeline) -> None:
    pictures = [draw(seed, size=size) for seed, size in enumerate([(53, 37), (31, 71), (35, 15)])]
    results = classify(pictures, maps=["attention", "relevance"], check=True, batch_size=2)
    bundle = tiny_bundle()
    for picture, result in zip(pictures, results, strict=True):
        pixels, _ = bundle.pictures(picture)
        masked = masked_class(bundle.model, pixels, classify.labels.index(result.label))
        assert [one.method for one in result.verdicts] == ["attention", "relevance"]
        for saved, checked in zip(result.maps, result.verdicts, strict=True):
            assert saved.checked is checked and saved.verdict is checked.verdict
            expected = judge(saved.map.values, masked)
            assert checked.verdict.word == expected.word
            np.testing.assert_allclose(checked.verdict.deleted, expected.deleted, atol=1e-5)
            np.testing.assert_allclose(checked.verdict.whole, result.score, atol=1e-5)
        facts = result.to_dict()["verdict"]
        assert facts == [one.to_dict() for one in result.verdicts]
    assert [one.verdicts for one in classify(pictures)] == [()] * 3
    alone = classify(pictures[1], check=True)
    assert [one.map.method for one in alone.maps] == [task_spec("classify").default_map_method]
    np.testing.assert_allclose(alone.verdicts[0].verdict.random, results[1].verdicts[1].verdict.random, atol=1e-5)
    assert "verdict" not in classify(pictures[0], maps="relevance").to_dict()


def test_a_verdict_of_labels_that_are_each_for_itself_and_of_values() -> None:
    bundle = replace(tiny_bundle(), score_function="sigmoid")
    result = ClassifyPipeline(bundle, device="cpu")(draw(0), check=True)
    np.testing.assert_allclose(result.verdicts[0].verdict.whole, result.score, atol=1e-5)
    values = ClassifyPipeline(replace(tiny_bundle(), score_function="identity", source="runs/ages"), device="cpu")
    with pytest.raises(ModelError, match="^`check` must be False for runs/ages, whose scores are values: a verdict"):
        values.stream([draw(0)], check=True)  # before the first result is taken
    assert values(draw(0), maps="relevance").verdicts == ()


def test_captions_are_judged_as_a_whole_and_word_by_word(caption: CaptionPipeline) -> None:
    pictures = [draw(0), draw(1, size=(31, 71))]
    results = caption(pictures, maps=["relevance", "attention"], check="words")
    bundle = wordy_bundle()
    for picture, result in zip(pictures, results, strict=True):
        assert len(result.words) > 2
        pixels, _ = bundle.pictures(picture)
        for saved, checked in zip(result.maps, result.verdicts, strict=True):
            assert [text for text, _ in checked.words] == [word.text for word in result.words]
            for word, (_, verdict) in zip(result.words, checked.words, strict=True):
                np.testing.assert_allclose(verdict.whole, word.probability, rtol=1e-3)
            assert len(saved.map.values) == len(checked.words)
            assert 0 < checked.verdict.whole < 1
    ids = bundle.tokenizer.encode(result.text)
    words = bundle.tokenizer.words(ids)
    start = bundle.model.config.decoder.start_token
    masked = masked_word(bundle.model, pixels, [start, *ids], words, None, prompt_length=1)
    expected = judge(saved.map.values.sum(axis=0), masked)
    np.testing.assert_allclose(checked.verdict.deleted, expected.deleted, rtol=1e-3)
    whole = caption(pictures, maps="attention", check=True)
    assert [one.verdicts[0].words for one in whole] == [(), ()]
    np.testing.assert_allclose(whole[1].verdicts[0].verdict.random, checked.verdict.random, rtol=1e-3)


@pytest.mark.parametrize("kind", ["closed", "decoder"])
def test_answers_are_judged_by_patches_and_by_words_of_the_question(kind) -> None:
    bundle = tiny_answer_bundle(kind)
    answer = AnswerPipeline(tiny_answer_bundle(kind), device="cpu")
    questions = ["what color is the square?", "how many?"]
    results = answer(draw(0), questions, maps="relevance", check="words")
    pixels, _ = bundle.pictures(draw(0))
    config = bundle.model.config.question
    for question, result in zip(questions, results, strict=True):
        (saved,), (checked,) = result.maps, result.verdicts
        ids, words = bundle.tokenizer.encode_words(question)
        tokens = [config.start_token, *ids, config.end_token]
        if kind == "closed":
            said = bundle.labels.index(result.answer)
        else:
            said = None  # the tokens are those that were written, with the one for the end
            np.testing.assert_allclose(checked.verdict.whole, result.score, rtol=1e-3)
        assert checked.question is not None and checked.question.place == MIDDLE_WORDS
        assert [text for text, _ in checked.words] == [word.text for word in result.question_words]
        if said is not None:
            token = mask_token(bundle.tokenizer, pad_token=config.pad_token)
            expected = judge(saved.map.values.sum(axis=0), masked_answer(bundle.model, pixels, tokens, said))
            np.testing.assert_allclose(checked.verdict.deleted, expected.deleted, rtol=1e-3)
            of_words = masked_question(bundle.model, pixels, tokens, words, said, mask_token=token)
            expected = judge(saved.question.values.sum(axis=(1, 2)), of_words)
            np.testing.assert_allclose(checked.question.deleted, expected.deleted, rtol=1e-3)
            np.testing.assert_allclose(checked.question.random, expected.random, rtol=1e-3)
    if kind == "closed":  # among fewer answers
        few = answer(
            draw(0),
            questions[0],
            answers=[results[0].answer, *[one for one in bundle.labels if one != results[0].answer][:2]],
            check=True,
        )
        np.testing.assert_allclose(few.verdicts[0].verdict.whole, few.score, rtol=1e-3)


def test_words_are_hidden_by_the_vocabularys_mask_or_its_unknown_token() -> None:
    tokenizer = tiny_answer_bundle().tokenizer
    assert tokenizer is not None
    assert tokenizer.id_of("[MASK]") is None
    assert mask_token(tokenizer, pad_token=0) == tokenizer.id_of("[UNK]")
    both = Tokenizer.from_json(tokenizer.to_json().replace('"[PAD]"', '"[MASK]"'))
    assert mask_token(both, pad_token=0) == both.id_of("[MASK]") is not None
    neither = Tokenizer.from_json(tokenizer.to_json().replace('"[UNK]"', '"[ODD]"'))
    assert mask_token(neither, pad_token=5) == 5


def test_transcripts_are_judged_window_by_window() -> None:
    bundle = tiny_speech_bundle()
    with torch.no_grad():
        bundle.model.decoder.norm.weight.fill_(9.0)  # so that it is sure of what it says
    transcribe = TranscribePipeline(bundle, device="cpu")
    result = transcribe(tone(0.6), check="words")
    (saved,), (checked,) = result.maps, result.verdicts
    assert [text for text, _ in checked.words] == [word.text.strip() for word in result.words]
    assert checked.span is not None and checked.span[0] == 0.0 and checked.span[1] == pytest.approx(0.6, abs=0.02)
    facts = result.to_dict()["verdict"]
    assert (facts[0]["method"], facts[0]["start"]) == ("attention", 0.0)
    features = bundle.sound.features(tone(0.6))
    labels = saved.map.axes[0].labels
    ids = [token for segment in result.segments for token in segment.tokens]
    words = bundle.tokenizer.words(ids)
    assert "".join(labels).split() == [word.text for word in words]
    prompt = transcribe.speech.tokens.prompt(language=None, task="transcribe")
    masked = masked_speech(
        bundle.model,
        features,
        [*prompt, *ids],
        words,
        None,
        prompt_length=len(prompt),
        length=bundle.sound.frames(len(tone(0.6))),
        frame_seconds=bundle.sound.frame_seconds,
    )
    expected = judge(saved.map.values.sum(axis=0), masked)
    np.testing.assert_allclose(checked.verdict.deleted, expected.deleted, rtol=1e-3)
    np.testing.assert_allclose(checked.verdict.whole, expected.whole, rtol=1e-3)
    assert transcribe(tone(0.6), maps="attention").verdicts == ()
