"""The maps of words as PNG: small copies of the image, each with the map of a word over it and the word below."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ..checks import check_one_each
from ..maps import AttentionMap, Axis, ungrounded
from .canvas import INK, SOFT, Canvas, Drawing, PNGFile, resized, width_of, wrap
from .heatmap import blend, layers, scale_on_gray
from .naming import likelier, origin, readable, title
from .scale import OWN_SCALE, Scale, times

_CELL = 224
"""Pixels of the longer side of each copy."""

_ACROSS = 5
"""The most copies side by side."""

_EM, _GAP, _MARGIN = 14.0, 18, 24  # pixels

_MARKED = "#a8325e"
_LINES = {"solid": "solid", "broken": (0, (4, 3))}

_OWN_SCALE = f"{OWN_SCALE.format('word')} × even is how many times the even share of the patches its highest patch has."


@dataclass(frozen=True)
class _Cell:
    """A copy of the image with a word."""

    over: Image.Image
    """The image with the map over it; the map alone, RGBA, where there is an image below."""

    word: str
    """The text below."""

    weight: str = "bold"
    """The weight of the text: `bold` or `normal`."""

    style: str = "normal"
    """The style of the text: `normal` or `italic`."""

    frame: str = ""
    """The line around the image: `solid`, `broken`, or none."""

    fact: str = ""
    """A second line of text."""

    below: Image.Image | None = None
    """The image below the map, in a vector graphic."""


def strip_png(
    word_map: AttentionMap,
    picture: Image.Image,
    path: PNGFile,
    *,
    caption: str | None = None,
    image_dependence: Sequence[float] | None = None,
    remarks: Sequence[str] = (),
) -> None:
    """Write the image, and for each word of its caption the image again with the map of the word over it.

    Args:
        word_map: A map with the axes (word, y, x), whose labels are the words, and a geometry.
        picture: The upright source of the map.
        path: The PNG file, whose missing folders are made, or a stream.
        caption: The line above; by default the method and the caption.
        image_dependence: How much each word depended on the image, in nats, from `measure_image_dependence`. An
            ungrounded word is drawn in a broken frame, slanted and in brackets.
        remarks: Lines at the foot, such as the verdict on the map.

    Raises:
        ValueError: The map has other axes or no geometry, the image's proportions are not those of the map's source,
            or `image_dependence` does not have a number for each word.
    """
    labels = _words_of(word_map, "word_map")
    check_one_each(len(labels), "words", image_dependence=image_dependence)
    small = _small(picture)
    cells = _cells(word_map, small, labels, layered=isinstance(path, Drawing))
    foot = [origin(word_map), word_map.note, _OWN_SCALE]
    if image_dependence is not None:
        cells = [_with_dependence(cell, number) for cell, number in zip(cells, image_dependence, strict=True)]
        foot[-1] += (
            " × likelier is how many times likelier the word is with the picture than with its mean color instead. "
            "(A slanted word) in a broken frame is about as likely with that color."
        )
    _figure(
        small, cells, title(word_map) if caption is None else caption, [*foot, *remarks], signed=word_map.is_signed
    ).save(path)


def question_png(
    question_map: AttentionMap,
    answer_map: AttentionMap,
    picture: Image.Image,
    path: PNGFile,
    *,
    caption: str | None = None,
    remarks: Sequence[str] = (),
) -> None:
    """Write the image, and the image again for each word of a question and of its answer, with their maps.

    Args:
        question_map: A map with the axes (word, y, x), whose labels are the words, and a geometry.
        answer_map: The same for the answer, whose words are drawn with an arrow and a frame.
        picture: The upright source of the maps.
        path: The PNG file, whose missing folders are made, or a stream.
        caption: The line above; by default the question, the answer and the method.
        remarks: Lines at the foot, such as the verdict on the map.

    Raises:
        ValueError: A map has other axes or no geometry, or the image's proportions are not those of the maps' source.
    """
    asked, answered = _words_of(question_map, "question_map"), _words_of(answer_map, "answer_map")
    small, layered = _small(picture), isinstance(path, Drawing)
    cells = [
        *(replace(cell, weight="normal") for cell in _cells(question_map, small, asked, layered=layered)),
        *(
            replace(cell, word=f"→ {cell.word}", frame="solid")
            for cell in _cells(answer_map, small, answered, layered=layered)
        ),
    ]
    foot = []
    for name, one in (("The question", question_map), ("The answer", answer_map)):
        foot += [f"{name}: {origin(one)}", one.note]
    if caption is None:
        said = ("".join(one.axes[0].labels or ()).strip() for one in (question_map, answer_map))
        caption = f"{' → '.join(said)} · {readable(question_map.method)}"
    signed = question_map.is_signed or answer_map.is_signed
    _figure(small, cells, caption, [*foot, _OWN_SCALE, *remarks], signed=signed).save(path)


def grids_of(word_map: AttentionMap) -> list[AttentionMap]:
    """Return a map with the axes (y, x) for each word."""
    axes: tuple[Axis, ...] = word_map.axes[1:]
    return [replace(word_map, values=values, axes=axes) for values in word_map.values]


def _words_of(word_map: AttentionMap, argument: str) -> list[str]:
    labels = word_map.axes[0].labels
    if word_map.names != ("word", "y", "x") or labels is None:
        raise ValueError(
            f"`{argument}` must have the axes ('word', 'y', 'x') and its words, but has {word_map.names} instead."
        )
    return [label.strip() for label in labels]


def _small(picture: Image.Image) -> Image.Image:
    return resized(picture.convert("RGB"), _CELL / max(picture.size))


def _cells(word_map: AttentionMap, small: Image.Image, words: Sequence[str], *, layered: bool) -> list[_Cell]:
    signed = word_map.is_signed  # one kind of scale for all words
    cells = []
    for grid, word in zip(grids_of(word_map), words, strict=True):
        below, over = layers(small, grid, signed=signed) if layered else (None, blend(small, grid, signed=signed))
        cells.append(_Cell(over, word, fact=_highest(Scale.of(grid.values, signed=signed)), below=below))
    return cells


def _highest(scale: Scale) -> str:
    return "flat" if scale.flat else f"to {times(scale.ends[1])} even"


def _with_dependence(cell: _Cell, image_dependence: float) -> _Cell:
    """Return the cell with how much its word depends on the image."""
    fact = f"{likelier(image_dependence)} likelier · {cell.fact}"
    if not ungrounded(image_dependence):
        return replace(cell, fact=fact)
    return replace(cell, word=f"({cell.word})", weight="normal", style="italic", frame="broken", fact=fact)


def _figure(plain: Image.Image, cells: Sequence[_Cell], heading: str, foot: Sequence[str], *, signed: bool) -> Canvas:
    width, height = plain.size
    column = max(width, 120)  # below a narrow image a word needs more room
    rows = math.ceil((len(cells) + 1) / _ACROSS)
    across = max(3, math.ceil((len(cells) + 1) / rows))  # rows of about the same length
    row_height = height + round(4.6 * _EM)
    room = across * (column + _GAP) - _GAP
    head = wrap(heading, room, size=1.4 * _EM, weight="bold")
    lines = [line for part in foot for line in wrap(part, room, size=_EM)]
    top = _MARGIN + round((len(head) * 1.9 + 0.4) * _EM)
    bottom = top + rows * row_height
    canvas = Canvas(room + 2 * _MARGIN, bottom + round((2.4 + len(lines) * 1.5) * _EM) + _MARGIN)
    canvas.write_lines(head, _MARGIN, _MARGIN, step=1.9 * _EM, size=1.4 * _EM, weight="bold")
    for i, cell in enumerate([None, *cells]):
        left = _MARGIN + i % across * (column + _GAP)
        above = top + i // across * row_height
        middle, below = left + column / 2, above + height + 0.55 * _EM
        inner = left + (column - width) // 2
        if cell is not None and cell.below is not None:
            axes = canvas.layered(cell.below, cell.over, inner, above)
        else:
            axes = canvas.picture(cell.over if cell else plain, inner, above)
        if cell is None:
            canvas.write("the picture", middle, below, size=_EM, color=SOFT, align="center")
            continue
        if cell.frame:
            axes.set_axis_on()
            axes.set(xticks=(), yticks=())
            for spine in axes.spines.values():
                spine.set(color=_MARKED, linewidth=2.2, linestyle=_LINES[cell.frame])
        size = 1.2 * _EM
        # a long word has smaller type
        size *= min(1.0, (column + _GAP - 4) / width_of(cell.word, size=size, weight=cell.weight))
        canvas.write(
            cell.word, middle, below, size=size, weight=cell.weight, style=cell.style, color=INK, align="center"
        )
        size = 0.9 * _EM
        size *= min(1.0, (column + _GAP - 4) / width_of(cell.fact, size=size))
        canvas.write(cell.fact, middle, below + 1.9 * _EM, size=size, color=SOFT, align="center")
    _scale(canvas, bottom, signed=signed)
    canvas.write_lines(lines, _MARGIN, bottom + 2.4 * _EM, step=1.5 * _EM, size=_EM, color=SOFT)
    return canvas


def _scale(canvas: Canvas, top: int, *, signed: bool) -> None:
    """Draw the colors from the lowest to the highest value, as they look over gray."""
    strip = np.repeat(scale_on_gray(signed=signed)[None], round(_EM), axis=0)  # [h, 256, 3]
    words = (("lowest", _MARGIN), ("highest", _MARGIN + 60 + 256 + 10))
    for text, left in words:
        canvas.write(text, left, top + 0.45 * _EM, size=0.9 * _EM, color=SOFT)
    canvas.picture(Image.fromarray(strip), _MARGIN + 60, top + round(0.4 * _EM))
