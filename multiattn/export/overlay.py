"""A map as PNG: the image with the map over it, a color bar with its values, and a caption."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from ..maps.attention_map import AttentionMap
from .canvas import FONT, INK, SOFT, Canvas, PNGFile, for_display, points, resized, wrap
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
) -> None:
    """Write the image with the map over it, a color bar with the map's values, and a caption.

    Args:
        attention_map: A map with the axes (y, x) and a geometry.
        picture: The upright source of the map.
        path: The PNG file, whose missing folders are made, or a stream.
        caption: The line above the image; by default the method and what it explains.
        remarks: Lines at the foot, such as the verdict on the map.

    Raises:
        ValueError: The map has other axes or no geometry, or the image's proportions are not those of the map's source.
    """
    shown = for_display(picture)
    share = _SMALLEST / max(shown.size)
    if share > 1:
        shown = resized(shown, share)
    heading = title(attention_map) if caption is None else caption
    _figure(attention_map, blend(shown, attention_map), heading, remarks).save(path)


def _figure(attention_map: AttentionMap, blended: Image.Image, heading: str, remarks: Sequence[str]) -> Canvas:
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
    parts = (flat, origin(attention_map), attention_map.note, *remarks)
    foot = [line for part in parts for line in wrap(part, room, size=em)]
    picture_top = margin + round((len(head) * 1.7 + 0.3) * em)
    total_height = picture_top + height + round((len(foot) * 1.5 + 0.3) * em) + margin

    canvas = Canvas(total_width, total_height)
    canvas.write_lines(head, margin, margin, step=1.7 * em, size=1.25 * em, weight="bold")
    canvas.write_lines(foot, margin, picture_top + height + 0.8 * em, step=1.5 * em, size=em, color=SOFT)
    canvas.picture(blended, margin, picture_top)
    _color_bar(
        canvas.axes(margin + width + bar_left, picture_top, bar_width, height), attention_map, em=em, height=height
    )
    return canvas


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
