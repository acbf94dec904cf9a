"""The entry of a result in an index of pages."""

from ..export import IndexEntry, RecordingEntry
from ..maps import time_profile
from .answer_results import Answer
from .caption_results import CaptionResult
from .image_results import ClassifyResult, Prediction
from .match_results import MatchResult
from .transcribe.results import Transcript

Shown = ClassifyResult | CaptionResult | Answer | Transcript | MatchResult
"""The results that have an entry."""


def said_by(result: Shown) -> str:
    """Return what a result says, on one line: a label, an answer or a text."""
    if isinstance(result, ClassifyResult):
        return _best(result).label
    if isinstance(result, MatchResult):
        return result.best.text
    return result.answer if isinstance(result, Answer) else result.text


def index_entry(result: Shown, *, name: str, page: str, said: str) -> IndexEntry | RecordingEntry:
    """Return the entry of a result that has maps.

    Args:
        result: The result; its first map is drawn over the thumbnail.
        name: What the index calls the input.
        page: The address of its page relative to the index.
        said: What the result says, as it is to be shown.
    """
    checked = result.maps[0].verdict
    verdict = "" if checked is None else checked.word
    if isinstance(result, Transcript):
        sound = result.maps[0]
        return RecordingEntry(sound.samples, sound.rate, name, page, said, time_profile(sound.map), verdict)
    first = result.maps[0]
    question = result.question if isinstance(result, Answer) else ""
    score: float | None
    if isinstance(result, ClassifyResult):
        score = None if result.score_kind == "value" else _best(result).score
    else:
        score = result.score
    return IndexEntry(first.picture, name, page, said, score, first.map, question, verdict)


def _best(result: ClassifyResult) -> Prediction:
    """The best label; a narrowed result may have none itself, but its maps keep it."""
    return (result.predictions or result.maps[0].predictions)[0]
