"""Scenes of our own drawing: two to five simple things on a tinted ground, of which everything is known.

Lengths are pixels, places are measured from the upper left corner, and a box is `(x0, y0, x1, y1)`.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
from PIL import Image, ImageDraw

SIDE = 64  # of a picture
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = {"small": (5.0, 6.0), "large": (8.5, 10.0)}  # half of the longer side of a thing's box
COLORS = {
    "red": (215, 45, 45),
    "green": (50, 160, 65),
    "blue": (45, 85, 215),
    "yellow": (238, 205, 40),
    "purple": (150, 60, 175),
    "gray": (130, 130, 130),
    "black": (28, 28, 28),
}
_GAP = 2.0  # between two things, and between a thing and the edge
_SHADE = 12  # how far a thing's color lies from its name's, a channel, of 255
_TURN = 15.0  # degrees that a thing is turned by at most, so that a square stays one
_SMOOTH = 4  # drawn that much larger, which anti-aliases

Points = tuple[tuple[float, float], ...]
_ARM = 0.34  # half the width of a cross's arm
OUTLINES: dict[str, Points] = {
    "circle": tuple((math.cos(k * math.pi / 16), math.sin(k * math.pi / 16)) for k in range(32)),
    "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "triangle": ((0, -1), (1, 0.75), (-1, 0.75)),
    "cross": (
        *((-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)),
        *((_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM)),
    ),
}
"""Each shape with its middle at 0, not turned; `Thing.points` makes all of them equally large."""


@dataclass(frozen=True)
class Thing:
    """One thing of a scene."""

    shape: str
    size: str
    color: str
    x: float
    """Middle of its box, from the left."""

    y: float
    """Middle of its box, from the top."""

    reach: float
    """Half of the longer side of its box."""

    turn: float = 0.0
    """Degrees, clockwise."""

    shade: tuple[int, int, int] = (0, 0, 0)
    """What its paint has more than its color's name says, red, green and blue of 255."""

    @cached_property
    def points(self) -> Points:
        """Its outline in the picture."""
        turn = math.radians(self.turn)
        a, b = math.cos(turn), math.sin(turn)
        turned = [(a * x - b * y, b * x + a * y) for x, y in OUTLINES[self.shape]]
        left, right = min(x for x, _ in turned), max(x for x, _ in turned)
        top, bottom = min(y for _, y in turned), max(y for _, y in turned)
        scale = 2 * self.reach / max(right - left, bottom - top)
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        return tuple((self.x + scale * (x - middle_x), self.y + scale * (y - middle_y)) for x, y in turned)

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """The smallest box around it, to a tenth of a pixel."""
        across, down = zip(*self.points, strict=True)
        return (round(min(across), 1), round(min(down), 1), round(max(across), 1), round(max(down), 1))


@dataclass(frozen=True)
class Scene:
    """What is in a picture."""

    things: tuple[Thing, ...]
    """They do not touch."""

    ground: tuple[int, int, int]
    """Mean color of what lies behind them, red, green and blue of 255."""

    grain: int = 0
    """Seed of the ground's tint and noise."""


def draw_scene(random: Random) -> Scene:
    """A scene of two to five things, any of whose looks may be the same.

    Half of the scenes have a shape or a color that most of their things share; else there were hardly anything to
    count, and hardly a size or a neighbor needed to tell two things apart.
    """
    number = random.choice((2, 3, 3, 4, 4, 5, 5, 5))
    shared = random.choice(("shape", "color", "", ""))
    shape, color = random.choice(SHAPES), random.choice(tuple(COLORS))
    things: list[Thing] = []
    while len(things) < number:
        same = random.random() < 0.85
        size = random.choice(tuple(SIZES))
        thing = _placed(
            random,
            things,
            shape=shape if same and shared == "shape" else random.choice(SHAPES),
            color=color if same and shared == "color" else random.choice(tuple(COLORS)),
            size=size,
        )
        if thing is None:
            things.clear()  # those that are there leave no room: begin again
        else:
            things.append(thing)
    light = random.randint(205, 240)
    red, green, blue = (light + random.randint(-12, 12) for _ in range(3))
    return Scene(tuple(things), (red, green, blue), random.getrandbits(32))


def paint(scene: Scene, *, side: int = SIDE) -> Image.Image:
    """The picture of a scene, RGB.

    Args:
        scene: What to paint.
        side: Of the picture, in pixels; the scene grows with it.
    """
    scale = side * _SMOOTH / SIDE
    mask = Image.new("L", (side * _SMOOTH, side * _SMOOTH))
    colors = Image.new("RGB", mask.size, scene.ground)
    pens = ImageDraw.Draw(mask), ImageDraw.Draw(colors)
    for thing in scene.things:
        outline = [(x * scale - 0.5, y * scale - 0.5) for x, y in thing.points]  # a pixel's middle is its place
        red, green, blue = (c + s for c, s in zip(COLORS[thing.color], thing.shade, strict=True))
        pens[0].polygon(outline, fill=255)
        pens[1].polygon(outline, fill=(red, green, blue))
    pixels = np.asarray(colors.reduce(_SMOOTH), np.float32)
    bare = 1 - np.asarray(mask.reduce(_SMOOTH), np.float32)[..., None] / 255
    random = np.random.default_rng(scene.grain)
    tint = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    clouds = bare * (np.asarray(tint, np.float32) - 128) * 0.08  # behind the things
    noise = random.normal(0, 3, pixels.shape)  # of a camera, over everything
    return Image.fromarray((pixels + clouds + noise).round().clip(0, 255).astype(np.uint8))


def _placed(random: Random, things: list[Thing], *, shape: str, color: str, size: str) -> Thing | None:
    """A thing where none of the others is, or `None` where no such place was found."""
    reach = random.uniform(*SIZES[size])
    turn = random.uniform(-_TURN, _TURN)
    red, green, blue = (random.randint(-_SHADE, _SHADE) for _ in range(3))
    for _ in range(30):
        edge = reach + _GAP
        x, y = random.uniform(edge, SIDE - edge), random.uniform(edge, SIDE - edge)
        if all(max(abs(x - t.x), abs(y - t.y)) >= reach + t.reach + _GAP for t in things):
            return Thing(shape, size, color, x, y, reach, turn, (red, green, blue))
    return None
