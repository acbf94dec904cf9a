"""A map drawn over its source image. Scale, palette and interpolation are the same for the PNG and the page."""

from functools import cache

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image, ImageEnhance

from ..inputs import Geometry
from ..maps.attention_map import AttentionMap
from .scale import Scale

_OPACITY = 0.88
"""Opacity of the highest value: the image stays visible below it."""

SATURATION = 0.4
"""Saturation of the image below a map, so that its own warm colors are not taken for high values."""

_UNSEEN = 0.3
"""Brightness of what lies outside the model's crop."""

_FRAME = (255, 255, 255)
_BETWEEN = 128


def blend(picture: Image.Image, attention_map: AttentionMap, *, signed: bool | None = None) -> Image.Image:
    """Draw the map over exactly the part of the image that the model saw; the rest is dimmed, outside a thin frame.

    The colors of the image are muted; where `Scale` has no color, the image alone is seen.

    Args:
        picture: The upright source, at its own size or scaled.
        attention_map: A map with the axes (y, x) and a geometry.
        signed: Whether 0 is clear, between two colors; by default where the map has values below 0.

    Returns:
        An RGB image of the same size.

    Raises:
        ValueError: The map has other axes or no geometry, or the image's proportions are not those of the map's source.
    """
    below, seen, surface, scale = _laid_out(picture, attention_map, signed)
    if seen is not None:
        below[seen] = tinted(below[seen], surface, signed=scale.signed)
    return Image.fromarray(np.round(below).astype(np.uint8))


def layers(
    picture: Image.Image, attention_map: AttentionMap, *, signed: bool | None = None
) -> tuple[Image.Image, Image.Image]:
    """Return what `blend` draws as two images: the muted picture (RGB), and the map to lay over it (RGBA).

    Takes and raises what `blend` does. The first is the same for all maps of one geometry.
    """
    below, seen, surface, scale = _laid_out(picture, attention_map, signed)
    over = np.zeros((*below.shape[:2], 4), np.uint8)
    if seen is not None:
        colors = palette(signed=scale.signed)[np.round(np.abs(surface) * 255).astype(int)]
        over[seen] = np.where((surface < 0)[..., None], colors[..., [2, 1, 0, 3]], colors)
    return Image.fromarray(np.round(below).astype(np.uint8)), Image.fromarray(over)


def _laid_out(
    picture: Image.Image, attention_map: AttentionMap, signed: bool | None
) -> tuple[Float32[np.ndarray, "h w 3"], tuple[slice, slice] | None, Float[np.ndarray, "rows columns"], Scale]:
    """The muted picture, dimmed outside the crop; the rows and columns of the crop; the map there as positions."""
    if attention_map.names != ("y", "x"):
        raise ValueError(f"`attention_map` must have the axes ('y', 'x'), but has {attention_map.names} instead.")
    geometry = placed(attention_map)
    width, height = picture.size
    source_height, source_width = geometry.source_size
    # a pixel of tolerance, for the rounding of a scaled size
    if min(abs(width * source_height / source_width - height), abs(height * source_width / source_height - width)) > 1:
        raise ValueError(
            f"`picture` must be the map's source, {source_width} x {source_height} pixels, or a scaled copy of it, "
            f"but is {width} x {height} instead."
        )
    left, top, right, bottom = geometry.source_box()
    # the centers of the pixels, from 0 to 1 across the box
    across = ((np.arange(width) + 0.5) * source_width / width - left) / (right - left)
    down = ((np.arange(height) + 0.5) * source_height / height - top) / (bottom - top)
    columns = np.flatnonzero((across >= 0) & (across < 1))
    rows = np.flatnonzero((down >= 0) & (down < 1))

    pixels = np.asarray(ImageEnhance.Color(picture.convert("RGB")).enhance(SATURATION), dtype=np.float32)
    below = pixels * _UNSEEN
    scale = Scale.of(attention_map.values, signed=signed)
    if not len(rows) or not len(columns):
        return below, None, np.zeros((0, 0)), scale
    values = scale.positions(attention_map.values)
    surface = interpolate(values, down[rows] * values.shape[0], across[columns] * values.shape[1])
    seen = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    below[seen] = pixels[seen]
    _frame(below, *seen)
    return below, seen, surface, scale


def _frame(canvas: Float32[np.ndarray, "h w 3"], down: slice, across: slice) -> None:
    """Draw a line around the crop, outside it, so that it hides nothing of the map."""
    height, width, _ = canvas.shape
    line = max(1, round(max(height, width) / 600))
    above, before = max(0, down.start - line), max(0, across.start - line)
    canvas[above : down.start, before : across.stop + line] = _FRAME
    canvas[down.stop : down.stop + line, before : across.stop + line] = _FRAME
    canvas[above : down.stop + line, before : across.start] = _FRAME
    canvas[above : down.stop + line, across.stop : across.stop + line] = _FRAME


def placed(attention_map: AttentionMap) -> Geometry:
    """Return the geometry of a map over an image.

    Raises:
        ValueError: The map has none.
    """
    if attention_map.geometry is None:
        raise ValueError("`geometry` of the map must say where it lies in the picture, but is None instead.")
    return attention_map.geometry


@cache
def palette(*, signed: bool = False) -> UInt8[np.ndarray, "256 4"]:
    """Return the RGBA of 256 steps from the lowest to the highest value: perceptually uniform, with rising opacity.

    Args:
        signed: Return the half above 0 for a map with values below 0, which begins with red instead of purple. The
            other half has red and blue exchanged.
    """
    from matplotlib import colormaps  # takes half a second to import

    steps = np.linspace(0.0, 1.0, 256)
    # without the darkest eighth of inferno, which would darken the image where the map is low
    first = 0.45 if signed else 0.12
    colors = colormaps["inferno"](first + (1 - first) * steps)
    colors[:, 3] = _OPACITY * steps**0.8
    table: UInt8[np.ndarray, "256 4"] = np.round(colors * 255).astype(np.uint8)
    table.setflags(write=False)
    return table


def tinted(
    pixels: Float32[np.ndarray, "*#grid 3"], positions: Float[np.ndarray, "*grid"], *, signed: bool
) -> Float32[np.ndarray, "*grid 3"]:
    """Return pixels with the palette's color of each position over them: 0 to 1, where signed from -1 on."""
    steps = np.round(np.abs(positions) * 255).astype(int)
    colors = palette(signed=signed)[steps].astype(np.float32)  # [*grid, 4]
    tints = np.where((positions < 0)[..., None], colors[..., 2::-1], colors[..., :3])
    alpha = colors[..., 3:] / 255
    return np.asarray(pixels * (1 - alpha) + tints * alpha)


def scale_on_gray(*, signed: bool = False) -> UInt8[np.ndarray, "256 3"]:
    """Return the colors from the first to the last as they look over gray; those of both halves where signed."""
    positions = np.linspace(-1.0 if signed else 0.0, 1.0, 256)
    return np.round(tinted(np.full(3, _BETWEEN, np.float32), positions, signed=signed)).astype(np.uint8)


def interpolate(
    values: Float[np.ndarray, "r c"], rows: Float[np.ndarray, " h"], columns: Float[np.ndarray, " w"]
) -> Float[np.ndarray, "h w"]:
    """Interpolate the values of a grid at the given rows and columns.

    Catmull-Rom cubic, clipped to the lowest and highest value. At the center of a cell the result is the cell's value.

    Args:
        values: The values of the cells.
        rows: Positions in cells: cell i reaches from i to i + 1.
        columns: Positions in cells.
    """
    down, across = _weights(rows, values.shape[0]), _weights(columns, values.shape[1])
    return np.asarray(np.clip(down @ values @ across.T, values.min(), values.max()))


def _weights(positions: Float[np.ndarray, " n"], cells: int) -> Float[np.ndarray, "n {cells}"]:
    """Return the weight of each cell at each position; beyond the outer centers the outer cell is repeated."""
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
