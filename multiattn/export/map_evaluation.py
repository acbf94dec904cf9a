"""What `multiattn evaluate maps` found, as a picture: areas with their intervals, and what shuffled weights leave."""

from ..maps.evaluation import BASELINES, MapEvaluation
from .canvas import FONT, INK, SOFT, Canvas, PNGFile, points, width_of

_COLORS = ("#1f5fbf", "#c4501b", "#2c8a4b", "#8a4bb0", "#b8891b", "#1b8a8a", "#b0344f", "#5f6572")
_MARKS = "osD^vPX*"
_MARGIN, _TITLE, _ROW, _GAP = 24, 70, 34, 12
_PLOT = 380  # pixels of each of the two plots
_TYPE = 13.0


def draw_map_evaluation(found: MapEvaluation, path: PNGFile, *, title: str = "") -> None:
    """Draw a row for each method and baseline, and beside the rows one curve a method over the shuffled blocks.

    A method has the same color and mark in both.

    Args:
        found: The evaluation.
        path: The PNG, written whole or not at all; missing folders are made.
        title: A line above it.
    """
    names = list(found.scores)
    curves = {name: one.randomized for name, one in found.scores.items() if one.randomized}
    color = {name: SOFT if name in BASELINES else _COLORS[i % len(_COLORS)] for i, name in enumerate(names)}
    labels = [name.replace("_", " ") for name in names]
    left = _MARGIN + round(max(width_of(label, size=_TYPE) for label in labels)) + _GAP
    height = max(_ROW * len(names), 220)
    second = left + _PLOT + 3 * _MARGIN
    canvas = Canvas(second + _PLOT + _MARGIN, _TITLE + height + 56)
    canvas.write(title, _MARGIN, 14, size=_TYPE + 2, weight="bold")
    canvas.write("Area between the curves, with its 95 % interval", left, 44, size=_TYPE, color=SOFT)
    axes = canvas.axes(left, _TITLE, _PLOT, height)
    for row, name in enumerate(names):
        area = found.scores[name].area
        axes.plot([area.low, area.high], [row, row], color=color[name], linewidth=2)
        mark = _MARKS[list(curves).index(name) % len(_MARKS)] if name in curves else "o"
        axes.plot([area.mean], [row], mark, color=color[name], markersize=7)
    axes.axvline(0, color=SOFT, linewidth=0.8)
    axes.set_yticks(range(len(names)), labels)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color="#e3e5ea")
    canvas.write("Likeness to the map with the top blocks' weights shuffled", second, 44, size=_TYPE, color=SOFT)
    other = canvas.axes(second, _TITLE, _PLOT, height)
    for number, (name, values) in enumerate(curves.items()):
        mark = _MARKS[number % len(_MARKS)]
        other.plot(range(len(values) + 1), [1.0, *values], color=color[name], marker=mark, markersize=5)
    other.set_ylim(-0.35, 1.05)
    other.axhline(0, color=SOFT, linewidth=0.8)
    other.set_xlabel("blocks from the top", fontsize=points(_TYPE), fontfamily=FONT, color=INK)
    other.grid(color="#e3e5ea")
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):  # as the curves, which need no legend then
        tick.set_color(color[name])
        tick.set_fontweight("bold" if name in curves else "normal")
    for one in (axes, other):
        one.set_axisbelow(True)
        one.tick_params(labelsize=points(_TYPE), length=0, labelfontfamily=FONT)
        for edge in one.spines.values():
            edge.set_color("#c9cdd6")
    canvas.save(path)
