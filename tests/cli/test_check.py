"""`--check`: the verdict in text, JSON and tables; with --resume and --processes; and its wrong uses."""

import csv
import json
from pathlib import Path

import pytest

from multiattn.registry import task_spec
from tests.fixtures import save_tiny_answerer, save_tiny_recognizer

LINE = "without its brightest quarter "
FIRST = task_spec("classify").default_map_method


def test_a_check_needs_no_maps_and_takes_no_path(run, model, photos) -> None:
    before = run("classify", "--check", photos / "a.png", "--model", model)
    after = run("classify", photos / "a.png", "--model", model, "--check")
    assert before == after and before.status == 0
    (line,) = [line for line in before.out.splitlines() if line.startswith("  check  ")]
    assert line.startswith(f"  check  {FIRST}: ") and LINE in line and "; a random quarter " in line
    assert "the center " in line
    two = run("classify", photos / "a.png", "--model", model, "--check", "--map-method", "rollout,attention")
    assert [line.split()[1] for line in two.out.splitlines() if LINE in line] == ["rollout:", "attention:"]


def test_json_has_the_points_and_a_table_a_column(run, model, photos, tmp_path) -> None:
    arguments = ("classify", photos, "--model", model, "--check")
    rows = [json.loads(line) for line in run(*arguments, "--format", "json").out.splitlines()]
    assert len(rows) == 3
    for row in rows:
        (verdict,) = row["verdict"]
        assert verdict["word"] in ("strong", "weak", "no better than chance")
        assert verdict["whole"] == pytest.approx(row["predictions"][0]["score"], abs=1e-5)
        assert [len(verdict[name]) for name in ("shares", "deleted", "center", "random")] == [4, 4, 4, 4]
    table = list(csv.DictReader(run(*arguments, "--format", "csv").out.splitlines()))
    assert [json.loads(row["verdict"]) for row in table] == [row["verdict"] for row in rows]
    plain = run("classify", photos, "--model", model, "--format", "csv").out.splitlines()[0]
    assert "verdict" not in plain.split(",")
    out = tmp_path / "r"
    for kind in ("json", "csv"):
        assert run(*arguments, "--format", kind, "--out", out).status == 0
        whole = out.read_bytes()
        out.with_name("r.part").write_bytes(whole[: len(whole) // 2])
        out.unlink()
        assert run(*arguments, "--format", kind, "--out", out, "--resume").status == 0
        assert out.read_bytes() == whole
        out.unlink()


def test_pictures_and_pages_of_maps_say_the_verdict(run, model, photos, tmp_path) -> None:
    arguments = ("classify", photos / "a.png", "--model", model, "--maps", tmp_path / "m", "--format", "json")
    run(*arguments)
    plain = (tmp_path / f"m/a.{FIRST}.png").read_bytes()
    page = (tmp_path / "m/a.html").read_text()
    assert '"verdicts":[]' in page
    (row,) = [json.loads(line) for line in run(*arguments, "--check").out.splitlines()]
    assert (tmp_path / f"m/a.{FIRST}.png").read_bytes() != plain
    assert json.dumps(row["verdict"][0]["line"])[1:-1].replace(">", "\\u003e") in (tmp_path / "m/a.html").read_text()


@pytest.mark.slow
@pytest.mark.process
def test_verdicts_come_from_other_processes(run, model, photos, tmp_path) -> None:
    arguments = ("classify", photos, "--model", model, "--check", "--format", "json", "--batch-size", "1")
    expected = run(*arguments)
    assert run(*arguments, "--processes", "2") == expected
    maps = run(*arguments, "--processes", "2", "--maps", tmp_path / "m")
    verdicts = [json.loads(line)["verdict"] for line in expected.out.splitlines()]
    assert [json.loads(line)["verdict"] for line in maps.out.splitlines()] == verdicts


def test_every_word_of_a_caption(run, captioner, photos) -> None:
    outcome = run("caption", "--check", "words", photos / "a.png", "--model", captioner)
    assert "--check words runs the model 12 times more for each word" in outcome.err
    quiet = run("caption", photos / "a.png", "--model", captioner, "--check", "words", "--format", "json", "-q")
    assert quiet.err == ""
    (row,) = map(json.loads, quiet.out.splitlines())
    words = [one["of"] for one in row["verdict"][0]["words"]]
    assert words == [one["word"] for one in row["words"]] and words
    lines = [line for line in outcome.out.splitlines() if LINE in line]
    assert len(lines) == 1 + len(words)
    whole = run("caption", "--check", photos / "a.png", "--model", captioner)
    assert whole.err == "" and len([line for line in whole.out.splitlines() if LINE in line]) == 1


def test_answers_and_transcripts(run, photos, tmp_path) -> None:
    answerer = save_tiny_answerer(tmp_path / "answerer")
    outcome = run("answer", photos / "a.png", "--question", "how many?", "--model", answerer, "--check")
    assert [line.split(": ")[0] for line in outcome.out.splitlines() if LINE in line] == [
        f"  check  {task_spec('answer').default_map_method}",
        "  check  words of the question",
    ]
    recognizer = save_tiny_recognizer(tmp_path / "recognizer")
    import numpy as np
    import soundfile

    times = np.arange(8000) / 16_000
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * times), 16_000)
    said = run("transcribe", "--check", tmp_path / "a.wav", "--model", recognizer, "--keep-flagged", "--format", "json")
    (row,) = map(json.loads, said.out.splitlines())
    assert ("verdict" in row) == bool(row["words"])


def test_wrong_uses_are_one_line(run, model, captioner, photos) -> None:
    outcome = run("caption", photos / "a.png", "--model", captioner, "--check=every")
    assert outcome.status == 2
    assert "argument --check: must be words, or nothing, but is 'every' instead" in outcome.err
    outcome = run("classify", photos / "a.png", "--model", model, "--map-method", "rollout")
    assert outcome.status == 2 and "needs --maps DIR to say where to, or --check" in outcome.err
    outcome = run("transcribe", "--live", "-", "--check")
    assert outcome.status == 2 and "--check needs a recording, and --live has none" in outcome.err
    outcome = run("embed", photos / "a.png", "--check")
    assert outcome.status == 2 and "unrecognized arguments: --check" in outcome.err
    assert Path(photos / "a.png").is_file()
