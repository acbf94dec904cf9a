"""A data set of sounds of our own, a tone for each word, and a recognizer small enough to be trained many times."""

import json
import math
import random
from pathlib import Path

import numpy as np
import soundfile

TONES = {"low": 300.0, "even": 900.0, "high": 2700.0}
"""Words, and the pitch in Hz that stands for each."""

RATE = 16_000

SPEECH_YAML = """
seed_everything: 3
model:
  class_path: multiattn.tasks.TranscribeTask
  init_args:
    audio:
      preset: compact
      overrides: {{mels: 13, dim: 20, depth: 2, num_heads: 2, mlp_dim: 30, max_frames: 61, dropout: 0.1,
                   stochastic_depth: 0.2}}
    decoder: {{dim: 24, depth: 2, num_heads: 2, mlp_dim: 30, max_length: 11, dropout: 0.1}}
    ctc_weight: 0.3
    label_smoothing: 0.1
    spec_augment: {{mel_width: 3, time_width: 7}}
    normalizer: basic
    validation_texts: 5
    decoding: {{max_tokens: 5}}
    optimization: {{lr: 3.0e-3}}
data:
  class_path: multiattn.tasks.TranscribeData
  init_args:
    root: {root}
    batch_seconds: 3.5
    batches: {{eval_size: 4, num_workers: {workers}}}
    vocab_size: 31
    augmentation: {{speed: [0.9, 1.0, 1.1], noise_share: 0.5}}
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
      init_args: {{monitor: val/wer, mode: min}}
checkpoint: {{every_n_steps: 3}}
"""


def draw_spoken(root: Path, *, sizes: dict[str, int], seed: int = 0, words: int | None = None) -> Path:
    """Splits of recordings of one to three tones with pauses, and their words in a `metadata.jsonl`.

    With `words`, each recording has as many.
    """
    rng = random.Random(seed)
    for split, count in sizes.items():
        folder = root / split
        folder.mkdir(parents=True)
        lines = []
        for i in range(count):
            said = rng.choices(sorted(TONES), k=words or 1 + i % 3)
            parts = []
            for word in said:
                time = np.arange(round(RATE * rng.uniform(0.1, 0.17))) / RATE
                parts += [
                    0.5 * np.sin(2 * math.pi * TONES[word] * time),
                    np.zeros(round(RATE * rng.uniform(0.03, 0.1))),
                ]
            soundfile.write(folder / f"{i:02d}.wav", np.concatenate(parts), RATE)
            line = {"file_name": f"{i:02d}.wav", "text": " ".join(said).upper(), "speaker": f"s{i % 2}"}
            lines.append(json.dumps(line))
        (folder / "metadata.jsonl").write_text("\n".join(lines))
    return root


def write_speech_config(path: Path, *, root: Path, run: Path, workers: int = 0) -> Path:
    path.write_text(SPEECH_YAML.format(root=root, run=run, workers=workers))
    return path
