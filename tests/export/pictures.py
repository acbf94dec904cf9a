from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from multiattn.inputs import Geometry, ImagePreprocessing
from multiattn.maps.attention_map import AttentionMap, Axis

PATCH = (Axis("y", "patch"), Axis("x", "patch"))
GRAY, DARK = 130, 40


def picture_map(values: np.ndarray, geometry: Geometry | None, **fields: object) -> AttentionMap:
    facts: dict = {
        "method": "relevance",
        "sites": ("blocks.0.self", "blocks.1.self"),
        "heads": None,
        "target": "tabby cat",
        "note": "How much each patch spoke for the label.",
    }
    return AttentionMap(values=values.astype(np.float32), axes=PATCH, geometry=geometry, **{**facts, **fields})


def whole(picture: Image.Image) -> Geometry:
    """The geometry of a model that sees all of the picture, squeezed into a square."""
    return Geometry(source_size=(picture.height, picture.width), resized_size=(56, 56), crop=(0, 0, 56, 56))


@dataclass(frozen=True)
class Salient:
    """A gray picture with one dark rectangle, and the map that its own model input gives: high where it is dark."""

    picture: Image.Image
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the rectangle in the picture, the last two exclusive."""
    map: AttentionMap


# name: (width and height of the source, the rectangle, preprocessing of a 56 px model with patches of 8 px)
CASES = {
    "landscape, center crop": ((302, 201), (131, 47, 161, 79), (56, 56), 56),
    "portrait, center crop": ((151, 307), (20, 180, 50, 211), (56, 56), 62),
    "landscape, squeezed": ((251, 127), (170, 70, 211, 97), (56, 56), (56, 56)),
    "landscape, padded": ((211, 149), (20, 97, 59, 131), (56, 56), 29),
    "not square model": ((173, 241), (101, 31, 131, 59), (56, 40), 56),
}


def make_salient(case: str) -> Salient:
    (width, height), box, size, resize_to = CASES[case]
    picture = Image.new("RGB", (width, height), (GRAY, GRAY, GRAY))
    left, top, right, bottom = box
    ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), fill=(DARK, DARK, DARK))
    preprocess = ImagePreprocessing(
        size=size, resize_to=resize_to, interpolation="bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    pixels, geometry = preprocess(picture)
    dark = np.maximum(0, GRAY / 255 - np.asarray(pixels[0]))
    dark[np.asarray(pixels[0]) < DARK / 510] = 0  # the padding is black
    rows, columns = size[0] // 8, size[1] // 8
    values = dark.reshape(rows, 8, columns, 8).mean(axis=(1, 3))  # [rows, columns]
    return Salient(picture=picture, box=box, map=picture_map(values, geometry))


def time_map() -> AttentionMap:
    """A map that lies on no picture."""
    return AttentionMap(
        values=np.ones((5, 7), dtype=np.float32),
        axes=(Axis("token", "index"), Axis("time", "second", step=0.02)),
        method="attention",
        sites=("decoder.0.cross",),
        heads=None,
        geometry=None,
        target=None,
    )


def words_map(values: np.ndarray, texts: tuple[str, ...], geometry: Geometry | None, **fields: object) -> AttentionMap:
    """Axes (word, y, x), or (layer, head, word, y, x)."""
    axes = (Axis("word", "word", labels=texts), *PATCH)
    if values.ndim == 5:
        axes = (Axis("layer", "index"), Axis("head", "index"), *axes)
    facts: dict = {
        "method": "attention",
        "sites": ("decoder.blocks.0.cross", "decoder.blocks.1.cross"),
        "heads": None,
        "target": "".join(texts),
        "note": "Where it looked.",
    }
    return AttentionMap(values=values.astype(np.float32), axes=axes, geometry=geometry, **{**facts, **fields})


def stored(stack: np.ndarray) -> np.ndarray:
    """What a page knows of a stack: each grid, the last two axes, in 255 steps from its lowest to its highest value."""
    low, high = stack.min(axis=(-2, -1), keepdims=True), stack.max(axis=(-2, -1), keepdims=True)
    return low + np.round((stack - low) / (high - low) * 255) * (high - low) / 255
