"""What `make_inputs.py` draws with: smooth outlines, round shading and soft light on top of PIL.

Lengths are pixels of the finished picture; everything is drawn four times as large and scaled down, which smooths it.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

SCALE = 4
Points = Sequence[tuple[float, float]]


def rgb(color: str) -> np.ndarray:
    return np.array(ImageColor.getrgb(color), np.float32)


def outline(text: str) -> list[tuple[float, float]]:
    """The points of a text such as "12,30 40.5,7"."""
    return [(float(x), float(y)) for x, y in (point.split(",") for point in text.split())]


def smooth(points: Points) -> list[tuple[float, float]]:
    """A closed curve through the points (Catmull-Rom)."""
    p = np.array(points, float)
    t = np.linspace(0, 1, 24, endpoint=False)[:, None]
    curve = []
    for a, b, c, d in zip(np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0), strict=True):
        curve.append(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return [(float(x), float(y)) for x, y in np.concatenate(curve)]


def slope(mask: Image.Image, radius: float) -> np.ndarray:
    """How far the blurred mask faces the light, 1 finished pixel a value; in floats, for 8 bits would show as bands."""
    size = (mask.width // SCALE, mask.height // SCALE)
    height = np.asarray(mask.resize(size, Image.Resampling.BOX), np.float32) / 255
    reach = math.ceil(3 * radius)
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * radius**2))
    for axis in (0, 1):
        height = np.apply_along_axis(lambda line: np.convolve(line, bell / bell.sum())[reach:-reach], axis, height)
    down, right = np.gradient(height)
    return ((0.55 * right + 0.83 * down) * radius).astype(np.float32)  # of a sharp edge at most 0.4


class Canvas:
    """A picture on which shapes (masks) are painted with gradients, round shading and soft light."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width * SCALE, height * SCALE)
        self.image = Image.new("RGB", self.size)

    def blank(self) -> Image.Image:
        return Image.new("L", self.size)

    def polygon(self, points: Points) -> Image.Image:
        mask = self.blank()
        ImageDraw.Draw(mask).polygon([(x * SCALE, y * SCALE) for x, y in points], fill=255)
        return mask

    def shape(self, text: str) -> Image.Image:
        return self.polygon(outline(text))

    def curve(self, text: str) -> Image.Image:
        return self.polygon(smooth(outline(text)))

    def ellipse(self, x: float, y: float, rx: float, ry: float) -> Image.Image:
        mask = self.blank()
        ImageDraw.Draw(mask).ellipse([value * SCALE for value in (x - rx, y - ry, x + rx, y + ry)], fill=255)
        return mask

    def box(self, left: float, top: float, right: float, bottom: float, radius: float = 0) -> Image.Image:
        mask = self.blank()
        corners = [value * SCALE for value in (left, top, right, bottom)]
        ImageDraw.Draw(mask).rounded_rectangle(corners, radius * SCALE, fill=255)
        return mask

    def line(self, points: Points, width: float) -> Image.Image:
        mask = self.blank()
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        ImageDraw.Draw(mask).line(scaled, fill=255, width=round(width * SCALE), joint="curve")
        for x, y in scaled:
            r = width * SCALE / 2
            ImageDraw.Draw(mask).ellipse((x - r, y - r, x + r, y + r), fill=255)
        return mask

    def paint(
        self, mask: Image.Image, top: str, bottom: str | None = None, *, roundness: float = 0, opacity: float = 1
    ) -> None:
        """Fill a mask from `top` to `bottom`; `roundness` (pixels) lights it from the upper left as if it bulged."""
        bounds = mask.getbbox()
        if bounds is None:
            return
        alpha = mask.crop(bounds)
        share = np.linspace(0, 1, alpha.height, dtype=np.float32)[:, None, None]
        fill = (1 - share) * rgb(top) + share * rgb(bottom or top)  # [h, 1, 3]
        fill = np.broadcast_to(fill, (alpha.height, alpha.width, 3)).copy()
        if roundness:
            light = Image.fromarray(slope(mask, roundness)).resize(self.size, Image.Resampling.BICUBIC).crop(bounds)
            light = np.asarray(light)[:, :, None]
            fill += np.where(light > 0, 255 - fill, fill) * np.clip(light * 1.7, -0.65, 0.6)
        self.image.paste(
            Image.fromarray(np.clip(fill, 0, 255).astype(np.uint8)), bounds[:2], alpha.point(lambda v: int(v * opacity))
        )

    def glow(self, mask: Image.Image, color: str, blur: float, opacity: float = 1) -> None:
        """Paint a mask without an edge: light, a shadow, haze."""
        soft = mask.filter(ImageFilter.GaussianBlur(blur * SCALE)).point(lambda v: int(v * opacity))
        self.image.paste(ImageColor.getrgb(color), (0, 0), soft)

    def background(self, stops: Sequence[tuple[float, str]]) -> None:
        """strs from the top (0) to the bottom (1)."""
        at = np.linspace(0, 1, self.size[1])
        places, colors = [place for place, _ in stops], np.stack([rgb(color) for _, color in stops])
        column = np.stack([np.interp(at, places, colors[:, channel]) for channel in range(3)], axis=1)
        self.image = Image.fromarray(column.astype(np.uint8)[:, None]).resize(self.size)

    def cloud(self, x: float, y: float, size: float, seed: int, opacity: float = 0.9) -> None:
        """A heap of soft balls, shaded below."""
        random = np.random.default_rng(seed)
        for color, lift, share in (("#b9cbe0", 0.10, 0.8), ("#ffffff", -0.04, 1.0)):
            heap = self.blank()
            for across in np.linspace(-1, 1, 9):
                radius = size * (0.20 + 0.26 * (1 - across**2)) * random.uniform(0.75, 1.15)
                ball = self.ellipse(x + across * size, y - radius * 0.55 + lift * size, radius * 1.15, radius * 0.8)
                heap = ImageChops.lighter(heap, ball)
            self.glow(heap, color, size * 0.07, opacity * share)

    def finish(self) -> Image.Image:
        return self.image.resize((self.size[0] // SCALE, self.size[1] // SCALE), Image.Resampling.LANCZOS)
