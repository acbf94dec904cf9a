"""The captioning task in the training program: each configuration, and what each option does to the weights."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from multiattn.models.captioner import Captioner
from multiattn.tasks.caption_model import teacher_forced
from multiattn.tasks.training import main
from multiattn.weights import ModelBundle, load_bundle

from .captioned import write_caption_config
from .conftest import ROOT, logged

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

ONE_PROCESS = "--trainer.accelerator=cpu --trainer.devices=1 --trainer.strategy=auto --data.batches.num_workers=0"
SMALL = "--data.vocab_size=61 --model.decoder.dim=24 --model.decoder.depth=1 --model.decoder.mlp_dim=30"


def fit(captioned: Path, run: Path, options: str = "") -> dict[int, float]:
    """The training losses by the step."""
    run.mkdir(parents=True, exist_ok=True)
    config = write_caption_config(run / "c.yaml", root=captioned, run=run)
    assert main(["fit", "--config", str(config), *options.split()]) == 0
    return logged(run, "train/loss")


@pytest.mark.parametrize("name", ["smoke", "flickr8k", "flickr8k_pretrained", "self_critical", "finetune", "coco"])
def test_each_configuration_is_fitted(name: str, captioned: Path, encoder: Path, trained: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "caption" / f"{name}.yaml"
    opening = config.read_text()
    assert all(f"# {word}" in opening for word in ("Purpose:", "Command:", "Data:", "Expected:"))
    options = f"{ONE_PROCESS} --data.batches.size=6 --data.root={captioned} --trainer.default_root_dir={tmp_path}"
    if name in ("self_critical", "finetune"):
        options += f" --model.pretrained={trained}/model"
    else:
        options += f" {SMALL}"
    if name == "smoke":
        options += " --model.vision.image_size=32"
    elif name not in ("self_critical", "finetune"):
        options += f" --model.vision.pretrained={encoder} --model.vision.image_size=15 --model.compile=false"
    if name == "coco":
        options += " --data.captions=null --data.pictures=null"
    if name in ("flickr8k_pretrained", "self_critical"):
        options += f" --data.features={tmp_path}/features"
    assert main(["fit", "--config", str(config), "--trainer.fast_dev_run=2", *options.split()]) == 0


def test_the_model_directory_has_the_best_average_with_its_words_and_its_decoding(trained: Path) -> None:
    bundle = load_bundle(trained / "model")
    assert bundle.task == "caption"
    assert bundle.decoding == {"max_tokens": 5}
    assert bundle.tokenizer is not None
    assert bundle.tokenizer.vocab_size == bundle.model.config.decoder.vocab_size
    assert bundle.tokenizer.decode(bundle.tokenizer.encode("a red disc")) == "a red disc"
    assert bundle.model.config.decoder.dropout == bundle.model.config.encoder.stochastic_depth == 0
    best = torch.load(trained / "best" / "best.ckpt", weights_only=True)
    state = bundle.model.state_dict()
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
    common = f"{RAW} --model.vision.preset=null --model.vision.pretrained={encoder} --model.vision.overrides=null"
    start = load_bundle(encoder).model.state_dict()
    for name, options, moves in (
        ("frozen", "--model.vision.lr_share=0", (False, False)),
        ("later", "--model.vision.unfreeze_epoch=1 --model.vision.lr_share=0.1", (False, True)),
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
    shape = " ".join(f"--model.vision.overrides.{name}={value}" for name, value in stem.items())
    options = f"{RAW} {shape} --trainer.max_epochs=1"
    for name, more, moved in (("frozen", "--model.vision.lr_share=0", False), ("all", "", True)):
        fit(captioned, tmp_path / name, f"{options} {more}")
        counts = [v for k, v in encoder_of(tmp_path / name, step=3).items() if k.endswith("num_batches_tracked")]
        assert counts
        assert all((int(count) > 0) == moved for count in counts)


def test_features_from_disk_teach_as_the_pictures_do(captioned: Path, tmp_path: Path) -> None:
    common = f"{RAW} --model.vision.lr_share=0"
    still = "--data.augmentation.crop=none --data.augmentation.flip=0"
    pictures = fit(captioned, tmp_path / "pictures", f"{common} {still}")
    features = fit(captioned, tmp_path / "features", f"{common} --data.features={tmp_path}/kept")
    assert pictures.keys() == features.keys()
    assert list(features.values()) == pytest.approx(list(pictures.values()), rel=2e-3)  # kept in float16
    values = [list(logged(tmp_path / name, "val/loss").values()) for name in ("pictures", "features")]
    assert values[0] == pytest.approx(values[1], rel=2e-3)


@pytest.mark.slow
def test_a_captioner_is_fine_tuned_with_its_own_words_for_cider(trained: Path, captioned: Path, tmp_path: Path) -> None:
    options = f"--model.pretrained={trained}/model --model.decoder=null "
    options += "--model.vision.preset=null --model.vision.overrides=null"
    options += " --model.objective=self_critical --model.optimization.warmup_epochs=0 --data.vocab_size=37"
    fit(
        captioned,
        tmp_path,
        f"{options} --trainer.max_epochs=12 --model.optimization.lr=3e-3 --model.self_critical.samples=7 "
        "--model.validation_texts=0",
    )
    before, after = load_bundle(trained / "model"), load_bundle(tmp_path / "model")
    assert after.tokenizer is not None and before.tokenizer is not None
    assert after.tokenizer.to_json() == before.tokenizer.to_json()
    assert after.decoding == before.decoding
    rewards = list(logged(tmp_path, "train/reward").values())
    assert sum(rewards[-9:]) > 1.3 * sum(rewards[:9]) > 0


@pytest.mark.parametrize(
    ("step", "options"),
    [
        (4, ""),  # in the middle of the second epoch
        pytest.param(
            4,
            "--model.objective=self_critical --model.self_critical.baseline=greedy --model.self_critical.samples=2",
            marks=pytest.mark.slow,
        ),
        pytest.param(2, "--model.vision.unfreeze_epoch=1", marks=pytest.mark.slow),
    ],
)
def test_a_training_that_goes_on_is_bitwise_the_same(step: int, options: str, captioned: Path, tmp_path: Path) -> None:
    options += " --checkpoint.keep=9 --checkpoint.every_n_steps=2 --trainer.max_epochs=2"
    losses = fit(captioned, tmp_path, options)
    assert len(losses) == 6
    folder = tmp_path / "checkpoints"
    theirs = torch.load(folder / "step-000000006.ckpt", weights_only=True)
    scores = logged(tmp_path, "val/cider")
    again = [*options.split(), f"--ckpt_path={folder}/step-{step:09d}.ckpt"]
    assert main(["fit", "--config", str(tmp_path / "c.yaml"), *again]) == 0
    ours = torch.load(folder / "step-000000006.ckpt", weights_only=True)
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
    assert load_bundle(tmp_path / "model").require(Captioner).decoder.embedding.weight.dtype == torch.float32


def test_compile_is_of_the_pass_that_is_trained(
    captioned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def note(function: Any) -> Any:
        def noted(*args: Any, **options: Any) -> torch.Tensor:
            calls.append(function)
            return function(*args, **options)

        return noted

    monkeypatch.setattr(torch, "compile", note)
    fit(captioned, tmp_path, "--trainer.max_epochs=1 --model.compile=true")
    assert calls == [teacher_forced] * (3 + 2)  # batches of training and of validation


COMPILED = """
import torch
from multiattn.models import TextDecoderConfig, ViTConfig
from multiattn.models.captioner import Captioner, CaptionerConfig
from multiattn.tasks.caption_model import teacher_forced

encoder = ViTConfig(image_size=(8, 8), patch_size=4, num_classes=0, dim=14, depth=1, num_heads=2, mlp_dim=11)
decoder = TextDecoderConfig(vocab_size=17, dim=12, depth=1, num_heads=2, mlp_dim=11, max_length=13, context_dim=14)
torch.manual_seed(1)
model = Captioner(CaptionerConfig(encoder, decoder)).train()
compiled = torch.compile(teacher_forced, backend="aot_eager", fullgraph=True)
images = torch.randn(3, 3, 8, 8)
for length in (5, 7, 11):
    tokens = torch.randint(3, 17, (6, length))
    real = torch.arange(length) < torch.tensor([length, 4, 3, length, 2, 4])[:, None]
    found = []
    for function in (teacher_forced, compiled):
        model.zero_grad()
        logits = function(model, images, None, tokens, real, frozen=False)
        logits[real].square().sum().backward()
        found.append([logits[real], *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(found[0]) > 30
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)
print("one graph")
"""


@pytest.mark.slow
def test_the_pass_that_is_trained_is_one_graph() -> None:
    """In a process of its own: the checks of shapes, which all tests run with, break graphs."""
    done = subprocess.run([sys.executable, "-c", COMPILED], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "one graph\n", done.stderr


def test_a_prompt_is_gone_on_from_and_kept(captioned: Path, tmp_path: Path) -> None:
    fit(captioned, tmp_path, "--trainer.max_epochs=1 --model.decoding.prompt=there")
    bundle: ModelBundle = load_bundle(tmp_path / "model")
    assert bundle.decoding == {"max_tokens": 5, "prompt": "there"}


def test_captions_may_be_sampled_and_are_the_same_each_time(captioned: Path, trained: Path) -> None:
    config = [*("--config", str(trained / "c.yaml")), "--ckpt_path=last", "--model.decoding.sample=true"]
    found = []
    for temperature in (1.5, 1.5, 1e-4):
        assert main(["predict", *config, f"--model.decoding.temperature={temperature}"]) == 0
        found.append((trained / "predictions.jsonl").read_text())
    assert found[0] == found[1] != found[2]


WORD_MAPS = "--trainer.callbacks+=multiattn.tasks.map_callbacks.WordMapsWhileTraining"


def test_word_maps_are_drawn_while_training(captioned: Path, tmp_path: Path) -> None:
    maps = f"{WORD_MAPS} --trainer.callbacks.pictures=2 --trainer.callbacks.method=relevance"
    fit(captioned, tmp_path, f"{maps} --trainer.max_epochs=2")
    names = sorted(file.name for file in (tmp_path / "maps").iterdir())
    assert names == [f"{n}-validation-0{4 * n}-epoch000{epoch}.png" for n in range(2) for epoch in range(2)]
