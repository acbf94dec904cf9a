"""Saved maps: an npz file and the JSON file beside it, loaded and drawn."""

import tempfile
from pathlib import Path

import numpy as np

from multiattn.errors import MultiattnError
from multiattn.export import load_map, overlay_png, save_map
from multiattn.inputs import Geometry
from multiattn.maps import AttentionMap
from multiattn.maps.attention_map import Axis
from tests.fixtures import draw

from .sample import Sample

_SIDE = 30


def samples() -> list[Sample]:
    values = np.random.default_rng(5).random((3, 2, 5, 7), dtype=np.float32)
    patches = Axis("y", "patch"), Axis("x", "patch")
    words = Axis("word", "word", labels=(" a", " red", " fox"))
    stack = Axis("layer", "index"), Axis("head", "index")
    geometry = Geometry(source_size=(_SIDE, _SIDE), resized_size=(_SIDE, _SIDE), crop=(0, 0, _SIDE, _SIDE))
    one = {"method": "attention", "sites": ("blocks.1.self",), "heads": None, "geometry": geometry, "target": "fox"}
    maps = {
        "picture": AttentionMap(values=values[0, 0], axes=patches, **one),
        "words": AttentionMap(values=values[:, 0], axes=(words, *patches), note="one line", **one),
        "stack": AttentionMap(values=values, axes=(*stack, *patches), **one),
        "speech": AttentionMap(
            values=values[:, 0, 0],
            axes=(words, Axis("time", "second", 0.0, 0.02)),
            method="attention",
            sites=("decoder.blocks.0.cross", "decoder.blocks.1.cross"),
            heads=(0, 1),
            geometry=None,
            target=None,
        ),
    }
    found = []
    for name, attention_map in maps.items():
        with tempfile.TemporaryDirectory() as folder:
            save_map(attention_map, Path(folder, "map.npz"))
            found.append(Sample.of_folder(name, Path(folder), "map.npz"))
    return found


def read(path: Path) -> None:
    """Loaded, saved and loaded once more, and drawn where it is a map of a picture."""
    attention_map = load_map(path)
    save_map(attention_map, path.with_name("again.npz"))
    assert load_map(path.with_name("again.npz")).equals(attention_map), "saved and loaded, it is another map"
    if attention_map.names == ("y", "x") and attention_map.geometry is not None:
        try:
            overlay_png(attention_map, draw(3, size=(_SIDE, _SIDE)), path.with_name("map.png"))
        except (MultiattnError, ValueError) as error:  # of this function's arguments, not of the file
            assert "\n" not in str(error)
