"""Numbers that mean what they say, through the command line."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from multiattn.tasks.metrics import MacroAccuracy
from multiattn.tasks.training import main

from .asked import draw_asked, write_answer_config
from .captioned import draw_captioned, write_caption_config
from .conftest import draw_folder, logged, write_config


@pytest.mark.training
@pytest.mark.filterwarnings("default")
class TestClassifier:
    @pytest.fixture(scope="class")
    def runs(self, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        """Weighted by class and mixed, and nothing is learned; or balanced."""
        root = draw_folder(tmp_path_factory.mktemp("numbers"), sizes={"train": 9, "validation": 5})
        for path in sorted((root / "train" / "red").iterdir())[2:]:
            path.unlink()  # a rare class
        found = {}
        for name, options in {
            "weighted": "--model.class_weights=[1,50,9]",
            "balanced": "--model.class_weights=null --model.mixing=null --data.balanced=true",
        }.items():
            found[name] = tmp_path_factory.mktemp(name)
            config = write_config(found[name] / "c.yaml", root=root, run=found[name])
            short = "--trainer.max_epochs=1 --checkpoint.every_n_steps=1 --checkpoint.keep=9"
            learns = "--model.optimization.lr=0" if name == "weighted" else ""
            assert main(["fit", "--config", str(config), *f"{options} {short} {learns}".split()]) == 0
        return found

    def test_class_weights_leave_the_validation_loss_alone(self, runs: dict[str, Path]) -> None:
        run = runs["weighted"]
        arguments = ["--config", str(run / "c.yaml"), "--ckpt_path", str(run / "checkpoints" / "step-000000003.ckpt")]
        losses = logged(run, "val/loss")
        assert main(["validate", *arguments, "--model.class_weights=null"]) == 0
        assert set(logged(run, "val/loss").values()) == set(losses.values())

    def test_mixed_images_are_not_counted_against_one_label(self, runs: dict[str, Path]) -> None:
        names = {name: (run / "logs/version_0/metrics.csv").read_text().splitlines()[0] for name, run in runs.items()}
        assert "train/top1" not in names["weighted"] and "val/top1" in names["weighted"]
        assert "train/top1" in names["balanced"]

    def test_each_validation_says_which_classes_are_taken_for_which(self, runs: dict[str, Path]) -> None:
        run = runs["balanced"]
        found = json.loads((run / "confusion-validation.json").read_text(encoding="utf-8"))
        assert (found["labels"], found["epoch"], found["step"]) == (["blue", "green", "red"], 0, 3)
        assert {name: one["items"] for name, one in found["per_class"].items()} == dict.fromkeys(found["labels"], 5)
        (macro,) = logged(run, "val/macro_accuracy").values()
        assert found["macro_accuracy"] == pytest.approx(macro)
        (top1,) = logged(run, "val/top1").values()
        right = sum(one["items"] for one in found["confusion"] if one["label"] == one["predicted"])
        assert right / 15 == pytest.approx(top1)

    def test_a_balanced_training_that_goes_on_is_bitwise_the_same(self, runs: dict[str, Path], tmp_path: Path) -> None:
        run = Path(shutil.copytree(runs["balanced"], tmp_path / "run"))
        for state in (run / "checkpoints").glob("step-*.ckpt"):
            if state.name != "step-000000001.ckpt":
                state.unlink()
        options = "--model.class_weights=null --model.mixing=null --data.balanced=true --trainer.max_epochs=1"
        arguments = ["--config", str(run / "c.yaml"), f"--trainer.default_root_dir={run}", *options.split()]
        assert main(["fit", *arguments, "--ckpt_path", str(run / "checkpoints" / "step-000000001.ckpt")]) == 0
        one, other = (
            torch.load(folder / "checkpoints" / "step-000000003.ckpt", weights_only=True)["state_dict"]
            for folder in (runs["balanced"], run)
        )
        assert all(torch.equal(one[key], other[key]) for key in one)

    def test_classes_are_not_favored_twice(
        self, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["--config", str(runs["weighted"] / "c.yaml"), f"--trainer.default_root_dir={tmp_path}"]
        assert main(["fit", *arguments, "--data.balanced=true"]) == 1
        assert "error: `class_weights` must be left out where `data.balanced` draws" in capsys.readouterr().err


@pytest.mark.training
@pytest.mark.filterwarnings("default")
def test_a_loss_that_cannot_be_is_told_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = draw_asked(tmp_path / "data", sizes={"train": 6, "validation": 2})
    file = root / "validation" / "metadata.jsonl"
    rows = [{**json.loads(line), "answer": "never heard"} for line in file.read_text().splitlines()]
    file.write_text("\n".join(json.dumps({k: v for k, v in row.items() if k != "answers"}) for row in rows))
    config = write_answer_config(tmp_path / "c.yaml", root=root, run=tmp_path)
    assert main(["fit", "--config", str(config), "--trainer.max_epochs=2"]) == 0
    error = capsys.readouterr().err
    assert error.count("so that there is no val/loss, and all count as wrong. `--model.answer decoder` learns to") == 1
    assert "nan" not in error and "val/accuracy 0.0000" in error
    assert logged(tmp_path, "val/loss") == {}


@pytest.mark.training
@pytest.mark.filterwarnings("default")
def test_cider_of_one_picture_is_told_to_be_none(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    root = draw_captioned(tmp_path / "data", sizes={"train": 6, "validation": 1})
    config = write_caption_config(tmp_path / "c.yaml", root=root, run=tmp_path)
    assert main(["fit", "--config", str(config), "--trainer.max_epochs=1"]) == 0
    assert any("CIDEr-D cannot be computed of one picture" in str(one.message) for one in recwarn)
    assert logged(tmp_path, "val/cider") == {} and logged(tmp_path, "val/bleu4")


def test_macro_accuracy_is_the_mean_over_the_classes_that_are_there() -> None:
    metric = MacroAccuracy(4)
    labels = torch.tensor([0, 0, 0, 0, 1, 2])
    predicted = torch.tensor([0, 0, 0, 3, 1, 0])
    for part in (slice(0, 2), slice(2, 6)):
        metric.update(torch.nn.functional.one_hot(predicted[part], 4).float(), labels[part])
    assert float(metric.compute()) == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert metric.confusion() == [[3, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    many = MacroAccuracy(1001)
    many.update(torch.zeros(1, 1001), torch.tensor([0]))
    assert many.confusion() is None and float(many.compute()) == 1
