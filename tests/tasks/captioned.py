"""A small captioned data set of our own drawing, and a captioner small enough to be trained many times."""

import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

COLORS = {"blue": (40, 60, 200), "green": (30, 160, 60), "red": (210, 40, 30)}

CAPTION_YAML = """
seed_everything: 3
model:
  class_path: multiattn.tasks.CaptionTask
  init_args:
    vision:
      preset: compact
      overrides: {{image_size: [16, 16], stem: patch, stem_channels: [], stem_strides: [], dim: 20, depth: 2,
                   num_heads: 2, mlp_dim: 30, dropout: 0.1, stochastic_depth: 0.2}}
    decoder: {{dim: 24, depth: 2, num_heads: 2, mlp_dim: 30, max_length: 40, dropout: 0.1}}
    label_smoothing: 0.1
    validation_texts: 7
    decoding: {{max_tokens: 5}}
    optimization: {{lr: 3.0e-3}}
data:
  class_path: multiattn.tasks.CaptionData
  init_args:
    root: {root}
    batches: {{size: 6, num_workers: {workers}}}
    captions_per_picture: 2
    vocab_size: 61
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
      init_args: {{monitor: val/loss, mode: min}}
checkpoint: {{every_n_steps: 7}}
"""


def draw_captioned(root: Path, *, sizes: dict[str, int], seed: int = 0) -> Path:
    """Splits of discs on gray with sentences that say their color and place, in a `metadata.jsonl`."""
    rng = random.Random(seed)
    for split, count in sizes.items():
        folder = root / split
        folder.mkdir(parents=True)
        lines = []
        for i in range(count):
            color, side = rng.choice(sorted(COLORS)), rng.choice(("left", "right"))
            picture = Image.new("RGB", (24, 18), (rng.randint(90, 160),) * 3)
            x = 6 if side == "left" else 17
            ImageDraw.Draw(picture).ellipse((x - 4, 5, x + 4, 13), fill=COLORS[color])
            picture.save(folder / f"{i:02d}.png")
            texts = [
                f"A {color} disc on the {side} .",
                f"There is something {color}",
                f"the disc at {side} is {color}",
            ]
            lines.append(json.dumps({"file_name": f"{i:02d}.png", "texts": texts}))
        (folder / "metadata.jsonl").write_text("\n".join(lines))
    return root


def write_caption_config(path: Path, *, root: Path, run: Path, workers: int = 0) -> Path:
    path.write_text(CAPTION_YAML.format(root=root, run=run, workers=workers))
    return path
