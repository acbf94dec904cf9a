"""One command starts a training, goes on with it, and leaves a finished one alone, whatever ends it in between."""

import math
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.tasks.callbacks import Divergence
from multiattn.tasks.hparams import plain
from multiattn.tasks.loading.datamodule import BatchOptions
from multiattn.tasks.optim import Optimization
from multiattn.tasks.resuming import KEY, Start, _changes, flat
from multiattn.tasks.training import _training_message, main
from multiattn.weights import load_bundle

from .conftest import logged, write_config
from .spoken import draw_spoken, write_speech_config

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]


class SignalIn(pl.Callback):
    """Sends this process a signal in a validation batch, while a state is written, or while the data is prepared."""

    def __init__(self, where: str, name: str, epoch: int = 1) -> None:
        self.where, self.signal, self.epoch = where, signal.Signals[name], epoch

    def _send(self, where: str, trainer: pl.Trainer) -> None:
        if where == self.where and trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), self.signal)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._send("validation", trainer)

    def on_save_checkpoint(self, trainer: pl.Trainer, *_: Any) -> None:
        self._send("saving", trainer)

    def on_fit_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._send("before", trainer)


def send(where: str, name: str, epoch: int = 1) -> list[str]:
    return [
        "--trainer.callbacks+=tests.tasks.test_one_command.SignalIn",
        f"--trainer.callbacks.where={where}",
        f"--trainer.callbacks.name={name}",
        f"--trainer.callbacks.epoch={epoch}",
    ]


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file, and when it was changed."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_classifier_that_is_stopped_three_times_and_has_a_damaged_state(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options = ["--data.batches.eval_size=4", "--data_report.files=0", "--checkpoint.keep=3"]
    fits = [
        ["fit", "--config", str(write_config(tmp_path / f"{run.name}.yaml", root=pictures, run=run)), *options]
        for run in (whole, broken)
    ]
    assert main(fits[0]) == 0
    fit = fits[1]
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    states = broken / "checkpoints"

    # before the first step: nothing is there yet
    assert main([*fit, *send("before", "SIGTERM", epoch=0)]) == 143
    assert capsys.readouterr().err.splitlines()[-1] == "Stopped."
    assert not states.exists()

    # within the validation of the second epoch, in which the averaged weights have the place of the trained ones
    assert main([*fit, *send("validation", "SIGUSR1")]) == 138
    said = capsys.readouterr().err
    assert "SIGUSR1: Stopping after this batch. Send it again to stop at once." in said
    assert said.splitlines()[-1].startswith("Stopped. To go on: multiattn fit --config")
    assert sorted(path.name for path in states.iterdir())[-1] == "step-000000022.ckpt"
    assert len(logged(broken, "val/loss")) == 1

    # that validation is done again as a whole; and a signal comes while the next state is written
    assert main([*fit, *send("saving", "SIGTERM", epoch=2)]) == 143
    assert f"Going on from {states}/step-000000022.ckpt" in capsys.readouterr().err
    assert len(logged(broken, "val/loss")) == 2
    assert sorted(path.name for path in states.iterdir())[-2:] == ["step-000000028.ckpt", "step-000000029.ckpt"]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before

    # the newest state is damaged: the one before is taken
    newest = states / "step-000000029.ckpt"
    newest.write_bytes(newest.read_bytes()[:-100])
    assert main(fit) == 0
    said = capsys.readouterr().err
    assert f"Taking the state before instead: step-000000028.ckpt. {newest} must be" in said
    assert f"Going on from {states}/step-000000028.ckpt" in said
    ours, theirs = (torch.load(run / "checkpoints" / "step-000000033.ckpt") for run in (broken, whole))
    for part in ("state_dict", "current_model_state"):  # averaged, raw
        assert all(torch.equal(ours[part][k], theirs[part][k]) for k in theirs[part])
    for key in ("train/loss", "val/loss"):
        assert logged(broken, key) == logged(whole, key) != {}

    # it is finished: nothing at all is done
    there = content(broken)
    capsys.readouterr()
    for more in ([], ["--ckpt_path=last"]):
        assert main([*fit, *more]) == 0
        assert f"This training is finished: step 33, model in {broken}/model." in capsys.readouterr().err
    assert content(broken) == there

    # it was killed between its last state and its model, which has the averaged weights all the same
    model = (broken / "model" / "model.safetensors").read_bytes()
    (broken / "model" / "config.json").unlink()
    assert main([*fit, "--model_directory.weights=final"]) == 0
    assert (broken / "model" / "config.json").exists()
    state = torch.load(broken / "checkpoints" / "step-000000033.ckpt")["state_dict"]
    final = load_bundle(broken / "model").model.state_dict()
    assert all(torch.equal(value, state[f"model.{key}"]) for key, value in final.items())
    assert len(model) == len((broken / "model" / "model.safetensors").read_bytes())


def test_a_changed_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoken = draw_spoken(tmp_path / "data", sizes={"train": 12, "validation": 3}, words=2)
    run = tmp_path / "run"
    config = write_speech_config(tmp_path / "c.yaml", root=spoken, run=run)
    fit = ["fit", "--config", str(config), "--data_report.files=0", "--data.batch_seconds=null"]
    fit += ["--data.batches.size=2", "--trainer.max_epochs=1", "--checkpoint.every_n_steps=4", "--checkpoint.keep=9"]
    assert main(fit) == 0
    newest = run / "checkpoints" / "step-000000006.ckpt"
    there = content(run)

    for other, key in (
        ("--seed_everything=8", "seed_everything is 8, was"),
        (f"--data.root={tmp_path}", f"data.root is {tmp_path}, was {spoken}"),
    ):
        capsys.readouterr()
        assert main([*fit, other]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(f"error: {run}/checkpoints: another training has its states here")
        assert key in error
    assert main([*fit, "--resume=never"]) == 1
    # within an epoch, with other batches
    assert main([*fit, f"--ckpt_path={run}/checkpoints/step-000000004.ckpt", "--data.batches.size=3"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        "4 of which are learnt, but they are others: batches was 6 and is 4; items in a batch was 2 and is 3" in error
    )
    assert main([*fit, "--trainer.max_epochs=2", "--model.optimization.layer_decay=0.5"]) == 1
    assert "`layer_decay`" in capsys.readouterr().err.splitlines()[-1]
    assert {name: file for name, file in content(run).items() if "logs" not in name} == {
        name: file for name, file in there.items() if "logs" not in name
    }

    # a changed learning rate, decay and end of the training hold from here on
    changed = [
        "--trainer.max_epochs=2",
        "--model.optimization.lr=0.0",
        "--model.optimization.weight_decay=0.01",
        "--trainer.callbacks=null",
    ]
    assert main([*fit, *changed]) == 0
    said = capsys.readouterr().err
    assert f"Going on from {newest}. Changed since: " in said
    for key in ("model.optimization.lr is 0.0, was ", "trainer.max_epochs is 2, was 1"):
        assert key in said
    before, after = torch.load(newest), torch.load(run / "checkpoints" / "step-000000012.ckpt")
    weights = before["state_dict"]  # without the callback that averages, the averages are trained
    names = [name for name in weights if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert names and all(torch.equal(after["state_dict"][name], weights[name]) for name in names)
    assert {group["weight_decay"] for group in after["optimizer_states"][0]["param_groups"]} == {0.0, 0.01}


def test_defaults_that_nobody_changed_are_not_named() -> None:
    """A start that states one value states all of them, where one before stated none."""
    before = {"model.optimization": None, "data.batches": None, "model.label_smoothing": 0.1}
    now = {
        "model": {"optimization": plain(Optimization(lr=0.125)), "label_smoothing": 0.1},
        "data": {"batches": plain(BatchOptions(num_workers=5))},
    }
    for one, two, expected in (
        (before, flat(now), "lr is 0.125, was 0.001; data.batches.num_workers is 5, was 2"),
        (flat(now), before, "lr is 0.001, was 0.125; data.batches.num_workers is 2, was 5"),
    ):
        told = _changes(Start(Path("x"), {KEY: one}), two)
        assert told == f". Changed since: model.optimization.{expected}"


def test_a_training_that_diverges_keeps_its_last_finite_state(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    config = write_config(tmp_path / "c.yaml", root=pictures, run=run)
    fit = ["fit", "--config", str(config), "--data_report.files=0", "--checkpoint.every_n_steps=1"]
    fit += ["--checkpoint.keep=9", "--trainer.log_every_n_steps=50", "--progress.every_n_seconds=0"]
    # finite until the rate takes effect: the warm-up begins with a small share of it
    assert main([*fit, "--trainer.max_epochs=1"]) == 0
    said = capsys.readouterr().err
    line = r"step 5/11, 0:00:\d\d left: train/loss \d\.\d{4}, lr [\d.e-]+, [\d.e+]+ items/s, \d\.\d GB"
    assert re.search(line, said)
    assert re.search(r"epoch 1/1, step 11: train/loss \d\.\d{4}, val/loss \d", said)
    norms = logged(run, "train/grad_norm")
    assert list(norms) == [10] and norms[10] > 0  # an epoch of eleven steps logs once, at its end
    states = run / "checkpoints"

    for _ in range(2):  # the same command meets the same end
        assert main([*fit, "--trainer.max_epochs=2", "--model.optimization.lr=1e30"]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: the training has diverged: its loss was not finite 3 times in a row, from step")
        newest = sorted(states.iterdir())[-1]
        assert f"The last state before it is {newest}." in error and "`model.optimization.lr` (the rate is " in error
        state = torch.load(newest)
        for part in ("state_dict", "current_model_state"):
            assert all(weight.isfinite().all() for weight in state[part].values())
    assert newest.name == "step-000000011.ckpt"
    assert main([*fit, "--trainer.max_epochs=2"]) == 0
    assert sorted(states.iterdir())[-1].name == "step-000000022.ckpt"


def test_spikes_are_counted_and_single_losses_do_not_end_a_training() -> None:
    trainer: Any = SimpleNamespace(world_size=1, log_every_n_steps=1, global_step=0, optimizers=[], fast_dev_run=True)
    module: Any = SimpleNamespace(device=torch.device("cpu"), log=lambda *_, **__: None)
    watch = Divergence(non_finite=3)
    losses = [1 + 0.1 * math.sin(i) for i in range(60)] + [9.0, math.nan, math.inf, 1.0, 30.0]
    for step, loss in enumerate(losses):
        trainer.global_step = step + 1
        watch.on_train_batch_end(trainer, module, {"loss": torch.tensor(loss)}, None, step)
    assert watch.state_dict()["counts"][:4] == [0, 62, 2, 63]
    again = Divergence(non_finite=3)
    again.load_state_dict(watch.state_dict())
    with pytest.raises(ModelError, match="not finite 3 times in a row, from step 66 on"):
        for step in range(65, 70):
            trainer.global_step = step + 1
            again.on_train_batch_end(trainer, module, {"loss": torch.tensor(math.nan)}, None, step)
    assert step == 67


def test_full_memory_and_a_lost_process_are_told_in_a_line() -> None:
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ):
        said = _training_message(error)
        assert said is not None and "\n" not in said
        for option in ("data.batches.size", "accumulate_grad_batches", "trainer.precision", "checkpoint_activations"):
            assert option in said
    assert _training_message(RuntimeError("another defect")) is None
