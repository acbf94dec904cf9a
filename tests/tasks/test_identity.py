"""A state knows its labels, its vocabulary, its preprocessing and its data, in each verb of the command line."""

import json
import shutil
import unicodedata
from itertools import permutations
from pathlib import Path

import pytest
import torch

from multiattn.data.image_folder import in_order, read_folder
from multiattn.tasks.identity import fingerprint
from multiattn.tasks.training import main

from .asked import draw_asked, write_answer_config
from .captioned import write_caption_config
from .conftest import draw_folder, write_config

SHORT = "--trainer.max_epochs=1 --trainer.limit_train_batches=1 --trainer.limit_val_batches=1".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a short training of a classifier, with its data."""
    folder = tmp_path_factory.mktemp("classifier")
    draw_folder(folder / "data", sizes={"train": 5, "validation": 3, "test": 2})
    config = write_config(folder / "c.yaml", root=folder / "data", run=folder)
    assert main(["fit", "--config", str(config), *SHORT]) == 0
    return folder


def state_of(run: Path) -> Path:
    (state,) = (run / "checkpoints").glob("*.ckpt")
    return state


def used(verb: str, run: Path, data: Path, *options: str) -> int:
    """The exit status of a verb with the run's state and these data."""
    arguments = ["--config", str(run / "c.yaml"), "--ckpt_path", str(state_of(run)), f"--data.root={data}"]
    return main([verb, *arguments, *SHORT, *options])


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run / "data", tmp_path / "data"))


@pytest.mark.training
@pytest.mark.filterwarnings("default")
class TestClassifier:
    @pytest.mark.parametrize("verb", ["fit", "validate", "predict"])
    def test_renamed_classes_are_refused(
        self, verb: str, run: Path, copied: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for split in ("train", "validation", "test"):
            (copied / split / "red").rename(copied / split / "amber")  # of as many classes, in another order
        more = ["--trainer.max_epochs=2"] if verb == "fit" else []  # of one epoch, the training is finished
        assert used(verb, run, copied, *more) == 1
        assert capsys.readouterr().err.splitlines()[-1] == (
            "error: the state must be of a training with the same labels, but is of another: only the state has 'red' "
            "and only the data has 'amber'. Rename the classes of the data as they were, or train anew."
        )

    def test_a_split_is_predicted_without_the_training_split(self, run: Path, copied: Path) -> None:
        shutil.rmtree(copied / "train")
        shutil.rmtree(copied / "test" / "blue")  # the first class: the others must keep their numbers
        assert used("test", run, copied) == 0
        assert used("predict", run, copied) == 0
        lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
        assert len(lines) == 4
        assert {one["label"] for line in lines for one in line["predictions"]} == {"blue", "green", "red"}

    def test_other_data_is_named_and_used(self, run: Path, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert used("validate", run, copied) == 0
        assert "has changed" not in capsys.readouterr().err  # moved, but the same
        (copied / "validation" / "red" / "00.png").unlink()
        first = copied / "train" / "red" / "00.png"
        first.rename(first.with_name("first.png"))
        assert used("fit", run, copied, f"--trainer.default_root_dir={copied}/run") == 0
        told = "The data has changed since this state: train has as many pictures as before, but some have other names "
        assert f"{told}or labels; validation had 9 pictures and has 8." in capsys.readouterr().err

    def test_another_preprocessing_is_refused(self, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert used("validate", run, run / "data", "--model.vision.mean=[0.5,0.5,0.25]") == 1
        assert capsys.readouterr().err.splitlines()[-1] == (
            "error: the state must be of a training with the same preprocessing, but is of another: `mean` was "
            "[0.485, 0.456, 0.406] and is [0.5, 0.5, 0.25]. Restore it, or train anew."
        )

    def test_a_state_without_an_identity_loads_as_before(self, run: Path, tmp_path: Path) -> None:
        state = torch.load(state_of(run), weights_only=True)
        assert state.pop("identity").keys() == {"preprocessing", "vocabulary", "data"}
        assert state["facts"]["labels"] == ["blue", "green", "red"]
        torch.save(state, tmp_path / "old.ckpt")
        arguments = ["--config", str(run / "c.yaml"), "--ckpt_path", str(tmp_path / "old.ckpt")]
        assert main(["validate", *arguments, "--model.vision.mean=[0.5,0.5,0.25]"]) == 0


@pytest.mark.training
@pytest.mark.filterwarnings("default")
def test_the_vocabulary_is_that_of_the_state(trained: Path, captioned: Path, tmp_path: Path) -> None:
    """Also where the training texts have changed since, or are not there."""
    data = Path(shutil.copytree(captioned, tmp_path / "data"))
    shutil.rmtree(data / "train")
    config = write_caption_config(tmp_path / "c.yaml", root=data, run=tmp_path)
    state = max((trained / "checkpoints").glob("*.ckpt"))
    assert main(["validate", "--config", str(config), "--ckpt_path", str(state), *SHORT]) == 0


@pytest.mark.training
@pytest.mark.filterwarnings("default")
def test_the_list_of_answers_is_that_of_the_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = draw_asked(tmp_path / "data", sizes={"train": 6, "validation": 2, "test": 2})
    config = write_answer_config(tmp_path / "c.yaml", root=data, run=tmp_path)
    assert main(["fit", "--config", str(config), *SHORT]) == 0
    known = torch.load(state_of(tmp_path), weights_only=True)["facts"]["answers"]
    assert len(known) > 3
    shutil.rmtree(data / "train")
    state = ["--config", str(config), "--ckpt_path", str(state_of(tmp_path))]
    assert main(["predict", *state]) == 0
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert {line["answer"] for line in lines} <= set(known)
    assert main(["validate", *state, "--data.max_answers=2"]) == 1
    assert "is of another: `max_answers` was 3000 and is 2. " in capsys.readouterr().err.splitlines()[-1]


def test_a_fingerprint_is_of_names_and_labels_wherever_the_data_lies(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    items = {root: [(root / "train" / name, label) for name, label in (("1", 0), ("2", 1))] for root in (here, there)}
    assert fingerprint(items[here], [here]) == fingerprint(items[there], [tmp_path / "x", there])
    for other in ([(here / "train" / "1", 0), (here / "train" / "2", 0)], [*reversed(items[here])], items[here][:1]):
        assert fingerprint(other, [here]) != fingerprint(items[here], [here])


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["10", "9", "1", "01"], ("01", "1", "9", "10")),
        (["1", "01", "a"], ("01", "1", "a")),
        (["9" * 5000, "1"], ("1", "9" * 5000)),  # more digits than Python converts
    ],
)
def test_the_order_of_classes_depends_on_their_names_alone(names: list[str], order: tuple[str, ...]) -> None:
    for one in permutations(names):
        assert in_order(one) == order
        assert in_order({name: 0 for name in one}) == order


def test_labels_are_nfc(tmp_path: Path) -> None:
    """A folder from macOS, and the same label in a table."""
    composed, decomposed = (
        unicodedata.normalize(form, "caf\N{LATIN SMALL LETTER E WITH ACUTE}") for form in ("NFC", "NFD")
    )
    for folder in (tmp_path / "train" / decomposed, tmp_path / "train" / "bar", tmp_path / "validation"):
        folder.mkdir(parents=True)
        (folder / "1.png").touch()
    (tmp_path / "validation" / "metadata.csv").write_text(f"file_name,label\n1.png,{composed}\n", encoding="utf-8")
    train = read_folder(tmp_path, "train")
    assert train.class_names == ("bar", composed)
    assert read_folder(tmp_path, "validation", class_names=train.class_names).items[0][1] == 1
