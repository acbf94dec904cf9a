"""A small data set of our own drawing, and a training small enough to be run many times."""

import csv
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from multiattn.tasks.training import main
from multiattn.weights import save_bundle
from tests.fixtures import tiny_bundle

from .captioned import COLORS, draw_captioned, write_caption_config

ROOT = Path(__file__).resolve().parents[2]


def draw_folder(root: Path, *, sizes: dict[str, int], seed: int = 0) -> Path:
    """Class folders with discs of the class's color on gray, `sizes[split]` pictures a class."""
    rng = random.Random(seed)
    for split, count in sizes.items():
        for name, color in COLORS.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                gray = rng.randint(90, 160)
                picture = Image.new("RGB", (rng.choice((17, 19, 23)), rng.choice((17, 19, 23))), (gray, gray, gray))
                x, y, r = rng.randint(5, 11), rng.randint(5, 11), rng.randint(3, 6)
                ImageDraw.Draw(picture).ellipse((x - r, y - r, x + r, y + r), fill=color)
                picture.save(folder / f"{i:02d}.png")
    return root


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("pictures"), sizes={"train": 23, "validation": 5, "test": 2})


@pytest.fixture(scope="session")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_captioned(tmp_path_factory.mktemp("captioned"), sizes={"train": 23, "validation": 9, "test": 5})


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for a published classifier, with a class token, 15 x 35 px."""
    directory = tmp_path_factory.mktemp("encoder")
    save_bundle(tiny_bundle(), directory)
    return directory


@pytest.fixture(scope="session")
def trained(captioned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a short training of a captioner."""
    run = tmp_path_factory.mktemp("trained")
    config = write_caption_config(run / "c.yaml", root=captioned, run=run)
    assert main(["fit", "--config", str(config)]) == 0
    return run


# every source of randomness is on: order, augmentation, mixing, dropout, stochastic depth
TINY_YAML = """
seed_everything: 3
model:
  class_path: multiattn.tasks.ClassifyTask
  init_args:
    vision:
      preset: compact
      overrides: {{image_size: [16, 16], stem: patch, stem_channels: [], dim: 20, depth: 2, num_heads: 2, mlp_dim: 30,
                   dropout: 0.1, stochastic_depth: 0.2}}
    label_smoothing: 0.1
    class_weights: [1.0, 2.0, 3.0]
    mixing: {{mixup: 0.2, cutmix: 1.0}}
    optimization: {{lr: 3.0e-3, layer_decay: 0.8}}
data:
  class_path: multiattn.tasks.ClassifyData
  init_args:
    root: {root}
    batches: {{size: 6, num_workers: {workers}}}
    augmentation: {{rand_augment: rand-m9-n2-mstd0.5, erasing: 0.3}}
trainer:
  default_root_dir: {run}
  accelerator: cpu
  devices: 1
  max_epochs: 3
  gradient_clip_val: 1.0
  log_every_n_steps: 1
  callbacks:
    - class_path: multiattn.tasks.callbacks.EMA
      init_args: {{decay: 0.9}}
    - class_path: multiattn.tasks.callbacks.BestCheckpoint
checkpoint: {{every_n_steps: 7}}
"""


def write_config(path: Path, *, root: Path, run: Path, workers: int = 0) -> Path:
    path.write_text(TINY_YAML.format(root=root, run=run, workers=workers))
    return path


def train(*args: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """The real program in a process of its own."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "multiattn.tasks.training", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout)


def logged(run: Path, key: str) -> dict[int, float]:
    """A logged value by the step, over all starts of a run."""
    values = {}
    for file in sorted(run.glob("logs/version_*/metrics.csv")):
        with file.open(newline="") as lines:
            values |= {int(row["step"]): float(row[key]) for row in csv.DictReader(lines) if row.get(key)}
    return values
