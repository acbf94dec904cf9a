"""A transcript as one self-contained HTML file that plays the recording.

The word being spoken lights up, a click on a word plays it, and below runs what the model looked at in time.
"""

import html
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..errors import InputError
from ..maps.attention_map import AttentionMap
from .heatmap import palette
from .html import base64_of, embedded, fill, jpeg, part, write
from .naming import meaning, origin, readable
from .sound import check_sound, envelope, log_mel_picture, sound_uri
from .timed_text import TimedSegment, check_times, pieces_of, plain

LONGEST_SECONDS = 3600.0
"""Of a recording on a page, which holds all of its sound: an hour is some 50 MB."""

_STEPS = 255
"""Values are stored in 8-bit steps from the lowest to the highest of their row: exact to 1/510 of that range."""

_COLUMNS = 100
"""Of the waveform, a second."""

_AXES = (("word", "time"), ("layer", "head", "word", "time"))

_FLAGS = {
    "stalled": "The model kept looking at one place while it wrote: it may be repeating itself.",
    "backwards": "The model looked back in time while it wrote: it may be saying something twice.",
    "repeats": "The text repeats itself.",
    "silence": "There is hardly any sound here: the text may be made up.",
}


@dataclass(frozen=True, eq=False)
class PageRecording:
    """A recording on a page, with what was said in it and the maps of its words."""

    samples: Float[np.ndarray, " t"]
    """Mono, from -1 to 1."""

    rate: int
    """Samples a second."""

    name: str
    """As the page calls it: a file name."""

    segments: Sequence[TimedSegment]
    """In their order. Where words have times each can be played, else each segment."""

    maps: Sequence[AttentionMap] = ()
    """Axes (word, time): shown by its method's name; (layer, head, word, time): with a choice of both. The time is in
    seconds from the start of the recording. A long recording has several of each method, one for each window in its
    order, whose words follow each other."""

    language: str | None = None
    """Of the text, as people call it; None where it is not known."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            InputError: The recording is longer than an hour.
            ValueError: The samples are none, times are not in order, or a map has other axes or other words.
        """
        check_sound(self.samples, self.rate)
        if self.seconds > LONGEST_SECONDS:
            raise InputError(
                f"{self.name}: a page holds a recording of at most {LONGEST_SECONDS / 60:.0f} minutes, "
                f"but this one has {self.seconds / 60:.0f}. Cut it, or leave the page away."
            )
        words = [word for segment in self.segments for word in segment.words]
        check_times(self.segments, "segment")
        check_times(words, "word")
        spelled = [word.text.strip() for word in words]
        for windows in self.windows():
            labels: list[str] = []
            for one in windows:
                if one.names not in _AXES or one.axes[-1].unit != "second":
                    raise ValueError(
                        f"`maps` must have the axes {_AXES[0]} or {_AXES[1]}, the time in seconds, "
                        f"but one has {one.names}, the last in the unit {one.axes[-1].unit!r}, instead."
                    )
                labels += [label.strip() for label in one.axes[-2].labels or ()]
            if labels != spelled:
                raise ValueError(f"`maps` must have the words of the segments, {spelled}, but have {labels} instead.")

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    def windows(self) -> list[list[AttentionMap]]:
        """The maps in groups, those of one method and kind together."""
        groups: dict[tuple[str, tuple[str, ...]], list[AttentionMap]] = {}
        for one in self.maps:
            groups.setdefault((one.method, one.names), []).append(one)
        return list(groups.values())


def write_audio_page(path: str | Path, recording: PageRecording, *, title: str) -> None:
    """Write a page that plays a recording and shows its transcript, and its maps over the log-mel picture.

    Args:
        path: Of the HTML file; missing folders are made.
        recording: What it shows.
        title: Of the page.
    """
    data = {
        "title": title,
        "palette": base64_of(palette().tobytes()),
        "name": recording.name,
        "language": recording.language,
        "seconds": recording.seconds,
        "sound": sound_uri(recording.samples, rate=recording.rate),
        "wave": _wave(recording),
        # the pictures' frames lie a whole number of samples apart: nearly, not always, a hundredth of a second
        "frame": recording.rate // 100 / recording.rate,
        "pictures": _pictures(recording),
        "segments": [_segment(segment) for segment in recording.segments],
        "maps": [_map(windows) for windows in recording.windows()],
    }
    script = "\n".join(part(name) for name in ("base.js", "timeline.js", "audio.js"))
    body = {"title": html.escape(title), "script": script, "data": embedded(data)}
    write(path, title, fill(part("audio_page.html"), body), scripts="; media-src data:; script-src 'unsafe-inline'")


def _wave(recording: PageRecording) -> str:
    """The lowest and the highest sample of each hundredth of a second, in 127 steps each way, all lowest ones first."""
    columns = max(1, math.ceil(recording.seconds * _COLUMNS))
    steps = np.round(127 * envelope(recording.samples, columns)).astype(np.int8)
    return base64_of(steps.tobytes())


def _pictures(recording: PageRecording) -> list[dict[str, Any]]:
    """The log-mel picture in stretches, as a canvas of an hour would be too wide."""
    return [
        {"src": jpeg(Image.fromarray(picture)), "frames": picture.shape[1]}
        for picture in log_mel_picture(recording.samples, rate=recording.rate)
    ]


def _segment(segment: TimedSegment) -> dict[str, Any]:
    return {
        "start": segment.start,
        "end": segment.end,
        "text": " ".join(plain(segment.text).split()),
        "flags": [[flag, _FLAGS.get(flag, "")] for flag in segment.flags],
        "words": [
            {"text": piece.text, "start": piece.word.start, "end": piece.word.end, "score": float(piece.word.score)}
            for piece in pieces_of(segment)
        ],
    }


def _map(windows: list[AttentionMap]) -> dict[str, Any]:
    first = windows[0]
    facts: dict[str, Any] = {
        "name": readable(first.method),
        "note": first.note,
        "origin": origin(first),
        "meaning": meaning(first),
        "layers": None,
        "heads": 1,
        "windows": [_window(one) for one in windows],
    }
    if "layer" in first.names:
        layers, heads = first.values.shape[:2]
        facts["name"] = "layer and head"
        facts["layers"] = first.axes[0].labels or [f"layer {layer}" for layer in range(layers)]
        facts["heads"] = heads
    return facts


def _window(one: AttentionMap) -> dict[str, Any]:
    words, frames = one.values.shape[-2:]
    rows = one.values.reshape(-1, frames).astype(np.float64)  # [layers * heads * words, frames]
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    step = (high - low) / _STEPS
    steps = np.round((rows - low) / np.where(step > 0, step, 1)).astype(np.uint8)
    return {
        "start": one.axes[-1].start,
        "step": one.axes[-1].step,
        "words": words,
        "frames": frames,
        # nine digits are what a float32 has
        "low": [float(f"{value:.9g}") for value in low.ravel()],
        "scale": [float(f"{value:.9g}") for value in step.ravel()],
        "steps": base64_of(zlib.compress(steps.tobytes(), 9)),
    }
