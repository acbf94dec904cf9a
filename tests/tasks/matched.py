"""Two towers small enough to be trained many times."""

from pathlib import Path

MATCH_YAML = """
seed_everything: 3
model:
  class_path: multiattn.tasks.MatchTask
  init_args:
    vision:
      preset: compact
      overrides: {{image_size: [16, 16], stem: patch, stem_channels: [], stem_strides: [], dim: 20, depth: 2,
                   num_heads: 2, mlp_dim: 30, dropout: 0.1, stochastic_depth: 0.2}}
    text: {{dim: 24, depth: 2, num_heads: 2, mlp_dim: 30, max_length: 11, causal: false, dropout: 0.1}}
    dim: 14
    optimization: {{lr: 3.0e-3}}
data:
  class_path: multiattn.tasks.MatchData
  init_args:
    root: {root}
    batches: {{size: 6, num_workers: 0}}
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
      init_args: {{monitor: val/recall, mode: max}}
checkpoint: {{every_n_steps: 7}}
"""


def write_match_config(path: Path, *, root: Path, run: Path) -> Path:
    path.write_text(MATCH_YAML.format(root=root, run=run))
    return path
