import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import multiattn
from multiattn.cli.evaluate_classify import expected_calibration_error
from tests.fixtures import LABELS, save_drawing


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Class folders of a validation split; five of the model's seven labels, 13 pictures."""
    for seed in range(13):
        save_drawing(tmp_path / "data/validation" / LABELS[seed % 5] / f"{seed}.png", seed)
    return tmp_path / "data"


def by_hand(model: str, files: list[tuple[Path, str]]) -> dict[str, float]:
    classify = multiattn.load(model, device="cpu")
    found = [([p.label for p in classify(file).predictions], classify(file).score, label) for file, label in files]
    correct = [labels[0] == label for labels, _, label in found]
    return {
        "top1": np.mean(correct),
        "top5": np.mean([label in labels for labels, _, label in found]),
        "ece": expected_calibration_error([score for _, score, _ in found], correct),
    }


def test_json_is_one_object(run, model, data) -> None:
    outcome = run("evaluate", "classify", "--data", data, "--model", model, "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    files = [(path, path.parent.name) for path in sorted(data.rglob("*.png"))]
    expected = by_hand(model, files)
    assert 0 < expected["top5"] < 1  # a mix-up of labels would show
    by_class = {name: found.pop(name) for name in ("macro_accuracy", "per_class", "confusion")}
    assert by_class["per_class"].keys() == {label for _, label in files}
    assert sum(one["items"] for one in by_class["per_class"].values()) == 13
    for name, one in by_class["per_class"].items():
        assert one["accuracy"] == by_hand(model, [(path, label) for path, label in files if label == name])["top1"]
    assert by_class["macro_accuracy"] == np.mean([one["accuracy"] for one in by_class["per_class"].values()])
    assert sum(one["items"] for one in by_class["confusion"]) == 13
    assert found == {
        **{name: pytest.approx(value, abs=1e-5) for name, value in expected.items()},
        "items": 13,
        "skipped": 0,
        "model": model,
        "data": str(data),
        "split": "validation",
    }


def test_text_says_the_same(run, model, data, tmp_path) -> None:
    picture = tmp_path / "made" / "confusion.png"
    found = json.loads(run("evaluate", "classify", "--data", data, "--model", model, "--format", "json").out)
    text = run("evaluate", "classify", "--data", data, "--model", model, "--confusion", picture).out
    with Image.open(picture) as drawn:
        assert drawn.format == "PNG" and min(drawn.size) > 200
    width = max(map(len, found["per_class"]))
    mistakes = [one for one in found["confusion"] if one["label"] != one["predicted"]][:5]
    assert text.splitlines() == [
        f"top-1  {found['top1']:6.2%}",
        f"top-5  {found['top5']:6.2%}",
        f"ECE    {found['ece']:6.2%}",
        f"macro  {found['macro_accuracy']:6.2%}",
        "accuracy by class",
        *(f"  {n:{width}}  {one['accuracy']:7.2%}  of {one['items']}" for n, one in found["per_class"].items()),
        "taken for another, the most frequent",
        *(f"  {one['label']} as {one['predicted']}  {one['items']}" for one in mistakes),
        f"on 13 pictures of {data} (validation) with {model}",
    ]


def test_text_makes_names_harmless(run, model, data) -> None:
    renamed = data.rename(data.parent / "da\nta\x1b")
    text = run("evaluate", "classify", "--data", renamed, "--model", model).out
    assert "\x1b" not in text and "da\nta" not in text
    assert f"on 13 pictures of {data.parent}" + r"/da\nta\x1b (validation) with " in text


def test_labels_are_matched_by_name_not_by_place(run, model, tmp_path) -> None:
    classify = multiattn.load(model, device="cpu")
    for seed in range(5):
        file = save_drawing(tmp_path / f"{seed}.png", seed)
        label = classify(file).label
        (tmp_path / "data/test" / label).mkdir(parents=True, exist_ok=True)
        file.rename(tmp_path / "data/test" / label / file.name)
    used = sorted(path.name for path in (tmp_path / "data/test").iterdir())
    assert used != list(LABELS[: len(used)])  # the places differ
    arguments = ("evaluate", "classify", "--data", tmp_path / "data", "--split", "test", "--model", model)
    assert json.loads(run(*arguments, "--format", "json").out)["top1"] == 1


def test_metadata_is_read(run, model, data, tmp_path) -> None:
    files = sorted(data.rglob("*.png"))
    rows = [{"file_name": str(file.relative_to(data / "validation")), "label": file.parent.name} for file in files]
    (data / "validation/metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    outcome = run("evaluate", "classify", "--data", data, "--model", model, "--format", "json")
    assert json.loads(outcome.out)["items"] == 3


def test_a_bad_picture_is_named_skipped_and_counted(run, model, data) -> None:
    clean = json.loads(run("evaluate", "classify", "--data", data, "--model", model, "--format", "json").out)
    bad = data / "validation/bee/broken.png"
    bad.write_bytes(b"")
    outcome = run("evaluate", "classify", "--data", data, "--model", model, "--format", "json")
    assert outcome.status == 1
    assert json.loads(outcome.out) == {**clean, "skipped": 1, "ece": pytest.approx(clean["ece"], abs=1e-5)}
    named, counted = outcome.err.splitlines()
    assert named.startswith(f"multiattn: skipped: `{bad}` must be ")
    assert counted == "multiattn: 1 of 14 pictures could not be used"
    assert "1 skipped" in run("evaluate", "classify", "--data", data, "--model", model).out


def test_a_limit_is_spread_over_the_classes(run, model, data) -> None:
    outcome = run("evaluate", "classify", "--data", data, "--model", model, "--limit", "5", "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    files = sorted((path, path.parent.name) for path in data.rglob("*.png"))
    chosen = [files[i * 13 // 5] for i in range(5)]
    assert len({label for _, label in chosen}) == 4
    expected = by_hand(model, chosen)
    found = json.loads(outcome.out)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert found["items"] == 5


def test_nothing_but_bad_pictures(run, model, tmp_path) -> None:
    (tmp_path / "data/validation/bee").mkdir(parents=True)
    (tmp_path / "data/validation/bee/broken.png").touch()
    outcome = run("evaluate", "classify", "--data", tmp_path / "data", "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert "none of the 1 pictures of the split 'validation' could be used" in outcome.err


def test_classes_that_the_model_does_not_know(run, model, data) -> None:
    save_drawing(data / "validation/yak/1.png", 1)
    outcome = run("evaluate", "classify", "--data", data, "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "multiattn: the data's classes must be labels of the model, but 1 of 6 are not: yak; the model's 7 labels are: "
        "ant, bee, cow, dog, elk, ...; rename the classes, or give a --model trained on them\n"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ['{"file_name": "bee/1.png", "label": "bee"}', '{"file_name": "bee/1.png", "label"'],
            "metadata.jsonl, line 2",
        ),
        (['{"file_name": "bee/1.png"}'], "metadata.jsonl, line 1: `label` must be"),
    ],
)
def test_a_corrupt_line_of_metadata_is_named_with_its_number(run, model, data, lines, message) -> None:
    (data / "validation/metadata.jsonl").write_text("\n".join(lines))
    outcome = run("evaluate", "classify", "--data", data, "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_class_folder_with_no_picture(run, model, data) -> None:
    (data / "validation/fox").mkdir()
    outcome = run("evaluate", "classify", "--data", data, "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"multiattn: {data}/validation/fox: the class folder has no picture. Fill it, or remove it.\n"


def test_a_split_that_is_not_there(run, model, data) -> None:
    outcome = run("evaluate", "classify", "--data", data, "--split", "tset", "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert "there is no split 'tset': it has validation" in outcome.err


@pytest.mark.parametrize("items", [1, 17, 1009])
def test_calibration_error_is_that_of_torchmetrics(items) -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    generator = torch.Generator().manual_seed(items)
    probabilities = torch.randn(items, 11, generator=generator).mul(3).softmax(dim=-1)
    truth = torch.randint(11, (items,), generator=generator)
    best, predicted = probabilities.max(dim=-1)
    ours = expected_calibration_error(best.tolist(), (predicted == truth).tolist())
    theirs = multiclass_calibration_error(probabilities, truth, num_classes=11, n_bins=15, norm="l1")
    assert ours == pytest.approx(theirs.item(), abs=1e-6)


def test_calibration_error_of_known_cases() -> None:
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0
    assert expected_calibration_error([1.0, 1.0], [False, False]) == 1
    assert expected_calibration_error([0.75] * 4, [True, True, True, False]) == 0
    assert expected_calibration_error([0.75] * 4, [True, True, False, False]) == pytest.approx(0.25)
