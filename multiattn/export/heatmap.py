"""A map as heat over its source picture. Scale, palette and interpolation are the same for the PNG and the page."""

from functools import cache

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image, ImageEnhance

from ..inputs import Geometry
from ..maps.attention_map import AttentionMap

_OPACITY = 0.88
"""Of the highest value: the picture stays visible below it."""

SATURATION = 0.4
"""Of the picture below a map: its own warm colors must not pass for heat."""

_UNSEEN = 0.3
"""Brightness of what lay outside the model's crop."""

_FRAME = (255, 255, 255)
_BETWEEN = 128


def blend(picture: Image.Image, attention_map: AttentionMap) -> Image.Image:
    """The picture with the map over exactly the part of it that the model saw; the rest is dimmed, behind a thin frame.

    The picture's colors are muted, so that none of its own pass for heat; at the lowest value they are all one sees.

    Args:
        picture: The upright source, at its own size or scaled.
        attention_map: Axes (y, x), with geometry.

    Returns:
        RGB, of the picture's size, pixel for pixel the picture's.

    Raises:
        ValueError: The map is none over a picture, or the picture's proportions are not those of the map's source.
    """
    if attention_map.names != ("y", "x"):
        raise ValueError(f"`attention_map` must have the axes ('y', 'x'), but has {attention_map.names} instead.")
    geometry = placed(attention_map)
    width, height = picture.size
    source_height, source_width = geometry.source_size
    # a pixel of tolerance: what rounding a scaled size may cost
    if min(abs(width * source_height / source_width - height), abs(height * source_width / source_height - width)) > 1:
        raise ValueError(
            f"`picture` must be the map's source, {source_width} x {source_height} pixels, or a scaled copy of it, "
            f"but is {width} x {height} instead."
        )
    left, top, right, bottom = geometry.source_box()
    # where the centers of the pixels lie, from 0 to 1 across the box
    across = ((np.arange(width) + 0.5) * source_width / width - left) / (right - left)
    down = ((np.arange(height) + 0.5) * source_height / height - top) / (bottom - top)
    columns = np.flatnonzero((across >= 0) & (across < 1))
    rows = np.flatnonzero((down >= 0) & (down < 1))

    pixels = np.asarray(ImageEnhance.Color(picture.convert("RGB")).enhance(SATURATION), dtype=np.float32)
    canvas = pixels * _UNSEEN
    if len(rows) and len(columns):
        values = scaled(attention_map.values)
        surface = interpolate(values, down[rows] * values.shape[0], across[columns] * values.shape[1])
        heat = palette()[np.round(surface * 255).astype(int)].astype(np.float32)  # [h, w, 4]
        alpha = heat[..., 3:] / 255
        seen_down, seen_across = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        canvas[seen_down, seen_across] = pixels[seen_down, seen_across] * (1 - alpha) + heat[..., :3] * alpha
        _frame(canvas, seen_down, seen_across)
    return Image.fromarray(np.round(canvas).astype(np.uint8))


def _frame(canvas: Float32[np.ndarray, "h w 3"], down: slice, across: slice) -> None:
    """Draw a line around the crop, on its dimmed side, so that it hides nothing of the map; none along the rim."""
    height, width, _ = canvas.shape
    line = max(1, round(max(height, width) / 600))
    above, before = max(0, down.start - line), max(0, across.start - line)
    canvas[above : down.start, before : across.stop + line] = _FRAME
    canvas[down.stop : down.stop + line, before : across.stop + line] = _FRAME
    canvas[above : down.stop + line, before : across.start] = _FRAME
    canvas[above : down.stop + line, across.stop : across.stop + line] = _FRAME


def placed(attention_map: AttentionMap) -> Geometry:
    """The geometry of a map over a picture.

    Raises:
        ValueError: There is none.
    """
    if attention_map.geometry is None:
        raise ValueError("`geometry` of the map must say where it lies in the picture, but is None instead.")
    return attention_map.geometry


def scaled(values: Float32[np.ndarray, "*grid"]) -> Float[np.ndarray, "*grid"]:
    """The values from 0 (lowest) to 1 (highest); all 0 where they are all the same."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros(values.shape)
    return (values.astype(np.float64) - low) / (high - low)


@cache
def palette() -> UInt8[np.ndarray, "256 4"]:
    """RGBA of 256 steps from the lowest to the highest value, perceptually uniform, ever less transparent."""
    from matplotlib import colormaps  # half a second to import, and only who draws needs it

    steps = np.linspace(0.0, 1.0, 256)
    # without the darkest eighth of inferno: it would only darken the picture where nothing is
    colors = colormaps["inferno"](0.12 + 0.88 * steps)
    colors[:, 3] = _OPACITY * steps**0.8
    table: UInt8[np.ndarray, "256 4"] = np.round(colors * 255).astype(np.uint8)
    table.setflags(write=False)
    return table


def on_gray(colors: UInt8[np.ndarray, "n 4"]) -> UInt8[np.ndarray, "n 3"]:
    """Colors of the palette as they look over a gray picture."""
    alpha = colors[:, 3:].astype(np.float32) / 255
    seen: UInt8[np.ndarray, "n 3"] = np.round(colors[:, :3] * alpha + _BETWEEN * (1 - alpha)).astype(np.uint8)
    return seen


def interpolate(
    values: Float[np.ndarray, "r c"], rows: Float[np.ndarray, " h"], columns: Float[np.ndarray, " w"]
) -> Float[np.ndarray, "h w"]:
    """The smooth surface through the values of a grid, read at the rows and columns given.

    Catmull-Rom cubic, held between the lowest and the highest value: at the center of a cell it is the cell's value.

    Args:
        values: Of the cells.
        rows: Positions in cells: cell i reaches from i to i + 1.
        columns: Likewise.
    """
    down, across = _weights(rows, values.shape[0]), _weights(columns, values.shape[1])
    surface: Float[np.ndarray, "h w"] = np.clip(down @ values @ across.T, values.min(), values.max())
    return surface


def _weights(positions: Float[np.ndarray, " n"], cells: int) -> Float[np.ndarray, "n {cells}"]:
    """How much each cell counts at each position; past the outer centers the outer cell goes on."""
    first = np.floor(positions - 0.5).astype(int)
    t = positions - 0.5 - first
    taps = (
        ((-t + 2) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((-3 * t + 4) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )
    weights = np.zeros((len(positions), cells))
    for offset, tap in enumerate(taps, start=-1):
        np.add.at(weights, (np.arange(len(positions)), np.clip(first + offset, 0, cells - 1)), tap)
    return weights
