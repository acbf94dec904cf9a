"""A caption as a strip of small pictures: what was looked at for each word, with the word below."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..maps.attention_map import AttentionMap, Axis
from ..maps.dependence import made_up
from .canvas import INK, SOFT, Canvas, resized, width_of, wrap
from .heat import blend, on_grey, palette
from .naming import likelier, origin, title

_CELL = 224
"""Pixels of the longer side of each small picture."""

_ACROSS = 5
"""Most pictures side by side."""

_EM, _GAP, _MARGIN = 14.0, 18, 24  # pixels

_MARKED = "#a8325e"


def strip_png(
    word_map: AttentionMap,
    picture: Image.Image,
    path: str | Path,
    *,
    caption: str | None = None,
    dependence: Sequence[float] | None = None,
) -> None:
    """Write the picture, and for each word of its caption the picture again with the word's map over it.

    Args:
        word_map: Axes (word, y, x), with geometry; the words are its labels.
        picture: The upright source of the map.
        path: Of the PNG; missing folders are made.
        caption: The line above; where None, the method and the sentence.
        dependence: How much each word depended on the picture, in nats, as `picture_dependence` has it. A word that
            did not is drawn in a broken frame, slanted and in brackets.

    Raises:
        ValueError: The map is none of words over a picture, the picture's proportions are not those of the map's
            source, or there are not as many numbers as words.
    """
    labels = word_map.axes[0].labels
    if word_map.names != ("word", "y", "x") or labels is None:
        raise ValueError(
            f"`word_map` must have the axes ('word', 'y', 'x') and its words, but has {word_map.names} instead."
        )
    if dependence is not None and len(dependence) != len(labels):
        raise ValueError(f"`dependence` must have a number for each of {len(labels)} words, but has {len(dependence)}.")
    small = resized(picture.convert("RGB"), _CELL / max(picture.size))
    over = [blend(small, grid) for grid in grids_of(word_map)]
    heading = title(word_map) if caption is None else caption
    canvas = _figure(word_map, small, over, [label.strip() for label in labels], heading, dependence)
    canvas.save(path)


def grids_of(word_map: AttentionMap) -> list[AttentionMap]:
    """The map of each word, axes (y, x), by itself."""
    axes: tuple[Axis, ...] = word_map.axes[1:]
    return [replace(word_map, values=values, axes=axes) for values in word_map.values]


def _figure(
    word_map: AttentionMap,
    plain: Image.Image,
    over: list[Image.Image],
    words: list[str],
    heading: str,
    dependence: Sequence[float] | None,
) -> Canvas:
    width, height = plain.size
    column = max(width, 120)  # a portrait leaves its word some room
    # rows as even as can be
    rows = math.ceil((len(words) + 1) / _ACROSS)
    across = max(3, math.ceil((len(words) + 1) / rows))
    row_height = height + round((4.6 if dependence is not None else 2.6) * _EM)
    room = across * (column + _GAP) - _GAP
    foot = [origin(word_map), word_map.note, "Each word has a scale of its own, from its lowest patch to its highest."]
    if dependence is not None:
        foot[-1] += (
            " × says how much likelier the picture makes the word than its mean colour does. "
            "(A slanted word) in a broken frame is about as likely from that colour alone."
        )
    head = wrap(heading, room, size=1.4 * _EM, weight="bold")
    lines = [line for part in foot for line in wrap(part, room, size=_EM)]
    top = _MARGIN + round((len(head) * 1.9 + 0.4) * _EM)
    bottom = top + rows * row_height
    canvas = Canvas(room + 2 * _MARGIN, bottom + round((2.4 + len(lines) * 1.5) * _EM) + _MARGIN)
    for i, line in enumerate(head):
        canvas.write(line, _MARGIN, _MARGIN + 1.9 * _EM * i, size=1.4 * _EM, weight="bold")
    for i in range(len(words) + 1):
        left = _MARGIN + i % across * (column + _GAP)
        above = top + i // across * row_height
        middle, below = left + column / 2, above + height + 0.55 * _EM
        if i == 0:
            canvas.picture(plain, left + (column - width) // 2, above)
            canvas.write("the picture", middle, below, size=_EM, color=SOFT, align="center")
            continue
        number = None if dependence is None else dependence[i - 1]
        marked = number is not None and made_up(number)
        axes = canvas.picture(over[i - 1], left + (column - width) // 2, above)
        if marked:
            axes.set_axis_on()
            axes.set(xticks=(), yticks=())
            for spine in axes.spines.values():
                spine.set(color=_MARKED, linewidth=2.2, linestyle=(0, (4, 3)))
        word = f"({words[i - 1]})" if marked else words[i - 1]
        style = {"weight": "normal", "style": "italic"} if marked else {"weight": "bold", "style": "normal"}
        size = 1.2 * _EM
        # a long word gets smaller type
        size *= min(1.0, (column + _GAP - 4) / width_of(word, size=size, weight=style["weight"]))
        canvas.write(word, middle, below, size=size, align="center", color=INK, **style)
        if number is not None:
            canvas.write(likelier(number), middle, below + 1.9 * _EM, size=0.9 * _EM, color=SOFT, align="center")
    _scale(canvas, bottom)
    for i, line in enumerate(lines):
        canvas.write(line, _MARGIN, bottom + (2.4 + 1.5 * i) * _EM, size=_EM, color=SOFT)
    return canvas


def _scale(canvas: Canvas, top: int) -> None:
    """The colours from the lowest to the highest, as they are over a grey picture."""
    strip = np.repeat(on_grey(palette())[None], round(_EM), axis=0)  # [h, 256, 3]
    words = (("lowest", _MARGIN), ("highest", _MARGIN + 60 + 256 + 10))
    for text, left in words:
        canvas.write(text, left, top + 0.45 * _EM, size=0.9 * _EM, color=SOFT)
    canvas.picture(Image.fromarray(strip), _MARGIN + 60, top + round(0.4 * _EM))
