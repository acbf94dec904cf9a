"""`multiattn classify` with models whose scores are no softmax, and the labels that it is told to leave out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from multiattn.models import ViT
from multiattn.weights import save_bundle
from tests.fixtures import CONFIG, LABELS, save_drawing, tiny_bundle, tiny_caption_bundle


def save_kind(directory: Path, function: Any, *, classes: int = len(LABELS), shift: float = 0.0) -> Path:
    bundle = tiny_bundle()
    if classes != len(LABELS):
        bundle = replace(bundle, model=ViT(replace(CONFIG, num_classes=classes)).eval(), labels=LABELS[:classes])
    with torch.no_grad():
        bundle.model.head.bias.add_(shift)
    save_bundle(replace(bundle, score_function=function), directory)
    return directory


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures that the tiny model does not find the same in."""
    save_drawing(tmp_path / "photos/0.png", 0)
    for number, color in enumerate(("black", "red", "white"), start=1):
        Image.new("RGB", (9, 11), color).save(tmp_path / f"photos/{number}.png")
    return tmp_path / "photos"


def test_values_are_no_percentages(run, photos, tmp_path) -> None:
    model = save_kind(tmp_path / "m", "identity")
    found = lines(run("classify", photos, "--model", model, "--format", "json").out)
    assert all(line["score_kind"] == "value" for line in found)
    outcome = run("classify", photos / "0.png", "--model", model, "--top-k", "2")
    first, second = found[0]["predictions"][:2]
    assert outcome.out.splitlines()[1:] == [
        f"  {first['score']:>+6.4g}  {first['label']}",
        f"  {second['score']:>+6.4g}  {second['label']}",
    ]
    assert "%" not in outcome.out


def test_threshold(run, photos, tmp_path) -> None:
    model = save_kind(tmp_path / "m", "sigmoid")
    everything = lines(run("classify", photos, "--model", model, "--format", "json", "--top-k", "7").out)
    kept = lines(run("classify", photos, "--model", model, "--format", "json", "--threshold", "0.5").out)
    for line, full in zip(kept, everything, strict=True):
        assert line["score_kind"] == "independent probability"
        assert line["predictions"] == [one for one in full["predictions"] if one["score"] >= 0.5]
    assert len({len(line["predictions"]) for line in kept}) > 1
    cut = lines(run("classify", photos, "--model", model, "--format", "json", "--threshold", "0", "--top-k", "2").out)
    assert [line["predictions"] for line in cut] == [line["predictions"][:2] for line in everything]


def test_no_label_reaches_the_threshold(run, photos, tmp_path, model) -> None:
    outcome = run("classify", photos / "0.png", "--model", model, "--threshold", "1", "--maps", tmp_path / "maps")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.splitlines()[:2] == [str(photos / "0.png"), "  no label reaches the threshold"]
    assert (tmp_path / "maps/0.html").is_file()  # of the best label


def test_only_keeps_pictures_with_a_label(run, photos, tmp_path, model) -> None:
    everything = lines(run("classify", photos, "--model", model, "--format", "json").out)
    first = [line["predictions"][0]["label"] for line in everything]
    assert len(set(first)) > 1
    options = ("--model", model, "--format", "json", "--only", first[0], "--maps", tmp_path / "maps")
    outcome = run("classify", photos, *options)
    assert (outcome.status, outcome.err) == (0, "")
    kept = lines(outcome.out)
    assert [line["file"] for line in kept] == [
        line["file"] for line, label in zip(everything, first, strict=True) if label == first[0]
    ]
    assert [line["predictions"] for line in kept] == [
        line["predictions"] for line, label in zip(everything, first, strict=True) if label == first[0]
    ]
    pages = {file.name for file in (tmp_path / "maps").glob("*.html")}
    assert len(pages - {"index.html"}) == len(kept)
    several = [part for label in set(first) for part in ("--only", label)]
    assert lines(run("classify", photos, "--model", model, "--format", "json", *several).out) == everything
    assert run("classify", photos, "--model", model, *several, "--threshold", "1").out == ""


def test_only_of_a_multi_label_model_is_any_label_that_is_likely(run, photos, tmp_path) -> None:
    model = save_kind(tmp_path / "m", "sigmoid")
    everything = lines(run("classify", photos, "--model", model, "--format", "json", "--top-k", "7").out)
    scores = [{one["label"]: one["score"] for one in line["predictions"]} for line in everything]
    for options, least in (((), 0.5), (("--threshold", "0.9"), 0.9)):
        for label in LABELS:
            kept = lines(run("classify", photos, "--model", model, "--format", "json", "--only", label, *options).out)
            assert [line["file"] for line in kept] == [
                line["file"] for line, one in zip(everything, scores, strict=True) if one[label] >= least
            ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "Elk"), "--only must be a label of the model, but is 'Elk' instead: did you mean 'elk'?"),
        (("--only", "zebra"), "its 7 labels are ant, bee, cow, dog, elk, ..."),
        (("--threshold", "50"), "--threshold must be from 0 to 1 for this model, but is 50 instead"),
        (("--threshold", "nan"), "--threshold: must be a number, but is 'nan' instead"),
    ],
)
def test_usage(run, photos, model, options, message) -> None:
    outcome = run("classify", photos, "--model", model, *options)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


def test_a_single_output(run, photos, tmp_path) -> None:
    model = save_kind(tmp_path / "m", "softmax", classes=1)  # as a directory of before says, or one without the key
    found = lines(run("classify", photos, "--model", model, "--format", "json").out)
    scores = [line["predictions"][0]["score"] for line in found]
    assert all(0 < score < 1 for score in scores) and len(set(scores)) == len(scores)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("softmax", "softmax: the probabilities of all labels together are 1"),
        ("sigmoid", "sigmoid: the probability of each label by itself"),
        ("identity", "identity: values, no probabilities"),
    ],
)
def test_info(run, tmp_path, function, said) -> None:
    model = save_kind(tmp_path / "m", function)
    assert f"scores         {said}\n" in run("info", model).out
    facts = json.loads(run("info", model, "--format", "json").out)
    assert facts.get("score_function", "softmax") == function


def test_evaluate_needs_one_label_a_picture(run, tmp_path) -> None:
    save_drawing(tmp_path / "data/validation/ant/0.png", 0)
    model = save_kind(tmp_path / "m", "sigmoid")
    outcome = run("evaluate", "classify", "--data", tmp_path / "data", "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("multiattn: evaluate must have a model that gives one label for a picture, but ")
    assert "gives each label a probability of its own instead: give another --model" in outcome.err


def test_captions_without_the_models_own_prompt(run, photos, tmp_path) -> None:
    bundle = tiny_caption_bundle()
    bundle.decoding |= {"prompt": "a red square "}
    save_bundle(bundle, tmp_path / "m")
    options = (photos, "--model", tmp_path / "m", "--format", "json")
    plain = run("caption", *options).out
    without = run("caption", *options, "--no-prompt").out
    bundle.decoding.pop("prompt")
    save_bundle(bundle, tmp_path / "m")
    assert without == run("caption", *options).out != plain
    outcome = run("caption", *options, "--no-prompt", "--prompt", "red")
    assert outcome.status == 2 and "--no-prompt that nothing; give one" in outcome.err
