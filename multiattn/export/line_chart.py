"""Curves over the steps of a training as SVG, in the colors of the page that holds it, without a script."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 8, 22
_MOST_POINTS = 400
"""Points of a curve that are drawn."""

_MOST_MARKED = 60
"""Points of a curve at most that have a mark each, which says its value where it is pointed at."""

_LOG_RATIO = 50.0
"""Largest value over the smallest from which the axis is logarithmic."""


@dataclass(frozen=True)
class Curve:
    """A curve of a chart."""

    name: str
    """What the legend calls it."""

    points: Sequence[tuple[int, float]]
    """Steps, ascending, with values; a value that is not finite leaves a gap."""


def line_chart(curves: Sequence[Curve], *, title: str, may_be_log: bool = False) -> str:
    """Draw curves over one axis of steps.

    Args:
        curves: At least one; the last has the page's accent color, those before it are gray and dashed.
        title: What is shown, for those who cannot see it.
        may_be_log: Whether the axis is logarithmic where values differ by more than a factor of 50.

    Returns:
        An `svg` element; "" where no value is finite.
    """
    values = [value for curve in curves for _, value in curve.points if math.isfinite(value)]
    if not values:
        return ""
    low, high = min(values), max(values)
    is_log = may_be_log and low > 0 and high / low > _LOG_RATIO
    if high == low:
        margin = abs(high) * 0.1 or 1.0
        low, high = low - margin, high + margin
    last = max(1, max(step for curve in curves for step, _ in curve.points))

    def x(step: int | float) -> float:
        return _LEFT + step / last * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if is_log else (value - low) / (high - low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">',
        f"<title>{html.escape(title)}</title>",
    ]
    for tick in _log_ticks(low, high) if is_log else _ticks(low, high):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in (tick for tick in _ticks(0.0, float(last)) if tick == int(tick)):
        where = "end" if x(tick) > _WIDTH - 24 else "middle"
        parts.append(f'<text x="{x(tick):.1f}" y="{_HEIGHT - 5}" text-anchor="{where}">{_short(int(tick))}</text>')
    for number, curve in enumerate(curves):
        kind = "main" if number == len(curves) - 1 else "other"
        points = _thinned(curve.points)
        path, is_down = [], False
        for step, value in points:
            if math.isfinite(value):
                path.append(f"{'L' if is_down else 'M'}{x(step):.1f} {y(value):.1f}")
            is_down = math.isfinite(value)
        parts.append(f'<path class="{kind}" d="{"".join(path)}"/>')
        if len(points) <= _MOST_MARKED:
            parts += [
                f'<circle class="{kind}" cx="{x(step):.1f}" cy="{y(value):.1f}" r="2.5"><title>'
                f"{html.escape(curve.name)} {value:.4g} at step {step}</title></circle>"
                for step, value in points
                if math.isfinite(value)
            ]
    return "".join([*parts, "</svg>"])


def _thinned(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """Evenly spread points, the last one among them."""
    stride = math.ceil(len(points) / _MOST_POINTS)
    return points if stride <= 1 else points[::-1][::stride][::-1]


def _ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers from `low` to `high`."""
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.6g}") for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, every n-th where there are many; both ends where there are fewer than two."""
    powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    found = [10.0**power for power in powers][:: max(1, math.ceil(len(powers) / 5))]
    return found if len(found) > 1 else [float(f"{low:.2g}"), float(f"{high:.2g}")]


def _short(step: int) -> str:
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if step >= 10 * size or (step >= size and step % size == 0):
            return f"{step / size:g}{letter}"
    return str(step)
