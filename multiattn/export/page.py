"""Maps as one self-contained HTML page.

A page needs no network and opens from the file system: style, script, pictures and values all stand in the one file.
"""

import html
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..maps.attention_map import AttentionMap
from ..maps.dependence import made_up
from .canvas import for_display
from .heat import SATURATION, palette, placed
from .naming import check_score, likelier, meaning, origin, readable
from .shell import base64_of, embedded, fill, jpeg, part, write

_STEPS = 65535
"""Values are stored in 16-bit steps from the lowest to the highest of their grid: exact to 1/131,070 of that range."""

_AXES = (("y", "x"), ("layer", "head", "y", "x"), ("word", "y", "x"), ("layer", "head", "word", "y", "x"))


@dataclass(frozen=True)
class PageWord:
    """A word of the caption on a page."""

    text: str
    """As it stands in the caption, with the space before it: the label of the maps' axis."""

    probability: float
    """How likely the model held it after the words before it, 0 to 1."""

    dependence: float | None = None
    """How much it depended on the picture, in nats, as `picture_dependence` has it; None where nobody asked."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: The probability is none, or the dependence is not finite.
        """
        check_score(self.text, self.probability)
        if self.dependence is not None and not math.isfinite(self.dependence):
            raise ValueError(f"`dependence` of {self.text!r} must be finite, but is {self.dependence} instead.")


@dataclass(frozen=True, eq=False)
class PagePicture:
    """A picture on a page, with what was predicted and the maps over it."""

    picture: Image.Image
    """The upright source of the maps."""

    name: str
    """As the page calls it: a file name."""

    predictions: Sequence[tuple[str, float]]
    """Labels with their probabilities (0 to 1), best first; none where there is a caption."""

    maps: Sequence[AttentionMap]
    """At least one. Axes (y, x): shown by its method's name; (layer, head, y, x): with a choice of both. Those of a
    caption have an axis `word` before y."""

    words: Sequence[PageWord] = ()
    """The caption, where there is one."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: There is no map, a map has other axes, other words or no geometry, or a score is no probability.
        """
        if not self.maps:
            raise ValueError("`maps` must hold at least one map, but is empty instead.")
        texts = tuple(word.text for word in self.words)
        for attention_map in self.maps:
            if attention_map.names not in _AXES:
                raise ValueError(
                    "`maps` must have the axes ('y', 'x') or ('layer', 'head', 'y', 'x'), or these with 'word' before "
                    f"'y', but have {attention_map.names} instead."
                )
            for axis in attention_map.axes:
                if axis.name == "word" and axis.labels != texts:
                    raise ValueError(f"`words` must be those of the maps, {axis.labels}, but are {texts} instead.")
            placed(attention_map)
        for label, score in self.predictions:
            check_score(label, score)


def write_page(path: str | Path, *, pictures: Sequence[PagePicture], title: str) -> None:
    """Write one page that shows pictures, one at a time, with a choice of their maps.

    Args:
        path: Of the HTML file; missing folders are made.
        pictures: At least one.
        title: Of the page.

    Raises:
        ValueError: There is no picture.
    """
    if not pictures:
        raise ValueError("`pictures` must hold at least one picture, but is empty instead.")
    data = {
        "title": title,
        "palette": base64_of(palette().tobytes()),
        "saturation": SATURATION,
        "pictures": [_picture(picture) for picture in pictures],
    }
    script = "\n".join(part(name) for name in ("base.js", "draw.js", "words.js", "page.js"))
    body = {"title": html.escape(title), "script": script, "data": embedded(data)}
    write(path, title, fill(part("page.html"), body), scripts="; script-src 'unsafe-inline'")


def _picture(picture: PagePicture) -> dict[str, Any]:
    shown = for_display(picture.picture)
    methods = Counter(attention_map.method for attention_map in picture.maps if "layer" not in attention_map.names)
    return {
        "name": picture.name,
        "src": jpeg(shown),
        "width": shown.width,
        "height": shown.height,
        "predictions": [[label, float(score)] for label, score in picture.predictions],
        "words": [_word(word) for word in picture.words],
        "maps": [_map(one, with_target=methods[one.method] > 1) for one in picture.maps],
    }


def _word(word: PageWord) -> dict[str, Any]:
    facts: dict[str, Any] = {"text": word.text, "probability": float(word.probability), "without": None}
    if word.dependence is not None:
        # a word may be less likely with the picture, but nothing is likelier than 1
        facts["without"] = min(1.0, word.probability * math.exp(-max(word.dependence, -700.0)))
        facts["drop"] = float(word.dependence)
        facts["likelier"] = likelier(word.dependence)
        facts["made_up"] = made_up(word.dependence)
    return facts


def _map(attention_map: AttentionMap, *, with_target: bool) -> dict[str, Any]:
    geometry = placed(attention_map)
    height, width = geometry.source_size
    left, top, right, bottom = geometry.source_box()
    rows, columns = attention_map.values.shape[-2:]
    grids = attention_map.values.reshape(-1, rows * columns).astype(np.float64)  # [layers * heads * words, cells]
    low, high = grids.min(axis=1, keepdims=True), grids.max(axis=1, keepdims=True)
    step = (high - low) / _STEPS
    steps = np.round((grids - low) / np.where(step > 0, step, 1)).astype("<u2")
    name = readable(attention_map.method)
    facts: dict[str, Any] = {
        "name": f"{name}: {attention_map.target}" if with_target and attention_map.target else name,
        "target": attention_map.target,
        "note": attention_map.note,
        "origin": origin(attention_map),
        "meaning": meaning(attention_map),
        "box": [left / width, top / height, right / width, bottom / height],
        "rows": rows,
        "columns": columns,
        "low": low.ravel().tolist(),
        "step": step.ravel().tolist(),
        "steps": base64_of(steps.tobytes()),
        "layers": None,
        "heads": 1,
        "words": attention_map.values.shape[-3] if "word" in attention_map.names else 0,
    }
    if "layer" in attention_map.names:
        layers, heads = attention_map.values.shape[:2]
        facts["name"] = "layer and head"
        facts["layers"] = attention_map.axes[0].labels or [f"layer {layer}" for layer in range(layers)]
        facts["heads"] = heads
    return facts
