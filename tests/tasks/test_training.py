"""The training program in this process: each configuration, each option, and each thing a user can get wrong."""

import json
import os
import re
import shutil
import signal
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models.vit import ViT, ViTConfig
from multiattn.tasks.training import main
from multiattn.weights import ModelBundle, load_bundle, save_bundle

from .conftest import ROOT, draw_folder, write_config

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

TINY = " ".join(f"--model.vision.overrides.{rest}" for rest in ("dim=20", "depth=2", "num_heads=2", "mlp_dim=30"))
ONE_PROCESS = (
    "--trainer.accelerator=cpu --trainer.devices=1 --trainer.strategy=auto "
    "--data.batches.num_workers=0 --data.batches.size=6"
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for published weights: eleven classes, 32 px."""
    torch.manual_seed(5)
    config = ViTConfig(image_size=(32, 32), patch_size=8, num_classes=11, dim=20, depth=2, num_heads=2, mlp_dim=30)
    preprocessing = ImagePreprocessing((32, 32), 36, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    bundle = ModelBundle("classify", ViT(config).eval(), preprocessing, tuple(f"label {i}" for i in range(11)))
    directory = tmp_path_factory.mktemp("published")
    save_bundle(bundle, directory)
    return directory


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("smoke", TINY),
        ("cifar10", TINY),
        ("finetune", "--model.pretrained={published}"),
        ("imagenet", f"{TINY} --model.vision.image_size=32 --model.compile=false"),
        ("long_inputs", f"{TINY} --model.vision.overrides.attention=lsh --model.vision.overrides.reversible=true"),
    ],
)
def test_each_configuration_is_fitted(name: str, options: str, pictures: Path, published: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "classify" / f"{name}.yaml"
    opening = config.read_text()
    assert all(f"# {word}" in opening for word in ("Purpose:", "Command:", "Data:", "Expected:"))
    options = f"{options} {ONE_PROCESS} --data.root={pictures} --trainer.default_root_dir={tmp_path}"
    arguments = options.format(published=published).split()
    assert main(["fit", "--config", str(config), "--trainer.fast_dev_run=2", *arguments]) == 0


def test_the_model_directory_is_the_average_that_validated_best(pictures: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path)
    options = [
        "--trainer.callbacks+=multiattn.tasks.map_callbacks.MapsWhileTraining",
        "--trainer.callbacks.method=relevance",
    ]
    assert main(["fit", "--config", str(config), *options]) == 0
    bundle = load_bundle(tmp_path / "model")
    assert bundle.labels == ("blue", "green", "red")
    best = torch.load(tmp_path / "best" / "best.ckpt", weights_only=True)
    for key, value in bundle.model.state_dict().items():
        assert torch.equal(value, best["state_dict"][f"model.{key}"])
    raw = best["current_model_state"]["model.head.weight"]
    assert not torch.equal(raw, best["state_dict"]["model.head.weight"])
    # three epochs of four pictures
    assert len(list((tmp_path / "maps").glob("*-epoch000[012].png"))) == 12
    assert len(list((tmp_path / "logs").glob("version_0/events.*"))) == 1


@pytest.mark.slow
def test_compile_and_mixed_precision_are_accepted(pictures: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path)
    options = "--trainer.max_epochs=1 --trainer.limit_train_batches=2 --trainer.limit_val_batches=0"
    fast = [
        *options.split(),
        "--model.vision.overrides.depth=1",
        "--model.compile=true",
        "--trainer.precision=bf16-mixed",
    ]
    assert main(["fit", "--config", str(config), *fast]) == 0
    assert load_bundle(tmp_path / "model").model.head.weight.dtype == torch.float32


def test_published_weights_start_with_other_classes_and_another_size(
    pictures: Path, published: Path, tmp_path: Path
) -> None:
    options = f"--model.pretrained={published} --model.vision.image_size=48 {ONE_PROCESS} --trainer.max_epochs=1"
    arguments = f"{options} --data.root={pictures} --trainer.default_root_dir={tmp_path} --model.optimization.lr=0"
    assert main(["fit", "--config", str(ROOT / "configs/classify/finetune.yaml"), *arguments.split()]) == 0
    ours, theirs = load_bundle(tmp_path / "model"), load_bundle(published)
    assert ours.labels == ("blue", "green", "red")
    assert ours.model.config.image_size == (48, 48)
    assert ours.preprocessing == ImagePreprocessing((48, 48), 54, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    block = "blocks.1.attention.qkv.weight"
    assert torch.equal(ours.model.state_dict()[block], theirs.model.state_dict()[block])


def test_validate_test_and_predict_use_a_state(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path)
    assert main(["fit", "--config", str(config), "--trainer.max_epochs=1"]) == 0
    for verb in ("validate", "test", "predict"):
        assert main([verb, "--config", str(config), "--ckpt_path", "last"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [Path(line["file"]).parent.name for line in lines] == ["blue"] * 2 + ["green"] * 2 + ["red"] * 2
    for line in lines:
        assert sum(p["score"] for p in line["predictions"]) == pytest.approx(1, abs=1e-4)
        assert {p["label"] for p in line["predictions"]} == {"blue", "green", "red"}


def damage(folder: Path, count: int) -> list[Path]:
    files = sorted((folder / "train" / "green").iterdir())[:count]
    for file in files:
        file.write_bytes(file.read_bytes()[:40])
    return files


@pytest.mark.parametrize("options", ["--data.batches.num_workers=2", "--data.cache_side=20"])
def test_damaged_pictures_are_named_and_skipped(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    root = draw_folder(tmp_path / "data", sizes={"train": 23, "validation": 5})
    files = damage(root, 3)
    config = write_config(tmp_path / "c.yaml", root=root, run=tmp_path)
    arguments = ["fit", "--config", str(config), "--data.batches.max_bad_share=0.05", options]
    assert main(arguments) == 0
    messages = [str(w.message) for w in recwarn if "Skipped" in str(w.message)]
    assert len(messages) == 3  # each once in three epochs
    assert all(any(str(file) in message for message in messages) for file in files)

    assert main([*arguments, "--data.batches.max_bad_share=0.03", f"--trainer.default_root_dir={tmp_path}/second"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: 3 of 69 pictures in train cannot be read, more than the share of 0.03")


def test_damaged_validation_pictures_do_not_count(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    root = draw_folder(tmp_path / "data", sizes={"train": 7, "validation": 5})
    for file in (root / "validation" / "blue").iterdir():  # fills more than one batch: an empty one is met, too
        file.write_bytes(b"")
    config = write_config(tmp_path / "c.yaml", root=root, run=tmp_path)
    options = ["--data.batches.max_bad_share=0.5", "--data.batches.eval_size=2", "--trainer.max_epochs=1"]
    assert main(["fit", "--config", str(config), *options]) == 0
    assert len([w for w in recwarn if "of 15 pictures in validation" in str(w.message)]) == 5


USAGE = [
    ("no_such: 1", "no_such"),
    ("model: {class_path: multiattn.tasks.ClassifyTask, init_args: {label_smothing: 0.1}}", "label_smothing"),
    ("model: {class_path: multiattn.tasks.ClassifyTask, init_args: {optimization: {lrr: 0.1}}}", "lrr"),
    ("model: {class_path: multiattn.tasks.ClassifyTask, init_args: {label_smoothing: much}}", "label_smoothing"),
    ("trainer: {max_epoch: 3}", "max_epoch"),
    ("trainer: [", "typo.yaml must be YAML, but is damaged or unusual instead"),
    ("", "typo.yaml must hold keys with values, such as `trainer:`, but is empty instead"),
    ("# max_epochs: 3", "typo.yaml must hold keys with values, such as `trainer:`, but is empty instead"),
    ("[" * 5000, "typo.yaml must be YAML, but is damaged or unusual instead (it is nested too deeply)"),
    ("a: &a [*a]", "an anchor within itself"),
    (
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefghi")),
        "it has more than 100000 values, once its anchors are written out",
    ),
    ("a: !!python/object/apply:os.system [true]", "could not determine a constructor for the tag"),
    ("a: 2001-99-99", "typo.yaml must be YAML, but is damaged or unusual instead (month must be in 1..12)"),
    ("a: " + "9" * 5000, "typo.yaml must be YAML, but is damaged or unusual instead (Exceeds the limit"),
    ("a: \0", "typo.yaml must be YAML, but is damaged or unusual instead"),
    ("- trainer", "typo.yaml must hold keys with values, such as `trainer:`, but holds a list instead"),
]


@pytest.mark.parametrize(("text", "key"), USAGE)
def test_a_typo_in_the_yaml_is_one_line(
    text: str, key: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path)
    typo = tmp_path / "typo.yaml"
    typo.write_text(text)
    assert main(["fit", "--config", str(config), "--config", str(typo)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert key in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file. `--ckpt_path last` finds the newest state of the run."),
        (b"", "must be a file that torch saved, but is damaged or unusual instead (it is empty)."),
        (b"no state", "is damaged, or holds more than tensors, which is never unpickled because that can run any code"),
        ({"state_dict": {}}, "must be a state of a training, but lacks `pytorch-lightning_version` instead."),
        ([1], "must be a state of a training, but lacks `state_dict` instead."),
        ({"state_dict": {}, "pytorch-lightning_version": "2.6.6"}, "but lacks `optimizer_states` instead."),
        (
            "folder",
            "must be a whole state in parts, but is damaged or unusual instead (it lacks .metadata, so that it was",
        ),
    ],
)
def test_a_state_that_is_none_is_named(content: object, message: str, tmp_path: Path) -> None:
    from multiattn.tasks.states import read_state

    path = tmp_path / "a.ckpt"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        read_state(path, "fit")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_to_type_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit"]) == 2
    expected = (
        "error: `fit` needs a configuration, for example: multiattn fit --config configs/classify/cifar10.yaml, or a "
        "task and its data: multiattn fit --model ClassifyTask --data ClassifyData --data.root FOLDER\n"
    )
    assert capsys.readouterr().err == expected
    assert main(["fi"]) == 2
    assert (
        capsys.readouterr().err == "error: the first argument must be one of fit, validate, test, predict, not 'fi'\n"
    )


def corrupt_line(root: Path) -> str:
    rows = [json.dumps({"file_name": f"blue/{i:02d}.png", "label": "blue"}) for i in range(3)]
    (root / "train" / "metadata.jsonl").write_text("\n".join([*rows, '{"file_name": "x.png", "label"']))
    return f"error: {root}/train/metadata.jsonl, line 4 must be a JSON object, but is damaged or unusual"


def empty_class(root: Path) -> str:
    shutil.rmtree(root / "train" / "red")
    (root / "train" / "red").mkdir()
    return f"error: {root}/train/red: the class folder has no picture."


def unknown_label(root: Path) -> str:
    (root / "validation" / "red").rename(root / "validation" / "violet")
    file = root / "validation" / "violet" / "00.png"
    return f"error: {file}: the label 'violet' is unknown: the training split has blue, green, red"


def missing_split(root: Path) -> str:
    (root / "validation").rename(root / "val")
    return f"error: {root}: there is no split 'validation': it has train, val"


def too_few(root: Path) -> str:
    for file in sorted(root.glob("train/*/*.png"))[5:-2]:
        file.unlink()
    shutil.rmtree(root / "train" / "green")
    return f"error: {root}: a training batch has 20 x 1 pictures, but the training split only 7."


@pytest.mark.parametrize("breakage", [corrupt_line, empty_class, unknown_label, missing_split, too_few])
def test_a_data_set_that_cannot_be_used(breakage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = draw_folder(tmp_path / "data", sizes={"train": 7, "validation": 2})
    if breakage is too_few:
        shutil.rmtree(root / "validation" / "green")
    expected = breakage(root)
    config = write_config(tmp_path / "c.yaml", root=root, run=tmp_path)
    assert main(["fit", "--config", str(config), "--model.class_weights=null", "--data.batches.size=20"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(expected)


MAPS = "--trainer.callbacks+=multiattn.tasks.map_callbacks.MapsWhileTraining"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model.vision.preset=huge", "error: `vision.preset` must be one of tiny, small"),
        ("--model.vision.overrides.dimension=3", "error: `vision.overrides` must be among image_size, patch_size"),
        (
            "--model.vision.image_size=30",
            "error: `vision.image_size` must be a multiple of the patch size (4), but is (30, 30) instead",
        ),
        ("--model.class_weights=[1.0,2.0]", "error: `class_weights` must have a number for each of the 3 classes"),
        ("--model.label_smoothing=1", "error: `label_smoothing` must be at least 0 and below 1, but is 1.0 instead."),
        ("--data.batches.size=0", "error: `batches.size` must be at least 1, but is 0 instead."),
        ("--data.batches.max_bad_share=2", "error: `batches.max_bad_share` must be from 0 to 1, but is 2.0 instead."),
        ("--model.pretrained=/no/such/model", "error: there is no model /no/such/model"),
        ("--model.crop_share=0", "error: `crop_share` must be above 0 and up to 1, but is 0.0 instead."),
        ("--model.crop_share=1.5", "error: `crop_share` must be above 0 and up to 1, but is 1.5 instead."),
        ("--model.vision.image_size=0", "error: `vision.image_size` must be at least 1, but is 0 instead."),
        ("--model.mixing.mixup=-1", "error: `mixup` must be at least 0 and finite, but is -1.0 instead."),
        ("--model.mixing.probability=2", "error: `probability` must be from 0 to 1, but is 2.0 instead."),
        ("--model.optimization.lr=-1", "error: `lr` must be at least 0 and finite, but is -1.0 instead."),
        ("--model.optimization.betas=[0.9,1]", "error: `betas` must be at least 0 and below 1, but is (0.9, 1.0)"),
        ("--model.optimization.layer_decay=0", "error: `layer_decay` must be above 0 and up to 1, but is 0.0 instead."),
        ("--model.optimization.final_lr_share=2", "error: `final_lr_share` must be from 0 to 1, but is 2.0 instead."),
        (
            "--trainer.precision=16-true",
            "error: `trainer.precision` must be bf16-mixed, 16-mixed, bf16-true or 32-true to train, but is 16-true",
        ),
        (
            "--trainer.callbacks=lightning.pytorch.callbacks.EarlyStopping --trainer.callbacks.monitor=val/acc",
            "error: Early stopping conditioned on metric `val/acc` which is not available.",
        ),
        ("--data.batches.size=7", "error: `batches.size` must be even with `mixing`, which pairs"),
        ("--data.batches.eval_size=-3", "error: `batches.eval_size` must be at least 1, but is -3 instead."),
        ("--data.cache_side=0", "error: `cache_side` must be at least 1, but is 0 instead."),
        ("--data.batches.num_workers=-1", "error: `batches.num_workers` must be at least 0, but is -1 instead."),
        ("--data.augmentation.rand_augment=m9", "error: `rand_augment` must be in timm's notation, for example"),
        ("--data.augmentation.rand_augment=rand-q9", "error: `rand_augment` must be in timm's notation, for example"),
        ("--data.augmentation.scale=[0.5,0.1]", "error: `scale` must be two rising shares above 0, up to 1, but is"),
        ("--data.augmentation.padding=-1", "error: `padding` must be at least 0, but is -1 instead."),
        ("--data.augmentation.flip=2", "error: `flip` must be from 0 to 1, but is 2.0 instead."),
        ("--checkpoint.keep=0", "error: `keep` must be at least 1, but is 0 instead."),
        ("--checkpoint.every_n_steps=-1", "error: `every_n_steps` must be at least 0, but is -1 instead."),
        (f"{MAPS} --trainer.callbacks.every_n_epochs=0", "error: `every_n_epochs` must be at least 1, but is 0"),
        (f"{MAPS} --trainer.callbacks.pictures=0", "error: `pictures` must be at least 1, but is 0 instead."),
        (
            "--trainer.callbacks+=multiattn.tasks.callbacks.EMA --trainer.callbacks.decay=1",
            "error: `decay` must be at least 0",
        ),
        ("--ckpt_path=last", "error: {run}/checkpoints: there is no state to go on from."),
        ("--ckpt_path=nowhere.ckpt", "error: nowhere.ckpt: there is no such file."),
        ("--trainer.max_epochs=-1", "error: `trainer.max_epochs` or `trainer.max_steps` must say when training ends"),
    ],
)
def test_an_option_that_cannot_be_used(
    options: str, message: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path)
    assert main(["fit", "--config", str(config), *options.split()]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(message.format(run=tmp_path))


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_random_weights_are_not_measured(
    verb: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path)
    assert main([verb, "--config", str(config)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: `{verb}` must have a state of the training, but has random weights instead. "
        "Give `--ckpt_path last` (or `best`, or a file)."
    )


def write_state(file: Path) -> None:
    """What looks like a state of a training, as far as it is looked at before it is loaded."""
    names = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks")
    torch.save(dict.fromkeys(names, {}) | {"pytorch-lightning_version": "2.6.0", "epoch": 0, "global_step": 0}, file)


def test_a_training_is_not_begun_on_top_of_another(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    config = write_config(tmp_path / "c.yaml", root=pictures, run=run)
    state, foreign = run / "checkpoints" / "step-000000999.ckpt", tmp_path / "best.ckpt"
    state.parent.mkdir(parents=True)
    write_state(state)
    write_state(foreign)
    for options in ([], ["--resume=never"], [f"--ckpt_path={foreign}"]):
        assert main(["fit", "--config", str(config), *options]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(f"error: {run}/checkpoints: another training has its states here")
        assert "--ckpt_path last" in error
        assert "--trainer.default_root_dir" in error
    assert main(["fit", "--config", str(config), "--trainer.fast_dev_run=1"]) == 0  # keeps no states
    assert list(state.parent.iterdir()) == [state]


@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_ctrl_c_outside_of_training_steps(
    verb: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("multiattn.tasks.classify_data.read_labeled", interrupted)
    config = write_config(tmp_path / "c.yaml", root=pictures, run=tmp_path / "run")
    state = tmp_path / "state.ckpt"
    write_state(state)
    before = signal.getsignal(signal.SIGINT)
    assert main([verb, "--config", str(config), f"--ckpt_path={state}"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "Stopped."  # there is nothing to go on from
    assert signal.getsignal(signal.SIGINT) is before
