"""A training that is cut off, in whatever way, ends as one that was left alone."""

import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from multiattn.tasks.training import main

from .captioned import draw_captioned, write_caption_config
from .conftest import logged, train, write_config

pytestmark = pytest.mark.training


def accident(step: int, name: str) -> list[str]:
    return [
        "--trainer.callbacks+=tests.tasks.accidents.SignalAt",
        f"--trainer.callbacks.step={step}",
        f"--trainer.callbacks.name={name}",
    ]


@pytest.mark.slow
def test_killed_then_interrupted_is_bitwise_the_same(pictures: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    config = write_config(tmp_path / "whole.yaml", root=pictures, run=whole, workers=0)
    done = train("fit", "--config", config)
    assert done.returncode == 0, done.stderr

    # with two workers, which prepare batches ahead: what they prepared must not count as seen
    config = write_config(tmp_path / "broken.yaml", root=pictures, run=broken, workers=2)
    # 11 batches an epoch, a state every 7: killed at step 17, goes on from 14, in the middle of the second epoch
    killed = train("fit", "--config", config, *accident(17, "SIGKILL"))
    assert killed.returncode == -signal.SIGKILL
    assert sorted(p.name for p in (broken / "checkpoints").glob("*.ckpt"))[-1] == "step-000000014.ckpt"
    stopped = train("fit", "--config", config, "--ckpt_path", "last", *accident(26, "SIGINT"))
    assert stopped.returncode == 130, stopped.stderr
    assert "step-000000014.ckpt" in stopped.stderr
    assert stopped.stderr.splitlines()[-1].startswith("Stopped. To go on: multiattn fit --config")
    assert "Traceback" not in stopped.stderr
    assert (broken / "checkpoints" / "step-000000027.ckpt").exists()
    done = train("fit", "--config", config, "--ckpt_path", "last")
    assert done.returncode == 0, done.stderr

    ours, theirs = (torch.load(run / "checkpoints" / "step-000000033.ckpt") for run in (broken, whole))
    for part in ("state_dict", "current_model_state"):  # averaged, raw
        assert ours[part].keys() == theirs[part].keys()
        assert all(torch.equal(ours[part][k], theirs[part][k]) for k in theirs[part])
    assert logged(broken, "train/loss") == logged(whole, "train/loss")
    assert len(logged(whole, "train/loss")) == 33
    assert logged(broken, "val/loss") == logged(whole, "val/loss")
    one, other = (load_file(run / "model" / "model.safetensors") for run in (broken, whole))
    assert all(torch.equal(one[k], other[k]) for k in other)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning's own on this torch
def test_a_limit_within_an_epoch_is_a_place_to_go_on_from(pictures: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path)
    fit = ["fit", "--config", str(config), "--trainer.max_epochs=2"]
    assert main([*fit, "--trainer.max_steps=5"]) == 0
    assert (tmp_path / "checkpoints" / "step-000000005.ckpt").is_file()  # of 11 batches
    assert main(fit) == 0
    state = torch.load(tmp_path / "checkpoints" / "step-000000022.ckpt")
    assert state["loops"]["fit_loop"]["epoch_progress"]["total"]["processed"] == 2
    assert state["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == 22


@pytest.mark.filterwarnings("default")  # Lightning's own on this torch
def test_going_on_from_an_earlier_state_replaces_the_later_ones(pictures: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path)
    folder = tmp_path / "checkpoints"
    fit = ["fit", "--config", str(config), "--checkpoint.keep=9", "--trainer.max_epochs=2"]
    assert main(fit) == 0
    steps = [7, 11, 14, 21, 22]
    assert sorted(p.name for p in folder.iterdir()) == [f"step-{step:09d}.ckpt" for step in steps]
    theirs, losses = torch.load(folder / "step-000000022.ckpt"), logged(tmp_path, "train/loss")

    # from the end of an epoch, validation included
    assert main([*fit, f"--ckpt_path={folder}/step-000000011.ckpt"]) == 0
    ours = torch.load(folder / "step-000000022.ckpt")
    for part in ("state_dict", "current_model_state"):  # averaged, raw
        assert all(torch.equal(ours[part][k], theirs[part][k]) for k in theirs[part])
    assert logged(tmp_path, "train/loss") == losses
    assert (tmp_path / "logs" / "version_1").is_dir()

    # a training that ends earlier: `last` finds its end, and not that of the one it came from
    assert main([*fit, f"--ckpt_path={folder}/step-000000007.ckpt", "--trainer.max_epochs=1"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["step-000000007.ckpt", "step-000000011.ckpt"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning's own on this torch
def test_a_captioner_that_is_killed_goes_on_bitwise(tmp_path: Path) -> None:
    root = draw_captioned(tmp_path / "data", sizes={"train": 23, "validation": 3})
    runs = tmp_path / "whole", tmp_path / "broken"
    for run in runs:
        write_caption_config(tmp_path / f"{run.name}.yaml", root=root, run=run)
    # 3 batches an epoch, a state every 2 and at the end of each: killed at step 5, goes on from 4, inside of the second
    options = ["--checkpoint.every_n_steps=2", "--trainer.max_epochs=2"]
    whole, broken = (["fit", "--config", str(tmp_path / f"{run.name}.yaml"), *options] for run in runs)
    assert main(whole) == 0
    killed = train(*broken, *accident(5, "SIGKILL"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "Traceback" not in killed.stderr
    assert sorted(p.name for p in (runs[1] / "checkpoints").iterdir())[-1] == "step-000000004.ckpt"
    assert main([*broken, "--ckpt_path=last"]) == 0

    theirs, ours = (torch.load(run / "checkpoints" / "step-000000006.ckpt") for run in runs)
    for part in ("state_dict", "current_model_state"):  # averaged, raw
        assert ours[part].keys() == theirs[part].keys()
        assert all(torch.equal(ours[part][k], theirs[part][k]) for k in theirs[part])
    for key in ("train/loss", "val/loss", "val/cider"):
        assert logged(runs[0], key) == logged(runs[1], key) != {}
    one, other = (load_file(run / "model" / "model.safetensors") for run in runs)
    assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in other)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning's own on this torch
def test_a_lost_process_ends_the_other_and_another_number_of_processes_goes_on(pictures: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path / "run")
    fit = ["fit", "--config", str(config), "--data_report.files=0"]
    two = ["--trainer.strategy=ddp", "--trainer.devices=2", "--data.batches.size=4"]
    killed = train(*fit, *two, *accident(9, "SIGKILL"), "--trainer.callbacks.rank=1")
    assert killed.returncode == 1, killed.stderr
    errors = [line for line in killed.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith("error: another process of this training has ended")
    stopped = train(*fit, *two, *accident(11, "SIGTERM"), "--trainer.callbacks.rank=1")  # one of them gets the signal
    assert stopped.returncode == 143, stopped.stderr
    assert (tmp_path / "run" / "checkpoints" / "step-000000012.ckpt").exists()

    # within the second epoch, by one process with as large batches as the two had; not with others
    assert main([*fit, "--data.batches.size=4"]) == 1
    assert main([*fit, "--data.batches.size=8"]) == 0
    assert len(logged(tmp_path / "run", "train/loss")) == 3 * (69 // 8)
