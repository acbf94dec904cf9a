"""The report of a training as one self-contained HTML page, from plain data: it needs no network and no script."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..metrics.multi_label import LabelScores
from .html import fill, part, write
from .line_chart import Curve, line_chart

_MOST_CLASSES = 20
"""Classes of a matrix that is shown whole; of more, the most frequent mistakes are listed."""

_MOST_MISTAKES = 20
_MOST_ROWS = 100
"""Validations, and rows of other tables."""

_MOST_REFERENCES = 5
"""Right texts of an example."""

_LETTERS = 300
"""Characters of a name or text."""

_LOWER = ("loss", "wer", "cer")
"""What is better where it is lower, by the last part of its name."""


@dataclass(frozen=True)
class Validation:
    """What one validation measured."""

    step: int
    epoch: int
    """From 1 on."""

    values: Mapping[str, float]
    """By their names, such as `val/top1`."""


@dataclass(frozen=True)
class Example:
    """An item of the validation split, and what the model said of it."""

    name: str
    text: str
    """What the model wrote."""

    references: Sequence[str]
    """What is right: each of these is."""

    question: str = ""
    picture: str = ""
    """A data URI; "" for a recording."""


@dataclass(frozen=True)
class MapsOverTime:
    """Maps over one picture, drawn in the course of the training."""

    name: str
    frames: Sequence[tuple[str, str]]
    """Pairs of a caption ("epoch 3") and a data URI."""

    are_figures: bool = False
    """Whether each has several pictures and a text, and so needs room to be read."""


@dataclass(frozen=True)
class RunReport:
    """What the report of a training shows; what is empty is left out."""

    title: str
    status: str
    """How far the training is, in a sentence."""

    train: Sequence[tuple[int, float, float]] = ()
    """Steps, each with the mean training loss since the one before, and the learning rate."""

    validations: Sequence[Validation] = ()
    data: Sequence[tuple[str, Sequence[str]]] = ()
    """The table of the data: rows of a name and cells; the first row is the head."""

    remarks: Sequence[str] = ()
    """About the data."""

    labels: Sequence[str] = ()
    """The classes of `pairs`, in their order."""

    pairs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How many validation items of a class (first) got a label (second)."""

    by_label: Mapping[str, LabelScores] = field(default_factory=dict)
    """How well each label of the validation items is told, where an item has several or none."""

    examples: Sequence[Example] = ()
    maps: Sequence[MapsOverTime] = ()
    commands: Sequence[tuple[int, str]] = ()
    """The steps at which the training was started or resumed, each with the command."""

    facts: Sequence[tuple[str, str]] = ()
    """Versions, device and the like, by their names."""


def write_run_report(path: str | Path, report: RunReport) -> None:
    """Write the page, whole or not at all; missing folders are made.

    Args:
        path: The HTML file.
        report: What it shows.
    """
    sections = [
        ("Curves", _charts(report) + _validations(report.validations)),
        ("Which class is taken for which", _confusion(report.labels, report.pairs)),
        ("How well each label is told", _by_label(report.by_label)),
        ("Examples from the validation split", "".join(map(_example, report.examples))),
        ("Maps over time", "".join(map(_maps, report.maps))),
        ("Data", _data(report.data, report.remarks)),
        ("Commands", "".join(_command(step, command) for step, command in report.commands)),
        ("Run", _facts(report.facts)),
    ]
    body = {
        "title": html.escape(report.title),
        "status": html.escape(report.status),
        "sections": "\n".join(
            f'<section class="panel"><h2>{name}</h2>{content}</section>' for name, content in sections if content
        ),
    }
    write(path, report.title, fill(part("run_report.html"), body), style="run_report.css")


def _charts(report: RunReport) -> str:
    names = dict.fromkeys(name for one in report.validations for name in one.values)
    measured = {
        # a BLEU of 1e-13 is nothing
        name: Curve("validation", [(o.step, round(o.values[name], 9)) for o in report.validations if name in o.values])
        for name in names
    }
    loss = [Curve("training", [(step, value) for step, value, _ in report.train])] if report.train else []
    if "val/loss" in measured:
        loss.append(measured.pop("val/loss"))
    charts = [("loss", loss), *((name.removeprefix("val/"), [curve]) for name, curve in measured.items())]
    rates = [(step, rate) for step, _, rate in report.train]
    charts += [("learning rate", [Curve("", rates)])] if rates else []
    drawn = [_chart(name, curves) for name, curves in charts if curves]
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _chart(name: str, curves: Sequence[Curve]) -> str:
    said = "; ".join(filter(None, (_last(name, curve, is_dashed=curve is not curves[-1]) for curve in curves)))
    drawing = line_chart(curves, title=f"{name} by step", may_be_log=name == "loss")
    return (
        f'<figure><figcaption><strong>{html.escape(name)}</strong> <span class="soft small">{html.escape(said)}</span>'
        f"</figcaption>{drawing}</figure>"
    )


def _last(name: str, curve: Curve, *, is_dashed: bool) -> str:
    """The last value of a curve, and the best one of a validation."""
    if not curve.points:
        return ""
    value = f"{curve.points[-1][1]:.4g}"
    finite = [(step, one) for step, one in curve.points if math.isfinite(one)]
    odd = len(curve.points) - len(finite)
    best = ""
    if curve.name == "validation" and finite:
        is_lower = name.rpartition("/")[2] in _LOWER
        step, one = min(finite, key=lambda point: point[1] if is_lower else -point[1])
        best = f", {'lowest' if is_lower else 'highest'} {one:.4g} at step {step}"
    label = f"{curve.name} (dashed)" if is_dashed else curve.name
    return f"{label} {value}{best}{f', {odd} not finite' if odd else ''}".strip()


def _validations(validations: Sequence[Validation]) -> str:
    if not validations:
        return ""
    names = list(dict.fromkeys(name for one in validations for name in one.values))
    rows = [
        (str(one.step), [str(one.epoch), *(f"{one.values[name]:.4f}" if name in one.values else "" for name in names)])
        for one in validations[-_MOST_ROWS:]
    ]
    return f"<details><summary>Each validation</summary>{_table([('step', ['epoch', *names]), *rows])}</details>"


def _confusion(labels: Sequence[str], pairs: Mapping[tuple[str, str], int]) -> str:
    if not pairs:
        return ""
    totals = {label: 0 for label in labels}
    for (truth, _), count in pairs.items():
        totals[truth] = totals.get(truth, 0) + count
    if len(labels) > _MOST_CLASSES:
        mistakes = sorted(((count, *pair) for pair, count in pairs.items() if pair[0] != pair[1]), reverse=True)
        rows = [(truth, [label, f"{count} of {totals[truth]}"]) for count, truth, label in mistakes[:_MOST_MISTAKES]]
        return _table([("class", ["taken for", "items"]), *rows]) if rows else "<p>No mistakes.</p>"
    head = "".join(f'<th scope="col"><span>{_text(label)}</span></th>' for label in labels)
    lines = [f'<tr><th class="soft small">class, and the label that it got</th>{head}</tr>']
    for truth in labels:
        cells = []
        for label in labels:
            count = pairs.get((truth, label), 0)
            share = count / max(1, totals[truth])
            kind = ' class="most"' if share > 0.7 else ""
            cells.append(f'<td{kind} style="--share:{share:.3f}">{count or "<span>·</span>"}</td>')
        lines.append(f'<tr><th scope="row">{_text(truth)}</th>{"".join(cells)}</tr>')
    return f'<div class="wide"><table class="matrix">{"".join(lines)}</table></div>'


def _by_label(labels: Mapping[str, LabelScores]) -> str:
    """A row for each label, the lowest F1 first; those that no item has come last."""
    if not labels:
        return ""
    ranked = sorted(labels.items(), key=lambda found: (found[1].f1 is None, found[1].f1 or 0, found[0]))
    rows = []
    for name, one in ranked[:_MOST_ROWS]:
        counts = (one.items, one.true_positives, one.false_negatives, one.false_positives, one.true_negatives)
        figures = ["" if value is None else f"{value:.3f}" for value in (one.f1, one.average_precision)]
        rows.append((name, [*map(str, counts), *figures]))
    head = ["items", "found", "missed", "told wrongly", "rightly not told", "F1", "average precision"]
    return _table([("label", head), *rows])


def _example(example: Example) -> str:
    picture = f'<img src="{example.picture}" alt="">' if example.picture else ""
    asked = f"<em>{_text(example.question)}</em>" if example.question else ""
    is_right = example.text in example.references
    sign = "✓ " if is_right else ""
    right = list(dict.fromkeys(one or "(nothing)" for one in example.references))
    lines = "<br>".join(map(_text, right[:_MOST_REFERENCES]))
    more = f"<br>and {len(right) - _MOST_REFERENCES} more" if len(right) > _MOST_REFERENCES else ""
    return (
        f'<div class="example">{picture}<div>{asked}<p><strong>{sign}{_text(example.text or "(nothing)")}</strong></p>'
        f'<p class="soft">{lines}{more}</p><p class="soft small">{_text(example.name)}</p></div></div>'
    )


def _maps(maps: MapsOverTime) -> str:
    kind = ' class="figure"' if maps.are_figures else ""
    frames = "".join(
        f'<figure{kind}><img src="{source}" alt="{html.escape(caption)}"><figcaption class="small soft">'
        f"{html.escape(caption)}</figcaption></figure>"
        for caption, source in maps.frames
    )
    return f'<div><p class="small">{_text(maps.name)}</p><div class="strip">{frames}</div></div>'


def _data(rows: Sequence[tuple[str, Sequence[str]]], remarks: Sequence[str]) -> str:
    said = "".join(f"<li>{html.escape(remark)}</li>" for remark in remarks[:_MOST_ROWS])
    return (_table(rows[:_MOST_ROWS]) if rows else "") + (f"<ul>{said}</ul>" if said else "")


def _command(step: int, command: str) -> str:
    start = "" if step == 0 else f'<p class="small soft">resumed at step {step}</p>'
    return f'<div>{start}<pre tabindex="0">{html.escape(command)}</pre></div>'


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<dt>{html.escape(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts)
    return f"<dl>{cells}</dl>" if cells else ""


def _table(rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table whose first row is its head."""
    (corner, columns), *others = rows
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in columns)
    lines = [f"<tr><th>{_text(corner)}</th>{head}</tr>"]
    for name, cells in others:
        inset = ' class="inset"' if name.startswith("  ") else ""
        row = "".join(f"<td>{_text(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row"{inset}>{_text(name.strip())}</th>{row}</tr>')
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _text(text: str) -> str:
    """A text that the data or the model wrote, not too long."""
    return html.escape(text if len(text) <= _LETTERS else f"{text[:_LETTERS]} …")
