"""What a user of Lightning expects, in Python: states that load, `hparams`, the tuner, a model at the end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml
from lightning.pytorch.tuner import Tuner

from multiattn.errors import ModelError
from multiattn.tasks import AnswerTask, CaptionTask, ClassifyData, ClassifyTask, TranscribeTask
from multiattn.tasks.base import BaseTask
from multiattn.tasks.loading.datamodule import BatchOptions
from multiattn.tasks.optim import Optimization
from multiattn.tasks.parts import VisionSource
from multiattn.tasks.training import main
from multiattn.weights import load_bundle

from .asked import draw_asked, write_answer_config
from .captioned import draw_captioned, write_caption_config
from .conftest import draw_folder, write_config
from .spoken import draw_spoken, write_speech_config

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

TINY = {"image_size": [16, 16], "stem": "patch", "stem_channels": [], "dim": 20, "depth": 1, "num_heads": 2}
SIZES = {"train": 23, "validation": 5}

Make = tuple[type[BaseTask[Any, Any, Any]], Callable[..., Path], Callable[..., Path], tuple[torch.Tensor, ...]]
TASKS: dict[str, Make] = {
    "classify": (ClassifyTask, draw_folder, write_config, (torch.rand(2, 3, 16, 16),)),
    "caption": (
        CaptionTask,
        draw_captioned,
        write_caption_config,
        (torch.rand(2, 3, 16, 16), torch.tensor([[2, 5], [2, 7]])),
    ),
    "transcribe": (
        TranscribeTask,
        draw_spoken,
        write_speech_config,
        (torch.rand(2, 13, 50), torch.tensor([[2, 5], [2, 7]])),
    ),
    "answer": (
        AnswerTask,
        draw_asked,
        write_answer_config,
        (torch.rand(2, 3, 16, 16), torch.tensor([[2, 5, 7], [2, 7, 5]])),
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_state_loads_without_its_data(name: str, tmp_path: Path) -> None:
    kind, draw, write, inputs = TASKS[name]
    config = write(tmp_path / "c.yaml", root=draw(tmp_path / "data", sizes=SIZES), run=tmp_path / "run")
    short = "--trainer.max_steps=2 --trainer.limit_val_batches=1 --model_directory.weights=final"
    assert main(["fit", "--config", str(config), *short.split()]) == 0
    (state,) = (tmp_path / "run" / "checkpoints").glob("step-*.ckpt")
    task = kind.load_from_checkpoint(state, weights_only=True)
    theirs = load_bundle(tmp_path / "run" / "model")
    ours = task.bundle()
    assert ours.config == theirs.config
    assert (ours.labels, ours.preprocessing, ours.decoding) == (theirs.labels, theirs.preprocessing, theirs.decoding)
    assert (ours.tokenizer is None) == (theirs.tokenizer is None)
    if ours.tokenizer and theirs.tokenizer:
        assert ours.tokenizer.to_json() == theirs.tokenizer.to_json()
    for key, value in theirs.model.state_dict().items():
        assert torch.equal(value, ours.model.state_dict()[key])
    assert torch.equal(task.eval()(*inputs), task.model(*inputs))
    # plain values, in the state and beside the logs
    assert task.hparams["optimization"]["lr"] == pytest.approx(3e-3)
    logged = yaml.safe_load((tmp_path / "run" / "logs" / "version_0" / "hparams.yaml").read_text())
    assert logged["optimization"]["lr"] == pytest.approx(3e-3)
    assert logged["label_smoothing"] == 0.1


def tiny(**options: Any) -> ClassifyTask:
    vision = VisionSource(preset="compact", overrides=TINY | {"mlp_dim": 30})
    return ClassifyTask(vision=vision, optimization=Optimization(lr=3e-3), **options)


def trainer(run: Path, **options: Any) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}
    return pl.Trainer(default_root_dir=run, **(quiet | options))


@pytest.fixture(scope="module")
def data(pictures: Path) -> ClassifyData:
    return ClassifyData(str(pictures), batches=BatchOptions(size=6, num_workers=0))


@pytest.fixture(scope="module")
def fitted(data: ClassifyData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ClassifyTask]:
    """The run of a training from Python, as Lightning's documentation has it."""
    run = tmp_path_factory.mktemp("fitted")
    task = tiny()
    trainer(run, max_epochs=1).fit(task, datamodule=data)
    return run, task


def test_a_training_from_python_ends_in_a_model(fitted: tuple[Path, ClassifyTask]) -> None:
    run, task = fitted
    bundle = load_bundle(run / "model")
    assert bundle.labels == ("blue", "green", "red")
    assert torch.equal(bundle.model.state_dict()["head.weight"], task.model.state_dict()["head.weight"])
    assert bundle.card["epochs"] == 1


def test_what_was_loaded_is_measured_and_trained_on(
    fitted: tuple[Path, ClassifyTask], pictures: Path, tmp_path: Path
) -> None:
    (state,) = (fitted[0] / "checkpoints").glob("*.ckpt")
    task, data = ClassifyTask.load_from_checkpoint(state), ClassifyData.load_from_checkpoint(state)
    assert data.batches == BatchOptions(size=6, num_workers=0)
    here = trainer(tmp_path, max_epochs=1)
    (measured,) = here.validate(task, datamodule=data, verbose=False)
    assert measured["val/loss"] > 0
    before = task.model.state_dict()["head.weight"].clone()
    here.fit(task, datamodule=data)
    assert not torch.equal(before, task.model.state_dict()["head.weight"])

    other = draw_folder(tmp_path / "data", sizes={"train": 2, "validation": 1})
    for split in ("train", "validation"):
        (other / split / "red").rename(other / split / "rot")
    task = ClassifyTask.load_from_checkpoint(state)
    with pytest.raises(ModelError, match="with the same labels, but is of another: only the state has 'red'"):
        trainer(tmp_path / "other", max_epochs=1).fit(task, datamodule=ClassifyData(str(other)))


def test_an_earlier_state_says_what_it_lacks(fitted: tuple[Path, ClassifyTask], tmp_path: Path) -> None:
    (state,) = (fitted[0] / "checkpoints").glob("*.ckpt")
    content = torch.load(state, weights_only=True)
    del content["facts"]
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(ModelError, match=r"the state must have `facts`.*multiattn\.load"):
        ClassifyTask.load_from_checkpoint(tmp_path / "old.ckpt")


class Seen(pl.Callback):
    """The pictures of each training batch."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        self.batches.append(tuple(batch.indices.tolist()))


def test_overfit_batches_stay_the_same(data: ClassifyData, tmp_path: Path) -> None:
    seen = Seen()
    fixed = trainer(tmp_path, overfit_batches=2, max_epochs=3, callbacks=[seen], limit_val_batches=0)
    fixed.fit(tiny(), datamodule=data)
    assert len(seen.batches) == 6
    assert seen.batches[:2] == seen.batches[2:4] == seen.batches[4:]
    assert seen.batches[0] != seen.batches[1]


def test_the_tuner_finds_and_sets_the_rate(data: ClassifyData, tmp_path: Path) -> None:
    task = tiny()
    here = trainer(tmp_path, max_epochs=3, limit_val_batches=0)
    found = Tuner(here).lr_find(task, datamodule=data, num_training=30, min_lr=1e-5, max_lr=1e-1)
    assert found is not None
    rates = found.results["lr"]
    assert len(rates) > 25 and rates == sorted(rates)
    assert task.lr == task.optimization.lr == found.suggestion() != 3e-3
    assert not (tmp_path / "model").exists()  # a search is no training
    here.fit(task, datamodule=data)
    assert here.optimizers[0].param_groups[0]["initial_lr"] == task.lr
