"""Draw the sample pictures in `assets/inputs/`: our own work, so that they can be shipped and shown anywhere.

Run from the root of the checkout; the same pictures come out every time:

    python tests/make_inputs.py [FOLDER]

Lengths are pixels of the finished picture; everything is drawn four times as large and scaled down, which smooths it.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SCALE = 4
Colour = str | tuple[int, int, int]
Points = Sequence[tuple[float, float]]


def rgb(colour: Colour) -> np.ndarray:
    values = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) if isinstance(colour, str) else colour
    return np.array(values, np.float32)


def smooth(points: Points, steps: int = 16) -> list[tuple[float, float]]:
    """A closed curve through the points (Catmull-Rom)."""
    p = np.array(points, float)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
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
    return ((0.55 * right + 0.83 * down) * radius).astype(np.float32)  # a step blurred so climbs by at most 0.4


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

    def ellipse(self, x: float, y: float, rx: float, ry: float, angle: float = 0) -> Image.Image:
        turn = np.linspace(0, 2 * math.pi, 90, endpoint=False)
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        u, v = rx * np.cos(turn), ry * np.sin(turn)
        return self.polygon(list(zip(x + c * u - s * v, y + s * u + c * v, strict=True)))

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
        self, mask: Image.Image, top: Colour, bottom: Colour | None = None, *, roundness: float = 0, opacity: float = 1
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

    def glow(self, mask: Image.Image, colour: Colour, blur: float, opacity: float = 1) -> None:
        """Paint a mask without an edge: light, a shadow, haze."""
        self.paint_flat(mask.filter(ImageFilter.GaussianBlur(blur * SCALE)), colour, opacity)

    def paint_flat(self, mask: Image.Image, colour: Colour, opacity: float = 1) -> None:
        self.image.paste(tuple(int(v) for v in rgb(colour)), (0, 0), mask.point(lambda v: int(v * opacity)))

    def background(self, stops: Sequence[tuple[float, Colour]]) -> None:
        """Colours from the top (0) to the bottom (1)."""
        at = np.linspace(0, 1, self.size[1])
        places, colours = [place for place, _ in stops], np.stack([rgb(colour) for _, colour in stops])
        column = np.stack([np.interp(at, places, colours[:, channel]) for channel in range(3)], axis=1)
        self.image = Image.fromarray(column.astype(np.uint8)[:, None]).resize(self.size)

    def cloud(self, x: float, y: float, size: float, seed: int, opacity: float = 0.9) -> None:
        """A heap of soft balls, shaded below."""
        random = np.random.default_rng(seed)
        for colour, lift, share in (("#b9cbe0", 0.10, 0.8), ("#ffffff", -0.04, 1.0)):
            heap = self.blank()
            for across in np.linspace(-1, 1, 9):
                radius = size * (0.20 + 0.26 * (1 - across**2)) * random.uniform(0.75, 1.15)
                ball = self.ellipse(x + across * size, y - radius * 0.55 + lift * size, radius * 1.15, radius * 0.8)
                heap = ImageChops.lighter(heap, ball)
            self.glow(heap, colour, size * 0.07, opacity * share)

    def finish(self) -> Image.Image:
        return self.image.resize((self.size[0] // SCALE, self.size[1] // SCALE), Image.Resampling.LANCZOS)


def ship() -> Image.Image:
    """A passenger ship on a calm sea; landscape, 480 x 320."""
    c = Canvas(480, 320)
    c.background(
        [(0, "#3f86c9"), (0.35, "#8fc3e8"), (0.598, "#e9f1ee"), (0.602, "#5f9bb8"), (0.7, "#2f7299"), (1, "#0e3d5f")]
    )
    c.glow(c.ellipse(392, 70, 70, 60), "#fff6d8", 36, 0.55)
    c.cloud(92, 74, 56, 3)
    c.cloud(420, 120, 44, 5, 0.75)
    c.glow(c.polygon([(0, 192), (0, 178), (60, 170), (130, 182), (190, 192)]), "#7f9fb4", 2, 0.7)  # a coast far away
    hull = smooth(
        [
            (62, 180),
            (70, 188),
            (84, 222),
            (110, 228),
            (360, 228),
            (396, 226),
            (432, 174),
            (424, 176),
            (390, 184),
            (200, 186),
        ]
    )
    sea = c.image.copy()
    c.paint(c.box(120, 150, 372, 190, 5), "#ffffff", "#dfe6ec", roundness=4)
    c.paint(c.box(142, 128, 340, 152, 5), "#ffffff", "#e6ecf1", roundness=4)
    c.paint(c.box(170, 108, 330, 130, 5), "#ffffff", "#e9eef3", roundness=4)
    c.paint(c.polygon([(296, 108), (300, 92), (342, 92), (352, 108)]), "#f6f9fb", "#dde5ec", roundness=3)
    for left, deck, right in ((130, 160, 364), (150, 136, 334), (178, 115, 322)):
        for x in range(left, right - 6, 13):
            c.paint(c.box(x, deck, x + 8, deck + 7, 2), "#27506e", "#4f86a8")
    c.paint(c.box(303, 96, 340, 101, 2), "#1d4058", "#44779a")
    for x in (204, 248):
        c.paint(c.polygon([(x, 110), (x + 4, 70), (x + 28, 70), (x + 30, 110)]), "#e2573a", "#b7341f", roundness=6)
        c.paint(c.polygon([(x + 4, 78), (x + 4, 68), (x + 28, 68), (x + 28.5, 78)]), "#2a3138", "#1a1f24", roundness=4)
    c.paint(c.line([(318, 92), (318, 54)], 2), "#eef2f5")
    c.paint(c.line([(308, 66), (328, 66)], 1.5), "#eef2f5")
    body = c.polygon(hull)
    c.paint(body, "#24466b", "#11263f", roundness=9)
    c.paint(ImageChops.multiply(body, c.box(0, 215, 480, 240)), "#b13a2c", "#7d2118", roundness=3)
    c.paint(ImageChops.multiply(body, c.box(0, 176, 480, 187)), "#f4f7f9", "#ccd6de")
    for x in range(112, 380, 22):
        c.paint(c.ellipse(x, 201, 3, 3), "#9fc4dc", "#d7e9f3")
    # what stands above the water, mirrored in it and blurred
    above = c.image.crop((0, 60 * SCALE, c.size[0], 227 * SCALE)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    above = above.resize((above.width, 80 * SCALE)).filter(ImageFilter.GaussianBlur(3 * SCALE))
    there = ImageChops.difference(c.image, sea).convert("L").point(lambda v: 255 if v > 6 else 0)
    there = there.crop((0, 60 * SCALE, c.size[0], 227 * SCALE)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    there = there.resize(above.size).filter(ImageFilter.GaussianBlur(4 * SCALE)).point(lambda v: int(v * 0.42))
    c.image.paste(above, (0, 227 * SCALE), there)
    random = np.random.default_rng(7)
    for nearness in np.linspace(0.05, 1, 7).tolist():
        for colour in ("#d6ebf3", "#0f4668"):
            waves = c.blank()
            for x, y in zip(random.uniform(0, 480, 13), random.uniform(-8, 8, 13), strict=True):
                y += 198 + 118 * nearness**1.4
                if y > 226 or not 66 < x < 436:
                    long = random.uniform(3, 6 + 28 * nearness)
                    waves = ImageChops.lighter(waves, c.ellipse(x, y, long, 0.6 + 1.1 * nearness))
            c.glow(waves, colour, 0.6 + nearness, 0.4)
    c.glow(c.ellipse(250, 228, 176, 2.2), "#ffffff", 1.6, 0.8)
    c.glow(c.ellipse(404, 228, 26, 4), "#ffffff", 3, 0.8)
    return c.finish()


def airplane() -> Image.Image:
    """An airliner that climbs above clouds; landscape, 448 x 336."""
    c = Canvas(448, 336)
    c.background([(0, "#2f79c8"), (0.55, "#7fb8ea"), (1, "#dceffb")])
    c.glow(c.ellipse(70, 40, 90, 60), "#ffffff", 46, 0.35)
    c.cloud(340, 306, 96, 11)
    c.cloud(96, 318, 110, 2)
    c.cloud(62, 112, 34, 4, 0.6)
    turn, centre = math.radians(-11), (224, 168)

    def placed(points: Points) -> list[tuple[float, float]]:
        co, si = math.cos(turn), math.sin(turn)
        return [
            (centre[0] + co * (x - 224) - si * (y - 168), centre[1] + si * (x - 224) + co * (y - 168))
            for x, y in points
        ]

    c.paint(c.polygon(placed([(238, 160), (276, 162), (212, 92), (196, 90)])), "#9fb3c6", "#d4dfe9")  # the far wing
    c.paint(c.polygon(placed([(86, 160), (108, 158), (70, 128), (60, 128)])), "#a9bccd", "#cfdbe6")
    c.paint(
        c.polygon(placed([(64, 158), (128, 148), (84, 82), (60, 80)])), "#1f5fae", "#2f86d6", roundness=7
    )  # the fin
    c.paint(c.polygon(placed([(62, 110), (103, 110), (98, 101), (61.5, 101)])), "#f2b233", "#f2b233")
    hull = [
        (44, 158),
        (90, 149),
        (180, 144),
        (330, 144),
        (376, 151),
        (402, 170),
        (378, 184),
        (330, 190),
        (180, 190),
        (110, 182),
        (62, 168),
    ]
    body = c.polygon(placed(smooth(hull)))
    c.paint(body, "#ffffff", "#c3d0dc", roundness=13)
    stripe = c.polygon(placed([(30, 166), (420, 170), (420, 175), (30, 171)]))
    c.paint(ImageChops.multiply(body, stripe), "#2673c4", "#2673c4")
    for x in range(112, 350, 11):
        c.paint(c.polygon(placed([(x, 157), (x + 5, 157), (x + 5, 163.5), (x, 163.5)])), "#33536f")
    c.paint(c.polygon(placed([(366, 155), (383, 157), (391, 164), (369, 163)])), "#1e3448", "#47677f")
    c.paint(
        c.polygon(placed(smooth([(206, 205), (214, 199), (248, 199), (254, 206), (248, 214), (214, 213)]))),
        "#f3f6f9",
        "#8fa3b5",
        roundness=5,
    )
    c.paint(c.polygon(placed([(216, 176), (286, 180), (152, 264), (124, 266)])), "#e9f0f6", "#8ea4b8", roundness=4)
    c.paint(c.polygon(placed([(124, 266), (152, 264), (142, 256), (118, 262)])), "#2673c4", "#2673c4")
    c.paint(
        c.polygon(placed(smooth([(236, 226), (246, 219), (282, 219), (290, 227), (282, 236), (246, 235)]))),
        "#ffffff",
        "#8ea2b4",
        roundness=6,
    )
    c.paint(c.polygon(placed(smooth([(283, 220), (289, 227), (283, 235), (279, 227)]))), "#2b3a48", "#586b7c")
    c.paint(c.polygon(placed([(72, 164), (110, 166), (62, 192), (46, 192)])), "#e3ebf2", "#93a9bc", roundness=3)
    c.cloud(250, 346, 70, 21, 0.85)
    return c.finish()


def frog() -> Image.Image:
    """A tree frog on a leaf; portrait, 320 x 420."""
    c = Canvas(320, 420)
    c.background([(0, "#22452b"), (0.5, "#3c6b37"), (1, "#16301f")])
    random = np.random.default_rng(17)
    for _ in range(26):
        x, y, r = random.uniform(0, 320), random.uniform(0, 300), random.uniform(14, 40)
        c.glow(
            c.ellipse(x, y, r, r),
            str(random.choice(["#86b257", "#d3df8a", "#5d9350", "#1c3c25"])),
            7,
            random.uniform(0.15, 0.4),
        )
    leaf = c.polygon(
        smooth([(-30, 372), (60, 312), (170, 296), (280, 312), (352, 352), (300, 404), (170, 428), (40, 418)])
    )
    c.glow(leaf, "#0b1a10", 14, 0.6)
    c.paint(leaf, "#a9cf5c", "#4f8b33", roundness=16)
    c.paint(c.line([(-10, 376), (80, 362), (170, 356), (262, 356), (340, 354)], 3), "#cfe58d", "#8dba4e", opacity=0.8)
    for x in range(30, 310, 40):
        for end in (304, 412):
            c.paint(c.line([(x, 361), (x + 30, end)], 1.2), "#cfe58d", "#7fae45", opacity=0.45)
    c.glow(c.ellipse(162, 358, 118, 22), "#17351a", 9, 0.75)
    for side in (-1, 1):

        def at(points: Points, side: int = side) -> list[tuple[float, float]]:
            return [(160 + side * x, y) for x, y in points]

        thigh = smooth(at([(44, 330), (60, 262), (98, 246), (122, 274), (116, 322), (84, 352), (54, 352)]))
        c.paint(c.polygon(thigh), "#6fbf3f", "#37822f", roundness=13)
        for end in ((134, 350), (126, 366), (106, 372)):
            c.paint(c.line(at([(88, 346), end]), 9), "#7cc747", "#4d9a35", roundness=4)
            c.paint(c.ellipse(160 + side * end[0], end[1], 7.5, 6), "#f2a14a", "#d9782a", roundness=3)
    body = smooth(
        [
            (160, 168),
            (214, 186),
            (238, 240),
            (234, 306),
            (204, 350),
            (160, 360),
            (116, 350),
            (86, 306),
            (82, 240),
            (106, 186),
        ]
    )
    c.paint(c.polygon(body), "#8ad54a", "#3f9135", roundness=24)
    belly = smooth([(160, 236), (202, 250), (210, 300), (192, 342), (160, 352), (128, 342), (110, 300), (118, 250)])
    c.glow(c.polygon(belly), "#eef3c2", 6, 0.95)
    head = smooth(
        [
            (160, 128),
            (212, 134),
            (248, 168),
            (252, 204),
            (222, 232),
            (160, 244),
            (98, 232),
            (68, 204),
            (72, 168),
            (108, 134),
        ]
    )
    c.glow(c.polygon([(x, y + 9) for x, y in head]), "#234f1e", 6, 0.45)
    c.paint(c.polygon(head), "#9be354", "#4fa838", roundness=20)
    c.glow(
        c.polygon(smooth([(160, 214), (226, 206), (206, 230), (160, 239), (114, 230), (94, 206)])), "#eaf2b8", 4, 0.8
    )
    c.paint(
        c.line(
            smooth(
                [(74, 196), (112, 210), (160, 214), (208, 210), (246, 196), (208, 210.5), (160, 214.5), (112, 210.5)]
            ),
            2.2,
        ),
        "#2c5a22",
    )
    for side in (-1, 1):
        x = 160 + side * 54
        c.paint(c.ellipse(x, 138, 32, 31), "#a5e95e", "#58b03c", roundness=10)
        c.paint(c.ellipse(x + side * 3, 137, 24, 24), "#f9b13c", "#d5521d", roundness=6)
        c.paint(c.ellipse(x + side * 3, 138, 8.5, 19), "#1b1210", "#0a0605")
        c.glow(c.ellipse(x - 5, 127, 5.5, 5.5), "#ffffff", 0.8, 0.95)
        c.paint(c.ellipse(160 + side * 11, 182, 2.6, 2), "#2f6b26")

        def at(points: Points, side: int = side) -> list[tuple[float, float]]:
            return [(160 + side * x, y) for x, y in points]

        c.paint(c.line(at([(58, 262), (66, 300), (46, 338)]), 20), "#8ad54a", "#4fa238", roundness=8)
        for end in ((68, 364), (50, 372), (32, 366)):
            c.paint(c.line(at([(47, 340), end]), 8), "#86d148", "#55a83a", roundness=4)
            c.paint(c.ellipse(160 + side * end[0], end[1], 7.5, 6), "#f6aa52", "#db7b2c", roundness=3)
    return c.finish()


def truck() -> Image.Image:
    """A lorry on a country road; landscape, 480 x 300."""
    c = Canvas(480, 300)
    c.background(
        [(0, "#5aa0dc"), (0.6, "#d7ebf5"), (0.62, "#9cbf78"), (0.72, "#7da556"), (0.74, "#565a60"), (1, "#3c3f45")]
    )
    c.cloud(110, 58, 46, 8, 0.85)
    c.cloud(380, 44, 38, 9, 0.7)
    hills = [(0, 186), (0, 160), (70, 140), (150, 158), (240, 134), (330, 156), (410, 140), (480, 156), (480, 186)]
    c.paint(c.polygon(smooth(hills)), "#8fb3a0", "#a5c294", opacity=0.9)
    for x, r in ((22, 17), (52, 13), (452, 19), (424, 13), (474, 14)):
        c.paint(c.ellipse(x, 180, r, r * 1.15), "#6d9a4c", "#3e6b35", roundness=7)
    c.paint(c.box(0, 221, 480, 224), "#e8e6da", "#d5d2c4")
    for x in range(-20, 480, 84):
        c.paint(c.polygon([(x, 280), (x + 46, 280), (x + 42, 285), (x - 5, 285)]), "#f1efe4", "#d8d5c6")
    c.glow(c.ellipse(236, 258, 200, 9), "#16181b", 5, 0.8)
    c.paint(c.box(60, 222, 410, 236, 3), "#33383f", "#1d2126", roundness=3)
    c.paint(c.box(40, 96, 300, 224, 5), "#fdfefe", "#cfd8df", roundness=8)
    for x in range(66, 300, 26):
        c.paint(c.box(x, 102, x + 1.2, 218), "#c3ccd4", "#a9b4bd")
    c.paint(c.box(41, 168, 299, 186), "#f0a330", "#dd7f1d")
    c.paint(c.box(41, 189, 299, 194), "#2b6cb0", "#245b95")
    c.paint(c.box(300, 190, 322, 226), "#2a2f35", "#1d2126")
    cab = smooth(
        [
            (314, 232),
            (314, 124),
            (326, 112),
            (378, 112),
            (396, 122),
            (410, 166),
            (434, 176),
            (440, 190),
            (440, 232),
            (380, 233),
        ],
        24,
    )
    c.paint(c.polygon(cab), "#ec4b3c", "#a81f1a", roundness=11)
    c.paint(c.polygon([(316, 112), (330, 92), (372, 100), (380, 112)]), "#f0594a", "#c9301f", roundness=6)
    c.paint(
        c.polygon(smooth([(352, 126), (378, 125), (388, 134), (398, 164), (390, 168), (356, 167), (350, 160)])),
        "#bfe0f2",
        "#5f8ba6",
        roundness=4,
    )
    c.paint(c.polygon([(360, 128), (372, 128), (360, 164), (354, 164)]), "#ffffff", opacity=0.35)
    c.paint(c.box(346, 172, 347.5, 226), "#7f1512")
    c.paint(c.box(352, 184, 366, 187.5, 1.5), "#f3f3f3", "#a9a9a9")
    c.paint(c.box(424, 190, 441, 203, 4), "#fff7d2", "#f3cf6a", roundness=3)
    c.paint(c.box(400, 218, 448, 234, 4), "#dfe4e8", "#8b949c", roundness=4)
    for x in (88, 138, 246, 284, 396):
        c.paint(c.ellipse(x, 236, 25, 25), "#3b3f45", "#15171a", roundness=6)
        c.paint(c.ellipse(x, 236, 14, 14), "#eef1f3", "#8d969e", roundness=5)
        c.paint(c.ellipse(x, 236, 5, 5), "#5b636b", "#33393f", roundness=2)
    return c.finish()


def main(folder: Path) -> None:
    """Write the four pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (airplane, frog, ship, truck):
        draw().save(folder / f"{draw.__name__}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "assets" / "inputs")
