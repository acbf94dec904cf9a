"""The transcription task in the training program: each configuration, and what each option does to the weights."""

import json
import signal
from pathlib import Path

import pytest
import torch

from multiattn.tasks.training import main
from multiattn.weights import load_bundle
from tests.fixtures import save_tiny_recognizer, save_tiny_whisper

from .conftest import ROOT, logged, train
from .spoken import draw_spoken, write_speech_config
from .test_resume import accident

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

ONE_PROCESS = "--trainer.accelerator=cpu --trainer.devices=1 --trainer.precision=32-true --data.batches.num_workers=0"
RAW = "--trainer.callbacks=null --checkpoint.keep=9 --checkpoint.every_n_steps=0 --trainer.max_epochs=2"  # no averages
FROM = "--model.audio.preset=null --model.audio.overrides=null --model.decoder=null --model.pretrained="


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_spoken(tmp_path_factory.mktemp("spoken"), sizes={"train": 23, "validation": 7, "test": 5})


@pytest.fixture(scope="module")
def trained(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    fit(spoken, run)
    return run


def fit(spoken: Path, run: Path, options: str = "") -> dict[int, float]:
    """The training losses by the step."""
    run.mkdir(parents=True, exist_ok=True)
    config = write_speech_config(run / "c.yaml", root=spoken, run=run)
    assert main(["fit", "--config", str(config), *options.split()]) == 0
    return logged(run, "train/loss")


@pytest.mark.parametrize(
    "name",
    [
        "smoke",
        pytest.param("digits", marks=pytest.mark.slow),
        pytest.param("digits_single", marks=pytest.mark.slow),
        "finetune_whisper",
        pytest.param("finetune_whisper_vocabulary", marks=pytest.mark.slow),
        "librispeech960",
    ],
)
def test_each_configuration_is_fitted(name: str, spoken: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "transcribe" / f"{name}.yaml"
    opening = config.read_text()
    assert all(f"# {word}" in opening for word in ("Purpose:", "Command:", "Data:", "Expected:"))
    options = f"{ONE_PROCESS} --data.root={spoken} --trainer.default_root_dir={tmp_path} --data.vocab_size=31"
    if name == "digits_single":
        options += " --model.pretrained=transcribe --model.vocabulary=new"  # its own knows the letters of digits alone
    elif name.startswith("finetune_whisper"):
        whisper = save_tiny_whisper(tmp_path / "whisper", english=True)
        options += f" --model.pretrained={whisper} --data.features={tmp_path}/features"
    else:
        for part in ("audio.overrides", "decoder"):
            options += f" --model.{part}.dim=16 --model.{part}.depth=1"
            options += f" --model.{part}.num_heads=2 --model.{part}.mlp_dim=16"
    if name == "librispeech960":
        options += " --model.compile=false --data.folders=null --data.batch_seconds=4"
    assert main(["fit", "--config", str(config), "--trainer.fast_dev_run=2", *options.split()]) == 0


def test_the_model_directory_has_the_best_average_with_its_words(trained: Path) -> None:
    bundle = load_bundle(trained / "model")
    assert bundle.task == "transcribe"
    assert bundle.decoding == {"max_tokens": 5}
    assert bundle.tokenizer is not None
    assert bundle.tokenizer.decode(bundle.tokenizer.encode("low high")) == "low high"
    config = bundle.model.config
    assert config.decoder.dropout == config.encoder.stochastic_depth == config.encoder.dropout == 0
    assert bundle.sound.mels == 13 and bundle.sound.pad_to is None
    best = torch.load(trained / "best" / "best.ckpt", weights_only=True)
    state = bundle.model.state_dict()
    assert all(torch.equal(value, best["state_dict"][f"model.{key}"]) for key, value in state.items())
    for name in ("loss", "wer", "cer"):
        assert len(logged(trained, f"val/{name}")) == 3
    assert len(logged(trained, "train/ctc_loss")) == len(logged(trained, "train/loss"))


def test_test_and_predict_write_transcripts(trained: Path) -> None:
    for verb in ("test", "predict"):
        assert main([verb, "--config", str(trained / "c.yaml"), "--ckpt_path", "last"]) == 0
    assert next(iter(logged(trained, "test/wer").values())) >= 0
    lines = [json.loads(line) for line in (trained / "predictions.jsonl").read_text().splitlines()]
    assert sorted(Path(line["file"]).name for line in lines) == [f"{i:02d}.wav" for i in range(5)]
    assert all(line.keys() == {"file", "text", "score"} for line in lines)


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_bitwise(spoken: Path, tmp_path: Path) -> None:
    runs = tmp_path / "whole", tmp_path / "broken"
    for run in runs:
        write_speech_config(tmp_path / f"{run.name}.yaml", root=spoken, run=run)
    options = ["--checkpoint.every_n_steps=2", "--checkpoint.keep=9", "--trainer.max_epochs=2"]
    whole, broken = (["fit", "--config", str(tmp_path / f"{run.name}.yaml"), *options] for run in runs)
    assert main(whole) == 0
    steps = sorted(int(path.stem.removeprefix("step-")) for path in (runs[0] / "checkpoints").iterdir())
    killed = train(*broken, *accident(steps[-1] - 1, "SIGKILL"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert main([*broken, "--ckpt_path=last"]) == 0
    theirs, ours = (torch.load(run / "checkpoints" / f"step-{steps[-1]:09d}.ckpt") for run in runs)
    for part in ("state_dict", "current_model_state"):  # averaged, raw
        assert all(torch.equal(ours[part][k], theirs[part][k]) for k in theirs[part])
    for key in ("train/loss", "val/loss", "val/wer"):
        assert logged(runs[0], key) == logged(runs[1], key) != {}


def weights(run: Path, *, epoch: int) -> dict[str, torch.Tensor]:
    """The model's weights after so many epochs."""
    states = sorted((run / "checkpoints").glob("step-*.ckpt"))
    state = torch.load(states[epoch - 1], weights_only=True)["state_dict"]
    return {key.removeprefix("model."): value for key, value in state.items() if key.startswith("model.")}


def test_an_encoder_is_frozen_then_learns(spoken: Path, tmp_path: Path) -> None:
    whisper = save_tiny_whisper(tmp_path / "whisper")
    start = load_bundle(whisper).model.state_dict()
    keys = [key for key in start if key.startswith("encoder.") and key.endswith("qkv.weight")]
    for name, options, moves in (
        ("frozen", "--model.audio.lr_share=0", (False, False)),
        ("later", "--model.audio.unfreeze_epoch=1 --model.audio.lr_share=0.1", (False, True)),
    ):
        run = tmp_path / name
        common = f"{RAW} {FROM}{whisper} --model.vocabulary=new"
        fit(spoken, run, f"{common} {options}")
        for epoch, moved in enumerate(moves, start=1):
            now = weights(run, epoch=epoch)
            assert all(torch.equal(now[key], start[key]) != moved for key in keys), (name, epoch)


def test_the_weights_that_are_named_keep_their_values(
    spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whisper = save_tiny_whisper(tmp_path / "whisper")
    start = load_bundle(whisper).model.state_dict()
    common = f"{RAW} {FROM}{whisper} --trainer.max_epochs=1 --model.ctc_weight=0 --model.language=en"
    common += " --model.audio.lr_share=0"
    fit(
        spoken, tmp_path / "run", f'{common} --model.frozen=["decoder.embedding","decoder.blocks.*.cross_attention.kv"]'
    )
    now = weights(tmp_path / "run", epoch=1)
    kept = {key for key in start if key.startswith("decoder.") and torch.equal(now[key], start[key])}
    named = {key for key in start if "decoder.embedding" in key or key.startswith("decoder.") and ".kv." in key}
    assert len(named) > 1
    assert named <= kept
    assert any("decoder" in key and ".q." in key for key in start.keys() - kept)
    config = ["--config", str(tmp_path / "run" / "c.yaml"), *common.split(), "--model.frozen=[decoder.words]"]
    assert main(["fit", *config, f"--trainer.default_root_dir={tmp_path}/other"]) == 1
    assert "`frozen` must name parts of the model, but has 'decoder.words' instead" in capsys.readouterr().err


def test_only_the_embedding_starts_anew_with_a_new_vocabulary(spoken: Path, tmp_path: Path) -> None:
    whisper = save_tiny_whisper(tmp_path / "whisper")
    (whisper / "tokenizer.json").unlink()  # which a new one does not need
    fit(spoken, tmp_path, f"{RAW} {FROM}{whisper} --model.vocabulary=new --model.optimization.lr=0")
    trained, start = load_bundle(tmp_path / "model"), load_bundle(whisper, without=("decoder.embedding.weight",))
    assert trained.tokenizer is not None and trained.tokenizer.id_of("[START]") == 1
    assert "suppress" not in trained.decoding  # tokens of the other vocabulary
    assert trained.decoding["alignment_heads"] == start.decoding["alignment_heads"]
    before, after = start.model.state_dict(), trained.model.state_dict()
    assert after.keys() - before.keys() == {"ctc_head.weight", "ctc_head.bias"}
    anew = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert anew == {"decoder.embedding.weight"}
    assert len(after["decoder.embedding.weight"]) == trained.tokenizer.vocab_size


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_whisper_keeps_its_words_and_is_told_language_and_task(language: str, spoken: Path, tmp_path: Path) -> None:
    whisper = save_tiny_whisper(tmp_path / "whisper")
    options = f"{RAW} {FROM}{whisper} --model.ctc_weight=0 --trainer.max_epochs=1 --model.language={language}"
    losses = fit(spoken, tmp_path, options)
    before, after = load_bundle(whisper), load_bundle(tmp_path / "model")
    assert before.tokenizer is not None and after.tokenizer is not None
    assert after.tokenizer.to_json() == before.tokenizer.to_json()
    assert list(after.decoding["suppress"]) == list(before.decoding["suppress"])
    assert after.decoding["max_tokens"] == 5
    assert losses
    config = [*("--config", str(tmp_path / "c.yaml")), *options.split(), "--model.language=fr"]
    assert main(["validate", *config]) == 1


def test_a_model_of_our_own_is_fine_tuned(spoken: Path, tmp_path: Path) -> None:
    ours = save_tiny_recognizer(tmp_path / "ours")
    fit(spoken, tmp_path, f"{RAW} {FROM}{ours} --trainer.max_epochs=1")
    bundle = load_bundle(tmp_path / "model")
    assert bundle.model.config == load_bundle(ours).model.config


def test_features_from_disk_teach_as_the_recordings_do(spoken: Path, tmp_path: Path) -> None:
    common = f"{RAW} --model.audio.lr_share=0 --model.spec_augment=null --data.augmentation=null"
    heard = fit(spoken, tmp_path / "heard", common)
    kept = fit(spoken, tmp_path / "kept", f"{common} --data.features={tmp_path}/features")
    assert list(kept.values()) == pytest.approx(list(heard.values()), rel=5e-3)  # kept in float16
    values = [list(logged(tmp_path / name, "val/loss").values()) for name in ("heard", "kept")]
    assert values[0] == pytest.approx(values[1], rel=5e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "`audio.lr_share` must be 0 with `features`"),
        ("--model.audio.lr_share=0", "`spec_augment` must not come with `features`"),
    ],
)
def test_features_of_an_encoder_that_changes(
    options: str, message: str, spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_speech_config(tmp_path / "c.yaml", root=spoken, run=tmp_path)
    assert main(["fit", "--config", str(config), f"--data.features={tmp_path}/f", *options.split()]) == 1
    assert message in capsys.readouterr().err


def test_a_state_of_another_vocabulary(spoken: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = [*("--config", str(trained / "c.yaml")), "--ckpt_path=last", "--data.vocabulary=characters"]
    assert main(["validate", *config]) == 1
    assert "must be of a training with the same vocabulary" in capsys.readouterr().err


def test_tones_are_learnt(spoken: Path, tmp_path: Path) -> None:
    losses = fit(spoken, tmp_path, "--trainer.max_epochs=15 --model.spec_augment=null --data.augmentation=null")
    values = list(losses.values())
    assert sum(values[-5:]) < 0.8 * sum(values[:5])
