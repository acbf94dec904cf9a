"""Which classes a classifier takes for which, as a picture."""

from collections.abc import Mapping, Sequence

import numpy as np

from .canvas import SOFT, Canvas, PNGFile, points, width_of

MOST = 60
"""Classes that are drawn; of more, those with the most mistakes."""

_CELL, _SMALLEST = 34, 12  # pixels of a cell, for few and for many classes
_ROOM = 900  # pixels of all cells together, if they can be so small
_MARGIN, _TITLE, _GAP = 24, 64, 8
_LONGEST_NAME = 220  # pixels
_TYPE = 12.0  # pixels
_SMALLEST_WITH_NUMBERS = 24  # pixels of a cell


def draw_confusion(
    pairs: Mapping[tuple[str, str], int], labels: Sequence[str], path: PNGFile, *, title: str = ""
) -> None:
    """Draw a row for each class and a column for each label: the share of the class's items that got the label.

    Args:
        pairs: How many items of a class (first) got a label (second).
        labels: The classes, in their order; a label that is none of them is counted in the column "others".
        path: The PNG, written whole or not at all; missing folders are made.
        title: A line above it.
    """
    shown = _chosen(pairs, labels)
    index = {label: number for number, label in enumerate(shown)}
    has_others = any(truth in index and label not in index for truth, label in pairs)
    counts = np.zeros((len(shown), len(shown) + has_others), np.int64)
    for (truth, label), count in pairs.items():
        if truth in index:
            counts[index[truth], index.get(label, len(shown))] += count
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    cell = max(_SMALLEST, min(_CELL, _ROOM // len(shown)))
    size = min(_TYPE, float(cell))
    rows = [_cut(label, size) for label in shown]
    columns = [*rows, *(["others"] if has_others else [])]
    left = _MARGIN + round(max(width_of(name, size=size) for name in rows)) + _GAP
    under = round(max(width_of(name, size=size) for name in columns)) + _GAP
    width, height = cell * len(columns), cell * len(shown)
    head = _HEAD
    if len(shown) < len(labels):
        head += f" Of {len(labels)} classes, the {len(shown)} with the most mistakes."
    least = round(max(width_of(title, size=_TYPE + 2, weight="bold"), width_of(head, size=_TYPE))) + 2 * _MARGIN
    canvas = Canvas(max(left + width + _MARGIN, least), _TITLE + height + under + _MARGIN)
    canvas.write(title, _MARGIN, 14, size=_TYPE + 2, weight="bold")
    canvas.write(head, _MARGIN, 36, size=_TYPE, color=SOFT)
    axes = canvas.axes(left, _TITLE, width, height)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=points(size), parse_math=False)
    axes.set_yticks(range(len(rows)), rows, fontsize=points(size), parse_math=False)
    axes.tick_params(length=0)
    for edge in axes.spines.values():
        edge.set_color(SOFT)
    if cell >= _SMALLEST_WITH_NUMBERS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            number = int(counts[row, column])
            text = str(number) if number < 10_000 else f"{number / 1000:.0f}k"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=points(cell / 3))
    canvas.save(path)


_HEAD = "Rows are the true classes, columns the model's labels; a darker cell is a larger share of its row."


def _chosen(pairs: Mapping[tuple[str, str], int], labels: Sequence[str]) -> list[str]:
    """The classes to draw, in their order."""
    if len(labels) <= MOST:
        return list(labels)
    mistakes = dict.fromkeys(labels, 0)
    for (truth, label), count in pairs.items():
        if truth != label:
            for name in (truth, label):
                if name in mistakes:
                    mistakes[name] += count
    chosen = set(sorted(labels, key=lambda name: -mistakes[name])[:MOST])
    return [label for label in labels if label in chosen]


def _cut(name: str, size: float) -> str:
    """A name that is not wider than there is room for."""
    name = " ".join(name.split()) or repr(name)
    if width_of(name, size=size) <= _LONGEST_NAME:
        return name
    while width_of(f"{name}...", size=size) > _LONGEST_NAME:
        name = name[:-1]
    return f"{name}..."
