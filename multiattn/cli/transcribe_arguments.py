"""The readers of the arguments of `multiattn transcribe`. Each raises an error that argparse puts on one line."""

import argparse
import math
import re
from collections.abc import Callable, Sequence

from ..inputs.channel_names import WORDS
from .arguments import number

_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")

at_least_one_x = number(float, "a number of at least 1", lambda value: 1 <= value < math.inf)
line_width = number(int, "a whole number of at least 4", lambda value: value >= 4)
seconds = number(float, "a number of seconds from 0", lambda value: 0 <= value < math.inf)


def _wrong(must: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"must be {must}, but is {text!r} instead")


def on_or_off(text: str) -> bool:
    """Read `on` or `off`."""
    if text not in ("on", "off"):
        raise _wrong("on or off", text)
    return text == "on"


def channel(text: str) -> str:
    """Read the name or the number of a channel."""
    if text not in WORDS and not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise _wrong(f"of {', '.join(WORDS)}, or a number from 1", text)
    return text


def clip(text: str) -> tuple[float, float]:
    """Read a part such as `0:30-1:10`, `90-` or `-1:00:00.5`, in seconds; the end of an open one is infinite."""
    start, dash, end = text.strip().partition("-")
    found = (_seconds(start) if start else 0.0, _seconds(end) if end else math.inf)
    first, last = found
    if not dash or first is None or last is None or not first < last or not (start or end):
        raise _wrong("FROM-TO in seconds, m:ss or h:mm:ss, with FROM before TO", text)
    return first, last


def _seconds(text: str) -> float | None:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, rest = match.groups()
    has_whole = (minutes is None or float(rest) < 60) and (hours is None or int(minutes) < 60)
    return 3600.0 * int(hours or 0) + 60.0 * int(minutes or 0) + float(rest) if has_whole else None


def temperatures(text: str) -> tuple[float, ...]:
    """Read numbers from 0, with commas between them."""
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = (math.nan,)
    if not all(0 <= value < math.inf for value in found):
        raise _wrong("numbers of at least 0 with commas between them", text)
    return found


def threshold(least: float, most: float) -> Callable[[str], float | str]:
    """Return the reader of a number in a range, or of `none`."""
    least_text, most_text = ("any" if math.isinf(value) else f"{value:g}" for value in (least, most))
    ranges = {
        (False, False): f"from {least_text} to {most_text}",
        (False, True): f"of at least {least_text}",
        (True, False): f"of at most {most_text}",
    }
    must = f"a number {ranges[math.isinf(least), math.isinf(most)]}, or none"

    def read(text: str) -> float | str:
        if text == "none":
            return text
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most):
            raise _wrong(must, text)
        return value

    return read


def formats(alone: Sequence[str], together: Sequence[str]) -> Callable[[str], str]:
    """Return the reader of a format, or of several of those that may be written together, each once."""

    def read(text: str) -> str:
        names = list(dict.fromkeys(name.strip() for name in text.split(",")))
        for name in names:
            if name not in (*alone, *together):
                raise _wrong(f"of {', '.join((*alone, *together))}", name)
            if name in alone and len(names) > 1:
                raise argparse.ArgumentTypeError(f"{name} stands alone, but is one of {', '.join(names)} instead")
        return ",".join(names)

    return read
