"""A transcript as one self-contained HTML file that plays the recording.

The word being spoken is highlighted, a click on a word plays it, and below the waveform are the maps over time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..checks import check_argument
from ..errors import InputError
from ..maps.attention_map import AttentionMap
from ..maps.verdict import Checked
from .html import base64_of, digits, jpeg, packed, quantized, write_scripted
from .naming import described, verdicts_of
from .page_tokens import moments_data
from .sound import check_sound, envelope, log_mel_picture, sound_uri
from .timed_text import TimedSegment, channel_of, checked_words, pieces_of, plain, voice_of

LONGEST_SECONDS = 3600.0
"""The longest recording on a page, which holds all of its sound: an hour is about 50 MB."""

_STEPS = 255
"""Values are stored in 8-bit steps from the lowest to the highest of their row: exact to 1/510 of that range."""

_COLUMNS = 100
"""Columns of the waveform for each second."""

_AXES = (("word", "time"), ("layer", "head", "word", "time"))

SCRIPTS = (
    "timeline.js",
    "moments.js",
    "cues.js",
    "edit.js",
    "verdict.js",
    "address.js",
    "audio.js",
    "files.js",
    "audio_save.js",
    "audio_link.js",
)

_FLAGS = {
    "stalled": "The model's attention stood still while it wrote this: it may be repeating itself.",
    "backwards": "The model's attention went back in time while it wrote this: it may be saying something twice.",
    "repeats": "The text repeats itself.",
    "silence": "There is hardly any sound here: the text may be made up.",
}


@dataclass(frozen=True, eq=False)
class PageRecording:
    """A recording on a page, with its transcript and the maps of its words."""

    samples: Float[np.ndarray, " t"]
    """Mono, from -1 to 1."""

    rate: int
    """Samples a second."""

    name: str
    """What the page calls it: a file name."""

    segments: Sequence[TimedSegment]
    """In order. Each word can be played if words have times, else each segment."""

    maps: Sequence[AttentionMap] = ()
    """Maps with axes (word, time), chosen by their method, and (layer, head, word, time), with a choice of layer and
    head. The time is in seconds from the start of the recording. A long recording has several by each method, one for
    each window, in order; together they have all words."""

    language: str | None = None
    """The language of the text; None if it is not known."""

    verdicts: Sequence[Checked] = ()
    """The verdicts on maps, by their methods; for each window, in order."""

    moments: Sequence[AttentionMap] = ()
    """Self-attention among the moments of each window, in order, from `multiattn.maps.moment_attention`, of which the
    page stores what fits."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            InputError: The recording is longer than an hour.
            ValueError: The samples or times cannot be used, or a map has other axes or other words.
        """
        check_sound(self.samples, self.rate)
        for one in self.moments:
            known = one.names == ("layer", "head", "query", "key") and one.axes[-1].unit == "second"
            check_argument(known, "moments", must="self-attention over seconds", value=one.names)
        if self.seconds > LONGEST_SECONDS:
            raise InputError(
                f"{self.name}: a page holds a recording of at most {LONGEST_SECONDS / 60:.0f} minutes, "
                f"but this one has {self.seconds / 60:.0f}. Cut it, or leave the page away."
            )
        spelled = [word.text.strip() for word in checked_words(self.segments)]
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
        """The length of the recording."""
        return len(self.samples) / self.rate

    def windows(self) -> list[list[AttentionMap]]:
        """Return the maps in groups: those of one method and with the same axes together."""
        groups: dict[tuple[str, tuple[str, ...]], list[AttentionMap]] = {}
        for one in self.maps:
            groups.setdefault((one.method, one.names), []).append(one)
        return list(groups.values())


def write_audio_page(path: str | Path, recording: PageRecording, *, title: str) -> None:
    """Write a page that plays a recording and shows its transcript, and its maps over the log-mel spectrogram.

    The part of its address after # says what is shown, and changes with it: `#word=3&map=attention`.

    Args:
        path: The HTML file; missing folders are made.
        recording: The recording with its transcript and maps.
        title: The title of the page.
    """
    moments, left_out = moments_data(recording.moments) if recording.moments else (None, "")
    data = {
        "name": recording.name,
        "left_out": left_out,
        "language": recording.language,
        "seconds": recording.seconds,
        "sound": sound_uri(recording.samples, rate=recording.rate),
        "wave": _wave(recording),
        # frames are a whole number of samples apart: almost a hundredth of a second
        "frame": recording.rate // 100 / recording.rate,
        "pictures": _pictures(recording),
        "segments": [_segment(segment) for segment in recording.segments],
        "maps": [
            described(windows[0])
            | {"signed": any(one.is_signed for one in windows), "windows": [_window(one) for one in windows]}
            | {"verdicts": verdicts_of(windows[0], recording.verdicts)}
            for windows in recording.windows()
        ]
        + ([moments] if moments else []),
    }
    write_scripted(
        path,
        title,
        "audio_page.html",
        data,
        SCRIPTS,
        policy="; media-src data:",
    )


def _wave(recording: PageRecording) -> str:
    """Return the lowest and the highest sample of each hundredth of a second as int8: first all lowest ones."""
    columns = max(1, math.ceil(recording.seconds * _COLUMNS))
    steps = np.round(127 * envelope(recording.samples, columns)).astype(np.int8)
    return base64_of(steps.tobytes())


def _pictures(recording: PageRecording) -> list[dict[str, object]]:
    """Return the log-mel spectrogram in parts: a canvas of an hour would be too wide."""
    return [
        {"src": jpeg(Image.fromarray(picture)), "frames": picture.shape[1]}
        for picture in log_mel_picture(recording.samples, rate=recording.rate)
    ]


def _segment(segment: TimedSegment) -> dict[str, object]:
    return {
        "start": segment.start,
        "end": segment.end,
        "text": " ".join(plain(segment.text).split()),
        "flags": _described(segment.flags),
        "voice": voice_of(segment),
        "channel": channel_of(segment),
        "words": [
            {
                "text": piece.text,
                "start": piece.word.start,
                "end": piece.word.end,
                "score": float(piece.word.score),
                "flags": _described(getattr(piece.word, "flags", ())),
            }
            for piece in pieces_of(segment)
        ],
    }


def _described(flags: Sequence[str]) -> list[list[str]]:
    return [[flag, _FLAGS.get(flag, "")] for flag in flags]


def _window(one: AttentionMap) -> dict[str, object]:
    words, frames = one.values.shape[-2:]
    rows = one.values.reshape(-1, frames).astype(np.float64)  # [layers * heads * words, frames]
    low, size, steps = quantized(rows, _STEPS)
    return {
        "start": one.axes[-1].start,
        "step": one.axes[-1].step,
        "words": words,
        "frames": frames,
        "low": digits(low),
        "scale": digits(size),
        "steps": packed(steps.astype(np.uint8)),
    }
