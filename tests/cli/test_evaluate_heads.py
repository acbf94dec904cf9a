"""`multiattn evaluate heads`: every task, and what is said where heads cannot be collected."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.cli import evaluate_heads
from multiattn.head_roles import ROLES
from tests.fixtures import save_drawing, save_tiny_answerer, save_tiny_captioner, save_tiny_recognizer
from tests.tasks.spoken import draw_spoken


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for seed in range(5):
        save_drawing(folder / "validation" / f"{seed}.png", seed)
        boxes = [[0.0, 0.0, 26.0, 18.0]]
        rows.append({"file_name": f"{seed}.png", "question": "is it a fox?", "answer": "no", "boxes": boxes})
    (folder / "validation" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def heads(run, *command) -> dict:
    outcome = run("evaluate", "heads", *command, "--format", "json", "--items", "3")
    assert (outcome.status, outcome.err) == (0, "")
    return json.loads(outcome.out)


def test_labels_with_pictures(run, model, data, tmp_path) -> None:
    drawn, means = tmp_path / "heads.png", tmp_path / "means.png"
    command = ("--task", "classify", "--data", data, "--model", model, "--off", "1")
    found = heads(run, *command, "--picture", drawn, "--mean-maps", means)
    assert [(one["site"], one["head"]) for one in found["heads"]] == [
        (f"blocks.{layer}.self", head) for layer in range(3) for head in range(2)
    ]
    assert {one["role"] for one in found["heads"]} <= set(ROLES)
    slopes = [one["slope"] for one in found["heads"]]
    switched = [i for i, one in enumerate(found["heads"]) if one["off"] is not None]
    assert switched == sorted([slopes.index(max(slopes)), slopes.index(min(slopes))])
    assert (found["items"], found["skipped"], found["task"]) == (3, 0, "classify")
    for file in (drawn, means):
        with Image.open(file) as picture:
            assert picture.width > 300

    text = run("evaluate", "heads", *command, "--items", "3").out.splitlines()
    assert text[0].split() == ["head", "slope", "of", "site", "off", "sharp", "role"]
    assert len(text) == 1 + 6 + 1
    first = max(found["heads"], key=lambda one: one["slope"])
    assert text[1].split()[:2] == [f"{first['site']}.{first['head']}", f"{first['slope']:.4f}"]
    assert text[-1] == f"3 predictions on {data} (validation) with {model}"
    assert found["agreement"] is None  # of two heads


@pytest.mark.parametrize(
    ("task", "save", "sites"),
    [
        ("caption", save_tiny_captioner, {"encoder.blocks.0.self", "decoder.blocks.1.cross"}),
        ("answer", save_tiny_answerer, {"encoder.blocks.0.self", "question.blocks.0.cross"}),
    ],
)
def test_texts_about_pictures(run, data, tmp_path, task, save, sites) -> None:
    found = heads(run, "--task", task, "--data", data, "--model", save(tmp_path / "model"), "--off", "0")
    assert sites <= {one["site"] for one in found["heads"]}
    assert all(one["off"] is None and one["slope"] > 0 for one in found["heads"])
    pointing = {one["site"].rpartition(".")[2] for one in found["heads"] if one["pointing"] is not None}
    assert pointing == ({"self", "cross"} if task == "answer" else set())


def test_recordings(run, tmp_path) -> None:
    recordings = draw_spoken(tmp_path / "data", sizes={"validation": 3})
    model = save_tiny_recognizer(tmp_path / "model")
    found = heads(run, "--task", "transcribe", "--data", recordings, "--model", model, "--off", "9")
    assert {"encoder.blocks.0.self", "decoder.blocks.0.cross"} <= {one["site"] for one in found["heads"]}
    assert all(one["off"] is not None for one in found["heads"])
    ranks = [np.argsort(np.argsort([abs(one[name]) for one in found["heads"]])) for name in ("slope", "off")]
    assert found["agreement"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert all(torch.isfinite(torch.tensor(one["slope"])) for one in found["heads"])


def test_what_cannot_be_used_is_named(run, model, data, tmp_path) -> None:
    outcome = run("evaluate", "heads", "--task", "caption", "--data", data, "--mean-maps", "m.png")
    assert outcome.status == 2
    assert "--mean-maps is for labels, which --task classify has, but is given with caption instead" in outcome.err
    outcome = run("evaluate", "heads", "--task", "classify", "--data", data, "--off", "-1")
    assert (outcome.status, "must be a whole number of at least 0" in outcome.err) == (2, True)
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "a.png").write_bytes(b"no picture")
    outcome = run("evaluate", "heads", "--task", "classify", "--data", tmp_path, "--model", model)
    assert outcome.status == 1
    assert "skipped: " in outcome.err
    assert outcome.err.splitlines()[-1].endswith("there is no input that could be used: give other data")


def test_the_help_has_the_roles_as_they_are() -> None:
    said = " ".join(evaluate_heads.parser().format_help().split())
    for name, rule in ROLES.items():
        assert f"{name}: {rule}" in said
