"""One record an input: JSON, CSV and parquet, of results and of what failed, in the order of the inputs."""

import base64
import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest

from multiattn.cli.records import Column, columns, csv_line, json_line, row
from tests.fixtures import draw, save_drawing, save_tiny_answerer, save_tiny_recognizer

AFTER = ["maps", "error", "damaged", "marks", "file_bytes"]


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.fixture
def mixed(photos: Path) -> list[Path]:
    """Inputs of which the second and the last cannot be used."""
    (photos / "bad.png").write_bytes(b"no picture")
    return [photos / "a.png", photos / "bad.png", photos / "b.jpg", photos / "gone.png"]


def test_what_failed_has_its_record_in_its_place(run, model, mixed) -> None:
    outcome = run("classify", *mixed, "--model", model, "--format", "json", "--batch-size", "2")
    assert outcome.status == 1
    found = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["file"] for line in found] == list(map(str, mixed))
    assert [sorted(line) for line in found] == [["file", "predictions"], ["error", "file"]] * 2
    assert [found[1]["error"], found[3]["error"]] == [
        line.removeprefix("multiattn: ") for line in outcome.err.splitlines()[:2]
    ]
    assert outcome.err.splitlines()[2:] == ["multiattn: 2 of 4 inputs could not be used"]


def test_csv_of_labels(run, model, mixed) -> None:
    arguments = ("classify", *mixed, "--model", model, "--top-k", "2")
    outcome = run(*arguments, "--format", "csv")
    assert outcome.out.count("\r\n") == 5
    found = rows(outcome.out)
    assert list(found[0]) == ["file", "label", "score", "label_2", "score_2", "score_kind", *AFTER]
    expected = [json.loads(line) for line in run(*arguments, "--format", "json").out.splitlines()]
    for line, theirs in zip(found, expected, strict=True):
        assert (line["file"], line["error"]) == (theirs["file"], theirs.get("error", ""))
        for end, one in zip(("", "_2"), theirs.get("predictions", ()), strict=False):
            assert (line[f"label{end}"], float(line[f"score{end}"])) == (one["label"], one["score"])
    assert found[1]["label"] == ""


def test_csv_of_captions_answers_and_transcripts(run, captioner, photos, tmp_path, tmp_path_factory) -> None:
    (line,) = rows(run("caption", photos / "a.png", "--model", captioner, "--format", "csv").out)
    assert list(line) == ["file", "text", "score", "candidates", "words", *AFTER]
    assert " ".join(one["word"] for one in json.loads(line["words"])).split() == line["text"].split()

    answerer = save_tiny_answerer(tmp_path_factory.mktemp("answerer") / "tiny")
    asked = ("--question", 'is "it", or\r\nnot?', "--question", "is there a dog?")
    found = rows(run("answer", photos / "a.png", *asked, "--model", answerer, "--format", "csv").out)
    of_task = ["question", "answer", "score", "candidates", "question_words", "words", "first_token"]
    assert list(found[0]) == ["file", *of_task, *AFTER]
    assert [line["question"] for line in found] == list(asked[1::2])
    assert json.loads(found[0]["candidates"])[0] == {"answer": found[0]["answer"], "score": float(found[0]["score"])}

    recognizer = save_tiny_recognizer(tmp_path_factory.mktemp("recognizer") / "tiny")
    sound = Path(__file__).parents[2] / "assets/inputs/digits.flac"
    gone = tmp_path / "gone.wav"
    found = rows(run("transcribe", sound, gone, "--model", recognizer, "--format", "csv").out)
    assert list(found[0]) == ["file", "text", "duration", "language", "flags", "segments", "words", *AFTER]
    assert float(found[0]["duration"]) > 1
    assert "is missing" in found[1]["error"]


def test_parquet_is_a_folder_of_whole_parts(run, model, mixed, tmp_path, monkeypatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("multiattn.cli.parquet_folder._ROWS", 3)
    arguments = ("classify", *mixed, "--model", model, "--top-k", "2")
    out = tmp_path / "new" / "results"
    outcome = run(*arguments, "--format", "parquet", "--out", out)
    assert outcome.status == 1
    assert sorted(file.name for file in out.iterdir()) == ["part-00000.parquet", "part-00001.parquet"]
    found = parquet.read_table(out).to_pylist()
    expected = rows(run(*arguments, "--format", "csv").out)
    assert [{name: "" if value is None else str(value) for name, value in line.items()} for line in found] == expected
    again = run(*arguments, "--format", "parquet", "--out", out)
    assert again.status == 2
    assert "has part-00000.parquet of an earlier run instead; --resume goes on with it" in again.err
    before = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
    (out / "part-00001.parquet").unlink()
    (mixed[1]).write_bytes(mixed[0].read_bytes())
    assert run(*arguments, "--format", "parquet", "--out", out, "--resume").status == 1
    found = parquet.read_table(out).to_pylist()
    assert [line["file"] for line in found] == list(map(str, mixed))
    assert [line["error"] is None for line in found] == [True, True, True, False]
    after = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
    assert after.keys() == before.keys()
    again = run(*arguments, "--format", "parquet", "--out", out, "--resume")
    assert {file.name: file.stat().st_mtime_ns for file in out.iterdir()}["part-00000.parquet"] == (
        after["part-00000.parquet"]
    )
    other = run(*arguments[:-1], "1", "--format", "parquet", "--out", out, "--resume")
    assert other.status == 2


def test_parquet_without_pyarrow_names_the_extra(run, model, photos, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    outcome = run("classify", photos, "--model", model, "--format", "parquet", "--out", tmp_path / "p")
    assert (outcome.status, outcome.out) == (1, "")
    assert "pip install multiattn[parquet]" in outcome.err


def test_a_record_is_valid_json_whatever_it_holds() -> None:
    name = os.fsdecode("é".encode() + b"\xe9.png")
    line = json_line({"file": name, "text": "\ud800x", "score": float("nan"), "deep": [{"a\udc80": "\udfff"}]})
    record = json.loads(line, parse_constant=lambda _: pytest.fail("not JSON"))
    json.dumps(record, ensure_ascii=False).encode("utf-8")
    assert record["file"] == "é\ufffd.png"
    assert os.fsdecode(base64.b64decode(record["file_bytes"])) == name
    assert (record["text"], record["score"], record["deep"]) == ("\ufffdx", None, [{"a\ufffd": "\ufffd"}])
    assert "file_bytes" not in json.loads(json_line({"file": "é.png"}))


def test_cells() -> None:
    table = columns([Column("text"), Column("score", is_number=True), Column("words")])
    cells = row({"file": "a", "text": 'say "a, b"\n', "score": 1, "words": [{"word": "é"}], "damaged": {}}, table)
    assert cells == ["a", 'say "a, b"\n', 1.0, '[{"word": "é"}]', None, None, None, None, None]
    assert csv_line(cells[:3]) == 'a,"say ""a, b""\n",1.0\r\n'


def test_standard_input_and_lists(run, model, photos, tmp_path, monkeypatch) -> None:
    options = ("--model", model, "--format", "json", "--top-k", "1")

    def files(*arguments: object) -> list[str]:
        return [json.loads(line)["file"] for line in run("classify", *arguments, *options).out.splitlines()]

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((photos / "a.png").read_bytes())))
    expected = json.loads(run("classify", photos / "a.png", *options).out)["predictions"]
    (line,) = run("classify", "-", *options).out.splitlines()
    assert json.loads(line) == {"file": "-", "predictions": expected}
    draw(1).save(tmp_path / "cat[1]\n.png")
    paths = [str(photos / "b.jpg"), str(tmp_path / "cat[1]\n.png"), str(photos / "a.png")]
    (tmp_path / "nul").write_bytes(b"".join(os.fsencode(path) + b"\0" for path in paths))
    assert files("--files", tmp_path / "nul") == paths
    (tmp_path / "lines").write_text(f"{photos}\r\n\n{photos}/*.jpg\n{paths[0]}")
    found = files(photos / "b.jpg", "--files", tmp_path / "lines")
    assert found == [paths[0], *(str(photos / name) for name in ("a.png", "b.jpg", "deep/c.png", "*.jpg", "b.jpg"))]
    outcome = run("classify", "--files", tmp_path / "none", *options)
    assert (outcome.status, json.loads(outcome.out)["file"]) == (1, str(tmp_path / "none"))
    outcome = run("classify", "-", "--files", "-", *options)
    assert (outcome.status, "- is standard input, which can be read once only" in outcome.err) == (2, True)


def test_quiet_and_verbose(run, model, photos) -> None:
    loud = run("classify", photos, photos / "gone.png", "--model", model, "-v")
    told = loud.err.splitlines()
    assert [line.rpartition(" ")[2] for line in told[:3]] == [str(photos / n) for n in ("a.png", "b.jpg", "deep/c.png")]
    assert "gone.png" in told[3] and told[4].endswith("gone.png")
    assert told[5].startswith("multiattn: 4 inputs in ") and told[5].endswith(" a second")
    calm = run("classify", photos, photos / "gone.png", "--model", model, "--quiet")
    assert calm.out == loud.out
    assert len(calm.err.splitlines()) == 2
    assert run("classify", photos, "-q", "-v").status == 2


def test_a_folder_that_may_not_be_read_is_named_and_the_others_are_done(run, model, photos, monkeypatch) -> None:
    scan = os.scandir

    def guarded(path):
        if os.fspath(path) == str(photos / "closed"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    save_drawing(photos / "closed/x.png", 1)
    monkeypatch.setattr(os, "scandir", guarded)
    outcome = run("classify", photos, "--model", model, "--format", "json")
    assert outcome.status == 1
    names = [Path(json.loads(line)["file"]).name for line in outcome.out.splitlines()]
    assert names == ["a.png", "b.jpg", "closed", "c.png"]
    assert outcome.err.splitlines() == [
        f"multiattn: `{photos}/closed` must be a folder that may be read, but opening it fails instead: "
        "Permission denied.",
        "multiattn: 1 of 4 inputs could not be used",
    ]
