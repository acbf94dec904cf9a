"""Maps as one self-contained HTML page, and the index of several such pages.

A page needs no network and opens from the file system: style, script, pictures and values all stand in the one file.
"""

import base64
import html
import io
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..maps.attention_map import AttentionMap
from .heat import SATURATION, blend, palette, placed
from .picture import for_display
from .words import meaning, origin, readable

_STEPS = 65535
"""Values are stored in 16-bit steps from the lowest to the highest of their grid: exact to 1/131,070 of that range."""

_THUMBNAIL = 480
"""Pixels of the longer side of a picture in the index."""


@dataclass(frozen=True, eq=False)
class PagePicture:
    """A picture on a page, with what was predicted and the maps over it."""

    picture: Image.Image
    """The upright source of the maps."""

    name: str
    """As the page calls it: a file name."""

    predictions: Sequence[tuple[str, float]]
    """Labels with their probabilities (0 to 1), best first."""

    maps: Sequence[AttentionMap]
    """At least one: with axes (y, x), shown by its method's name, or (layer, head, y, x), with a choice of both."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: There is no map, a map has other axes or no geometry, or a score is no probability.
        """
        if not self.maps:
            raise ValueError("`maps` must hold at least one map, but is empty instead.")
        for attention_map in self.maps:
            if attention_map.names not in (("y", "x"), ("layer", "head", "y", "x")):
                raise ValueError(
                    "`maps` must have the axes ('y', 'x') or ('layer', 'head', 'y', 'x'), "
                    f"but have {attention_map.names} instead."
                )
            placed(attention_map)
        for label, score in self.predictions:
            _check_score(label, score)


@dataclass(frozen=True, eq=False)
class IndexEntry:
    """A picture in an index, and the page it links to."""

    picture: Image.Image
    """The upright source."""

    name: str
    """As the index calls it: a file name."""

    page: str
    """Where its page is, relative to the index: `cat.html`."""

    label: str
    """What was predicted."""

    score: float
    """Its probability, 0 to 1."""

    map: AttentionMap
    """What lies over the thumbnail; axes (y, x), with geometry."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: The score is no probability.
        """
        _check_score(self.label, self.score)


def _check_score(label: str, score: float) -> None:
    if not (math.isfinite(score) and 0 <= score <= 1):
        raise ValueError(f"`score` of {label!r} must be between 0 and 1, but is {score} instead.")


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
        "palette": _base64(palette().tobytes()),
        "saturation": SATURATION,
        "pictures": [_picture(picture) for picture in pictures],
    }
    body = {"title": html.escape(title), "script": _part("page.js"), "data": _embedded(data)}
    _write(path, title, _fill(_part("page.html"), body), scripts="; script-src 'unsafe-inline'")


def write_index(path: str | Path, entries: Sequence[IndexEntry], *, title: str) -> None:
    """Write a page of thumbnails, each a link to the page of its picture.

    Args:
        path: Of the HTML file; missing folders are made.
        entries: In the order shown.
        title: Of the page.
    """
    body = {
        "title": html.escape(title),
        "count": f"{len(entries)} picture{'' if len(entries) == 1 else 's'}",
        "cards": "\n".join(_card(entry) for entry in entries),
    }
    _write(path, title, _fill(_part("index.html"), body))


def _card(entry: IndexEntry) -> str:
    plain = entry.picture.convert("RGB")
    plain.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    fields = {
        "page": html.escape(entry.page),
        "name": html.escape(entry.name),
        "label": html.escape(entry.label),
        "score": f"{entry.score:.0%}",
        "width": str(plain.width),
        "height": str(plain.height),
        "plain": _jpeg(plain),
        "blended": _jpeg(blend(plain, entry.map)),
    }
    return _fill(_part("card.html"), fields)


def _picture(picture: PagePicture) -> dict[str, Any]:
    shown = for_display(picture.picture)
    methods = Counter(attention_map.method for attention_map in picture.maps if attention_map.names == ("y", "x"))
    return {
        "name": picture.name,
        "src": _jpeg(shown),
        "width": shown.width,
        "height": shown.height,
        "predictions": [[label, float(score)] for label, score in picture.predictions],
        "maps": [_map(one, with_target=methods[one.method] > 1) for one in picture.maps],
    }


def _map(attention_map: AttentionMap, *, with_target: bool) -> dict[str, Any]:
    geometry = placed(attention_map)
    height, width = geometry.source_size
    left, top, right, bottom = geometry.source_box()
    rows, columns = attention_map.values.shape[-2:]
    grids = attention_map.values.reshape(-1, rows * columns).astype(np.float64)  # [layers * heads, cells]
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
        "steps": _base64(steps.tobytes()),
        "layers": None,
        "heads": 1,
    }
    if "layer" in attention_map.names:
        layers, heads = attention_map.values.shape[:2]
        facts["name"] = "layer and head"
        facts["layers"] = attention_map.axes[0].labels or [f"layer {layer}" for layer in range(layers)]
        facts["heads"] = heads
    return facts


def _jpeg(picture: Image.Image) -> str:
    """The picture as a data URI."""
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=88, optimize=True)
    return f"data:image/jpeg;base64,{_base64(file.getvalue())}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element: no label can end the element or open a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII only, so U+2028 is escaped as well
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _fill(template: str, fields: Mapping[str, str]) -> str:
    """Put each field into its place `{{name}}`, in one pass: what a field holds is not looked through again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: fields[place[1]], template)


def _write(path: str | Path, title: str, body: str, *, scripts: str = "") -> None:
    """Write a page; `scripts` is what its security policy says of them, by default that there may be none."""
    fields = {"title": html.escape(title), "style": _part("page.css"), "body": body, "scripts": scripts}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_fill(_part("shell.html"), fields), encoding="utf-8")
