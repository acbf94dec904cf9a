"""A page of the maps of two methods side by side, and their difference. Its script only says the values of a patch."""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ..maps.attention_map import AttentionMap
from ..maps.difference import agreement, difference
from .canvas import for_display, resized
from .heatmap import blend, placed, scale_on_gray
from .html import SCRIPT_POLICY, jpeg, part, write
from .naming import readable
from .scale import Scale, times
from .word_figure import grids_of

_HELP = "Point at a patch, tap it or use the arrow keys in a row to read its values, in multiples of the even share."

_WIDEST = 520
"""Pixels of the longer side of each picture."""


@dataclass(frozen=True, eq=False)
class ComparedPicture:
    """A picture with its maps by two methods."""

    picture: Image.Image
    """The upright source of the maps."""

    name: str
    """What the page calls it: a file name."""

    said: str
    """What is explained: a label, a caption, an answer."""

    first: AttentionMap
    """Axes (y, x) or (word, y, x), with a geometry."""

    second: AttentionMap
    """By another method, with the same axes."""


def write_comparison(path: str | Path, pictures: Sequence[ComparedPicture], *, title: str) -> None:
    """Write a page with a row for each picture, or for each word about it: the two maps, and the first less the second.

    Args:
        path: The HTML file; missing folders are made.
        pictures: At least one.
        title: The title of the page.

    Raises:
        ModelError: Maps of one picture have different axes.
        ValueError: They have other axes than these, or no geometry, or are no maps of the picture.
    """
    body = [
        f'<header><h1 class="label">{html.escape(title)}</h1></header>',
        f'<p class="soft small" id="help">{_HELP}</p>',
    ]
    for one in pictures:
        alike = agreement(one.first, one.second)
        if one.name != title:
            body.append(f'<p class="label"><b>{html.escape(one.name)}</b></p>')
        names = f"{readable(one.first.method)} and {readable(one.second.method)}"
        said = f"{one.said}: {names} order the patches alike by {alike:.2f} (Spearman; 1: the same, 0: unrelated)."
        body.append(f"<p>{html.escape(said)}</p>")
        body += [_row(one, word, maps) for word, maps in _rows(one)]
        notes = "".join(f"<p>{html.escape(f'{readable(m.method)}: {m.note}')}</p>" for m in (one.first, one.second))
        body.append(f'<div class="soft small">{notes}</div>')
    body.append(f"<script>\n{part('comparison.js')}</script>")
    write(path, title, "\n".join(body), policy=SCRIPT_POLICY, style="comparison.css")


def _rows(one: ComparedPicture) -> list[tuple[str, tuple[AttentionMap, AttentionMap, AttentionMap]]]:
    """The maps of each row, with its word; an empty one for a map without words."""
    three = (one.first, one.second, difference(one.first, one.second))
    if one.first.names == ("y", "x"):
        return [("", three)]
    words = one.first.axes[0].labels or ()
    grids = zip(*map(grids_of, three), strict=True)
    return [(word.strip(), grid) for word, grid in zip(words, grids, strict=True)]


def _row(one: ComparedPicture, word: str, maps: tuple[AttentionMap, AttentionMap, AttentionMap]) -> str:
    shown = for_display(one.picture)
    shown = resized(shown, min(1.0, _WIDEST / max(shown.size)))
    signed = [one.first.is_signed, one.second.is_signed, True]
    figures = [_figure(shown, grid, is_signed) for grid, is_signed in zip(maps, signed, strict=True)]
    heading = f'<p class="label"><b>“{html.escape(word)}”</b></p>' if word else ""
    names = html.escape(
        f"{readable(one.first.method)} and {readable(one.second.method)}{f' of “{word}”' if word else ''}"
    )
    return (
        f'{heading}<div class="compared" tabindex="0" role="application" aria-label="{names}" aria-describedby="help" '
        f'data-maps="{html.escape(json.dumps(_values(maps)))}">{"".join(figures)}</div>'
        '<output class="readout small" aria-live="polite"></output>'
    )


def _values(maps: tuple[AttentionMap, AttentionMap, AttentionMap]) -> dict[str, object]:
    """What the script reads of a row: the maps in multiples of the even share, and where they are in the picture."""
    geometry = placed(maps[0])
    height, width = geometry.source_size
    left, top, right, bottom = geometry.source_box()
    shares = [one.even_shares if " less " not in one.method else one.values for one in maps]
    rows, columns = maps[0].values.shape
    return {
        "rows": rows,
        "columns": columns,
        "box": [round(place, 6) for place in (left / width, top / height, right / width, bottom / height)],
        "names": [readable(maps[0].method), readable(maps[1].method), "difference"],
        "values": [[float(f"{value:.4g}") for value in one.ravel()] for one in shares],
    }


def _figure(shown: Image.Image, grid: AttentionMap, signed: bool) -> str:
    # the difference is in multiples of the even share already
    scale = Scale.of(grid.values, signed=signed)
    low, high = scale.ends if " less " not in grid.method else (-scale.span, scale.span)
    bar = Image.fromarray(scale_on_gray(signed=signed)[None].repeat(8, axis=0))
    name = html.escape(readable(grid.method))
    blended = jpeg(blend(shown, replace(grid, target=None), signed=signed))
    return (
        f'<figure><div class="over"><img src="{blended}" alt="{name}">'
        '<span class="cell"></span></div>'
        f'<figcaption><b>{name}</b><img class="bar" src="{jpeg(bar)}" alt="">'
        f'<span class="ends small soft"><span>{times(low)} even</span><span>{times(high)} even</span></span>'
        "</figcaption></figure>"
    )
