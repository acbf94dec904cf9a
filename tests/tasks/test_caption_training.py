"""The captioning task in the training program: each configuration, and what each option does to the weights."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.weights import ModelBundle, load_bundle, save_bundle
from tasks.caption import CaptionTask
from tasks.training import main
from tests.fixtures import tiny_bundle

from .captioned import draw_captioned, write_caption_config
from .conftest import ROOT, logged

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

ONE_PROCESS = "--trainer.accelerator=cpu --trainer.devices=1 --trainer.strategy=auto --data.num_workers=0"
SMALL = (
    "--data.batch_size=6 --data.vocab_size=61 --model.decoder.dim=24 --model.decoder.depth=1 --model.decoder.mlp_dim=30"
)


@pytest.fixture(scope="module")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_captioned(tmp_path_factory.mktemp("captioned"), sizes={"train": 23, "validation": 9, "test": 5})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for a published classifier, with a class token, 15 x 35 px."""
    directory = tmp_path_factory.mktemp("encoder")
    save_bundle(tiny_bundle(), directory)
    return directory


@pytest.fixture(scope="module")
def trained(captioned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a short training."""
    run = tmp_path_factory.mktemp("trained")
    config = write_caption_config(run / "c.yaml", root=captioned, run=run)
    assert main(["fit", "--config", str(config)]) == 0
    return run


def fit(captioned: Path, run: Path, options: str = "") -> dict[int, float]:
    """The training losses by the step."""
    run.mkdir(parents=True, exist_ok=True)
    config = write_caption_config(run / "c.yaml", root=captioned, run=run)
    assert main(["fit", "--config", str(config), *options.split()]) == 0
    return logged(run, "train/loss")


@pytest.mark.parametrize("name", ["smoke", "flickr8k", "flickr8k_pretrained", "coco"])
def test_each_configuration_is_fitted(name: str, captioned: Path, encoder: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "caption" / f"{name}.yaml"
    opening = config.read_text()
    assert all(f"# {word}" in opening for word in ("Purpose:", "Command:", "Data:", "Expected:"))
    options = f"{SMALL} {ONE_PROCESS} --data.root={captioned} --trainer.default_root_dir={tmp_path}"
    if name == "smoke":
        options += " --model.image_size=32"
    else:
        options += f" --model.encoder_pretrained={encoder} --model.image_size=15 --model.compile=false"
    if name == "coco":
        options += " --data.captions=null --data.pictures=null"
    if name == "flickr8k_pretrained":
        options += f" --data.features={tmp_path}/features"
    assert main(["fit", "--config", str(config), "--trainer.fast_dev_run=2", *options.split()]) == 0


def test_the_model_directory_has_the_best_average_with_its_words_and_its_decoding(trained: Path) -> None:
    bundle = load_bundle(trained / "model")
    assert bundle.task == "caption"
    assert bundle.decoding == {"max_tokens": 5}
    assert bundle.tokenizer is not None
    assert bundle.tokenizer.vocab_size == bundle.captioner.config.decoder.vocab_size
    assert bundle.tokenizer.decode(bundle.tokenizer.encode("a red disc")) == "a red disc"
    assert bundle.captioner.config.decoder.dropout == bundle.captioner.config.encoder.stochastic_depth == 0
    best = torch.load(trained / "best" / "best.ckpt", weights_only=True)
    state = bundle.captioner.state_dict()
    assert all(torch.equal(value, best["state_dict"][f"model.{key}"]) for key, value in state.items())
    for name in ("loss", "bleu4", "meteor", "rouge_l", "cider"):
        assert len(logged(trained, f"val/{name}")) == 3


def test_test_and_predict_write_captions(captioned: Path, trained: Path) -> None:
    config = trained / "c.yaml"
    for verb in ("validate", "test", "predict"):
        assert main([verb, "--config", str(config), "--ckpt_path", "last"]) == 0
    assert 0 <= next(iter(logged(trained, "test/cider").values())) <= 10
    lines = [json.loads(line) for line in (trained / "predictions.jsonl").read_text().splitlines()]
    assert [Path(line["file"]).name for line in lines] == [f"{i:02d}.png" for i in range(5)]
    assert all(line.keys() == {"file", "text", "score"} for line in lines)
    assert all(len(line["text"].split()) <= 5 and line["score"] <= 0 for line in lines)


def encoder_of(run: Path, *, step: int) -> dict[str, torch.Tensor]:
    state = torch.load(run / "checkpoints" / f"step-{step:09d}.ckpt", weights_only=True)["state_dict"]
    return {key.removeprefix("model.encoder."): v for key, v in state.items() if key.startswith("model.encoder.")}


RAW = "--trainer.callbacks=null --checkpoint.keep=9 --checkpoint.every_n_steps=0 --trainer.max_epochs=2"  # no averages


def test_a_trained_encoder_is_frozen_then_learns_at_its_share(captioned: Path, encoder: Path, tmp_path: Path) -> None:
    common = f"{RAW} --model.encoder=null --model.encoder_pretrained={encoder} --model.encoder_overrides=null"
    start = load_bundle(encoder).classifier.state_dict()
    for name, options, moves in (
        ("frozen", "--model.encoder_lr_share=0", (False, False)),
        ("later", "--model.unfreeze_epoch=1 --model.encoder_lr_share=0.1", (False, True)),
        ("all", "", (True, True)),
    ):
        fit(captioned, tmp_path / name, f"{common} {options}")
        for epoch, moved in enumerate(moves):
            now = encoder_of(tmp_path / name, step=3 * (epoch + 1))
            assert {key for key in start if not key.startswith("head.")} == now.keys()
            weights = [key for key in now if key.endswith("qkv.weight")]
            assert all(torch.equal(now[key], start[key]) != moved for key in weights), (name, epoch)


def test_the_statistics_of_a_frozen_stem_stay(captioned: Path, tmp_path: Path) -> None:
    stem = {"stem": "conv", "stem_channels": "[6,20]", "stem_strides": "[2,2]", "depth": 1}
    shape = " ".join(f"--model.encoder_overrides.{name}={value}" for name, value in stem.items())
    options = f"{RAW} {shape} --trainer.max_epochs=1"
    for name, more, moved in (("frozen", "--model.encoder_lr_share=0", False), ("all", "", True)):
        fit(captioned, tmp_path / name, f"{options} {more}")
        counts = [v for k, v in encoder_of(tmp_path / name, step=3).items() if k.endswith("num_batches_tracked")]
        assert counts
        assert all((int(count) > 0) == moved for count in counts)


def test_features_from_disk_teach_as_the_pictures_do(captioned: Path, tmp_path: Path) -> None:
    common = f"{RAW} --model.encoder_lr_share=0"
    still = "--data.augmentation.crop=none --data.augmentation.flip=0"
    pictures = fit(captioned, tmp_path / "pictures", f"{common} {still}")
    features = fit(captioned, tmp_path / "features", f"{common} --data.features={tmp_path}/kept")
    assert pictures.keys() == features.keys()
    assert list(features.values()) == pytest.approx(list(pictures.values()), rel=2e-3)  # kept in float16
    values = [list(logged(tmp_path / name, "val/loss").values()) for name in ("pictures", "features")]
    assert values[0] == pytest.approx(values[1], rel=2e-3)


def test_a_captioner_is_fine_tuned_with_its_own_words_for_cider(trained: Path, captioned: Path, tmp_path: Path) -> None:
    options = (
        f"--model.encoder=null --model.encoder_overrides=null --model.decoder=null --model.pretrained={trained}/model"
    )
    options += " --model.objective=self_critical --model.optimisation.warmup_epochs=0 --data.vocab_size=37"
    fit(
        captioned,
        tmp_path,
        f"{options} --trainer.max_epochs=12 --model.optimisation.lr=3e-3 --model.self_critical.samples=7",
    )
    before, after = load_bundle(trained / "model"), load_bundle(tmp_path / "model")
    assert after.tokenizer is not None and before.tokenizer is not None
    assert after.tokenizer.to_json() == before.tokenizer.to_json()
    assert after.decoding == before.decoding
    rewards = list(logged(tmp_path, "train/reward").values())
    assert sum(rewards[-9:]) > 1.3 * sum(rewards[:9]) > 0


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--model.objective=self_critical --model.self_critical.baseline=greedy --model.self_critical.samples=2",
        "--model.unfreeze_epoch=2",
    ],
)
def test_a_training_that_goes_on_is_bitwise_the_same(options: str, captioned: Path, tmp_path: Path) -> None:
    """From the middle of the second epoch."""
    options += " --checkpoint.keep=9 --checkpoint.every_n_steps=4"
    losses = fit(captioned, tmp_path, options)
    assert len(losses) == 9
    folder = tmp_path / "checkpoints"
    theirs = torch.load(folder / "step-000000009.ckpt", weights_only=True)
    scores = logged(tmp_path, "val/cider")
    assert (
        main(
            ["fit", "--config", str(tmp_path / "c.yaml"), *options.split(), f"--ckpt_path={folder}/step-000000004.ckpt"]
        )
        == 0
    )
    ours = torch.load(folder / "step-000000009.ckpt", weights_only=True)
    for part in ("state_dict", "current_model_state"):  # averaged, raw
        assert ours[part].keys() == theirs[part].keys()
        assert all(torch.equal(ours[part][k], theirs[part][k]) for k in theirs[part])
    assert logged(tmp_path, "train/loss") == losses
    assert logged(tmp_path, "val/cider") == scores


@pytest.mark.parametrize("objective", ["cross_entropy", "self_critical"])
def test_mixed_precision_is_accepted(objective: str, captioned: Path, tmp_path: Path) -> None:
    options = f"--trainer.max_epochs=1 --trainer.precision=bf16-mixed --model.objective={objective}"
    losses = fit(captioned, tmp_path, options)
    assert all(torch.isfinite(torch.tensor(list(losses.values()))))
    assert load_bundle(tmp_path / "model").captioner.decoder.embedding.weight.dtype == torch.float32


def test_compile_is_accepted(captioned: Path, tmp_path: Path) -> None:
    options = (
        "--trainer.max_epochs=1 --trainer.limit_train_batches=1 --trainer.limit_val_batches=1 --model.decoder.depth=1"
    )
    fit(captioned, tmp_path, f"{options} --model.compile=true --model.encoder_overrides.depth=1")


def test_a_prompt_is_gone_on_from_and_kept(captioned: Path, tmp_path: Path) -> None:
    fit(captioned, tmp_path, "--trainer.max_epochs=1 --model.decoding.prompt=there")
    bundle: ModelBundle = load_bundle(tmp_path / "model")
    assert bundle.decoding == {"max_tokens": 5, "prompt": "there"}


WORD_MAPS = "--trainer.callbacks+=tasks.callbacks_maps.WordMapsWhileTraining"


def test_word_maps_are_drawn_while_training(captioned: Path, tmp_path: Path) -> None:
    maps = f"{WORD_MAPS} --trainer.callbacks.pictures=2 --trainer.callbacks.method=relevance"
    fit(captioned, tmp_path, f"{maps} --trainer.max_epochs=2")
    names = sorted(file.name for file in (tmp_path / "maps").iterdir())
    assert names == [f"{n}-validation-0{4 * n}-epoch000{epoch}.png" for n in range(2) for epoch in range(2)]


NO_START = "--model.encoder=null --model.encoder_overrides=null"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model.encoder=huge", "error: `encoder` must be one of tiny, small"),
        ("--model.encoder_overrides.dimension=3", "error: `encoder_overrides` must be among image_size, patch_size"),
        ("--model.encoder=null", "error: one of `encoder`, `encoder_pretrained` and `pretrained` must say what to "),
        (
            "--model.pretrained={encoder}",
            "error: one of `encoder`, `encoder_pretrained` and `pretrained` must say what to start from, but "
            "`encoder` and `pretrained` is given. Leave the others out.",
        ),
        (
            f"{NO_START} --model.pretrained={{encoder}} --model.decoder=null",
            "error: `pretrained` must name a captioner, but {encoder} is a model that can classify. Give it as "
            "`encoder_pretrained`",
        ),
        (
            "--model.encoder=null --model.encoder_pretrained={encoder}",
            "error: `encoder_overrides` must be among dropout, attention_dropout, stochastic_depth where there is "
            "`encoder_pretrained`, but has depth, dim",
        ),
        (
            f"{NO_START} --model.pretrained={{trained}}/model",
            "error: `decoder` must be among dropout, attention_dropout where there is `pretrained`, but has depth, dim",
        ),
        ("--model.decoder.vocab_size=9", "error: `decoder` must be among dim, depth, num_heads"),
        ("--model.decoder.num_heads=5", "error: `decoder` cannot be used: `dim` must be a multiple of `num_heads` (5)"),
        ("--model.decoding.beam=3", "error: `decoding` must be among max_tokens, min_tokens, beams"),
        ("--model.decoding.beams=0", "error: `beams` must be at least 1, but is 0 instead"),
        ("--model.image_size=30", "error: `image_size` must be a multiple of the patch size (4), but is (30, 30)"),
        ("--model.image_size=0", "error: `image_size` must be at least 1, but is 0 instead."),
        ("--model.label_smoothing=1", "error: `label_smoothing` must be at least 0 and below 1, but is 1.0 instead."),
        ("--model.encoder_lr_share=-1", "error: `encoder_lr_share` must be at least 0 and finite, but is -1.0 instead"),
        ("--model.unfreeze_epoch=-1", "error: `unfreeze_epoch` must be at least 0, but is -1 instead."),
        (
            "--model.unfreeze_epoch=1 --model.encoder_lr_share=0",
            "error: `unfreeze_epoch` must be 0 where `encoder_lr_share` is 0, which freezes the encoder for good, but",
        ),
        ("--model.validation_captions=-1", "error: `validation_captions` must be at least 0, but is -1 instead."),
        (
            f"{WORD_MAPS} --trainer.callbacks.method=gradient_x_input",
            "error: `method` must be one of attention, relevance, rollout, but is 'gradient_x_input' instead.",
        ),
        (
            "--trainer.callbacks+=tasks.callbacks_maps.MapsWhileTraining",
            "error: `MapsWhileTraining` must come with ClassifyTask, but comes with CaptionTask instead.",
        ),
        ("--data.features=kept", "error: `encoder_lr_share` must be 0 with `features`, which an encoder that stays"),
        (
            "--ckpt_path={trained}/checkpoints/step-000000009.ckpt --data.vocab_size=37",
            "error: the state must be of a training with the same vocabulary, but is of another: the training captions",
        ),
    ],
)
def test_an_option_that_cannot_be_used(
    options: str,
    message: str,
    captioned: Path,
    encoder: Path,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = write_caption_config(tmp_path / "c.yaml", root=captioned, run=tmp_path)
    places = {"encoder": encoder, "trained": trained}
    assert main(["fit", "--config", str(config), *options.format(**places).split()]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(message.format(**places))


def test_several_processes_must_not_wait_for_the_gradients_of_a_frozen_encoder() -> None:
    task = CaptionTask(encoder="compact", unfreeze_epoch=1)
    task._trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(_ddp_kwargs={}))
    with pytest.raises(ModelError, match="`unfreeze_epoch` must be 0 with several processes .* but is 1 instead"):
        task.build_model(SimpleNamespace(features=None))
