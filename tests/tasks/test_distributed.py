"""Two processes learn from a batch each what one process learns from both."""

from pathlib import Path

import pytest

from .conftest import logged, train, write_config


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_twice_the_batch(pictures: Path, tmp_path: Path) -> None:
    # what is drawn for each batch differs between processes, so it is off; what belongs to a picture stays on
    common = [
        "--model.mixing.mixup=0",
        "--model.mixing.cutmix=0",
        "--model.overrides.dropout=0",
        "--model.overrides.stochastic_depth=0",
        "--model.class_weights=balanced",  # all alike here: a mean of weighted means is not the weighted mean
        "--trainer.max_epochs=2",
    ]
    losses = {}
    for name, batch, devices in (("one", 10, 1), ("two", 5, 2)):
        run = tmp_path / name
        config = write_config(tmp_path / f"{name}.yaml", root=pictures, run=run)
        strategy = ["--trainer.strategy=ddp", f"--trainer.devices={devices}"] if devices > 1 else []
        done = train("fit", "--config", config, f"--data.batch_size={batch}", *common, *strategy)
        assert done.returncode == 0, done.stderr
        losses[name] = [logged(run, key) for key in ("train/loss", "val/loss", "val/top1")]
    for one, two in zip(*losses.values(), strict=True):
        assert one.keys() == two.keys()
        assert list(two.values()) == pytest.approx(list(one.values()), rel=2e-4)
    assert len(losses["one"][0]) == 2 * (69 // 10)
