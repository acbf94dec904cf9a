"""The language of a recording as a transcript states it. Importing this imports no torch."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ...inputs.language_names import name_of
from .cutting import Segment


class Language(NamedTuple):
    """The language of a recording."""

    code: str | None
    """None for a model of one language, and where nobody speaks."""

    probability: float | None = None
    """Its probability by the model; None where it was given, or is None."""

    second: str | None = None
    """The second most probable one."""

    second_probability: float = 0.0


def uncertain(language: Language, threshold: float) -> str | None:
    """Return what must be said of a language less probable than `threshold`, to follow the recording's name."""
    if language.probability is None or language.code is None or language.probability >= threshold:
        return None
    other = "" if language.second is None else f", {name_of(language.second)} {language.second_probability:.0%}"
    return (
        f"is in an uncertain language: {name_of(language.code)} {language.probability:.0%}{other}. "
        "If another one is right, name it (`language`, --language)."
    )


def longest_language(segments: Sequence[Segment]) -> str | None:
    """Return the language that most seconds of the segments are in; None where none has one."""
    seconds = defaultdict[str, float](float)
    for segment in segments:
        if segment.language is not None:
            seconds[segment.language] += segment.end - segment.start
    return max(seconds, key=seconds.__getitem__, default=None)


def told(decided: Sequence[Language], segments: Sequence[Segment], threshold: float) -> tuple[Language, list[str]]:
    """Return the language that a transcript states, and what must be said of languages that are uncertain.

    Args:
        decided: That of each channel.
        segments: Those of all channels. The language that most of their seconds are in is stated.
        threshold: As for `uncertain`.
    """
    code = longest_language(segments)
    language = next((one for one in decided if one.code == code), decided[-1])
    if code is None and (segments or language.probability is not None):
        code = language.code
    doubts = dict.fromkeys(uncertain(one, threshold) for one in decided)
    return language._replace(code=code), [one for one in doubts if one is not None]
