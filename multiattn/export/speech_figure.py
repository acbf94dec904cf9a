"""An alignment as PNG: tokens or words against time over the log-mel spectrogram, and the words over the waveform."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ..maps.attention_map import AttentionMap
from .canvas import FONT, INK, SOFT, Canvas, PNGFile, points, width_of, wrap
from .heatmap import tinted
from .naming import origin, title
from .scale import OWN_SCALE, Scale
from .sound import check_sound, envelope, log_mel_picture
from .timed_text import TimedWord, check_times

if TYPE_CHECKING:
    import matplotlib.axes

_EM, _MARGIN = 14.0, 24  # pixels
_SECOND = 110
"""Pixels of a second, unless the figure would be too narrow or too wide."""
_NARROWEST, _WIDEST = 760, 2200
_ROW, _LOWEST = 19, 152
"""Pixels of a row, and the least height of all rows."""
_WAVE = 120
_LABELS = 3
"""The most lines of words over the waveform, where words would overlap. Those without room are counted."""
_CELL = 7
"""Pixels that a value is wide at least: a frame of a long stretch would be a hair."""
_LONGEST_LABEL = 22
"""The most characters of a label; longer ones are cut."""

_GRAY = (18, 165)
"""The darkest and the brightest gray of the spectrogram: the map must stand out from it."""
_SHADE, _BORDER, _SOUND = "#f3d9e3", "#a8325e", "#4b5263"


class _Span(NamedTuple):
    """The part of the recording that a map covers."""

    start: float
    end: float
    width: int
    """Its width in pixels."""

    def pixel(self, time: float) -> float:
        return (time - self.start) / (self.end - self.start) * self.width


def alignment_png(
    time_map: AttentionMap,
    samples: Float[np.ndarray, " t"],
    path: PNGFile,
    *,
    rate: int,
    words: Sequence[TimedWord] = (),
    caption: str | None = None,
    remarks: Sequence[str] = (),
) -> None:
    """Write the waveform with the words over it, and below it the rows of the map over the spectrogram.

    Args:
        time_map: A map with the axes (token, time) or (word, time), the time in seconds from the recording's start.
        samples: The whole recording, mono.
        path: The PNG file, whose missing folders are made, or a stream.
        rate: Samples a second (Hz).
        words: Words with times, drawn over the waveform if they lie in the map's time.
        caption: The line above; by default the method and the text.
        remarks: Lines at the foot, such as the verdict on the map.

    Raises:
        ValueError: The map has other axes or lies outside the recording, or the samples cannot be used.
    """
    check_time_map(time_map)
    check_sound(samples, rate)
    rows, time = time_map.axes
    end = min(time.start + time.step * time_map.values.shape[1], len(samples) / rate)
    if not 0 <= time.start < end:
        raise ValueError(
            f"`time_map` must lie within the recording, 0 to {len(samples) / rate:g} seconds, "
            f"but begins at {time.start:g} instead."
        )
    check_times(words, "word")
    shown = [word for word in words if word.end > time.start and word.start < end]
    span = _Span(time.start, end, round(min(_WIDEST, max(_NARROWEST, _SECOND * (end - time.start)))))
    labels = rows.labels or tuple(str(i) for i in range(time_map.values.shape[0]))
    heading = title(time_map) if caption is None else caption
    sound = samples[round(span.start * rate) : max(round(span.end * rate), round(span.start * rate) + 1)]
    _figure(time_map, span, sound, rate, [_label(text) for text in labels], shown, heading, remarks).save(path)


def check_time_map(time_map: AttentionMap) -> None:
    """Refuse a map without time.

    Raises:
        ValueError: The map has other axes than (token, time) or (word, time), or its time is not in seconds.
    """
    if time_map.names not in (("token", "time"), ("word", "time")) or time_map.axes[1].unit != "second":
        raise ValueError(
            "`time_map` must have the axes ('token', 'time') or ('word', 'time'), the time in seconds, "
            f"but has {time_map.names}, the last in the unit {time_map.axes[-1].unit!r}, instead."
        )


def gray_picture(picture: UInt8[np.ndarray, "mels frames"], size: tuple[int, int]) -> Image.Image:
    """Return the spectrogram in RGB, darkened so that a map over it stands out."""
    low, high = _GRAY
    gray = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)
    return gray.point([round(low + (high - low) * value / 255) for value in range(256)]).convert("RGB")


def over_sound(
    time_map: AttentionMap, picture: UInt8[np.ndarray, "mels frames"], size: tuple[int, int], *, seconds: float
) -> Image.Image:
    """Draw the rows of a map over a spectrogram, each row on a scale of its own.

    Args:
        time_map: A map with the axes (token, time) or (word, time).
        picture: The spectrogram from the start of the map on.
        size: Width and height of the drawing in pixels.
        seconds: The time that the width stands for.
    """
    width, height = size
    pixels = np.asarray(gray_picture(picture, size), dtype=np.float32)
    values = np.stack(
        [Scale.of(row, signed=time_map.is_signed).positions(row) for row in time_map.values]
    )  # [rows, frames]
    # the middle of each pixel, in frames; linear between the middles of two frames
    at = (np.arange(width) + 0.5) / width * seconds / time_map.axes[1].step - 0.5
    wide = np.stack([np.interp(at, np.arange(values.shape[1]), row) for row in values])  # [rows, w]
    reach = (_CELL - 1) // 2
    around = np.pad(wide, ((0, 0), (reach, reach)), mode="edge")  # the strongest of those around shows
    near = np.lib.stride_tricks.sliding_window_view(around, 2 * reach + 1, axis=1)  # [rows, w, 2 reach + 1]
    wide = np.take_along_axis(near, np.abs(near).argmax(axis=2)[..., None], axis=2)[..., 0]
    tall = wide[np.arange(height) * len(values) // height]  # [h, w]
    return Image.fromarray(np.round(tinted(pixels, tall, signed=time_map.is_signed)).astype(np.uint8))


def _figure(
    time_map: AttentionMap,
    span: _Span,
    sound: Float[np.ndarray, " t"],
    rate: int,
    labels: list[str],
    words: list[TimedWord],
    heading: str,
    remarks: Sequence[str],
) -> Canvas:
    """Lay out the heading, the words, the waveform, the rows with their labels, the time axis and the notes."""
    height = max(_LOWEST, _ROW * len(labels))
    size = min(_EM, 0.8 * height / len(labels))
    left = _MARGIN + round(max(width_of(label, size=size) for label in labels)) + 10
    total = left + span.width + _MARGIN
    room = total - 2 * _MARGIN
    head = wrap(heading, room, size=1.4 * _EM, weight="bold")
    foot = [origin(time_map), time_map.note, OWN_SCALE.format("row"), *remarks]
    notes = [line for part in foot for line in wrap(part, room, size=_EM)]
    names = _names(words, span)
    lines_used = 1 + max((line for _, _, line in names), default=-1)
    band = round(1.35 * _EM * lines_used)
    names_top = _MARGIN + round((len(head) * 1.9 + 0.4) * _EM)
    wave_top = names_top + band
    rows_top = wave_top + _WAVE + 8
    bottom = rows_top + height
    canvas = Canvas(total, bottom + round((3.4 + len(notes) * 1.5) * _EM) + _MARGIN)
    canvas.write_lines(head, _MARGIN, _MARGIN, step=1.9 * _EM, size=1.4 * _EM, weight="bold")
    _wave(canvas.axes(left, wave_top, span.width, _WAVE), sound, span, words)
    for text, middle, line in names:
        top = names_top + (lines_used - 1 - line) * 1.35 * _EM
        canvas.write(text, left + middle, top, size=0.95 * _EM, align="center")
    picture = np.concatenate(list(log_mel_picture(sound, rate=rate)), axis=1)
    blended = over_sound(time_map, picture, (span.width, height), seconds=span.end - span.start)
    axes = canvas.picture(blended, left, rows_top)
    for word in words:
        for time in (word.start, word.end):
            axes.axvline(span.pixel(time) - 0.5, color="white", linewidth=0.5, alpha=0.35)
    axes.set(xlim=(-0.5, span.width - 0.5))
    for i, label in enumerate(labels):
        middle = rows_top + (i + 0.5) * height / len(labels)
        canvas.write(label, left - 8, middle - 0.62 * size, size=size, align="right")
    _clock(canvas.axes(left, bottom, span.width, 1), span)
    canvas.write_lines(notes, _MARGIN, bottom + 3.4 * _EM, step=1.5 * _EM, size=_EM, color=SOFT)
    return canvas


def _wave(
    axes: "matplotlib.axes.Axes", sound: Float[np.ndarray, " t"], span: _Span, words: Sequence[TimedWord]
) -> None:
    lowest, highest = envelope(sound, span.width)
    across = np.arange(span.width) + 0.5
    for word in words:
        first, last = span.pixel(word.start), span.pixel(word.end)
        axes.axvspan(first, last, color=_SHADE, linewidth=0)
        axes.vlines([first, last], -1.1, 1.1, color=_BORDER, linewidth=0.8)
    # silence is drawn as a thin line
    axes.fill_between(across, lowest - 0.004, highest + 0.004, color=_SOUND, linewidth=0)
    axes.set(xlim=(0, span.width), ylim=(-1.1, 1.1))
    axes.set_axis_off()


def _names(words: Sequence[TimedWord], span: _Span) -> list[tuple[str, float, int]]:
    """Return texts, each with the pixel of its middle and its line above the waveform, counted from below.

    They are the words, and on the lowest line the number of those for which there is no room, such as +2.
    """
    reached = [-1e9] * _LABELS
    placed, missing = list[tuple[str, float, int]](), list[tuple[int, float]]()
    for word in words:
        text = _label(word.text)
        width = width_of(text, size=0.95 * _EM)
        middle = (span.pixel(max(word.start, span.start)) + span.pixel(min(word.end, span.end))) / 2
        middle = min(max(middle, width / 2), span.width - width / 2)
        free = [i for i in range(_LABELS) if reached[i] + 5 <= middle - width / 2]
        if free:
            reached[free[0]] = middle + width / 2
            placed.append((text, middle, free[0]))
        else:
            missing.append((1, middle))
    if not missing:
        return placed
    marks = [(f"+{count}", middle, 0) for count, middle in _merged(missing, width_of("+99", size=0.95 * _EM) + 5)]
    return [*marks, *((text, middle, line + 1) for text, middle, line in placed)]


def _merged(missing: list[tuple[int, float]], room: float) -> list[tuple[int, float]]:
    """Return counts and their middles, those added up that are less than `room` apart."""
    found = list[tuple[int, float]]()
    for count, middle in missing:
        while found and middle - found[-1][1] < room:
            before, at = found.pop()
            middle, count = (before * at + count * middle) / (before + count), before + count
        found.append((count, middle))
    return found


def _clock(axes: "matplotlib.axes.Axes", span: _Span) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set(xlim=(span.start, span.end))
    axes.set_yticks([])
    axes.patch.set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=max(4, span.width // 90)))
    axes.tick_params(labelsize=points(0.9 * _EM), labelfontfamily=FONT, labelcolor=INK, color=SOFT)
    axes.set_xlabel("seconds", size=points(0.95 * _EM), color=SOFT, labelpad=points(2.0))
    for spine in axes.spines.values():
        spine.set_visible(False)


def _label(text: str) -> str:
    text = " ".join(text.split()) or "␣"
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
