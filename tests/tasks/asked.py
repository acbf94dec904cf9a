"""A small data set of questions of our own drawing, and a model that answers small enough to be trained many times."""

import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

from .captioned import COLORS

ANSWER_YAML = """
seed_everything: 3
model:
  class_path: multiattn.tasks.AnswerTask
  init_args:
    vision:
      preset: compact
      overrides: {{image_size: [16, 16], stem: patch, stem_channels: [], stem_strides: [], dim: 20, depth: 2,
                   num_heads: 2, mlp_dim: 30, dropout: 0.1, stochastic_depth: 0.2}}
    question: {{dim: 24, depth: 2, num_heads: 2, mlp_dim: 30, max_length: 20, dropout: 0.1}}
    label_smoothing: 0.1
    optimization: {{lr: 3.0e-3}}
data:
  class_path: multiattn.tasks.AnswerData
  init_args:
    root: {root}
    batches: {{size: 6, num_workers: {workers}}}
    questions_per_picture: 2
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
      init_args: {{monitor: val/accuracy, mode: max}}
checkpoint: {{every_n_steps: 7}}
"""

WRITES = "--model.answer=decoder --model.decoder.dim=24 --model.decoder.depth=1 --model.decoder.num_heads=2 "
WRITES += "--model.decoder.mlp_dim=30 --model.decoder.max_length=9 --model.decoding.max_tokens=5"
"""Options that make it write its answers."""


def draw_asked(root: Path, *, sizes: dict[str, int], seed: int = 0) -> Path:
    """Splits of discs on gray with questions about their color and place, in a `metadata.jsonl`.

    The first question of each picture has the answers of four people, of whom one may be wrong.
    """
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
            asked = [
                {"question": "what color is the disc?", "answers": [color, "Red.", color, color], "type": "color"},
                {"question": "where is the disc?", "answer": f"on the {side}"},
                {"question": "is the disc blue?", "answer": "yes" if color == "blue" else "no"},
            ]
            lines += [json.dumps({"file_name": f"{i:02d}.png"} | question) for question in asked]
        (folder / "metadata.jsonl").write_text("\n".join(lines))
    return root


def write_answer_config(path: Path, *, root: Path, run: Path, workers: int = 0) -> Path:
    path.write_text(ANSWER_YAML.format(root=root, run=run, workers=workers))
    return path
