"""Maps as one self-contained HTML page.

A page needs no network and opens from the file system: style, script, pictures and values all stand in the one file.
Each picture has views, one at a time: what was predicted or written about it, or a question with its answer. A view has
texts, whose words have a map each; where nothing was written, one text without words.
"""

import html
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..maps.attention_map import AttentionMap
from ..maps.grounding import ungrounded
from .canvas import for_display
from .heatmap import SATURATION, palette, placed
from .html import base64_of, embedded, fill, jpeg, part, write
from .naming import likelier, meaning, origin, readable
from .page_parts import AskedPicture, PagePicture, PageQuestion, PageText, PageWord, gaps

_STEPS = 65535
"""Values are stored in 16-bit steps from the lowest to the highest of their grid: exact to 1/131,070 of that range."""

_MOST_OF_STACKS = 16_000_000
"""Bytes that the maps of every layer and head may take of the questions about one picture: with more, a browser opens
the page slowly, and they are left out."""


def write_page(path: str | Path, *, pictures: Sequence[PagePicture | AskedPicture], title: str) -> None:
    """Write one page that shows pictures, one at a time, with a choice of their questions and maps.

    An address that ends in `#question-2` opens the page at the second question about its first picture.

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


def _picture(picture: PagePicture | AskedPicture) -> dict[str, Any]:
    shown, left_out = for_display(picture.picture), ""
    if isinstance(picture, AskedPicture):
        size = sum(_size_of_stacks(text) for one in picture.questions for text in (one.question, one.answer))
        if size > _MOST_OF_STACKS:
            left_out = (
                f"The maps of every layer and head are not on this page: they would take {size / 1e6:.0f} MB of it, "
                f"and {_MOST_OF_STACKS / 1e6:.0f} MB is the most. Ask fewer questions at once to have them."
            )
        views = [_asked(question, stacks=not left_out) for question in picture.questions]
    else:
        views = [_predicted(picture)]
    return {
        "left_out": left_out,
        "name": picture.name,
        "src": jpeg(shown),
        "width": shown.width,
        "height": shown.height,
        "views": views,
    }


def _predicted(picture: PagePicture) -> dict[str, Any]:
    methods = Counter(one.method for one in picture.maps if "layer" not in one.names)
    maps = [_map(one, with_target=methods[one.method] > 1) for one in picture.maps]
    words = [_word(word) for word in picture.words]
    text = {"title": "Caption", "words": words, "gaps": gaps(picture.words), "maps": maps}
    return {"predictions": _scores(picture.predictions), "heading": "Prediction", "texts": [text]}


def _asked(question: PageQuestion, *, stacks: bool) -> dict[str, Any]:
    texts = [
        _text("Question", question.question, stacks=stacks),
        _text("Answer", question.answer, stacks=stacks),
    ]
    return {"predictions": _scores(question.candidates), "heading": "Answers", "texts": texts}


def _text(title: str, text: PageText, *, stacks: bool) -> dict[str, Any]:
    shown = text.maps if stacks else _without_stacks(text)
    maps = [_map(one, with_target=False) for one in shown]
    words = [_word(word) for word in text.words]
    return {"title": title, "words": words, "gaps": gaps(text.words, text.whole), "maps": maps}


def _without_stacks(text: PageText) -> Sequence[AttentionMap]:
    """The other maps, where there are some."""
    return [one for one in text.maps if "layer" not in one.names] or text.maps


def _size_of_stacks(text: PageText) -> int:
    """Bytes of the page: two for a value, and base64 makes four of three."""
    if len(_without_stacks(text)) == len(text.maps):
        return 0
    return sum(one.values.size * 8 // 3 for one in text.maps if "layer" in one.names)


def _scores(scores: Sequence[tuple[str, float]]) -> list[list[str | float]]:
    return [[label, float(score)] for label, score in scores]


def _word(word: PageWord) -> dict[str, Any]:
    facts: dict[str, Any] = {"text": word.text, "probability": None, "without": None}
    if word.probability is None:
        return facts
    facts["probability"] = float(word.probability)
    if word.image_dependence is not None:
        # a word may be less likely with the picture, but nothing is likelier than 1
        facts["without"] = min(1.0, word.probability * math.exp(-max(word.image_dependence, -700.0)))
        facts["drop"] = float(word.image_dependence)
        facts["likelier"] = likelier(word.image_dependence)
        facts["ungrounded"] = ungrounded(word.image_dependence)
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
