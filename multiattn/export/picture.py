"""A map as PNG: the picture with the map over it, a colour bar with its values, and a caption."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..maps.attention_map import AttentionMap
from .heat import blend, palette
from .words import meaning, origin, title

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_LONGEST = 1200
"""Pixels of the longer side of a picture in a PNG or a page; larger sources are scaled down."""

_SMALLEST = 640
"""Pixels of the longer side of a picture in a PNG; smaller sources are scaled up."""

_DPI = 100
_FONT = "DejaVu Sans"  # comes with matplotlib: the same on every machine
_INK, _SOFT, _BETWEEN = "#1d2027", "#5f6572", 128


def overlay_png(
    attention_map: AttentionMap, picture: Image.Image, path: str | Path, *, caption: str | None = None
) -> None:
    """Write the picture with the map over it, a colour bar with the map's values, and a caption.

    Args:
        attention_map: Axes (y, x), with geometry.
        picture: The upright source of the map.
        path: Of the PNG; missing folders are made.
        caption: The line above the picture; where None, the method and what it explains.

    Raises:
        ValueError: The map is none over a picture, or the picture's proportions are not those of the map's source.
    """
    shown = for_display(picture)
    share = _SMALLEST / max(shown.size)
    if share > 1:
        shown = _resized(shown, share)
    heading = title(attention_map) if caption is None else caption
    figure = _figure(attention_map, blend(shown, attention_map), heading)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=_DPI, facecolor="white", metadata={"Software": "multiattn"})


def for_display(picture: Image.Image) -> Image.Image:
    """The picture in RGB, scaled down where its longer side is above 1200 pixels."""
    picture = picture.convert("RGB")
    share = _LONGEST / max(picture.size)
    return picture if share >= 1 else _resized(picture, share)


def _resized(picture: Image.Image, share: float) -> Image.Image:
    width, height = (max(1, round(side * share)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _figure(attention_map: AttentionMap, blended: Image.Image, heading: str) -> "matplotlib.figure.Figure":
    """Lay out in pixels: the heading, the picture with the colour bar to its right, where the map comes from, its note.

    The picture keeps its pixels: one in the PNG for each.
    """
    # the object API without pyplot keeps no global state; a second to import, and only who draws needs it
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = blended.size
    em = max(12.0, min(20.0, (width * height) ** 0.5 / 42))  # pixels: the type grows with the picture
    # whole pixels, so that the picture is not resampled
    margin, bar_left, bar_width, bar_room = (round(ems * em) for ems in (1.6, 1.2, 1.1, 7.5))
    total_width = max(margin + width + bar_left + bar_width + bar_room, round(30 * em))
    room = total_width - 2 * margin
    head = _wrap(heading, room, size=1.25 * em, weight="bold")
    foot = _wrap(origin(attention_map), room, size=em) + _wrap(attention_map.note, room, size=em)
    picture_top = margin + round((len(head) * 1.7 + 0.3) * em)
    total_height = picture_top + height + round((len(foot) * 1.5 + 0.3) * em) + margin

    figure = Figure(figsize=(total_width / _DPI, total_height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)

    def add_axes(left: int, wide: int) -> "matplotlib.axes.Axes":
        bottom = total_height - picture_top - height
        return figure.add_axes((left / total_width, bottom / total_height, wide / total_width, height / total_height))

    def write(lines: list[str], top: float, leading: float, *, size: float, weight: str, color: str) -> None:
        for i, line in enumerate(lines):
            x, y = margin / total_width, 1 - (top + i * leading) / total_height
            style = {"family": _FONT, "size": _points(size), "weight": weight, "color": color}
            # a label may hold a dollar sign: that is no formula
            figure.text(x, y, line, va="top", parse_math=False, fontdict=style)

    write(head, float(margin), 1.7 * em, size=1.25 * em, weight="bold", color=_INK)
    write(foot, picture_top + height + 0.8 * em, 1.5 * em, size=em, weight="normal", color=_SOFT)
    axes = add_axes(margin, width)
    axes.imshow(np.asarray(blended), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    _colour_bar(add_axes(margin + width + bar_left, bar_width), attention_map, em=em, height=height)
    return figure


def _colour_bar(axes: "matplotlib.axes.Axes", attention_map: AttentionMap, *, em: float, height: int) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = float(attention_map.values.min()), float(attention_map.values.max())
    colours = palette()[::-1, None].astype(np.float32)  # [256, 1, 4], the highest on top
    alpha = colours[..., 3:] / 255
    bar = np.round(colours[..., :3] * alpha + _BETWEEN * (1 - alpha)).astype(np.uint8)  # as over a grey picture
    axes.imshow(bar, aspect="auto", extent=(0, 1, low, high if high > low else low + 1), interpolation="bilinear")
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_xticks([])
    if high > low:
        ticks = max(2, min(6, round(height / (6 * em))))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=ticks, min_n_ticks=2))
    else:
        axes.set_yticks([low], [f"all {low:.3g}"])
    axes.set_ylabel(meaning(attention_map), size=_points(0.95 * em), color=_SOFT, labelpad=_points(0.7 * em))
    axes.tick_params(labelsize=_points(0.9 * em), labelfontfamily=_FONT, labelcolor=_INK, color=_SOFT)
    axes.tick_params(length=_points(0.3 * em), width=0.6)
    for spine in axes.spines.values():
        spine.set(color=_SOFT, linewidth=0.6)


def _points(pixels: float) -> float:
    return pixels * 72 / _DPI


def _wrap(text: str, room: int, *, size: float, weight: str = "normal") -> list[str]:
    """Break a text into lines no wider than `room` pixels; a longer word stands alone."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=_FONT, size=size, weight=weight)  # measured in pixels as size is

    def fits(line: str) -> bool:
        width, _, _ = text_to_path.get_text_width_height_descent(line, font, ismath=False)
        return width <= room

    lines: list[str] = []
    for word in text.split():
        if lines and fits(f"{lines[-1]} {word}"):
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return lines
