"""What heads do, and the mean map of each label, as pictures."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..head_roles import ROLES
from ..maps.heads import HeadFacts
from ..maps.mean_map import MeanMap
from .canvas import SOFT, Canvas, PNGFile, points, width_of
from .heatmap import tinted
from .scale import Scale

_MARGIN, _TITLE, _GAP, _TYPE = 24, 70, 8, 12.0
_CELL = 34  # pixels of a head
_LETTERS = dict(zip(ROLES, "CSPLOE·", strict=True))
_TILE, _ACROSS, _MOST = 150, 6, 60  # pixels of a mean map, of them in a row, and in all
_BELOW = 44  # pixels for the name of a mean map


def draw_heads(facts: Sequence[HeadFacts], path: PNGFile, *, title: str = "") -> None:
    """Draw a row for each site and a column for each head: the darker, the larger its slope; a letter for its role.

    Args:
        facts: Of all heads, in the model's order.
        path: The PNG, written whole or not at all; missing folders are made.
        title: A line above it.
    """
    sites = list(dict.fromkeys(one.site for one in facts))
    slopes = np.zeros((len(sites), 1 + max(one.head for one in facts)))
    for one in facts:
        slopes[sites.index(one.site), one.head] = one.slope
    head = "A darker cell is a head whose size changes the prediction more; the letter is its role."
    legend = ["  ".join(f"{letter} {name}" for name, letter in _LETTERS.items())]
    left = _MARGIN + round(max(width_of(site, size=_TYPE) for site in sites)) + _GAP
    width, height = _CELL * slopes.shape[1], _CELL * len(sites)
    least = max(
        width_of(title, size=_TYPE + 2, weight="bold"), *(width_of(line, size=_TYPE) for line in (head, *legend))
    )
    canvas = Canvas(max(left + width, _MARGIN + round(least)) + _MARGIN, _TITLE + height + 60)
    canvas.write(title, _MARGIN, 14, size=_TYPE + 2, weight="bold")
    canvas.write(head, _MARGIN, 38, size=_TYPE, color=SOFT)
    axes = canvas.axes(left, _TITLE, width, height)
    highest = float(slopes.max()) or 1.0
    axes.imshow(slopes, cmap="Blues", vmin=0, vmax=highest, interpolation="nearest", aspect="auto")
    axes.set_xticks(range(slopes.shape[1]), [str(i) for i in range(slopes.shape[1])], fontsize=points(_TYPE))
    axes.set_yticks(range(len(sites)), sites, fontsize=points(_TYPE), parse_math=False)
    axes.tick_params(length=0)
    for edge in axes.spines.values():
        edge.set_color(SOFT)
    for one in facts:
        color = "white" if one.slope > highest / 2 else "black"
        place = one.head, sites.index(one.site)
        axes.text(*place, _LETTERS[one.role], ha="center", va="center", color=color, fontsize=points(_TYPE))
    canvas.write_lines(legend, _MARGIN, _TITLE + height + 30, step=18.0, size=_TYPE, color=SOFT)
    canvas.save(path)


def draw_mean_maps(found: Sequence[MeanMap], path: PNGFile, *, title: str = "") -> None:
    """Draw the mean map of each label, each in its own colors, in multiples of its even share.

    Args:
        found: The means, of which the first 60 are drawn.
        path: The PNG, written whole or not at all; missing folders are made.
        title: A line above it.
    """
    shown = found[:_MOST]
    across = min(_ACROSS, len(shown))
    rows = -(-len(shown) // across)
    head = f"Where the model looks for each label: the mean of its maps by {found[0].map.method.replace('_', ' ')}."
    if len(shown) < len(found):
        head += f" Of {len(found)} labels, the {len(shown)} with the most pictures."
    least = max(width_of(title, size=_TYPE + 2, weight="bold"), width_of(head, size=_TYPE))
    width = max(across * (_TILE + _GAP) - _GAP, round(least))
    canvas = Canvas(width + 2 * _MARGIN, _TITLE + rows * (_TILE + _BELOW) + _MARGIN)
    canvas.write(title, _MARGIN, 14, size=_TYPE + 2, weight="bold")
    canvas.write(head, _MARGIN, 38, size=_TYPE, color=SOFT)
    for index, mean in enumerate(shown):
        one = mean.map
        left = _MARGIN + index % across * (_TILE + _GAP)
        top = _TITLE + index // across * (_TILE + _BELOW)
        scale = Scale.of(one.values)
        gray = np.full((*one.values.shape, 3), 128, np.float32)
        colors = np.round(tinted(gray, scale.positions(one.values), signed=scale.signed)).astype(np.uint8)
        canvas.picture(Image.fromarray(colors).resize((_TILE, _TILE), Image.Resampling.NEAREST), left, top)
        label = _cut(str(one.target))
        canvas.write(label, left, top + _TILE + 4, size=_TYPE, weight="bold")
        most = float(one.even_shares.max())
        canvas.write(
            f"{mean.count} pictures · up to × {most:.1f} even", left, top + _TILE + 20, size=_TYPE - 2, color=SOFT
        )
    canvas.save(path)


def _cut(name: str) -> str:
    """A label that is not wider than its map."""
    name = " ".join(name.split())
    while width_of(name, size=_TYPE, weight="bold") > _TILE and len(name) > 1:
        name = name.removesuffix("…")[:-1] + "…"
    return name
