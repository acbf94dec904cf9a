"""Maps over images as one self-contained HTML page.

A page needs no network and opens from the file system: style, script, images and values are all in the one file. Each
image has views, shown one at a time: its prediction or caption, or one question with its answer. A view has texts, and
each word of a text has maps; a prediction is one text without words.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..checks import check_argument
from ..maps import AttentionMap, Checked, ungrounded
from ..score_kinds import ScoreKind
from .canvas import for_display
from .heatmap import SATURATION, placed
from .html import digits, jpeg, packed, quantized, write_scripted
from .naming import described, likelier, verdicts_of
from .page_parts import AskedPicture, PagePicture, PageQuestion, PageWord, gaps
from .page_tokens import tokens_data, words_data

SCRIPTS = (
    "draw.js",
    "tokens.js",
    "word_to_word.js",
    "atlas.js",
    "words.js",
    "labels.js",
    "verdict.js",
    "files.js",
    "save.js",
    "address.js",
    "link.js",
    "page.js",
)

_BITS = {False: 16, True: 8}
"""Values are stored in steps from the lowest to the highest of their grid, exact to 1/131,070 of that range; those of
every layer and head (True) to 1/510, for they are most of a page."""

_HEADINGS: Mapping[ScoreKind, str] = {
    "probability": "Prediction",
    "independent probability": "Labels, each with a probability of its own",
    "value": "Values",
}

_MOST_OF_STACKS = 8_000_000
"""Bytes for the maps of every layer and head, for all that was asked about one image. Larger ones are left out: a page
of this size opens in about a second."""


def write_page(path: str | Path, *, pictures: Sequence[PagePicture | AskedPicture], title: str) -> None:
    """Write one page that shows images, one at a time, with a choice of their questions and maps.

    The part of its address after # says what is shown, and changes with it: `#question=2` opens the page at the second
    question about its first image, `#word=3&map=relevance` at the third word's map by this method (see `link.js`).

    Args:
        path: The HTML file; missing folders are made.
        pictures: The images, at least one.
        title: The title of the page.

    Raises:
        ValueError: There is no image.
    """
    check_argument(len(pictures) > 0, "pictures", must="at least one picture", value=pictures)
    data = {"saturation": SATURATION, "pictures": [_picture(picture) for picture in pictures]}
    write_scripted(path, title, "page.html", data, SCRIPTS)


def _picture(picture: PagePicture | AskedPicture) -> dict[str, object]:
    shown, left_out = for_display(picture.picture), ""
    if isinstance(picture, AskedPicture):
        maps = [one for asked in picture.questions for text in (asked.question, asked.answer) for one in text.maps]
    else:
        maps = list(picture.maps)
    size = _size_of_stacks(maps)
    if size > _MOST_OF_STACKS:
        left_out = (
            f"The maps of every layer and head are not on this page: they would take {size / 1e6:.0f} MB of it, "
            f"and {_MOST_OF_STACKS / 1e6:.0f} MB is the most."
        )
        if isinstance(picture, AskedPicture):
            left_out += " Ask fewer questions at once to have them."
    if isinstance(picture, AskedPicture):
        views = [_asked(question, stacks=not left_out) for question in picture.questions]
    else:
        views = [_predicted(picture, stacks=not left_out)]
    tokens = None
    if picture.tokens is not None:
        rows, columns = maps[0].values.shape[-2:]
        tokens, missing = tokens_data(picture.tokens, (rows, columns))
        left_out = f"{left_out} {missing}".strip()
    return {
        "left_out": left_out,
        "name": picture.name,
        "tokens": tokens,
        "sinks": [list(patch) for patch in picture.sinks],
        "src": jpeg(shown),
        "width": shown.width,
        "height": shown.height,
        "views": views,
    }


def _predicted(picture: PagePicture, *, stacks: bool) -> dict[str, object]:
    methods = Counter(one.method for one in picture.maps if "layer" not in one.names)
    shown = picture.maps if stacks else _without_stacks(picture.maps)
    maps = [
        _map(one, picture.verdicts, with_target=methods[one.method] > 1) | _of_words(one, picture.texts)
        for one in shown
    ]
    if picture.word_to_word is not None and stacks:
        maps.append(words_data(picture.word_to_word, picture.words))
    text = _text("Caption", picture.words, "", maps)
    view = {
        "predictions": _scores(picture.predictions),
        "heading": picture.heading or _HEADINGS[picture.score_kind],
        "texts": [text],
    }
    labels = [
        [[_map(one, (), with_target=False) | _of_words(one, picture.texts) for one in of_label]]
        for of_label in picture.label_maps
    ]
    return view | ({"labels": labels} if labels else {}) | ({"values": True} if picture.score_kind == "value" else {})


def _of_words(one: AttentionMap, texts: Sequence[AttentionMap]) -> dict[str, object]:
    """Return how much each word of the text counts that a map explains; nothing where there is no such text."""
    fitting = [text for text in texts if text.method == one.method and one.target in (None, text.target)]
    if not fitting or "layer" in one.names:
        return {}
    labels = fitting[0].axes[0].labels or ()
    return {"of_words": [[label, float(value)] for label, value in zip(labels, fitting[0].values, strict=True)]}


def _asked(question: PageQuestion, *, stacks: bool) -> dict[str, object]:
    texts = []
    for title, text in (("Question", question.question), ("Answer", question.answer)):
        shown = text.maps if stacks else _without_stacks(text.maps)
        maps = [_map(one, text.verdicts, with_target=False) for one in shown]
        if text.word_to_word is not None and stacks:
            maps.append(words_data(text.word_to_word, text.words))
        texts.append(_text(title, text.words, text.whole, maps))
    labels = [
        [
            [_map(one, (), with_target=False) | {"target": label} for one in of_text]
            for of_text in (of_label if stacks else ())
        ]
        for (label, _), of_label in zip(question.candidates, question.label_maps, strict=False)
    ]
    view = {"predictions": _scores(question.candidates), "heading": "Answers", "texts": texts}
    return view | ({"labels": labels} if labels and stacks else {})


def _text(title: str, words: Sequence[PageWord], whole: str, maps: list[dict[str, object]]) -> dict[str, object]:
    return {"title": title, "words": [_word(word) for word in words], "gaps": gaps(words, whole), "maps": maps}


def _without_stacks(maps: Sequence[AttentionMap]) -> Sequence[AttentionMap]:
    """Return the maps without the stacks; all maps where there are only stacks."""
    return [one for one in maps if "layer" not in one.names] or maps


def _size_of_stacks(maps: Sequence[AttentionMap]) -> int:
    """Return how many bytes stacks take in the page at most, about: one for a value, times 4/3 for base64."""
    if len(_without_stacks(maps)) == len(maps):
        return 0
    return sum(one.values.size * 4 // 3 for one in maps if "layer" in one.names)


def _scores(scores: Sequence[tuple[str, float]]) -> list[list[str | float]]:
    return [[label, float(score)] for label, score in scores]


def _word(word: PageWord) -> dict[str, object]:
    probability, dependence = word.probability, word.image_dependence
    known = None if probability is None else float(probability)
    facts: dict[str, object] = {"text": word.text, "probability": known, "without": None}
    if probability is None or dependence is None:
        return facts
    return facts | {
        # a word may be likelier without the image, but no probability is above 1
        "without": min(1.0, probability * math.exp(-max(dependence, -700.0))),
        "drop": float(dependence),
        "likelier": likelier(dependence),
        "ungrounded": ungrounded(dependence),
    }


def _map(attention_map: AttentionMap, verdicts: Sequence[Checked], *, with_target: bool) -> dict[str, object]:
    geometry = placed(attention_map)
    height, width = geometry.source_size
    left, top, right, bottom = geometry.source_box()
    rows, columns = attention_map.values.shape[-2:]
    grids = attention_map.values.reshape(-1, rows * columns).astype(np.float64)  # [layers * heads * words, cells]
    bits = _BITS["layer" in attention_map.names]
    low, size, steps = quantized(grids, 2**bits - 1)
    return described(attention_map, with_target=with_target) | {
        "target": attention_map.target,
        "verdicts": verdicts_of(attention_map, verdicts),
        "box": [left / width, top / height, right / width, bottom / height],
        "rows": rows,
        "columns": columns,
        "bits": bits,
        "low": digits(low),
        "step": digits(size),
        "steps": packed(steps.astype("u1" if bits == 8 else "<u2")),
        "words": attention_map.values.shape[-3] if "word" in attention_map.names else 0,
    }
