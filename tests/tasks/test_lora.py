"""Adapters beside a trained model's layers, in all four tasks: what learns, and what state and directory hold."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.models import ViT
from multiattn.models.vit_config import PRESETS
from multiattn.tasks import (
    AnswerData,
    AnswerTask,
    CaptionData,
    CaptionTask,
    ClassifyData,
    ClassifyTask,
    TranscribeData,
    TranscribeTask,
)
from multiattn.tasks.base import BaseTask
from multiattn.tasks.loading.datamodule import BaseData, BatchOptions
from multiattn.tasks.lora import LoRA
from multiattn.tasks.optim import Optimization
from multiattn.tasks.parts import VisionSource
from multiattn.tasks.training import main
from multiattn.weights import load_bundle, save_bundle
from tests.fixtures import save_tiny_answerer, save_tiny_captioner, save_tiny_model, save_tiny_recognizer, tiny_bundle

from .asked import draw_asked
from .captioned import draw_captioned
from .conftest import draw_folder, write_config
from .spoken import draw_spoken

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

BATCHES = BatchOptions(size=6, num_workers=0)
RANK = 3

Parts = tuple[type[BaseTask[Any, Any, Any]], type[BaseData[Any, Any]], Callable[..., Path], Callable[[Path], Path]]
TASKS: dict[str, Parts] = {
    "classify": (ClassifyTask, ClassifyData, draw_folder, save_tiny_model),
    "caption": (CaptionTask, CaptionData, draw_captioned, save_tiny_captioner),
    "transcribe": (TranscribeTask, TranscribeData, draw_spoken, save_tiny_recognizer),
    "answer": (AnswerTask, AnswerData, draw_asked, save_tiny_answerer),
}


class Losses(pl.Callback):
    """The training losses."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        self.values.append(float(outputs["loss"]))


@pytest.mark.parametrize(
    "name", [name if name == "classify" else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
def test_adapters_learn_and_are_merged(name: str, tmp_path: Path) -> None:
    make_task, make_data, draw, save = TASKS[name]
    data = make_data(str(draw(tmp_path / "data", sizes={"train": 13, "validation": 2})), batches=BATCHES)
    source = save(tmp_path / "trained")
    optimization = Optimization(lr=3e-2, weight_decay=0.0, warmup_epochs=0, lora=LoRA(rank=RANK))
    task = make_task(pretrained=str(source), optimization=optimization)
    losses, run = Losses(), tmp_path / "run"
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}
    trainer = pl.Trainer(default_root_dir=run, max_epochs=6, limit_val_batches=0, callbacks=[losses], **quiet)
    trainer.fit(task, datamodule=data)
    assert sum(losses.values[-3:]) < 0.9 * sum(losses.values[:3])

    # the directory is an ordinary one, and does what the model with its adapters does
    before, after = load_bundle(source).model.state_dict(), load_bundle(run / "model").model.state_dict()
    assert task.bundle().model.state_dict().keys() == after.keys()
    changed = {key for key, value in after.items() if key in before and not torch.equal(value, before[key])}
    fresh = {key for key in after if key.startswith("head.") and name in ("classify", "answer")}
    adapted = changed - fresh
    assert adapted and all(".attention." in key or ".cross_attention." in key for key in adapted)
    for key in adapted:
        ranks = torch.linalg.svdvals(after[key] - before[key])
        assert ranks[RANK:].max() < 1e-4 * ranks[0]

    # the state has the adapters, and loads with them
    (state,) = (run / "checkpoints").glob("*.ckpt")
    content = torch.load(state, weights_only=True)
    assert any(".lora_A." in key for key in content["state_dict"])
    again = make_task.load_from_checkpoint(state)
    merged = again.bundle().model.state_dict()
    assert all(torch.equal(value, merged[key]) for key, value in after.items())


@pytest.fixture(scope="module")
def trained_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("trained") / "model")


def test_the_merged_classifier_scores_as_the_one_with_adapters(
    pictures: Path, trained_classifier: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path / "run")
    options = (
        f"--model.pretrained={trained_classifier} --model.vision=null --model.optimization.lora.rank=2 "
        "--model.optimization.lora.alpha=8 --model.optimization.layer_decay=1 --trainer.max_epochs=1 "
        "--model_directory.weights=final --trainer.callbacks=null"
    )
    assert main(["fit", "--config", str(config), *options.split()]) == 0
    (state,) = (tmp_path / "run" / "checkpoints").glob("step-000000011.ckpt")
    task = ClassifyTask.load_from_checkpoint(state).eval()
    model = load_bundle(tmp_path / "run" / "model").model
    images = torch.rand(2, 3, *model.config.image_size)
    with torch.inference_mode():
        torch.testing.assert_close(task(images), model(images), rtol=1e-4, atol=1e-5)
    assert type(task.model.blocks[0].attention.qkv).__module__.startswith("peft")


def test_statistics_of_a_trained_model_stay_when_its_encoder_begins_to_learn(pictures: Path, tmp_path: Path) -> None:
    small = {"num_classes": 3, "dim": 24, "depth": 1, "num_heads": 2, "mlp_dim": 24}
    model = ViT(replace(PRESETS["compact"], **small))
    kept = {name: value.clone() for name, value in model.state_dict().items() if "running_" in name}
    made = tiny_bundle()
    sized = replace(made.preprocessing, size=model.config.image_size)
    bundle = replace(made, model=model, labels=("blue", "green", "red"), preprocessing=sized)
    save_bundle(bundle, tmp_path / "trained")
    task = ClassifyTask(
        pretrained=str(tmp_path / "trained"),
        vision=VisionSource(unfreeze_epoch=1),
        optimization=Optimization(lora=LoRA(rank=2)),
    )
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}
    trainer = pl.Trainer(default_root_dir=tmp_path, max_epochs=2, limit_train_batches=2, limit_val_batches=0, **quiet)
    trainer.fit(task, datamodule=ClassifyData(str(pictures), batches=BATCHES))
    state = task.model.state_dict()
    assert kept and all(torch.equal(state[name], value) for name, value in kept.items())


WRONG = [
    (
        LoRA(targets=["*.nothing"]),
        r"`lora\.targets` must name linear layers that learn, but \['\*\.nothing'\] names none",
    ),
    (
        LoRA(trained=["tail"]),
        r"`lora\.trained` must name parts of the model, but has 'tail' instead, of which there is none\. Begin with ",
    ),
]


@pytest.mark.parametrize(("lora", "message"), WRONG)
def test_a_name_of_nothing_is_an_error(
    lora: LoRA, message: str, pictures: Path, trained_classifier: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        attempt(ClassifyTask(pretrained=str(trained_classifier), optimization=Optimization(lora=lora)), pictures)


def test_adapters_beside_random_weights_are_an_error(pictures: Path) -> None:
    with pytest.raises(ModelError, match="`optimization.lora` must come with a trained model"):
        attempt(ClassifyTask(optimization=Optimization(lora=LoRA())), pictures)


def test_without_peft_the_error_says_how_to_install_it(
    pictures: Path, trained_classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"`lora` needs the package peft.*pip install 'multiattn\[lora\]'$"):
        attempt(ClassifyTask(pretrained=str(trained_classifier), optimization=Optimization(lora=LoRA())), pictures)


def attempt(task: ClassifyTask, pictures: Path) -> None:
    pl.Trainer(fast_dev_run=True, accelerator="cpu", logger=False, enable_progress_bar=False).fit(
        task, datamodule=ClassifyData(str(pictures), batches=BATCHES)
    )
