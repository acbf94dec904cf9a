"""Attention among the patches of a picture, from each pipeline to its page."""

import numpy as np
import pytest

from multiattn.errors import InputError, ModelError
from multiattn.maps import attention_from
from multiattn.pipelines import AnswerPipeline, TranscribePipeline, recording_attention, token_attention
from tests.fixtures import draw, tiny_answer_bundle, tiny_speech_bundle


def test_the_class_tokens_row_is_what_the_stack_says(classify) -> None:
    tokens, result = token_attention(classify, draw(1)), classify(draw(1), maps="attention")
    stack = result.maps[0].stack.values
    rows = attention_from(tokens, 0)
    assert tokens.geometry == result.maps[0].map.geometry
    if classify._model.config.pool == "class":
        np.testing.assert_allclose(
            rows[..., -stack.shape[-1] * stack.shape[-2] :], stack.reshape(*rows.shape[:2], -1), atol=1e-5
        )


@pytest.mark.parametrize("task", ["classify", "caption", "answer"])
def test_every_page_takes_them(task, classify, caption, tmp_path) -> None:
    pipeline = {"classify": classify, "caption": caption, "answer": AnswerPipeline(tiny_answer_bundle(), device="cpu")}[
        task
    ]
    picture = draw(1)
    result = pipeline(picture, "what?", maps="attention") if task == "answer" else pipeline(picture, maps="attention")
    tokens = token_attention(pipeline, picture)
    result.save_html(tmp_path / "page.html", tokens=tokens)
    text = (tmp_path / "page.html").read_text()
    assert '"tokens":{"name":"patch to patch"' in text
    result.save_html(tmp_path / "page.html")
    assert '"tokens":null' in (tmp_path / "page.html").read_text()


def test_layers_are_left_out_where_all_are_too_many(classify, monkeypatch) -> None:
    tokens = token_attention(classify, draw(1))
    layers, size = tokens.values.shape[0], tokens.values[0].nbytes
    monkeypatch.setattr("multiattn.pipelines.tokens.MOST_BYTES", size)
    fewer = token_attention(classify, draw(1))
    assert fewer.sites == tokens.sites[layers - 1 :]
    np.testing.assert_array_equal(fewer.values, tokens.values[layers - 1 :])
    monkeypatch.setattr("multiattn.pipelines.tokens.MOST_BYTES", size - 1)
    with pytest.raises(ModelError, match="`picture` must have few enough patches for its self-attention"):
        token_attention(classify, draw(1))


def test_what_cannot_be_used_is_named(classify, tmp_path) -> None:
    with pytest.raises(InputError, match="is missing instead"):
        token_attention(classify, tmp_path / "none.png")


def test_the_page_of_a_recording_takes_those_of_its_windows(tmp_path) -> None:
    transcribe = TranscribePipeline(tiny_speech_bundle(), device="cpu")
    recording = np.random.default_rng(1).standard_normal(round(2.5 * transcribe.bundle.sound.max_samples))
    transcript = transcribe(recording.astype(np.float32) * 0.1, maps="all")
    tokens = recording_attention(transcribe, transcript)
    starts = sorted({one.map.axes[-1].start for one in transcript.maps})
    assert [one.axes[-1].start for one in tokens] == starts and len(starts) > 1
    for one in tokens:
        frames = next(other.map for other in transcript.maps if other.map.axes[-1].start == one.axes[-1].start)
        seconds = frames.values.shape[-1] * frames.axes[-1].step
        assert one.values.shape[-1] * one.axes[-1].step == pytest.approx(seconds, abs=one.axes[-1].step)
    transcript.save_html(tmp_path / "page.html", tokens=tokens)
    assert '"name":"moment to moment"' in (tmp_path / "page.html").read_text()
    transcript.save_html(tmp_path / "page.html")
    assert '"name":"moment to moment"' not in (tmp_path / "page.html").read_text()
    with pytest.raises(InputError, match="maps"):
        recording_attention(transcribe, transcribe(recording[:8000].astype(np.float32)))
