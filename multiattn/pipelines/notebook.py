"""How a notebook shows a result: what was found as text in the colors of the notebook, and the picture of each map."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

_MOST = 5
"""Labels or answers that are shown."""

_TABLE = "border-collapse:collapse;margin:.4em 0;text-align:left"
_BAR = "display:inline-block;height:.7em;background:#c4501b;border-radius:2px"
_SOFT = "opacity:.7"  # of the notebook's own color, dark or light


@runtime_checkable
class _Shown(Protocol):
    def _repr_html_(self) -> str: ...


def notebook_html(record: Mapping[str, Any], maps: Sequence[_Shown]) -> str:
    """Return a result as HTML.

    Colors are those of the notebook, so that it can be read on a dark page, too; the maps are on white.

    Args:
        record: `Result.to_dict()`.
        maps: The maps of the result.
    """
    parts = [f'<div style="{_SOFT}">{html.escape(str(record["file"]))}</div>'] if record.get("file") else []
    if "question" in record:
        parts.append(f"<div>{html.escape(str(record['question']))}</div>")
    if "predictions" in record:
        parts.append(_table([(one["label"], one["score"]) for one in record["predictions"][:_MOST]], record))
    elif "candidates" in record and "answer" in record:
        parts.append(_table([(one["answer"], one["score"]) for one in record["candidates"][:_MOST]], record))
    elif "answer" in record:
        parts.append(f"<div><b>{html.escape(str(record['answer']))}</b></div>")
    elif "text" in record:
        parts.append(f"<div><b>{html.escape(str(record['text']).strip())}</b></div>")
    for name in ("damaged", "out_of_domain", "remark"):
        if record.get(name):
            parts.append(f'<div style="{_SOFT}">{html.escape(f"{name}: {record[name]}")}</div>')
    pictures = "".join(f"<div>{one._repr_html_()}</div>" for one in maps)
    return f'<div style="color:inherit">{"".join(parts)}{pictures}</div>'


def _table(rows: Sequence[tuple[str, float]], record: Mapping[str, Any]) -> str:
    """Labels with their scores, and a bar for each that is a probability."""
    is_share = record.get("score_kind", "probability") != "value"
    cells = []
    for label, score in rows:
        number = f"{score:.1%}" if is_share else f"{score:+.4g}"
        bar = f'<span style="{_BAR};width:{max(1, round(120 * score))}px"></span>' if is_share else ""
        cells.append(
            f'<tr><td style="padding:0 1em 0 0;text-align:left"><b>{html.escape(label)}</b></td>'
            f'<td style="padding:0 1em 0 0;text-align:right">{number}</td><td style="text-align:left">{bar}</td></tr>'
        )
    return f'<table style="{_TABLE}">{"".join(cells)}</table>'
