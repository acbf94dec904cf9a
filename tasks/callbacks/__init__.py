"""Callbacks of the training. They write to the folder of the run (`trainer.default_root_dir`, RUN below).

resume               the states to resume from, and the signals that end a training
divergence           losses that are not finite, spikes, the gradient's norm
confusion            accuracies by class, and which classes are taken for which
best                 the state with the best validation
ema                  averaged weights
model_directory      the trained model
progress, predictions      lines on standard error; the file that `predict` writes
report               the page about the run
"""

from .best import BestCheckpoint
from .confusion import ClassScores
from .divergence import Divergence
from .ema import EMA
from .model_directory import ModelDirectory
from .predictions import PredictionLines
from .progress import EpochLines
from .report import RunReport
from .resume import ResumeCheckpoint

__all__ = [
    "EMA",
    "BestCheckpoint",
    "ClassScores",
    "Divergence",
    "EpochLines",
    "ModelDirectory",
    "PredictionLines",
    "ResumeCheckpoint",
    "RunReport",
]
