"""Pictures with several labels each, or none: from the metadata to a model that gives each label a probability."""

import csv
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torchmetrics.classification import MultilabelAveragePrecision, MultilabelF1Score

import multiattn
from multiattn.cli.main import main
from multiattn.data.multi_labels import read_labeled
from multiattn.errors import InputError, ModelError
from multiattn.metrics.multi_label import average_precision, multi_label_scores
from multiattn.tasks import ClassifyTask
from multiattn.tasks.loading.pictures import Sample, collate_pictures
from multiattn.tasks.multi_label import MultiLabelLoss
from multiattn.weights import load_bundle
from tests.fixtures import tiny_bundle

from .captioned import COLORS
from .conftest import ROOT, logged, write_config

# Lightning's own warnings on this torch are no failure of ours


def draw_several(root: Path, *, sizes: dict[str, int]) -> Path:
    """Splits of pictures with a disc for each of none to three colors, and their names in a `metadata.jsonl`."""
    rng = random.Random(0)
    for split, count in sizes.items():
        folder = root / split
        folder.mkdir(parents=True)
        lines = []
        for i in range(count):
            colors = [name for name in COLORS if rng.random() < 0.5]
            picture = Image.new("RGB", (16, 16), (128, 128, 128))
            for name, (x, y) in zip(colors, rng.sample([(4, 4), (11, 4), (4, 11), (11, 11)], len(colors)), strict=True):
                ImageDraw.Draw(picture).ellipse((x - 3, y - 3, x + 3, y + 3), fill=COLORS[name])
            picture.save(folder / f"{i:02d}.png")
            lines.append(json.dumps({"file_name": f"{i:02d}.png", "labels": colors}))
        (folder / "metadata.jsonl").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_several(tmp_path_factory.mktemp("several"), sizes={"train": 96, "validation": 24})


@pytest.fixture(scope="module")
def run(several: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a training with a balanced loss."""
    run = tmp_path_factory.mktemp("run")
    config = write_config(run / "c.yaml", root=several, run=run)
    options = (
        "--model.mixing=null --model.class_weights=balanced --model.label_smoothing=0 --data.augmentation=null "
        "--model.vision.overrides.dropout=0.0 --model.vision.overrides.stochastic_depth=0.0 --data.batches.size=16 "
        "--trainer.max_epochs=7 --model.optimization.lr=0.01 --trainer.callbacks=null --model_directory.weights=final"
    )
    assert main(["fit", "--config", str(config), *options.split()]) == 0
    return run


@pytest.mark.training
@pytest.mark.filterwarnings("default")
def test_it_learns_and_the_directory_says_what_the_scores_are(run: Path, several: Path) -> None:
    figures = {name: list(logged(run, f"val/{name}").values()) for name in ("map", "f1_macro", "f1_micro", "loss")}
    assert figures["map"][-1] > 0.9  # by chance, the share of the pictures that have a label: a half
    assert figures["f1_macro"][-1] > 0.7
    assert figures["loss"][-1] < 0.7 * figures["loss"][0]
    bundle = load_bundle(run / "model")
    assert (bundle.labels, bundle.score_function) == (("blue", "green", "red"), "sigmoid")
    assert json.loads((run / "model" / "config.json").read_text())["score_function"] == "sigmoid"
    known = json.loads((run / "data.json").read_text())["splits"]["train"]
    rows = [json.loads(line) for line in (several / "train" / "metadata.jsonl").read_text().splitlines()]
    assert {one["label"]: one["items"] for one in known["classes"]} == {
        name: sum(name in row["labels"] for row in rows) for name in COLORS
    }
    # what the last validation told of each label
    told = json.loads((run / "confusion-validation.json").read_text())
    rows_there = [json.loads(line) for line in (several / "validation" / "metadata.jsonl").read_text().splitlines()]
    assert (told["labels"], told["threshold"]) == (["blue", "green", "red"], 0.5)
    for name, one in told["per_label"].items():
        has = sum(name in row["labels"] for row in rows_there)
        assert one["true_positives"] + one["false_negatives"] == has == one["items"]
        assert one["false_positives"] + one["true_negatives"] == len(rows_there) - has
        f1 = 2 * one["true_positives"] / (one["items"] + one["true_positives"] + one["false_positives"])
        assert one["f1"] == pytest.approx(f1)
    page = (run / "report.html").read_text(encoding="utf-8")
    blue = told["per_label"]["blue"]
    cells = [blue[f"{kind}"] for kind in ("items", "true_positives", "false_negatives", "false_positives")]
    assert "".join(["blue</th>", *(f"<td>{cell}</td>" for cell in cells)]) in page
    shown = re.findall(r'<div class="example"><img src="data:[^"]*" alt=""><div><p><strong>(.*?)</strong></p>', page)
    assert len(shown) == 8
    named = {name for one in shown for name in one.removeprefix("✓ ").split(", ")}
    assert named <= {*COLORS, "(nothing)"}

    classify = multiattn.load(run / "model", task="classify")
    truth = [set(row["labels"]) for row in rows[:20]]
    results = classify([several / "train" / row["file_name"] for row in rows[:20]])
    right = sum(set(result.labels) == wanted for result, wanted in zip(results, truth, strict=True))
    assert right > 6  # by chance, an eighth of the 20
    assert results[0].score_kind == "independent probability"


@pytest.mark.training
@pytest.mark.filterwarnings("default")
def test_the_commands_know_several_labels(run: Path, several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = str(run / "model"), str(several)
    assert main(["evaluate", "classify", "--data", data, "--model", model, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["map"] == pytest.approx(list(logged(run, "val/map").values())[-1], abs=2e-3)
    assert found["f1_micro"] == pytest.approx(list(logged(run, "val/f1_micro").values())[-1], abs=2e-3)
    assert [one["label"] for one in found["labels"]] == ["blue", "green", "red"]
    assert all(0 < one["best_threshold"] < 1 for one in found["labels"])
    assert main(["evaluate", "classify", "--data", data, "--model", model, "--threshold", "0.99"]) == 0
    text = capsys.readouterr().out
    assert "mAP" in text and "F1, mean of labels" in text
    rare = found["labels"][0]
    assert re.search(r"F1 by label\n.*\n.*found \d+ of \d+, told wrongly 0", text)
    assert rare["true_positives"] + rare["false_negatives"] == rare["items"]
    assert main(["evaluate", "classify", "--data", data, "--format", "json"]) == 1
    assert "must have a model that gives each label a probability of its own" in capsys.readouterr().err

    picture = several / "validation" / "00.png"
    assert main(["classify", str(picture), "--model", model, "--threshold", "0", "--format", "json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["score_kind"] == "independent probability"
    assert {one["label"] for one in line["predictions"]} == set(COLORS)

    state = ["--ckpt_path", "last", "--data.predict_split", "validation"]
    assert main(["predict", "--config", str(run / "c.yaml"), "--model.mixing=null", *state, *LIKE]) == 0
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    first = {one["label"]: one["score"] for one in line["predictions"]}
    assert {one["label"]: one["score"] for one in lines[0]["predictions"]} == pytest.approx(first, abs=1e-3)


LIKE = [
    "--model.class_weights=balanced",
    "--model.vision.overrides.dropout=0.0",
    "--model.vision.overrides.stochastic_depth=0.0",
    "--trainer.callbacks=null",
]


@pytest.mark.training
@pytest.mark.filterwarnings("default")
def test_the_configuration_is_fitted(several: Path, tmp_path: Path) -> None:
    from multiattn.weights import save_bundle

    save_bundle(tiny_bundle(), tmp_path / "published")
    config = ROOT / "configs" / "classify" / "multi_label.yaml"
    opening = config.read_text()
    assert all(f"# {word}" in opening for word in ("Purpose:", "Command:", "Data:", "Expected:"))
    options = (
        f"--data.root={several} --trainer.default_root_dir={tmp_path} --model.pretrained={tmp_path}/published "
        "--trainer.accelerator=cpu --data.batches.num_workers=0 --data.batches.size=6 --trainer.fast_dev_run=2"
    )
    assert main(["fit", "--config", str(config), *options.split()]) == 0
    mixed = [*options.split(), "--model.mixing.mixup=0.2"]
    assert main(["fit", "--config", str(config), *mixed]) == 1


def test_labels_come_from_json_lines_and_from_csv(tmp_path: Path) -> None:
    rows: list[tuple[str, list[Any]]] = [("a.png", ["sofa", "cat"]), ("b.png", []), ("c.png", ["cat", "cat"])]
    for split, name in (("train", "metadata.jsonl"), ("validation", "metadata.csv")):
        (tmp_path / split).mkdir()
        file = tmp_path / split / name
        if name.endswith("jsonl"):
            file.write_text("\n".join(json.dumps({"file_name": n, "labels": several}) for n, several in rows))
        else:
            with file.open("w", newline="") as stream:
                csv.writer(stream).writerows(
                    [["file_name", "labels"], *([n, "; ".join(several)] for n, several in rows)]
                )
        records = read_labeled(tmp_path, split)
        assert records.class_names == ("cat", "sofa")
        assert [(path.name, known) for path, known in records.items] == [
            ("a.png", (1, 0)),
            ("b.png", ()),
            ("c.png", (0,)),
        ]
        assert records.counts() == (2, 1)
        assert records.named((1, 0)) == "sofa, cat"


WRONG = [
    ('{"file_name": "a.png", "labels": [3.5]}', "must be a list of names"),
    ('{"file_name": "a.png", "labels": [""]}', "each of `labels` must have a name"),
    ('{"file_name": "a.png", "labels": null}', "must be a list of names"),
    ('{"file_name": "a.png", "labels": []}', "no picture has a label"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_what_is_no_list_of_labels_is_named(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.jsonl").write_text(line)
    with pytest.raises(InputError, match=message):
        read_labeled(tmp_path, "train")


def test_an_unknown_label_is_named(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "metadata.jsonl").write_text('{"file_name": "a.png", "labels": ["cat", "eel"]}')
    with pytest.raises(InputError, match=r"line 1: the label 'eel' is unknown: the training split has cat\."):
        read_labeled(tmp_path, "test", class_names=["cat"])


def test_the_figures_are_those_of_torchmetrics() -> None:
    rng = np.random.default_rng(5)
    scores = rng.random((37, 5)).round(1).astype(np.float32)  # with ties
    truth = rng.random((37, 5)) < 0.3
    found = multi_label_scores(scores, truth, threshold=0.45)
    given = torch.from_numpy(scores), torch.from_numpy(truth).long()
    assert found.map == pytest.approx(float(MultilabelAveragePrecision(5)(*given)))
    for figure, average in (("f1_macro", "macro"), ("f1_micro", "micro")):
        theirs = MultilabelF1Score(5, threshold=0.45, average=average)(*given)
        assert getattr(found, figure) == pytest.approx(float(theirs))
    for own, has, one in zip(scores.T, truth.T, found.labels, strict=True):
        f1 = {t: 2 * (has & (own >= t)).sum() / (has.sum() + (own >= t).sum()) for t in np.unique(own)}
        assert f1[np.float32(one.best_threshold)] == max(f1.values())
        cells = Counter(zip(has.tolist(), (own >= 0.45).tolist(), strict=True))
        counted = one.true_positives, one.false_negatives, one.false_positives, one.true_negatives
        assert counted == tuple(cells[pair] for pair in ((True, True), (True, False), (False, True), (False, False)))
    assert average_precision(scores[:, 0], np.zeros(37, bool)) is None
    nothing = multi_label_scores(scores, np.zeros((37, 5), bool))
    assert (nothing.map, nothing.f1_macro, nothing.f1_micro) == (None, None, None)
    told = int((scores[:, 2] >= 0.5).sum())
    one = nothing.labels[2]
    assert (one.false_positives, one.true_negatives, one.true_positives, one.false_negatives) == (told, 37 - told, 0, 0)


def test_the_loss_is_binary_cross_entropy() -> None:
    logits, target = torch.tensor([[0.3, -1.2, 2.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    loss = MultiLabelLoss(label_smoothing=0.1, weights=torch.tensor([3.0, 1.0, 1.0]))
    p = logits.sigmoid()
    smoothed = torch.tensor([[0.95, 0.05, 0.95]])
    weight = torch.tensor([[3.0, 1.0, 1.0]])
    wanted = -(weight * smoothed * p.log() + (1 - smoothed) * (1 - p).log()).mean()
    torch.testing.assert_close(loss(logits, target), wanted)
    plain = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    torch.testing.assert_close(loss.eval()(logits, target), plain)  # what is measured has neither


def test_a_batch_has_a_row_of_labels_for_each_picture() -> None:
    picture = torch.zeros(3, 2, 2)
    samples = [Sample(picture, (2, 0), 0, ()), Sample(picture, (), 1, ())]
    batch = collate_pictures(samples, size=(2, 2), classes=3)
    assert batch.labels.tolist() == [[1, 0, 1], [0, 0, 0]]


def test_a_threshold_is_a_probability() -> None:
    with pytest.raises(ModelError, match="`threshold` must be above 0 and below 1, but is 1.5 instead"):
        ClassifyTask(threshold=1.5)
