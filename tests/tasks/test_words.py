"""Words for the newcomer: what a typo was meant to be, help that reads well, a configuration that explains itself."""

from pathlib import Path

import pytest
import yaml

from multiattn.tasks.training import main
from multiattn.weights import load_bundle

from .conftest import ROOT

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

SMOKE = ["--config", str(ROOT / "configs" / "classify" / "smoke.yaml")]

FILES = [
    (
        "model: {class_path: multiattn.tasks.ClassifyTask, init_args: {optimization: {warmpu_epochs: 3}}}",
        "`model.init_args.optimization.warmpu_epochs` is no option: did you mean "
        "`model.init_args.optimization.warmup_epochs`?",
    ),
    (
        "data: {init_args: {batchs: {size: 3}}}",
        "`data.init_args.batchs` is no option: did you mean `data.init_args.batches`?",
    ),
    (
        "trainer: {callbacks: [{class_path: multiattn.tasks.callbacks.EMA, init_args: {deacy: 0.3}}]}",
        "`trainer.callbacks.0.init_args.deacy` is no option: did you mean `trainer.callbacks.0.init_args.decay`?",
    ),
    ("trainer: {max_epocs: 3}", "`trainer.max_epocs` is no option: did you mean `trainer.max_epochs`?"),
    ("checkpoint: {keeps: 3}", "`checkpoint.keeps` is no option: did you mean `checkpoint.keep`?"),
    ("model: {init_args: {optimization: {lr: fast}}}", "`model.init_args.optimization.lr`: Expected a <class 'float'>"),
    (
        "model: {class_path: multiattn.tasks.ClasifyTask}",
        "`model.class_path`: there is no class multiattn.tasks.ClasifyTask: did you mean multiattn.tasks.ClassifyTask?",
    ),
]


@pytest.mark.parametrize(("text", "message"), FILES)
def test_a_typo_in_a_file_is_named_with_its_path(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert main(["fit", *SMOKE, "--config", str(file)]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith(f"error: {file}: {message}")


OPTIONS = [
    ("--model.optimization.warmpu_epochs=3", "`--model.optimization.warmpu_epochs` is no option: did you mean "),
    ("--model.vison.preset=tiny", "`--model.vison` is no option: did you mean `--model.vision`?"),
    ("--model.lr=0.3", "`--model.lr` is no option: did you mean `--model.optimization.lr`?"),
    ("--optimizer=Adam", "`--optimizer` is no option: did you mean `--model.optimization.optimizer`?"),
    ("--nothing_like_it=3", "`--nothing_like_it` is no option\n"),
]


@pytest.mark.parametrize(("option", "message"), OPTIONS)
def test_a_typo_in_an_option_is_named(option: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *SMOKE, option]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith(f"error: {message}")


def test_a_logger_whose_package_is_missing_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *SMOKE, "--trainer.logger=WandbLogger"]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert err.startswith(
        "error: the package wandb is not installed, but the configuration needs it: pip install -U 'wandb"
    )


@pytest.mark.parametrize("name", ["multiattn.tasks.ClassifyTask", "AnswerTask"])
def test_the_help_for_a_task_has_the_options_inside_of_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model.help", name]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"multiattn.tasks.{name.rpartition('.')[2]}\n")
    assert "--model.optimization.lr float (default: 0.001)\n    Learning rate of the last layer" in out
    assert "--model.vision.preset str | none (default: none)\n    A preset of" in out
    assert max(map(len, out.splitlines())) <= 110
    described = out.split("\n\n")
    assert all("\n    " in part for part in described if part.startswith("--"))  # each says what it means


def test_a_run_from_options_alone(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = (
        f"--model ClassifyTask --data=ClassifyData --data.root {pictures} --model.vision.preset=compact "
        "--model.vision.image_size=16 --model.vision.overrides.depth=1 --data.batches.size=6 "
        "--data.batches.num_workers=0 --trainer.accelerator=cpu --trainer.max_steps=2 --trainer.limit_val_batches=1"
    )
    assert main(["fit", *options.split()]) == 0
    assert load_bundle(tmp_path / "runs" / "classify" / "model").labels == ("blue", "green", "red")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_the_printed_configuration_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model=TranscribeTask", "--data=TranscribeData", "--data.root=x", "--model.optimization.lr=0.002"]
    assert main(["fit", *options, "--print_config"]) == 0
    out = capsys.readouterr().out
    content = yaml.safe_load(out)
    assert content["model"]["class_path"] == "multiattn.tasks.TranscribeTask"
    assert content["model"]["init_args"]["optimization"]["lr"] == 0.002
    lines = out.splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.strip() == "ctc_weight: 0.0"]
    assert lines[at - 1].strip().startswith("# Share of the CTC loss of a head over the encoder")
    assert "optimizer" not in content and "lr_scheduler" not in content  # a task has its own
