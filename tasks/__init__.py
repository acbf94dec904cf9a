"""The training application: Lightning tasks and their data modules, imported as `multiattn.tasks`.

    contracts               what a task and its data module tell each other
    base, text_task         what all tasks share; what the three with a vocabulary share
    classify, caption, transcribe, answer      a task each, with its `_data` module, and its model in `_model`
    parts                   options that say which encoder a model starts from
    losses, metrics         what is minimized; what is measured
    optim, seeding          the optimizer; random seeds by position in the training
    self_critical, spec_augment                fine-tuning captions for CIDEr-D; masks on speech features
    loading/                records to samples and batches, stored features
    callbacks/, map_callbacks                  checkpoints and the model directory; maps during a training
    training, lightning_cli, arguments, former_keys, stopping      the command line

The names below are imported when they are first asked for, so that a module here can be reached without Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ == "tasks":  # a checkout has this folder at its top, where a user's own `tasks` may be meant
    raise ImportError("this folder is the package `multiattn.tasks`: import it by that name")

if TYPE_CHECKING:
    from .answer import AnswerTask
    from .answer_data import AnswerData
    from .caption import CaptionTask
    from .caption_data import CaptionData
    from .classify import ClassifyTask
    from .classify_data import ClassifyData
    from .match import MatchTask
    from .match_data import MatchData
    from .transcribe import TranscribeTask
    from .transcribe_data import TranscribeData

__all__ = [
    "AnswerData",
    "AnswerTask",
    "CaptionData",
    "CaptionTask",
    "ClassifyData",
    "ClassifyTask",
    "MatchData",
    "MatchTask",
    "TranscribeData",
    "TranscribeTask",
]

_HOMES = {
    "AnswerData": ".answer_data",
    "AnswerTask": ".answer",
    "CaptionData": ".caption_data",
    "CaptionTask": ".caption",
    "ClassifyData": ".classify_data",
    "ClassifyTask": ".classify",
    "MatchData": ".match_data",
    "MatchTask": ".match",
    "TranscribeData": ".transcribe_data",
    "TranscribeTask": ".transcribe",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
