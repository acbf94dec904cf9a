"""Two processes learn from a batch each what one process learns from both, and measure what it measures."""

from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
import torch

from multiattn.tasks.training import main
from multiattn.weights import load_bundle

from .asked import draw_asked, write_answer_config
from .captioned import draw_captioned, write_caption_config
from .conftest import logged, train, write_config
from .spoken import draw_spoken, write_speech_config

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]


class WriteConfig(Protocol):
    def __call__(self, path: Path, *, root: Path, run: Path) -> Path: ...


class Runs(NamedTuple):
    one: Path
    two: Path
    said: str
    """What the two processes said."""


def fit_both(write: WriteConfig, root: Path, place: Path, *, batch: int, options: str) -> Runs:
    """The same training by one process, and by two with half of `batch` each; `{run}` in an option is its folder."""
    said = ""
    for name, size in (("one", batch), ("two", batch // 2)):
        run = place / name
        config = write(place / f"{name}.yaml", root=root, run=run)
        args = ["fit", "--config", str(config), f"--data.batches.size={size}", *options.format(run=run).split()]
        if name == "one":
            assert main(args) == 0
            continue
        done = train(*args, "--trainer.strategy=ddp", "--trainer.devices=2")
        assert done.returncode == 0, done.stderr
        said = done.stderr
    return Runs(place / "one", place / "two", said)


def assert_alike(runs: Runs, keys: str, *, count: int) -> None:
    """These values were logged at the same steps, `count` times or more, and are the same but for rounding."""
    for key in keys.split():
        one, two = logged(runs.one, key), logged(runs.two, key)
        assert one.keys() == two.keys() and len(one) >= count, key
        assert list(two.values()) == pytest.approx(list(one.values()), rel=2e-4), key


def assert_one_model(runs: Runs) -> None:
    """The directory was written once, with the words, the answers and the weights that one process has."""
    assert runs.said.count("The model is in") == 1
    one, two = load_bundle(runs.one / "model"), load_bundle(runs.two / "model")
    assert one.tokenizer is not None and two.tokenizer is not None
    assert two.tokenizer.to_json() == one.tokenizer.to_json()
    assert two.labels == one.labels
    theirs = one.model.state_dict()
    for key, value in two.model.state_dict().items():
        torch.testing.assert_close(value, theirs[key], rtol=2e-3, atol=2e-3, msg=key)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_twice_the_batch(pictures: Path, tmp_path: Path) -> None:
    # what is drawn for each batch differs between processes, so it is off; what belongs to a picture stays on
    options = "--model.mixing.mixup=0 --model.mixing.cutmix=0 --trainer.max_epochs=2 "
    options += "--model.vision.overrides.dropout=0.0 --model.vision.overrides.stochastic_depth=0.0 "
    options += "--model.class_weights=balanced"  # all alike here: a mean of weighted means is not the weighted mean
    runs = fit_both(write_config, pictures, tmp_path, batch=10, options=options)
    assert_alike(runs, "train/loss val/loss val/top1", count=2)
    assert len(logged(runs.one, "train/loss")) == 2 * (69 // 10)


@pytest.mark.slow
def test_two_processes_teach_a_captioner_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    """From features on disk, which the two processes ask for at the same time."""
    captioned = draw_captioned(tmp_path / "data", sizes={"train": 12, "validation": 5})
    options = "--model.vision.lr_share=0 --model.vision.overrides.depth=1 "
    options += "--model.decoder.depth=1 --model.decoder.dropout=0.0 --data.features={run}/kept "
    # all captions are longer: a mean of means of unequal numbers of tokens is not the mean
    options += "--data.max_tokens=2 --trainer.max_epochs=2 --trainer.callbacks=null"
    runs = fit_both(write_caption_config, captioned, tmp_path, batch=6, options=options)
    assert runs.said.count("features of train (plain): 12 of 12 pictures") == 1
    assert_alike(runs, "train/loss val/loss val/bleu4 val/cider", count=2)


@pytest.mark.slow
def test_two_processes_teach_a_recognizer_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    """Each of an odd number of recordings is transcribed once, whoever does it."""
    # as many words in each recording, for the reason that captions are cut
    spoken = draw_spoken(tmp_path / "data", sizes={"train": 12, "validation": 5}, words=2)
    options = " ".join(f"--model.audio.overrides.{rest}" for rest in ("depth=1", "dropout=0.0", "stochastic_depth=0.0"))
    options += " --model.decoder.depth=1 --model.decoder.dropout=0.0 --model.spec_augment=null "
    options += "--data.batch_seconds=null --data.augmentation=null "
    options += "--model.optimization.lr=1e-2 "
    options += "--trainer.max_epochs=36 --trainer.check_val_every_n_epoch=18 --trainer.callbacks=null"
    runs = fit_both(write_speech_config, spoken, tmp_path, batch=6, options=options)
    assert_alike(runs, "train/loss train/ctc_loss val/loss val/wer val/cer", count=2)
    for error in logged(runs.two, "val/wer").values():  # of the ten words there are
        assert 0 < error < 1 and 10 * error == pytest.approx(round(10 * error), abs=1e-5)
    assert_one_model(runs)


@pytest.mark.slow
def test_two_processes_teach_answering_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    """Each question about an odd number of pictures is answered once, whoever does it."""
    asked = draw_asked(tmp_path / "data", sizes={"train": 12, "validation": 5})
    options = "--model.vision.overrides.depth=1 --model.vision.overrides.dropout=0.0 "
    options += "--model.vision.overrides.stochastic_depth=0.0 --model.question.depth=1 --model.question.dropout=0.0 "
    options += "--trainer.max_epochs=6 --trainer.check_val_every_n_epoch=2 --trainer.callbacks=null"
    runs = fit_both(write_answer_config, asked, tmp_path, batch=6, options=options)
    assert_alike(runs, "train/loss val/loss val/accuracy val/vqa_accuracy", count=3)
    for share in logged(runs.two, "val/accuracy").values():  # of the fifteen questions there are
        assert 0 < share < 1 and 15 * share == pytest.approx(round(15 * share), abs=1e-5)
    assert_one_model(runs)
