import json
from pathlib import Path
from typing import Any

import pytest

import multiattn
from multiattn.metrics.speech import normalizer_of, speech_scores
from tests.fixtures import save_tiny_recognizer
from tests.tasks.spoken import draw_spoken


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory) -> str:
    return str(save_tiny_recognizer(tmp_path_factory.mktemp("model") / "recognizer"))


@pytest.fixture
def data(tmp_path) -> Path:
    return draw_spoken(tmp_path / "data", sizes={"validation": 7})


def texts_of(data: Path) -> list[str]:
    lines = (data / "validation/metadata.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_json_is_one_object(run, recognizer, data) -> None:
    arguments = ("evaluate", "transcribe", "--data", data, "--model", recognizer, "--format", "json", "--beams", "1")
    outcome = run(*arguments, "--normalizer", "basic", "--batch-size", 3)
    assert (outcome.status, outcome.err) == (0, "")
    files = [data / f"validation/{i:02d}.wav" for i in range(7)]
    written = [found.text for found in multiattn.load(recognizer, device="cpu")(files, num_beams=1, batch_size=3)]
    expected = speech_scores(written, texts_of(data), normalize=normalizer_of("basic"))
    found = json.loads(outcome.out)
    assert found == {
        "wer": pytest.approx(expected.wer),
        "cer": pytest.approx(expected.cer),
        "substitutions": expected.substitutions,
        "deletions": expected.deletions,
        "insertions": expected.insertions,
        "words": sum(len(text.split()) for text in texts_of(data)),
        "normalizer": "basic",
        "items": 7,
        "skipped": 0,
        "model": recognizer,
        "data": str(data),
        "split": "validation",
    }


def test_text_says_the_same_by_the_english_rules(run, recognizer, data) -> None:
    arguments = ("evaluate", "transcribe", "--data", data, "--model", recognizer, "--limit", "3")
    found = json.loads(run(*arguments, "--format", "json").out)
    assert (found["normalizer"], found["items"]) == ("english", 3)
    assert run(*arguments).out.splitlines() == [
        f"WER  {found['wer']:7.2%}  ({found['substitutions']} others, {found['deletions']} missing, "
        f"{found['insertions']} put in, of {found['words']} words)",
        f"CER  {found['cer']:7.2%}",
        "texts compared by the rules: english",
        f"on 3 recordings of {data} (validation) with {recognizer}",
    ]


def test_bad_recordings_are_named_skipped_and_counted(run, recognizer, data) -> None:
    (data / "validation/01.wav").write_bytes(b"")
    arguments = ("evaluate", "transcribe", "--data", data, "--model", recognizer, "--beams", "1")
    outcome = run(*arguments, "--format", "json")
    assert outcome.status == 1
    found = json.loads(outcome.out)
    assert (found["items"], found["skipped"]) == (6, 1)
    broken, counted = outcome.err.splitlines()
    assert broken.startswith("multiattn: skipped: ") and "validation/01.wav" in broken
    assert counted == "multiattn: 1 of 7 recordings could not be used"
    for path in data.rglob("*.wav"):
        path.write_bytes(b"")
    outcome = run(*arguments)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.endswith("none of the 7 recordings of the split 'validation' could be used\n")


def test_recordings_are_joined_by_the_fixed_recipe(run, recognizer, data, monkeypatch) -> None:
    from multiattn.data.concat_clips import fixed_strings
    from multiattn.data.recordings import read_recordings
    from multiattn.pipelines import TranscribePipeline

    strings = list(fixed_strings(read_recordings(data, "validation"), count=5))
    monkeypatch.setattr("multiattn.data.concat_clips.fixed_plans.__kwdefaults__", {"count": 5})
    monkeypatch.setattr("multiattn.data.concat_clips.fixed_strings.__kwdefaults__", {"rate": 16_000, "count": 5})
    heard: list[Any] = []
    stream = TranscribePipeline.stream

    def spied(self: TranscribePipeline, inputs: Any, **options: Any) -> Any:
        heard.extend(inputs)
        return stream(self, heard, **options)

    monkeypatch.setattr(TranscribePipeline, "stream", spied)
    arguments = ("evaluate", "transcribe", "--data", data, "--model", recognizer, "--join", "--normalizer", "none")
    found = json.loads(run(*arguments, "--limit", "2", "--beams", "1", "--format", "json").out)
    assert [len(sound) for sound in heard] == [len(strings[i].samples) for i in (0, 2)]
    assert found["words"] == sum(len(strings[i].text.split()) for i in (0, 2))


def test_a_model_of_the_other_task(run, model, data) -> None:
    outcome = run("evaluate", "transcribe", "--data", data, "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert "must be a model for transcribe, but is one for classify instead: give another\n" in outcome.err
