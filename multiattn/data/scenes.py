"""Synthetic scenes: two to five simple things on a tinted ground, with a complete description.

Lengths are in pixels, positions are measured from the upper left corner, and a box is `(x0, y0, x1, y1)`.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
from PIL import Image, ImageDraw

SIDE = 64  # width and height of a picture
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = {"small": (5.0, 6.0), "large": (8.5, 10.0)}  # smallest and largest half of the longer side of a thing's box
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
_SHADE = 12  # largest difference of a thing's color from its named color in each channel, of 255
_TURN = 15.0  # largest rotation in degrees: a square must still look like one
_SMOOTH = 4  # pictures are drawn 4 times as large and then reduced, against jagged edges

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
"""The outline of each shape around 0, not rotated; `Thing.points` scales all of them to the same size."""


@dataclass(frozen=True)
class Thing:
    """One thing of a scene."""

    shape: str
    size: str
    color: str
    x: float
    """Center of its box, from the left."""

    y: float
    """Center of its box, from the top."""

    reach: float
    """Half of the longer side of its box."""

    turn: float = 0.0
    """Rotation in degrees, clockwise."""

    shade: tuple[int, int, int] = (0, 0, 0)
    """Difference of its paint from its named color: red, green and blue, of 255."""

    @cached_property
    def points(self) -> Points:
        """The outline in the picture."""
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
        """The smallest box around the thing, to a tenth of a pixel."""
        across, down = zip(*self.points, strict=True)
        return (round(min(across), 1), round(min(down), 1), round(max(across), 1), round(max(down), 1))


@dataclass(frozen=True)
class Scene:
    """The content of a picture."""

    things: tuple[Thing, ...]
    """The things, which do not touch each other."""

    ground: tuple[int, int, int]
    """Mean color of the background: red, green and blue, of 255."""

    grain: int = 0
    """Seed of the background's tint and of the noise."""


def draw_scene(random: Random) -> Scene:
    """Draw a scene of two to five things.

    In half of the scenes most things share a shape or a color: otherwise there would be little to count, and size or
    neighbors would hardly ever be needed to tell two things apart.
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
            things.clear()  # no room is left: begin again
        else:
            things.append(thing)
    light = random.randint(205, 240)
    red, green, blue = (light + random.randint(-12, 12) for _ in range(3))
    return Scene(tuple(things), (red, green, blue), random.getrandbits(32))


def paint(scene: Scene, *, side: int = SIDE) -> Image.Image:
    """Paint the RGB picture of a scene.

    Args:
        scene: The scene.
        side: Width and height of the picture in pixels; the scene is scaled to it.
    """
    scale = side * _SMOOTH / SIDE
    mask = Image.new("L", (side * _SMOOTH, side * _SMOOTH))
    colors = Image.new("RGB", mask.size, scene.ground)
    pens = ImageDraw.Draw(mask), ImageDraw.Draw(colors)
    for thing in scene.things:
        outline = [(x * scale - 0.5, y * scale - 0.5) for x, y in thing.points]  # PIL counts from pixel centers
        red, green, blue = (c + s for c, s in zip(COLORS[thing.color], thing.shade, strict=True))
        pens[0].polygon(outline, fill=255)
        pens[1].polygon(outline, fill=(red, green, blue))
    pixels = np.asarray(colors.reduce(_SMOOTH), np.float32)
    bare = 1 - np.asarray(mask.reduce(_SMOOTH), np.float32)[..., None] / 255
    random = np.random.default_rng(scene.grain)
    tint = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    clouds = bare * (np.asarray(tint, np.float32) - 128) * 0.08  # on the background only
    noise = random.normal(0, 3, pixels.shape)  # like a camera's, on the whole picture
    return Image.fromarray((pixels + clouds + noise).round().clip(0, 255).astype(np.uint8))


def _placed(random: Random, things: list[Thing], *, shape: str, color: str, size: str) -> Thing | None:
    """Place a thing apart from the others; None where no free position was found."""
    reach = random.uniform(*SIZES[size])
    turn = random.uniform(-_TURN, _TURN)
    red, green, blue = (random.randint(-_SHADE, _SHADE) for _ in range(3))
    for _ in range(30):
        edge = reach + _GAP
        x, y = random.uniform(edge, SIDE - edge), random.uniform(edge, SIDE - edge)
        if all(max(abs(x - t.x), abs(y - t.y)) >= reach + t.reach + _GAP for t in things):
            return Thing(shape, size, color, x, y, reach, turn, (red, green, blue))
    return None
