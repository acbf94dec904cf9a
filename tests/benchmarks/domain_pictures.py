"""Pictures for the check of the domain: charts, and drawings of other kinds than those of easy-VQA and the scenes."""

import io
import math
from collections.abc import Callable, Iterator
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 64
FINE = 4 * SIDE  # drawn at this size and averaged, for smooth edges
COLORS = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (0, 0, 0),
    (128, 128, 128),
    (0, 128, 128),
    (165, 42, 42),
)


def charts(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Bars, lines, pies, points and histograms, as matplotlib draws them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    for number in range(count):
        random = np.random.default_rng([seed, number])
        figure = Figure(figsize=[(3, 3), (4, 3), (3.5, 2.5)][random.integers(3)], dpi=60 + int(random.integers(60)))
        axes, many = figure.add_subplot(), int(random.integers(3, 7))
        names, values = [chr(65 + i) for i in range(many)], random.uniform(1, 10, many)
        kind = number % 6
        if kind == 0:
            axes.bar(names, values, color=None if random.random() < 0.5 else [f"C{i}" for i in range(many)])
            axes.set_title("sales")
        elif kind == 1:
            for i in range(int(random.integers(1, 4))):
                axes.plot(np.cumsum(random.normal(size=20)), label=f"s{i}")
            axes.legend()
        elif kind == 2:
            axes.pie(values, labels=names)
        elif kind == 3:
            axes.scatter(random.normal(size=30), random.normal(size=30), c=random.integers(0, 3, 30), cmap="brg")
            axes.grid(True)
        elif kind == 4:
            axes.hist(random.normal(size=200), bins=12, color="teal")
        else:
            axes.barh(names, values, color="red")
            axes.set_title("score")
        file = io.BytesIO()
        FigureCanvasAgg(figure).print_png(file)
        yield Image.open(file).convert("RGB")


class Canvas:
    """A light, plain background with a color and a place for something on it, as easy-VQA has them."""

    def __init__(self, random: Random, ground: tuple[int, int, int] | None = None) -> None:
        self.random = random
        self.ground = ground or self.shade(230, 255)
        self.picture = Image.new("RGB", (FINE, FINE), self.ground)
        self.pen = ImageDraw.Draw(self.picture)
        self.color = random.choice(COLORS)
        self.reach = random.uniform(0.12, 0.28) * FINE
        self.x, self.y = (random.uniform(self.reach, FINE - self.reach) for _ in range(2))

    def shade(self, low: int, high: int) -> tuple[int, int, int]:
        return (self.random.randint(low, high), self.random.randint(low, high), self.random.randint(low, high))

    def points(self, *places: tuple[float, float]) -> list[tuple[float, float]]:
        """Points in units of the reach, from the place."""
        return [(self.x + self.reach * x, self.y + self.reach * y) for x, y in places]

    def known(self, pen: ImageDraw.ImageDraw | None = None, **style: object) -> None:
        """Draw a shape that easy-VQA has: a circle, square, rectangle or triangle."""
        pen, kind = pen or self.pen, self.random.choice(("circle", "square", "triangle", "rectangle"))
        wide = 0.6 if kind == "rectangle" else 1
        if kind == "triangle":
            pen.polygon(self.points((0, -1), (-1, 1), (1, 1)), **style)  # type: ignore[arg-type]
        else:
            draw = pen.ellipse if kind == "circle" else pen.rectangle
            draw(self.points((-wide, -1), (wide, 1)), **style)  # type: ignore[arg-type]

    def done(self) -> Image.Image:
        return self.picture.reduce(FINE // SIDE)


def _star(count: int, inner: float) -> list[tuple[float, float]]:
    reaches = [inner if i % 2 and inner < 1 else 1 for i in range(2 * count)]
    return [(r * math.sin(math.pi * i / count), -r * math.cos(math.pi * i / count)) for i, r in enumerate(reaches)]


def _regular(count: int) -> list[tuple[float, float]]:
    return [(math.sin(2 * math.pi * i / count), -math.cos(2 * math.pi * i / count)) for i in range(count)]


def other_shapes(random: Random) -> Image.Image:
    """Stars, polygons, rings, diamonds, arrows, crescents, in easy-VQA's colors and on its backgrounds."""
    c = Canvas(random)
    shapes = {
        "star": _star(5, 0.42),
        "pentagon": _regular(5),
        "hexagon": _regular(6),
        "diamond": [(0, -1), (0.6, 0), (0, 1), (-0.6, 0)],
        "arrow": [(-1, -0.3), (0.2, -0.3), (0.2, -0.8), (1, 0), (0.2, 0.8), (0.2, 0.3), (-1, 0.3)],
    }
    kind = random.choice((*shapes, "ring", "crescent"))
    if kind in shapes:
        c.pen.polygon(c.points(*shapes[kind]), fill=c.color)
    else:
        c.pen.ellipse(c.points((-1, -1), (1, 1)), fill=c.color)
        hole = ((-0.55, -0.55), (0.55, 0.55)) if kind == "ring" else ((-0.4, -1), (1.6, 1))
        c.pen.ellipse(c.points(*hole), fill=c.ground)
    return c.done()


def outlines(random: Random) -> Image.Image:
    """Shapes of easy-VQA, only their outlines."""
    c = Canvas(random)
    c.known(outline=c.color, width=random.randint(4, 14))
    return c.done()


def _gradient(c: Canvas) -> Image.Image:
    start, end = (np.array(c.shade(0, 255), np.float32) for _ in range(2))
    share = np.linspace(0, 1, FINE, dtype=np.float32)[:, None, None]
    return Image.fromarray((start * (1 - share) + end * share).repeat(FINE, 1).round().astype(np.uint8))


def gradient_grounds(random: Random) -> Image.Image:
    """Shapes of easy-VQA on a gradient."""
    c = Canvas(random)
    c.picture.paste(_gradient(c))
    c.known(fill=c.color)
    return c.done()


def _filled(c: Canvas, filling: Image.Image) -> Image.Image:
    mask = Image.new("L", (FINE, FINE))
    c.known(ImageDraw.Draw(mask), fill=255)
    c.picture.paste(filling, (0, 0), mask)
    return c.done()


def gradient_shapes(random: Random) -> Image.Image:
    """Shapes of easy-VQA that are filled with a gradient."""
    c = Canvas(random)
    return _filled(c, _gradient(c))


def striped_shapes(random: Random) -> Image.Image:
    """Shapes of easy-VQA that are striped."""
    c, width = Canvas(random), random.randint(12, 32)
    stripes = Image.new("RGB", (FINE, FINE), c.ground)
    for x in range(0, FINE, 2 * width):
        ImageDraw.Draw(stripes).rectangle((x, 0, x + width, FINE), fill=c.color)
    return _filled(c, stripes.rotate(random.uniform(0, 90)))


def dark_grounds(random: Random) -> Image.Image:
    """Shapes of easy-VQA on a dark background."""
    c = Canvas(random, tuple(random.randint(0, 110) for _ in range(3)))  # type: ignore[arg-type]
    c.known(fill=c.color)
    return c.done()


def vivid_grounds(random: Random) -> Image.Image:
    """Shapes of easy-VQA on an orange, blue, pink, green or brown background."""
    grounds = ((255, 120, 0), (0, 160, 255), (255, 0, 200), (120, 200, 40), (200, 160, 90))
    c = Canvas(random, random.choice(grounds))
    c.known(fill=c.color)
    return c.done()


def crowds(random: Random) -> Image.Image:
    """Eight to sixteen small shapes, one over the other."""
    c = Canvas(random)
    for _ in range(random.randint(8, 16)):
        c.reach = random.uniform(0.04, 0.12) * FINE
        c.x, c.y = (random.uniform(c.reach, FINE - c.reach) for _ in range(2))
        c.known(fill=random.choice(COLORS))
    return c.done()


def texts(random: Random) -> Image.Image:
    """Two to five letters and digits."""
    c = Canvas(random)
    text = "".join(random.choice("ABCDEFGHKMNRSTXZ23456789") for _ in range(random.randint(2, 5)))
    font = ImageFont.load_default(size=int(random.uniform(0.2, 0.5) * FINE))
    c.pen.text((FINE * 0.08, random.uniform(0.1, 0.4) * FINE), text, fill=c.color, font=font)
    return c.done()


def line_drawings(random: Random) -> Image.Image:
    """A house or a stick figure, in lines."""
    c, width = Canvas(random), random.randint(4, 8)
    c.reach, c.x, c.y = 0.35 * FINE, random.uniform(0.42, 0.58) * FINE, 0.5 * FINE
    style = {"fill": c.color, "width": width}
    if random.random() < 0.5:
        c.pen.rectangle(c.points((-0.7, -0.1), (0.7, 1)), outline=c.color, width=width)
        c.pen.rectangle(c.points((-0.15, 0.4), (0.15, 1)), outline=c.color, width=width)
        c.pen.line(c.points((-0.7, -0.1), (0, -0.9), (0.7, -0.1)), **style)
    else:
        c.pen.ellipse(c.points((-0.25, -1), (0.25, -0.5)), outline=c.color, width=width)
        for line in (((0, -0.5), (0, 0.3)), ((-0.7, -0.2), (0.7, -0.2)), ((-0.5, 1), (0, 0.3), (0.5, 1))):
            c.pen.line(c.points(*line), **style)
    return c.done()


DRAWINGS: dict[str, Callable[[Random], Image.Image]] = {
    drawing.__name__.replace("_", " "): drawing
    for drawing in (
        outlines,
        line_drawings,
        texts,
        crowds,
        striped_shapes,
        gradient_grounds,
        dark_grounds,
        vivid_grounds,
        gradient_shapes,
        other_shapes,
    )
}
"""Kinds of drawings that are no easy-VQA, each farther from it than the next, more or less."""
