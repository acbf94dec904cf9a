import json
import shutil

import numpy as np
import pytest
import soundfile

from tests.fixtures import save_tiny_recognizer, save_tiny_whisper

RATE = 16_000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Three sounds, with what is said in two of them."""
    folder = tmp_path_factory.mktemp("sounds") / "spoken"
    folder.mkdir()
    generator = np.random.default_rng(3)
    for name in ("a", "b", "c"):
        soundfile.write(folder / f"{name}.wav", 0.1 * generator.normal(size=17_003), RATE)
    said = [{"file_name": "a.wav", "text": "one two three four"}, {"file_name": "b.wav", "text": "nine eight seven"}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, said)))
    return folder


def test_heads_are_found_printed_and_kept_in_the_model(run, recordings, tmp_path):
    model = save_tiny_recognizer(tmp_path / "model")
    before = json.loads((model / "config.json").read_text())
    outcome = run("align-heads", recordings, "--model", model, "--format", "json", "--save")
    assert outcome.status == 0
    found = json.loads(outcome.out)
    assert (found["model"], found["recordings"]) == (str(model), 3)
    assert sorted((head["layer"], head["head"]) for head in found["heads"]) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    scores = [head["score"] for head in found["heads"]]
    assert scores == sorted(scores, reverse=True)
    best = found["heads"][0]
    assert [best["layer"], best["head"]] in found["alignment_heads"]
    after = json.loads((model / "config.json").read_text())
    assert after["decoding"].pop("alignment_heads") == found["alignment_heads"]
    assert after == before
    assert f"the {len(found['alignment_heads'])} heads are stated in {model / 'config.json'}" in outcome.err
    outcome = run("align-heads", recordings, "--model", model)  # which states heads now
    assert outcome.status == 0
    assert f"alignment heads: {json.dumps(found['alignment_heads'])}" in outcome.out


def test_whispers_heads_stand_where_transformers_looks_for_them(run, recordings, tmp_path):
    model = save_tiny_whisper(tmp_path / "model")
    outcome = run("align-heads", recordings, "--model", model, "--format", "json", "--save", "--limit", "2")
    assert outcome.status == 0
    found = json.loads(outcome.out)
    assert found["recordings"] == 2
    assert json.loads((model / "generation_config.json").read_text())["alignment_heads"] == found["alignment_heads"]


def test_a_damaged_recording_is_named_and_the_others_count(run, recordings, tmp_path):
    model = save_tiny_recognizer(tmp_path / "model")
    (tmp_path / "broken.wav").write_bytes(b"RIFF but no more")
    outcome = run("align-heads", recordings / "a.wav", tmp_path / "broken.wav", "--model", model, "--format", "json")
    assert outcome.status == 1
    assert json.loads(outcome.out)["recordings"] == 1
    assert "broken.wav" in outcome.err and "1 of 2 inputs could not be used" in outcome.err


def test_clips_of_a_word_each_tell_nothing(run, recordings, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(recordings / f"{name}.wav", folder)
    said = [{"file_name": f"{name}.wav", "text": "nine"} for name in ("a", "b")]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, said)))
    outcome = run("align-heads", folder, "--model", save_tiny_whisper(tmp_path / "model"))
    assert (outcome.status, outcome.out) == (1, "")
    assert "no recording has a text of at least 3 tokens" in outcome.err
    assert "python -m multiattn.data.concat_files" in outcome.err


def test_only_damaged_recordings_are_named_and_nothing_is_found(run, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF but no more")
    outcome = run("align-heads", tmp_path / "broken.wav", "--model", save_tiny_recognizer(tmp_path / "model"))
    assert (outcome.status, outcome.out) == (1, "")
    assert "broken.wav" in outcome.err and "1 of 1 inputs could not be used" in outcome.err
    assert "`scored`" not in outcome.err


def test_no_recordings_are_an_error(run, tmp_path):
    outcome = run("align-heads", tmp_path / "none.wav", "--model", save_tiny_recognizer(tmp_path / "model"))
    assert (outcome.status, outcome.out) == (1, "")
    assert "none.wav" in outcome.err


def test_heads_of_a_file_cannot_be_kept(run, recordings, tmp_path):
    model = save_tiny_whisper(tmp_path / "model", layout="whisper")
    outcome = run("align-heads", recordings, "--model", model, "--save")
    assert (outcome.status, outcome.out) == (1, "")
    assert "--save needs a model directory of yours, ours or in the layout hf-whisper, but" in outcome.err
