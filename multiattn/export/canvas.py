"""What all PNG figures share: typeface, colors, a canvas measured in pixels, and lines broken to fit."""

import io
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from PIL import Image

from ..writing import write_bytes

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.backend_bases
    import matplotlib.figure


class Drawing:
    """Takes a figure in place of a file, to write it as a vector graphic or to work on it with matplotlib."""

    def __init__(self) -> None:
        self._figure: matplotlib.figure.Figure | None = None

    @property
    def figure(self) -> "matplotlib.figure.Figure":
        """The figure, once it is drawn."""
        assert self._figure is not None, "nothing was drawn"
        return self._figure

    def take(self, figure: "matplotlib.figure.Figure") -> None:
        """Keep a figure; called by `Canvas.save`."""
        self._figure = figure

    def save(self, path: str | Path, kind: Literal["svg", "pdf"]) -> None:
        """Write the figure as a vector graphic, whole or not at all; missing folders are made.

        Text stays text, to search and to edit; images, with the map over them, stay pixels.

        Args:
            path: The file.
            kind: Its format.
        """
        from matplotlib import rc_context

        # text as text; the same bytes each time
        settings = {"svg.fonttype": "none", "svg.hashsalt": "multiattn", "pdf.fonttype": 42}
        facts = {"Creator": "multiattn", {"svg": "Date", "pdf": "CreationDate"}[kind]: None}
        file = io.BytesIO()
        with _SETTINGS, rc_context(settings), _without_glyph_warnings():  # type: ignore[arg-type]
            self.figure.savefig(file, format=kind, dpi=_DPI, facecolor="white", metadata=facts)
        write_bytes(path, _each_once(file.getvalue()) if kind == "svg" else file.getvalue())


def _each_once(svg: bytes) -> bytes:
    """Define each image of an SVG once, and use it at all its places."""
    found: dict[bytes, bytes] = {}  # name -> the image

    def used(place: re.Match[bytes]) -> bytes:
        element = place[0]
        name, data = (_ATTRIBUTE[key].search(element) for key in ("id", "href"))
        width, height = (_ATTRIBUTE[key].search(element) for key in ("width", "height"))
        assert name and data and width and height
        found[name[1]] = b"<image " + b" ".join(one[0] for one in (name, data, width, height)) + b"/>"
        rest = element[len(b"<image ") :]
        for one in (name, data, width, height):
            rest = rest.replace(one[0], b"")
        return b'<use xlink:href="#' + name[1] + b'" ' + b" ".join(rest.split())

    body = re.sub(rb"<image [^>]*/>", used, svg)
    return body.replace(b"<defs>", b"<defs>" + b"".join(found.values()), 1)


_ATTRIBUTE = {
    "id": re.compile(rb'\bid="([^"]*)"'),
    "href": re.compile(rb'xlink:href="([^"]*)"'),
    "width": re.compile(rb'\bwidth="([^"]*)"'),
    "height": re.compile(rb'\bheight="([^"]*)"'),
}

_SETTINGS = threading.Lock()  # matplotlib's settings are those of the process

PNGFile: TypeAlias = str | Path | io.BufferedIOBase | Drawing
"""Where a picture is written: a path, or an open binary stream; or a `Drawing`, which takes the figure itself."""

INK, SOFT = "#1d2027", "#5f6572"

LONGEST = 1200
"""Pixels of the longer side of an image in a PNG or a page; larger sources are scaled down."""

_DPI = 100
FONT = "DejaVu Sans"  # comes with matplotlib: the same on every machine


class Canvas:
    """A white figure, laid out in whole pixels from its top left corner.

    Args:
        width: The width in pixels.
        height: The height in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        # Without pyplot there is no global state. Imported here because it takes a second.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._width, self._height = width, height
        self._kept: dict[bytes, np.ndarray] = {}  # pictures below others, by their pixels
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        FigureCanvasAgg(self._figure)

    def axes(self, left: int, top: int, width: int, height: int) -> "matplotlib.axes.Axes":
        """Return axes over a part of the figure, in pixels."""
        bottom = self._height - top - height
        return self._figure.add_axes(
            (left / self._width, bottom / self._height, width / self._width, height / self._height)
        )

    def picture(self, picture: Image.Image, left: int, top: int) -> "matplotlib.axes.Axes":
        """Return axes that show a picture pixel for pixel."""
        axes = self.axes(left, top, *picture.size)
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        return axes

    def layered(self, below: Image.Image, over: Image.Image, left: int, top: int) -> "matplotlib.axes.Axes":
        """Return axes that show a picture with another one over it, for a vector graphic.

        A picture that is below several is part of a PDF or SVG once.

        Args:
            below: RGB.
            over: RGBA, of the same size.
            left: Where in the figure, in pixels.
            top: The same.
        """
        from matplotlib.artist import Artist

        pixels = np.asarray(below.convert("RGBA"))[::-1]  # matplotlib draws from the bottom
        kept = self._kept.setdefault(pixels.tobytes(), pixels)

        class Pixels(Artist):
            def draw(self, renderer: "matplotlib.backend_bases.RendererBase") -> None:
                box = axes.get_window_extent()
                renderer.draw_image(renderer.new_gc(), box.x0, box.y0, kept)

        axes = self.axes(left, top, *below.size)
        axes.add_artist(Pixels())
        axes.imshow(over, interpolation="nearest", aspect="auto", zorder=1)
        axes.set_axis_off()
        return axes

    def write(
        self,
        text: str,
        left: int | float,
        top: int | float,
        *,
        size: float,
        weight: str = "normal",
        style: str = "normal",
        color: str = INK,
        align: str = "left",
    ) -> None:
        """Draw a line of text; `left` is the position of its left edge, middle or right edge, as `align` says."""
        font = {"family": FONT, "size": points(size), "weight": weight, "style": style, "color": color}
        x, y = left / self._width, 1 - top / self._height
        # a dollar sign in a label does not begin a formula
        self._figure.text(x, y, text, va="top", ha=align, parse_math=False, fontdict=font)

    def write_lines(
        self,
        lines: Sequence[str],
        left: int | float,
        top: int | float,
        *,
        step: float,
        size: float,
        weight: str = "normal",
        color: str = INK,
    ) -> None:
        """Draw lines of text, `step` pixels apart."""
        for i, line in enumerate(lines):
            self.write(line, left, top + step * i, size=size, weight=weight, color=color)

    def write_boxed(
        self, text: str, left: int | float, top: int | float, *, size: float, color: tuple[float, float, float]
    ) -> None:
        """Draw a line of text on a box of this color, red, green and blue from 0 to 1."""
        box = {"facecolor": color, "edgecolor": "none", "boxstyle": "round,pad=0.25"}
        font = {"family": FONT, "size": points(size), "color": INK}
        x, y = left / self._width, 1 - (top + 0.35 * size) / self._height
        self._figure.text(x, y, text, va="top", ha="left", parse_math=False, fontdict=font, bbox=box)

    def save(self, path: PNGFile) -> None:
        """Write the PNG, whole or not at all; missing folders are made."""
        if isinstance(path, Drawing):
            path.take(self._figure)
            return
        png = io.BytesIO()
        facts, fast = {"Software": "multiattn"}, {"compress_level": 4}  # half the time of level 6, and 6 % more bytes
        with _without_glyph_warnings():
            self._figure.savefig(png, format="png", dpi=_DPI, facecolor="white", metadata=facts, pil_kwargs=fast)
        if isinstance(path, str | Path):
            write_bytes(path, png.getvalue())
        else:
            path.write(png.getvalue())


@contextmanager
def _without_glyph_warnings() -> Iterator[None]:
    """Suppress the warning for each letter that the typeface lacks, such as Chinese, and draws as an empty box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield


def points(pixels: float) -> float:
    """Convert pixels to points, matplotlib's unit for type."""
    return pixels * 72 / _DPI


def width_of(text: str, *, size: float, weight: str = "normal") -> float:
    """Return the width of a line of text, in pixels if `size` is in pixels."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, size=size, weight=weight)
    with _without_glyph_warnings():
        width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def wrap(text: str, room: int, *, size: float, weight: str = "normal") -> list[str]:
    """Break a text into lines of at most `room` pixels; a longer word has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and width_of(f"{lines[-1]} {word}", size=size, weight=weight) <= room:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return lines


def for_display(picture: Image.Image) -> Image.Image:
    """Return the picture in RGB, scaled down if its longer side has more than 1200 pixels."""
    picture = picture.convert("RGB")
    share = LONGEST / max(picture.size)
    return picture if share >= 1 else resized(picture, share)


def resized(picture: Image.Image, share: float) -> Image.Image:
    """Return the picture with its sides multiplied by `share`."""
    width, height = (max(1, round(side * share)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)
