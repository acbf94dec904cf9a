"""Speaker turns: who speaks when, as diarization programs write it in RTTM files.

Source: NIST, "The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan", appendix A.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from ..errors import InputError, reading
from ..text_files import decode_text, read_bytes

_FIELDS = (9, 10)  # the last one, which tells how far ahead a system looked, was added later
_OTHERS = frozenset(
    "SEGMENT NOSCORE NO_RT_METADATA LEXEME NON-LEX NON-SPEECH FILLER EDIT SU IP CB A/P SPKR-INFO".split()
)


class Turn(NamedTuple):
    """A stretch of a recording in which one person speaks. Turns may overlap."""

    start: float
    """Seconds from the start of the recording."""

    end: float
    """After `start`."""

    speaker: str


def read_rttm(path: str | Path) -> dict[str, tuple[Turn, ...]]:
    """Read the speaker turns of one or several recordings.

    Of each line `SPEAKER file channel start duration <NA> <NA> name <NA> <NA>` the file, the times and the name count.
    Lines of the format's other types, comments (`;;`) and empty lines are passed over.

    Returns:
        For each recording, by the name that the file calls it, its turns by their start.

    Raises:
        InputError: It cannot be read, a line is wrong (the message gives its number), or there is no turn.
    """
    with reading(str(path), "an RTTM file in UTF-8", mend=""):
        try:
            data = read_bytes(Path(path))
        except FileNotFoundError:
            raise InputError(f"{path} must be an RTTM file, but does not exist. Check the path.") from None
        lines = decode_text(data).splitlines()
    found: dict[str, list[Turn]] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or line.lstrip().startswith(";;") or fields[0] in _OTHERS:
            continue
        found.setdefault(fields[1] if len(fields) > 1 else "", []).append(_turn(fields, f"{path}, line {number}"))
    if not found:
        raise InputError(f"{path} must have at least one SPEAKER line, but has none instead.")
    return {name: tuple(sorted(turns)) for name, turns in found.items()}


def _turn(fields: list[str], where: str) -> Turn:
    if fields[0] != "SPEAKER":
        raise InputError(
            f"{where}, must begin with SPEAKER, or another type of RTTM, but has {fields[0][:40]!r} instead."
        )
    if len(fields) not in _FIELDS:
        raise InputError(
            f"{where}, must have 10 fields (SPEAKER file channel start duration <NA> <NA> name <NA> <NA>), but has "
            f"{len(fields)} instead; a name may not have spaces."
        )
    start, duration = (_seconds(fields[i], what, where) for i, what in ((3, "start"), (4, "duration")))
    if duration == 0:
        raise InputError(f"{where}, must have a duration above 0, but has {fields[4]!r} instead.")
    if fields[7] == "<NA>":
        raise InputError(f"{where}, must name its speaker in field 8, but has <NA> instead.")
    return Turn(start, start + duration, fields[7])


def _seconds(text: str, what: str, where: str) -> float:
    with suppress(ValueError):
        if math.isfinite(value := float(text)) and value >= 0:
            return value
    raise InputError(f"{where}, must have seconds of at least 0 as its {what}, but has {text[:40]!r} instead.")


def turns_of(turns: Mapping[str, tuple[Turn, ...]], recording: str, *, source: str, is_only: bool) -> tuple[Turn, ...]:
    """Return the turns of one recording.

    Args:
        turns: Those of several, from `read_rttm`.
        recording: The name of the recording's file without its suffix.
        source: The RTTM file, for messages.
        is_only: Whether no other recording is asked for: turns of a single recording are then taken whatever its name.

    Raises:
        InputError: There are none of that name.
    """
    if recording in turns:
        return turns[recording]
    name = normalize("NFC", recording)  # macOS gives the names of files in NFD
    if same := [one for one in turns if normalize("NFC", one) == name]:
        return turns[same[0]]
    if is_only and len(turns) == 1:
        return next(iter(turns.values()))
    known = ", ".join(list(turns)[:5]) + (", ..." if len(turns) > 5 else "")
    raise InputError(f"{source} must have the turns of {recording!r}, but has those of {known} instead.")
