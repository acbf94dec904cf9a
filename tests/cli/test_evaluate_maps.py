"""`multiattn evaluate maps`: the same figures as by hand, for every task, and what is said where there are none."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from multiattn.inputs import load_image
from multiattn.maps import explain
from multiattn.registry import task_spec
from multiattn.weights import load_bundle, save_bundle
from tests.fixtures import (
    save_drawing,
    save_tiny_answerer,
    save_tiny_captioner,
    save_tiny_recognizer,
    tiny_bundle,
)
from tests.tasks.spoken import draw_spoken

PICTURES = 13
BASELINES = ["centered blob", "random"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> str:
    """A tiny model that is sure of what it says."""
    bundle = tiny_bundle()
    with torch.no_grad():
        bundle.model.head.weight.mul_(6)
    folder = tmp_path_factory.mktemp("model") / "sure"
    save_bundle(bundle, folder)
    return str(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for seed in range(PICTURES):
        save_drawing(folder / "validation" / f"{seed}.png", seed)
        boxes = [[0.0, 0.0, 26.0, 18.0]] if seed % 2 else [[20.0, 10.0, 53.0, 37.0]]
        rows.append({"file_name": f"{seed}.png", "question": "is it a fox?", "answer": "no", "boxes": boxes})
    lines = "\n".join(map(json.dumps, rows))
    (folder / "validation" / "metadata.jsonl").write_text(lines)
    return folder


def by_hand(model, pixels: torch.Tensor, label: int, values) -> float:
    """Insertion less deletion of a label's probability, at 17 points each way."""
    rows, cols = values.shape
    mean = pixels.double().mean(dim=(1, 2)).float()
    order = sorted(range(rows * cols), key=lambda i: -float(values[i // cols, i % cols]))
    size = 5
    pictures, signs = [], []
    for step in range(17):
        first = {i for place, i in enumerate(order) if place < step * rows * cols / 16}
        for hides in (True, False):
            picture = pixels.clone()
            for i in range(rows * cols):
                if (i in first) == hides:
                    y, x = size * (i // cols), size * (i % cols)
                    picture[:, y : y + size, x : x + size] = mean[:, None, None]
            pictures.append(picture)
            signs.append(-1 if hides else 1)
    with torch.no_grad():
        found = model(torch.stack(pictures)).double().softmax(dim=-1)[:, label].tolist()
    return math.fsum(sign * one for sign, one in zip(signs, found, strict=True)) / 17


def test_a_classifiers_figures_are_those_by_hand(run, classifier, data) -> None:
    arguments = ("evaluate", "maps", "--task", "classify", "--data", data, "--model", classifier, "--items", PICTURES)
    outcome = run(*arguments, "--format", "json", "--map-method", "relevance,rollout")
    assert outcome.status == 0 and outcome.err == ""
    found = json.loads(outcome.out)
    bundle = load_bundle(classifier)
    areas: dict[str, list[float]] = {"relevance": [], "rollout": []}
    for path in sorted((data / "validation").glob("*.png")):
        pixels, _ = bundle.pictures(load_image(path))
        probabilities = bundle.model(pixels[None]).detach().softmax(dim=-1)[0]
        if probabilities.max() < 0.5:
            continue
        label = int(probabilities.argmax())
        for method, of_method in areas.items():
            (one,) = explain(bundle.model, pixels[None], method=method, target=[label])
            of_method.append(by_hand(bundle.model, pixels, label, one.values))
    assert 10 <= found["items"] == len(areas["relevance"]) and found["left_out"] == PICTURES - found["items"]
    for method, of_method in areas.items():
        score = found["scores"][method]
        assert score["area"]["mean"] == pytest.approx(math.fsum(of_method) / len(of_method), abs=1e-5)
        assert score["area"]["mean"] == pytest.approx(score["insertion"] - score["deletion"], abs=1e-6)
        assert score["area"]["low"] <= score["area"]["mean"] <= score["area"]["high"]
        assert len(score["randomized"]) == 3 and score["pointing"] is None
    pair = next(one for one in found["pairs"] if {one["method"], one["other"]} == set(areas))
    better = [a - b for a, b in zip(areas[pair["method"]], areas[pair["other"]], strict=True)]
    assert pair["difference"]["mean"] == pytest.approx(math.fsum(better) / len(better), abs=1e-5)
    assert pair["wins"] == pytest.approx(sum((one > 0) + 0.5 * (one == 0) for one in better) / len(better), abs=0.05)
    assert found["scores"]["rollout"]["other_label"] == pytest.approx(1)  # the same for every class
    assert found["scores"]["relevance"]["other_label"] < 1
    assert found["first"] == max(areas, key=lambda name: math.fsum(areas[name]))


def test_text_and_picture(run, classifier, data, tmp_path) -> None:
    arguments = ("evaluate", "maps", "--task", "classify", "--data", data, "--model", classifier, "--items", 10)
    outcome = run(*arguments, "--picture", tmp_path / "deep/maps.png", "--map-method", "attention", "--filling", "blur")
    lines = outcome.out.splitlines()
    assert lines[0].split() == "area 95 % interval shown hidden wins 1/3 all label".split()
    assert sorted(line[:14].strip() for line in lines[1:4]) == ["attention", *BASELINES]
    assert lines[-1] == f"10 labels of {data} (validation) with {classifier}; filling: blur"
    with Image.open(tmp_path / "deep/maps.png") as picture:
        assert picture.width > 800 and len(picture.convert("RGB").getcolors(1 << 20) or ()) > 10


@pytest.mark.slow
@pytest.mark.parametrize("task", ["answer", "caption", "transcribe"])
def test_the_other_tasks(task, run, data, tmp_path, monkeypatch) -> None:
    # no tiny model is sure of anything
    for module in ("answer", "speech"):
        monkeypatch.setattr(f"multiattn.pipelines.explained_{module}.LIKELY", 0.0)
    monkeypatch.setattr("multiattn.pipelines.explained.ungrounded", lambda value: False)
    if task == "transcribe":
        data = draw_spoken(tmp_path / "data", sizes={"validation": 12})
    save = {"caption": save_tiny_captioner, "answer": save_tiny_answerer, "transcribe": save_tiny_recognizer}[task]
    model = save(tmp_path / "model")
    outcome = run(
        "evaluate", "maps", "--task", task, "--data", data, "--model", model, "--items", 10, "--format", "json"
    )
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    methods = task_spec(task).map_methods
    assert sorted(found["scores"]) == sorted([*methods, *BASELINES]) and found["items"] == 10
    blocks = {len(found["scores"][name]["randomized"]) for name in methods}
    assert len(blocks) == 1 and 0 not in blocks
    points = [one["pointing"] for one in found["scores"].values()]
    assert all(one is not None and 0 <= one <= 1 for one in points) if task == "answer" else points[0] is None
    assert found["first"] in methods


def test_the_best_method_is_kept_and_shown_first(run, classifier, data, tmp_path) -> None:
    save_bundle(load_bundle(classifier), tmp_path / "model")
    arguments = ("evaluate", "maps", "--task", "classify", "--data", data, "--model", tmp_path / "model", "--items", 10)
    outcome = run(*arguments, "--map-method", "rollout,attention", "--keep", "--format", "json")
    found = json.loads(outcome.out)
    file = tmp_path / "model" / "config.json"
    assert outcome.err == f"multiattn: {file} states that maps by {found['first']} are shown first\n"
    kept = json.loads(file.read_text())["maps"]
    area = found["scores"][found["first"]]["area"]
    assert kept == {
        "first": found["first"],
        "area": pytest.approx(area["mean"], abs=1e-4),
        "interval": [pytest.approx(area["low"], abs=1e-4), pytest.approx(area["high"], abs=1e-4)],
        "items": 10,
        "data": f"{data.name}/validation",
        "filling": "mean",
    }
    bundle = load_bundle(tmp_path / "model")
    assert bundle.first_map_method == found["first"] != "lrp" == load_bundle(classifier).first_map_method
    save_bundle(bundle, tmp_path / "again")
    assert load_bundle(tmp_path / "again").maps == bundle.maps


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--items", "9"), 2, "argument --items: must be at least 10, but is 9 instead"),
        (("--map-method", "rolout"), 2, "argument --map-method: must be of attention, "),
        (("--split", "test"), 1, "there is no split 'test': it has validation. Make "),
        (("--split", "few"), 1, "at least 10 labels are needed, but of 3 only 3 could be measured (the label of each"),
        (("--task", "caption"), 1, "must be a model for caption, but is one for classify: give another"),
        (
            ("--task", "transcribe", "--map-method", "rollout"),
            2,
            "must be of attention, lrp for transcribe, but is 'roll",
        ),
        (("--filling", "black"), 2, "argument --filling: invalid choice: 'black'"),
        ((), 2, "the following arguments are required: --task, --data"),
    ],
)
def test_what_cannot_be_measured(arguments, status, message, run, classifier, data, tmp_path) -> None:
    for seed in (0, 1, 2):
        save_drawing(tmp_path / "few" / f"{seed}.png", seed)
    folder = tmp_path if "few" in arguments else data
    given = ("--task", "classify", "--data", folder, "--model", classifier, *arguments) if arguments else ()
    outcome = run("evaluate", "maps", *given)
    assert (outcome.status, outcome.out) == (status, "") and message in outcome.err and outcome.err.count("\n") == 1


def test_a_value_has_no_probability_and_a_published_directory_keeps_nothing(run, data, tmp_path) -> None:
    save_bundle(replace(tiny_bundle(), score_function="identity"), tmp_path / "value")
    outcome = run("evaluate", "maps", "--task", "classify", "--data", data, "--model", tmp_path / "value")
    assert outcome.status == 1 and "`score_function` must give a probability" in outcome.err
    save_bundle(tiny_bundle(), tmp_path / "timm", layout="timm")
    arguments = ("evaluate", "maps", "--task", "classify", "--data", data, "--model", tmp_path / "timm", "--keep")
    outcome = run(*arguments)
    assert outcome.status == 1 and outcome.err == (
        f"multiattn: --keep needs a model directory of yours in our own layout, but {tmp_path}/timm is none: write one "
        f"with `multiattn convert {tmp_path}/timm DIRECTORY --to multiattn`\n"
    )


def test_a_directory_that_states_an_unknown_method(run, classifier, tmp_path) -> None:
    save_bundle(replace(load_bundle(classifier), maps={"first": "rolout"}), tmp_path / "model")
    outcome = run("info", tmp_path / "model")
    assert outcome.status == 1 and "config.json: `maps.first` must be one of attention, rollout" in outcome.err


def test_a_damaged_file_is_named_and_left_out(run, classifier, tmp_path) -> None:
    for seed in range(11):
        save_drawing(tmp_path / "validation" / f"{seed}.png", seed)
    (tmp_path / "validation" / "5.png").write_bytes(b"no picture")
    arguments = ("--task", "classify", "--data", tmp_path, "--model", classifier, "--map-method", "attention")
    outcome = run("evaluate", "maps", *arguments, "--items", 11, "--format", "json")
    assert outcome.status == 1 and json.loads(outcome.out)["skipped"] == 1
    assert "skipped: " in outcome.err and "5.png" in outcome.err
