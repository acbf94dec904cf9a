"""Configurations of earlier versions: their class paths, keys and values still work, and each is named once."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from multiattn.tasks import former_keys
from multiattn.tasks.training import main

from .asked import draw_asked
from .captioned import draw_captioned
from .conftest import draw_folder
from .spoken import draw_spoken

ENCODER = """
    encoder: compact
    encoder_overrides: {image_size: [16, 16], stem: patch, stem_channels: [], stem_strides: [], dim: 20, depth: 2,
                        num_heads: 2, mlp_dim: 30}
    encoder_lr_share: 0.5
    unfreeze_epoch: 1
"""
OLD = {
    "classify": """
model:
  class_path: tasks.ClassifyTask
  init_args:
    architecture: compact
    overrides: {image_size: [16, 16], stem: patch, stem_channels: [], dim: 20, depth: 2, num_heads: 2, mlp_dim: 30}
    optimisation: {lr: 3.0e-3}
data:
  class_path: tasks.data.ClassificationData
  init_args: {root: ROOT, batch_size: 6, num_workers: 0, max_bad_share: 0.1, predict_split: test}
""",
    "caption": f"""
model:
  class_path: tasks.CaptionTask
  init_args: {ENCODER}
    decoder: {{dim: 24, depth: 2, num_heads: 2, mlp_dim: 30, max_length: 40}}
    decoding: {{max_tokens: 5, beams: 2}}
    optimisation: {{lr: 3.0e-3}}
data:
  class_path: tasks.data.CaptionData
  init_args: {{root: ROOT, batch_size: 6, eval_batch_size: 3, captions_per_picture: 2, vocab_size: 61, num_workers: 0}}
""",
    "transcribe": """
model:
  class_path: tasks.TranscribeTask
  init_args:
    architecture: compact
    encoder: {mels: 13, dim: 20, depth: 2, num_heads: 2, mlp_dim: 30, max_frames: 61}
    decoder: {dim: 24, depth: 2, num_heads: 2, mlp_dim: 30, max_length: 11}
    preprocessing: {scale: normalised}
    normaliser: basic
    decoding: {max_tokens: 5, beams: 2}
    optimisation: {lr: 3.0e-3}
data:
  class_path: tasks.data.SpeechData
  init_args: {root: ROOT, batch_size: 4, vocab_size: 31, num_workers: 0}
""",
    "answer": f"""
model:
  class_path: tasks.AnswerTask
  init_args: {ENCODER}
    question: {{dim: 24, depth: 2, num_heads: 2, mlp_dim: 30, max_length: 20}}
    reading_weight: 0.5
    optimisation: {{lr: 3.0e-3}}
data:
  class_path: tasks.data.AnswerData
  init_args: {{root: ROOT, batch_size: 6, questions_per_picture: 2, vocab_size: 61, num_workers: 0}}
""",
}
TRAINER = """
trainer:
  accelerator: cpu
  devices: 1
  fast_dev_run: 1
  callbacks:
    - class_path: tasks.callbacks.EMA
      init_args: {decay: 0.9}
"""
DRAW = {"classify": draw_folder, "caption": draw_captioned, "transcribe": draw_spoken, "answer": draw_asked}


@pytest.mark.training
@pytest.mark.filterwarnings("default")  # Lightning's own warnings on this torch are no failure of ours
@pytest.mark.parametrize("task", OLD)
def test_an_old_configuration_is_fitted(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = DRAW[task](tmp_path / "data", sizes={"train": 8, "validation": 3})
    config = tmp_path / "old.yaml"
    config.write_text(OLD[task].replace("ROOT", str(root)) + TRAINER)
    arguments = ["fit", "--config", str(config), f"--trainer.default_root_dir={tmp_path}"]
    options = {"caption": ["--trainer.callbacks+=tasks.callbacks_maps.WordMapsWhileTraining"]}.get(task, [])
    options += ["--model.init_args.optimisation.lr=1e-3", "--model.optimisation.weight_decay", "0.1"]
    assert main([*arguments, *options]) == 0
    told = capsys.readouterr().err  # each line once
    name = yaml.safe_load(config.read_text())["data"]["class_path"]
    assert f"old key {name} is now {former_keys.FORMER_CLASSES[name]}\n" in told
    assert told.count("old key model.optimisation is now model.optimization\n") == 1
    assert ("scale: normalised is now" in told) == (task == "transcribe")


TABLE = {
    "CaptionTask": {
        "lr_share": "vision.lr_share",
        "scale": "vision.scale",
        "decoding.beams": "decoding.num_beams",
        "size": "batches.size",
    }
}


def modern(monkeypatch: pytest.MonkeyPatch, *args: str, **configs: object) -> list[str]:
    """`args` with the table above, where CONFIG stands for `--config` and the content of a file."""
    monkeypatch.setattr(former_keys, "FORMER_KEYS", TABLE)
    monkeypatch.setattr(former_keys, "FORMER_VALUES", {"CaptionTask": {"vision.scale": {"normalised": "normalized"}}})
    contents = {i: configs[arg] for i, arg in enumerate(args) if arg in configs}
    return former_keys.modernize(args, contents)


CLASS = "--model=tasks.CaptionTask"
NEW_CLASS = "--model=multiattn.tasks.CaptionTask"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--model.lr_share=2"], ["--model.vision.lr_share=2"]),
        (["--model.init_args.lr_share", "2"], ["--model.init_args.vision.lr_share=2"]),
        (["--model.size.more=3"], ["--model.batches.size.more=3"]),
        (["--model.decoding={beams: 3, max_tokens: 5}"], ['--model.decoding={"num_beams": 3, "max_tokens": 5}']),
        (["--model.decoding.beams", "3"], ["--model.decoding.num_beams=3"]),
        (["--model.init_args={lr_share: 2}"], ["--model.init_args.vision.lr_share=2"]),
        (["--model.vision.scale=normalised"], ["--model.vision.scale=normalized"]),
        (["--model.scale=normalised"], ["--model.vision.scale=normalized"]),
        (["--data.size=3", "--model.other=1"], ["--data.size=3", "--model.other=1"]),  # not of this class
        (["--model.text={broken"], ["--model.text={broken"]),
        (["--trainer.x=tests.tasks.callbacks.EMA"], ["--trainer.x=tests.tasks.callbacks.EMA"]),
        (["--trainer.x=tasks.mine.EMA"], ["--trainer.x=tasks.mine.EMA"]),
        (
            ["--trainer.callbacks=[{class_path: tasks.callbacks.EMA}]"],
            ["--trainer.callbacks=[{class_path: multiattn.tasks.callbacks.EMA}]"],
        ),
    ],
)
def test_old_options(old: list[str], new: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert modern(monkeypatch, CLASS, *old) == [NEW_CLASS, *new]


def test_old_files(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first = {"model": {"class_path": "tasks.CaptionTask", "init_args": {"lr_share": 1, "vision": {"image_size": 3}}}}
    second = {"model": {"init_args": {"decoding": {"beams": 2}, "vision": {"lr_share": 5}, "lr_share": 1}}}
    untouched = {"trainer": {"max_epochs": 3}}
    got = modern(monkeypatch, "fit", "-c", "A", "--config", "B", "-c", "C", A=first, B=second, C=untouched)
    assert got[:2] + got[3:4] + got[5:] == ["fit", "-c", "--config", "-c", "C"]
    assert yaml.safe_load(got[2]) == {
        "model": {
            "class_path": "multiattn.tasks.CaptionTask",
            "init_args": {"vision": {"lr_share": 1, "image_size": 3}},
        }
    }
    assert yaml.safe_load(got[4]) == {"model": {"init_args": {"decoding": {"num_beams": 2}, "vision": {"lr_share": 5}}}}
    assert capsys.readouterr().err.splitlines() == [
        "old key tasks.CaptionTask is now multiattn.tasks.CaptionTask",
        "old key model.lr_share is now model.vision.lr_share",
        "old key model.decoding.beams is now model.decoding.num_beams",
    ]


def test_names_are_rewritten_without_torch_and_lightning() -> None:
    code = "import sys, multiattn.tasks.arguments; print(sorted({'torch', 'lightning'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
