"""Draw the sample pictures in `assets/inputs/`: our own work, so that they can be shipped and shown anywhere.

Run from the root of the checkout; the same pictures come out every time:

    python -m tests.make_inputs [FOLDER]
"""

import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from multiattn.data.scenes import Scene, Thing, paint
from tests.canvas import SCALE, Canvas, outline, smooth


def ship() -> Image.Image:
    """A passenger ship on a calm sea; landscape, 480 x 320."""
    c = Canvas(480, 320)
    c.background(
        [(0, "#3f86c9"), (0.35, "#8fc3e8"), (0.598, "#e9f1ee"), (0.602, "#5f9bb8"), (0.7, "#2f7299"), (1, "#0e3d5f")]
    )
    c.glow(c.ellipse(392, 70, 70, 60), "#fff6d8", 36, 0.55)
    c.cloud(92, 74, 56, 3)
    c.cloud(420, 120, 44, 5, 0.75)
    c.glow(c.shape("0,192 0,178 60,170 130,182 190,192"), "#7f9fb4", 2, 0.7)  # a coast far away
    hull = outline("66,177 70,192 82,218 94,228 384,228 397,223 434,172 416,178 390,183 200,184")
    sea = c.image.copy()
    c.paint(c.box(120, 150, 372, 190, 5), "#ffffff", "#dfe6ec", roundness=4)
    c.paint(c.box(142, 128, 340, 152, 5), "#ffffff", "#e6ecf1", roundness=4)
    c.paint(c.box(170, 108, 330, 130, 5), "#ffffff", "#e9eef3", roundness=4)
    c.paint(c.shape("296,108 300,92 342,92 352,108"), "#f6f9fb", "#dde5ec", roundness=3)
    for left, deck, right in ((130, 160, 364), (150, 136, 334), (178, 115, 322)):
        for x in range(left, right - 6, 13):
            c.paint(c.box(x, deck, x + 8, deck + 7, 2), "#27506e", "#4f86a8")
    c.paint(c.box(303, 96, 340, 101, 2), "#1d4058", "#44779a")
    for x in (204, 248):
        c.paint(c.polygon([(x, 110), (x + 4, 70), (x + 28, 70), (x + 30, 110)]), "#e2573a", "#b7341f", roundness=6)
        c.paint(c.polygon([(x + 4, 78), (x + 4, 68), (x + 28, 68), (x + 28.5, 78)]), "#2a3138", "#1a1f24", roundness=4)
    c.paint(c.line(outline("318,92 318,54"), 2), "#eef2f5")
    c.paint(c.line(outline("308,66 328,66"), 1.5), "#eef2f5")
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
        for color in ("#d6ebf3", "#0f4668"):
            waves = c.blank()
            for x, y in zip(random.uniform(0, 480, 13), random.uniform(-8, 8, 13), strict=True):
                y += 198 + 118 * nearness**1.4
                if y > 226 or not 66 < x < 436:
                    long = random.uniform(3, 6 + 28 * nearness)
                    waves = ImageChops.lighter(waves, c.ellipse(x, y, long, 0.6 + 1.1 * nearness))
            c.glow(waves, color, 0.6 + nearness, 0.4)
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
    turn = math.radians(-11)

    def placed(text: str, *, round_off: bool = False) -> list[tuple[float, float]]:
        """Drawn level, tilted about the middle of the picture."""
        points = np.array(smooth(outline(text)) if round_off else outline(text)) - (224, 168)
        tilted = points @ [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]] + (224, 168)
        return [(float(x), float(y)) for x, y in tilted]

    c.paint(c.polygon(placed("238,160 276,162 212,92 196,90")), "#9fb3c6", "#d4dfe9")  # the far wing
    c.paint(c.polygon(placed("86,160 108,158 70,128 60,128")), "#a9bccd", "#cfdbe6")
    c.paint(c.polygon(placed("64,158 128,148 84,82 60,80")), "#1f5fae", "#2f86d6", roundness=7)  # the fin
    c.paint(c.polygon(placed("62,110 103,110 98,101 61.5,101")), "#f2b233", "#f2b233")
    hull = "44,158 90,149 180,144 330,144 376,151 402,170 378,184 330,190 180,190 110,182 62,168"
    body = c.polygon(placed(hull, round_off=True))
    c.paint(body, "#ffffff", "#c3d0dc", roundness=13)
    stripe = c.polygon(placed("30,166 420,170 420,175 30,171"))
    c.paint(ImageChops.multiply(body, stripe), "#2673c4", "#2673c4")
    for x in range(112, 350, 11):
        c.paint(c.polygon(placed(f"{x},157 {x + 5},157 {x + 5},163.5 {x},163.5")), "#33536f")
    c.paint(c.polygon(placed("366,155 383,157 391,164 369,163")), "#1e3448", "#47677f")
    c.paint(
        c.polygon(placed("206,205 214,199 248,199 254,206 248,214 214,213", round_off=True)),
        "#f3f6f9",
        "#8fa3b5",
        roundness=5,
    )
    c.paint(c.polygon(placed("216,176 286,180 152,264 124,266")), "#e9f0f6", "#8ea4b8", roundness=4)
    c.paint(c.polygon(placed("124,266 152,264 142,256 118,262")), "#2673c4", "#2673c4")
    c.paint(
        c.polygon(placed("222,211 232,204 270,204 278,212 270,221 232,220", round_off=True)),
        "#ffffff",
        "#8ea2b4",
        roundness=6,
    )
    c.paint(c.polygon(placed("271,205 277,212 271,220 267,212", round_off=True)), "#2b3a48", "#586b7c")
    c.paint(c.polygon(placed("72,164 110,166 62,192 46,192")), "#e3ebf2", "#93a9bc", roundness=3)
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

    def mirrored(side: int, text: str) -> list[tuple[float, float]]:
        """Measured from the frog's middle, for its left (-1) or right (1) side."""
        return [(160 + side * x, y) for x, y in outline(text)]

    leaf = c.curve("-30,372 60,312 170,296 280,312 352,352 300,404 170,428 40,418")
    c.glow(leaf, "#0b1a10", 14, 0.6)
    c.paint(leaf, "#a9cf5c", "#4f8b33", roundness=16)
    rib = c.line(outline("-10,376 80,362 170,356 262,356 340,354"), 3)
    c.paint(ImageChops.multiply(leaf, rib), "#cfe58d", "#8dba4e", opacity=0.8)
    for x in range(30, 310, 40):
        for end in (304, 412):
            vein = c.line([(x, 361), (x + 30, end)], 1.2)
            c.paint(ImageChops.multiply(leaf, vein), "#cfe58d", "#7fae45", opacity=0.45)
    c.glow(c.ellipse(162, 358, 118, 22), "#17351a", 9, 0.75)
    for side in (-1, 1):
        thigh = smooth(mirrored(side, "44,330 60,262 98,246 122,274 116,322 84,352 54,352"))
        c.paint(c.polygon(thigh), "#6fbf3f", "#37822f", roundness=13)
        for end in ((134, 350), (126, 366), (106, 372)):
            c.paint(c.line(mirrored(side, f"88,346 {end[0]},{end[1]}"), 9), "#7cc747", "#4d9a35", roundness=4)
            c.paint(c.ellipse(160 + side * end[0], end[1], 7.5, 6), "#f2a14a", "#d9782a", roundness=3)
    body = smooth(outline("160,168 214,186 238,240 234,306 204,350 160,360 116,350 86,306 82,240 106,186"))
    c.paint(c.polygon(body), "#8ad54a", "#3f9135", roundness=24)
    belly = smooth(outline("160,236 202,250 210,300 192,342 160,352 128,342 110,300 118,250"))
    c.glow(c.polygon(belly), "#eef3c2", 6, 0.95)
    head = smooth(outline("160,128 212,134 248,168 252,204 222,232 160,244 98,232 68,204 72,168 108,134"))
    c.glow(c.polygon([(x, y + 9) for x, y in head]), "#234f1e", 6, 0.45)
    c.paint(c.polygon(head), "#9be354", "#4fa838", roundness=20)
    c.glow(c.curve("160,214 226,206 206,230 160,239 114,230 94,206"), "#eaf2b8", 4, 0.8)
    c.paint(
        c.line(smooth(outline("74,196 112,210 160,214 208,210 246,196 208,210.5 160,214.5 112,210.5")), 2.2), "#2c5a22"
    )
    for side in (-1, 1):
        x = 160 + side * 54
        c.paint(c.ellipse(x, 138, 32, 31), "#a5e95e", "#58b03c", roundness=10)
        c.paint(c.ellipse(x + side * 3, 137, 24, 24), "#f9b13c", "#d5521d", roundness=6)
        c.paint(c.ellipse(x + side * 3, 138, 8.5, 19), "#1b1210", "#0a0605")
        c.glow(c.ellipse(x - 5, 127, 5.5, 5.5), "#ffffff", 0.8, 0.95)
        c.paint(c.ellipse(160 + side * 11, 182, 2.6, 2), "#2f6b26")
        c.paint(c.line(mirrored(side, "58,262 66,300 46,338"), 20), "#8ad54a", "#4fa238", roundness=8)
        for end in ((68, 364), (50, 372), (32, 366)):
            c.paint(c.line(mirrored(side, f"47,340 {end[0]},{end[1]}"), 8), "#86d148", "#55a83a", roundness=4)
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
    hills = outline("0,186 0,160 70,140 150,158 240,134 330,156 410,140 480,156 480,186")
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
    cab = c.curve("314,232 314,124 326,112 378,112 396,122 410,166 434,176 440,190 440,232 380,233")
    c.paint(cab, "#ec4b3c", "#a81f1a", roundness=11)
    c.paint(c.shape("316,112 330,92 372,100 380,112"), "#f0594a", "#c9301f", roundness=6)
    c.paint(c.curve("352,126 378,125 388,134 398,164 390,168 356,167 350,160"), "#bfe0f2", "#5f8ba6", roundness=4)
    c.paint(c.shape("360,128 372,128 360,164 354,164"), "#ffffff", opacity=0.35)
    c.paint(c.box(346, 172, 347.5, 226), "#7f1512")
    c.paint(c.box(352, 184, 366, 187.5, 1.5), "#f3f3f3", "#a9a9a9")
    c.paint(c.box(424, 190, 441, 203, 4), "#fff7d2", "#f3cf6a", roundness=3)
    c.paint(c.box(400, 218, 448, 234, 4), "#dfe4e8", "#8b949c", roundness=4)
    for x in (88, 138, 246, 284, 396):
        c.paint(c.ellipse(x, 236, 25, 25), "#3b3f45", "#15171a", roundness=6)
        c.paint(c.ellipse(x, 236, 14, 14), "#eef1f3", "#8d969e", roundness=5)
        c.paint(c.ellipse(x, 236, 5, 5), "#5b636b", "#33393f", roundness=2)
    return c.finish()


def scene() -> Image.Image:
    """Five things of which every question of `multiattn.data.scene_questions` can be asked; square, 256 x 256."""
    things = (
        Thing("circle", "large", "red", 18, 17, 9.6),
        Thing("square", "small", "blue", 47, 12, 5.8, turn=7),
        Thing("triangle", "large", "green", 46, 35, 9.2, turn=-5),
        Thing("cross", "small", "purple", 13, 43, 5.6, turn=9),
        Thing("circle", "small", "yellow", 30, 54, 5.5),
    )
    return paint(Scene(things, ground=(229, 226, 219), grain=3), side=256)


def scene_count() -> Image.Image:
    """Things to be counted: three of one shape, three of one color; square, 256 x 256."""
    things = (
        Thing("square", "small", "black", 12, 14, 5.6, turn=-8),
        Thing("square", "large", "red", 49, 16, 8.9, turn=4),
        Thing("triangle", "small", "red", 29, 29, 5.9, turn=6),
        Thing("square", "small", "blue", 11, 50, 5.4, turn=11),
        Thing("cross", "large", "red", 45, 47, 9.4, turn=-10),
    )
    return paint(Scene(things, ground=(221, 227, 232), grain=11), side=256)


def main(folder: Path) -> None:
    """Write the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (airplane, frog, ship, truck, scene, scene_count):
        draw().save(folder / f"{draw.__name__}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "assets" / "inputs")
