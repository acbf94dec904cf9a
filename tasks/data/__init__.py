"""Data sets for training and evaluation. Reading a folder needs neither torch nor Lightning, so the rest is lazy."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .answering import AnswerData
    from .captioning import CaptionData
    from .captions import CaptionRecords, read_captions
    from .classification import ClassificationData
    from .folder import ClassificationRecords, read_folder
    from .questions import QuestionRecords, read_questions
    from .recordings import SpeechRecords, read_recordings
    from .speech import SpeechData

__all__ = [
    "AnswerData",
    "CaptionData",
    "CaptionRecords",
    "ClassificationData",
    "ClassificationRecords",
    "QuestionRecords",
    "SpeechData",
    "SpeechRecords",
    "read_captions",
    "read_folder",
    "read_questions",
    "read_recordings",
]

_HOMES = {
    "AnswerData": "tasks.data.answering",
    "CaptionData": "tasks.data.captioning",
    "CaptionRecords": "tasks.data.captions",
    "ClassificationData": "tasks.data.classification",
    "ClassificationRecords": "tasks.data.folder",
    "QuestionRecords": "tasks.data.questions",
    "SpeechData": "tasks.data.speech",
    "SpeechRecords": "tasks.data.recordings",
    "read_captions": "tasks.data.captions",
    "read_folder": "tasks.data.folder",
    "read_questions": "tasks.data.questions",
    "read_recordings": "tasks.data.recordings",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
