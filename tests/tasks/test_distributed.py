"""Two processes learn from a batch each what one process learns from both."""

from pathlib import Path

import pytest

from tasks.training import main

from .captioned import draw_captioned, write_caption_config
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


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning's own on this torch
def test_two_processes_teach_a_captioner_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    """From features on disk, which the two processes ask for at the same time."""
    captioned = draw_captioned(tmp_path / "data", sizes={"train": 12, "validation": 5})
    common = [
        "--model.encoder_lr_share=0",
        "--model.encoder_overrides.depth=1",
        "--model.decoder.depth=1",
        "--model.decoder.dropout=0.0",
        "--data.max_tokens=2",  # all captions are longer: a mean of means of unequal numbers of tokens is not the mean
        "--trainer.max_epochs=2",
        "--trainer.callbacks=null",
    ]
    found = {}
    for name, batch, devices in (("one", 6, 1), ("two", 3, 2)):
        run = tmp_path / name
        config = write_caption_config(tmp_path / f"{name}.yaml", root=captioned, run=run)
        args = ["fit", "--config", str(config), f"--data.batch_size={batch}", f"--data.features={run}/kept", *common]
        if devices == 1:
            assert main(args) == 0
        else:
            done = train(*args, "--trainer.strategy=ddp", f"--trainer.devices={devices}")
            assert done.returncode == 0, done.stderr
            assert done.stderr.count("features of train (plain): 12 of 12 pictures") == 1
        found[name] = [logged(run, f"{key}") for key in ("train/loss", "val/loss", "val/bleu4", "val/cider")]
    for one, two in zip(*found.values(), strict=True):
        assert one.keys() == two.keys() and len(one) >= 2
        assert list(two.values()) == pytest.approx(list(one.values()), rel=2e-4)
