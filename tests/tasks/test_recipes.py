"""Recipes of a line or two of YAML: a linear probe, frozen parts, other optimizers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from multiattn.errors import ModelError
from multiattn.models.vit import ViT, ViTConfig
from multiattn.tasks import ClassifyTask
from multiattn.tasks.optim import Optimization, configure
from multiattn.tasks.training import main
from multiattn.weights import load_bundle

from .conftest import logged, write_config

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

PLAIN = (
    "--trainer.callbacks=null --model_directory.weights=final --model.class_weights=null --model.mixing=null "
    "--model.label_smoothing=0 --data.augmentation=null --data.batches.size=23 --trainer.max_epochs=7 "
    "--model.optimization.lr=0.01"
)


def fit(pictures: Path, run: Path, options: str) -> dict[str, torch.Tensor]:
    """The weights that a training ends with."""
    run.mkdir(parents=True, exist_ok=True)
    config = write_config(run / "c.yaml", root=pictures, run=run)
    assert main(["fit", "--config", str(config), *PLAIN.split(), *options.split()]) == 0
    return load_bundle(run / "model").model.state_dict()


@pytest.fixture(scope="module")
def start(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a stem that has batch norms, trained for one step."""
    run = tmp_path_factory.mktemp("start")
    stem = " ".join(f"--model.vision.overrides.stem{rest}" for rest in ("=conv", "_channels=[8,16]", "_strides=[2,2]"))
    fit(pictures, run, f"--trainer.max_epochs=1 {stem}")
    return run / "model"


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {key for key, value in after.items() if not torch.equal(value, before[key])}


def test_a_linear_probe_learns_by_its_head_alone(start: Path, pictures: Path, tmp_path: Path) -> None:
    kept = load_bundle(start).model.state_dict()
    options = f"--model.pretrained={start} --model.vision=null --model.vision.lr_share=0"
    found = fit(pictures, tmp_path, f"{options} --model.optimization.lr=0.5")
    assert changed(kept, found) == {"head.weight", "head.bias"}  # statistics of the batch norms stay, too
    losses = list(logged(tmp_path, "train/loss").values())
    assert losses[-1] < 0.9 * losses[0]
    assert max(logged(tmp_path, "val/top1").values()) > 0.6


def test_an_encoder_is_frozen_until_an_epoch(start: Path, pictures: Path, tmp_path: Path) -> None:
    kept = load_bundle(start).model.state_dict()
    options = f"--model.pretrained={start} --model.vision=null --model.vision.unfreeze_epoch=1"
    first = fit(pictures, tmp_path / "one", f"{options} --trainer.max_epochs=1")
    assert changed(kept, first) == {"head.weight", "head.bias"}
    second = fit(pictures, tmp_path / "two", f"{options} --trainer.max_epochs=2")
    assert {"blocks.0.attention.qkv.weight", "class_token", "stem.stages.0.1.running_mean"} <= changed(kept, second)


def test_named_parts_stay_as_they_are(start: Path, pictures: Path, tmp_path: Path) -> None:
    kept = load_bundle(start).model.state_dict()
    options = f"--model.pretrained={start} --model.vision=null --trainer.max_epochs=1"
    found = changed(kept, fit(pictures, tmp_path, f"{options} --model.frozen=[stem,blocks.0]"))
    assert {key.partition(".")[0] for key in found} == {"class_token", "blocks", "norm", "head"}
    assert not any(key.startswith("blocks.0.") for key in found)


def test_a_share_of_the_rate_is_for_all_but_the_head() -> None:
    config = ViTConfig(image_size=(14, 14), patch_size=7, num_classes=5, dim=12, depth=2, num_heads=2, mlp_dim=13)
    task = ClassifyTask()
    task.model = model = ViT(config)
    task.pace = type(task.pace)(lr_share=0.25)
    made = configure(model, Optimization(lr=0.8), steps_per_epoch=11, total_steps=31, lr_shares=task.lr_shares())
    names = {id(p): name for name, p in model.named_parameters()}
    rates = {names[id(p)]: group["initial_lr"] for group in made["optimizer"].param_groups for p in group["params"]}
    assert rates.keys() == set(names.values())
    assert {name for name, rate in rates.items() if rate == 0.8} == {"head.weight", "head.bias"}
    assert set(rates.values()) == {0.8, 0.2}


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ("optimizer=sgd --model.optimization.optimizer_options.momentum=0.8 --model.optimization.lr=0.1", "SGD"),
        ("optimizer=lion --model.optimization.lr=0.002", "Lion"),
        ("optimizer=muon --model.optimization.lr=0.02 --model.optimization.layer_decay=0.9", "Muon"),
    ],
)
def test_timms_optimizers_learn_by_name(
    options: str, kind: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(ClassifyTask, "on_train_start", lambda self: made.append(self.optimizers().optimizer))
    fit(pictures, tmp_path, f"--model.optimization.{options}")
    losses = list(logged(tmp_path, "train/loss").values())
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert type(made[0]).__name__ == kind


def tiny() -> nn.Module:
    return ViT(ViTConfig(image_size=(14, 14), patch_size=7, num_classes=5, dim=12, depth=1, num_heads=2, mlp_dim=13))


def test_the_options_of_an_optimizer_reach_it() -> None:
    sgd = Optimization(optimizer="sgd", optimizer_options={"momentum": 0.8}, weight_decay=0.03)
    made = configure(tiny(), sgd, steps_per_epoch=3, total_steps=7)["optimizer"]
    assert {group["momentum"] for group in made.param_groups} == {0.8}
    assert {group["weight_decay"] for group in made.param_groups} == {0.0, 0.03}
    lion = Optimization(optimizer="lion", betas=(0.7, 0.8))
    assert {
        g["betas"] for g in configure(tiny(), lion, steps_per_epoch=3, total_steps=7)["optimizer"].param_groups
    } == {(0.7, 0.8)}


def test_an_optimizer_that_is_none_is_named() -> None:
    with pytest.raises(ModelError, match="`optimizer` must be one of timm's optimizers, but is 'lambb' .*mean lamb"):
        Optimization(optimizer="lambb")
    with pytest.raises(ModelError, match="`optimizer_options` must come with another `optimizer` than adamw"):
        Optimization(optimizer_options={"amsgrad": True})
    wrong = Optimization(optimizer="sgd", optimizer_options={"momentun": 0.8})
    with pytest.raises(ModelError, match="`optimizer` sgd cannot be made: .*momentun.*Correct `optimizer_options`"):
        configure(tiny(), wrong, steps_per_epoch=3, total_steps=7)
