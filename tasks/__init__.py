"""The application on top of `multiattn`: training with Lightning, and the command line.

The names below are imported when they are first asked for: `tasks.cli` answers `--help` without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .answer import AnswerTask
    from .caption import CaptionTask
    from .classify import ClassifyTask
    from .transcribe import TranscribeTask

__all__ = ["AnswerTask", "CaptionTask", "ClassifyTask", "TranscribeTask"]

_HOMES = {
    "AnswerTask": "tasks.answer",
    "CaptionTask": "tasks.caption",
    "ClassifyTask": "tasks.classify",
    "TranscribeTask": "tasks.transcribe",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
