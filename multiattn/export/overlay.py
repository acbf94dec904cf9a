"""A map as PNG: the image with the map over it, a color bar with its values, and a caption."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from ..maps.attention_map import AttentionMap
from .canvas import FONT, INK, SOFT, Canvas, PNGFile, for_display, points, resized, width_of, wrap
from .heatmap import blend, scale_on_gray
from .naming import meaning, origin, title
from .scale import FLAT, Scale

if TYPE_CHECKING:
    import matplotlib.axes

_SMALLEST = 640
"""Pixels of the longer side of an image in a PNG; smaller sources are scaled up."""


def overlay_png(
    attention_map: AttentionMap,
    picture: Image.Image,
    path: PNGFile,
    *,
    caption: str | None = None,
    remarks: Sequence[str] = (),
    words: AttentionMap | None = None,
) -> None:
    """Write the image with the map over it, a color bar with the map's values, and a caption.

    Args:
        attention_map: A map with the axes (y, x) and a geometry.
        picture: The upright source of the map.
        path: The PNG file, whose missing folders are made, or a stream.
        caption: The line above the image; by default the method and what it explains.
        remarks: Lines at the foot, such as the verdict on the map.
        words: Of a text that the map explains, axes (word,): it stands above the image, each word in the shade of what
            it counts.

    Raises:
        ValueError: The map has other axes or no geometry, or the image's proportions are not those of the map's source.
    """
    shown = for_display(picture)
    share = _SMALLEST / max(shown.size)
    if share > 1:
        shown = resized(shown, share)
    heading = title(attention_map) if caption is None else caption
    _figure(attention_map, blend(shown, attention_map), heading, remarks, words).save(path)


def _figure(
    attention_map: AttentionMap,
    blended: Image.Image,
    heading: str,
    remarks: Sequence[str],
    words: AttentionMap | None,
) -> Canvas:
    """Lay out the heading, the image with the color bar to its right, the origin of the map, and its note.

    The image is drawn pixel for pixel.
    """
    width, height = blended.size
    em = max(12.0, min(20.0, (width * height) ** 0.5 / 42))  # pixels: the type grows with the image
    # whole pixels, so that the image is not resampled
    margin, bar_left, bar_width, bar_room = (round(ems * em) for ems in (1.6, 1.2, 1.1, 7.5))
    total_width = max(margin + width + bar_left + bar_width + bar_room, round(30 * em))
    room = total_width - 2 * margin
    head = wrap(heading, room, size=1.25 * em, weight="bold")
    flat = FLAT.format("patch") if attention_map.is_flat else ""
    shades = [] if words is None else [_SHADES]
    notes = (flat, origin(attention_map), attention_map.note, *shades, *remarks)
    foot = [line for note in notes for line in wrap(note, room, size=em)]
    text = [] if words is None else shaded_lines(words, room, size=1.25 * em)
    text_top = margin + round((len(head) * 1.7 + 0.3) * em)
    picture_top = text_top + round(len(text) * 2.4 * em)
    total_height = picture_top + height + round((len(foot) * 1.5 + 0.3) * em) + margin

    canvas = Canvas(total_width, total_height)
    canvas.write_lines(head, margin, margin, step=1.7 * em, size=1.25 * em, weight="bold")
    for line, parts in enumerate(text):
        for word, left, color in parts:
            canvas.write_boxed(word, margin + left, text_top + round(2.4 * em * line), size=1.25 * em, color=color)
    canvas.write_lines(foot, margin, picture_top + height + 0.8 * em, step=1.5 * em, size=em, color=SOFT)
    canvas.picture(blended, margin, picture_top)
    _color_bar(
        canvas.axes(margin + width + bar_left, picture_top, bar_width, height), attention_map, em=em, height=height
    )
    return canvas


_SHADES = "The words of the text are shaded by what each counts, from none to the largest."


def shaded_lines(
    words: AttentionMap, room: int, *, size: float
) -> list[list[tuple[str, float, tuple[float, float, float]]]]:
    """Break a text into lines of at most `room` pixels: each word with its place in its line and the color behind it.

    Args:
        words: The text, axes (word,).
        room: Pixels of a line.
        size: Pixels of the type.
    """
    scale = Scale.of(words.values)
    shades = scale_on_gray(signed=scale.signed)
    gap = 0.9 * size
    lines: list[list[tuple[str, float, tuple[float, float, float]]]] = [[]]
    at = 0.5 * gap
    for label, position in zip(words.axes[0].labels or (), scale.positions(words.values).tolist(), strict=True):
        width = width_of(label.strip(), size=size)
        if lines[-1] and at + width > room:
            lines.append([])
            at = 0.5 * gap
        index = round(255 * ((position + 1) / 2 if scale.signed else position))
        red, green, blue = (float(part) / 255 for part in shades[index][:3])
        # half of the color, so that the word stays readable on it
        lines[-1].append((label.strip(), at, (0.5 + red / 2, 0.5 + green / 2, 0.5 + blue / 2)))
        at += width + gap
    return lines


def _color_bar(axes: "matplotlib.axes.Axes", attention_map: AttentionMap, *, em: float, height: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    scale = Scale.of(attention_map.values)
    low, high = scale.ends
    bar = scale_on_gray(signed=scale.signed)[::-1, None]  # [256, 1, 3], the highest on top
    axes.imshow(bar, aspect="auto", extent=(0, 1, low, high if high > low else low + 1), interpolation="bilinear")
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_xticks([])
    if high > low:
        ticks = max(2, min(6, round(height / (6 * em))))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=ticks, min_n_ticks=2))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"× {value:.3g}".replace("-", "−")))
    else:
        axes.set_yticks([low], ["all 0"])
    label = f"{meaning(attention_map)}, × the even share"
    axes.set_ylabel(label, size=points(0.95 * em), color=SOFT, labelpad=points(0.7 * em))
    axes.tick_params(labelsize=points(0.9 * em), labelfontfamily=FONT, labelcolor=INK, color=SOFT)
    axes.tick_params(length=points(0.3 * em), width=0.6)
    for spine in axes.spines.values():
        spine.set(color=SOFT, linewidth=0.6)
