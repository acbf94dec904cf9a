"""The report about data as a table, and what a person should look at in it, in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

_RAREST = 10  # classes that are listed
_MOST_FREQUENT = 3


def rows(found: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """A row for each fact: its name, and a cell for each split; the first one has the splits' names."""
    splits = found["splits"]
    table: list[tuple[str, list[str]]] = [
        ("", list(splits)),
        (found["kind"], [str(s["items"]) for s in splits.values()]),
    ]
    table += _classes(splits)
    for name, unit in (("width", "px"), ("height", "px"), ("seconds", "")):
        if any(split["headers"].get(name) for split in splits.values()):
            cells = [_span(split["headers"].get(name)) for split in splits.values()]
            table.append((f"{name}{f', {unit}' if unit else ''}", cells))
    for kind in dict.fromkeys(kind for split in splits.values() for kind in split["texts"]):
        described = [split["texts"].get(kind) for split in splits.values()]
        table.append((kind, [_cell(one, "texts") for one in described]))
        table.append(("  words", [_span(one["words"] if one else None) for one in described]))
        table.append(("  unknown tokens", [_share(one) for one in described]))
        if any(one and one["longer"] for one in described):
            table.append((f"  {_becomes(described)}", [_longer(one) for one in described]))
    table.append(("files ignored", [_ignored(split["ignored"]) for split in splits.values()]))
    return table


def lines(found: Mapping[str, Any]) -> list[str]:
    """The rows as lines; then the remarks."""
    table = rows(found)
    width = max(len(name) for name, _ in table)
    columns = [max(len(cells[i]) for _, cells in table) for i in range(len(table[0][1]))]
    shown = [
        f"  {name:{width}}  " + "  ".join(f"{cell:>{wide}}" for cell, wide in zip(cells, columns, strict=True))
        for name, cells in table
    ]
    head = f"The data in {', '.join(found['root'])} (smallest / middle / largest; all of it in data.json):"
    return [head, *(line.rstrip() for line in shown), *(f"  - {remark}" for remark in found["remarks"])]


def remarks(found: Mapping[str, Any]) -> list[str]:
    """What a person should look at, each in a sentence."""
    said: list[str] = []
    if near := found["near_equal_labels"]:
        said.append(f"Labels that are nearly equal: {'; '.join(' and '.join(map(repr, one)) for one in near[:5])}.")
    if nothing := found["labels_like_nothing"]:
        said.append(f"Labels that stand for nothing: {_counts(nothing)}.")
    for name, split in found["splits"].items():
        said += _of_split(name, split, found["kind"])
    return said + _of_duplicates(found["duplicates"], found["kind"])


def _of_split(name: str, split: Mapping[str, Any], kind: str) -> list[str]:
    said: list[str] = []
    if empty := [one["label"] for one in split["classes"] if not one["items"]]:
        said.append(f"{name} has no {kind} of {_some(empty)}.")
    if split["missing"]:
        said.append(f"{name}: {split['missing']} of {split['looked_at']} listed files are missing.")
    headers = split["headers"]
    if headers["unreadable"]:
        said.append(f"{name}: {headers['unreadable']} of {headers['looked_at']} files that were opened are unreadable.")
    for kind_of_text, one in split["texts"].items():
        if one["like_nothing"]:
            said.append(f"{name}: {kind_of_text} that stand for nothing: {_counts(one['like_nothing'])}.")
        if one["unknown"]:
            said.append(
                f"{name}: the vocabulary lacks {one['unknown']} of {one['tokens']} tokens of the {kind_of_text}: "
                f"{_some(one['unknown_words'])}."
            )
        if one["longer"]:
            said.append(
                f"{name}: {one['longer']} of {one['looked_at']} {kind_of_text} have more than {one['most_tokens']} "
                f"tokens and are {one['are']}."
            )
    for reason, ignored in (split["ignored"] or {"reasons": {}})["reasons"].items():
        said.append(
            f"{name}: files that are ignored, {reason}: {ignored['files']}, such as {_some(ignored['names'], 3)}."
        )
    if 0 < split["looked_at"] < split["items"]:
        said.append(f"{name}: of {split['items']} files, {split['looked_at']}, evenly spread, were compared.")
    return said


def _of_duplicates(found: Mapping[str, Any], kind: str) -> list[str]:
    if not found["files"]:
        return []
    first = found["groups"][0]
    parts = [f"{found['files']} of {found['looked_at']} {kind} are equal to another; sets: {found['sets']}"]
    if found["across_splits"]:
        parts.append(f"sets in several splits, so that validation is too good: {found['across_splits']}")
    if found["other_labels"]:
        parts.append(f"sets with several labels: {found['other_labels']}")
    return [f"{'; '.join(parts)}. For example {first['files'][0]} and {first['files'][1]}."]


def _classes(splits: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """The number of classes, and a row for the rarest and the most frequent ones."""
    first, *others = [split["classes"] for split in splits.values()]
    if not first:
        return []
    rows = [("classes", [str(len(first))] * len(splits))]
    counts = [{one["label"]: one["items"] for one in split} for split in (first, *others)]
    names = [one["label"] for one in first]
    shown = names if len(names) <= _RAREST + _MOST_FREQUENT else names[:_RAREST]
    rows += [(f"  {name!r}"[:40], [str(count.get(name, 0)) for count in counts]) for name in shown]
    if len(shown) < len(names):
        rows.append((f"  ... {len(names) - _RAREST - _MOST_FREQUENT} more", [""] * len(splits)))
        last = names[-_MOST_FREQUENT:]
        rows += [(f"  {name!r}"[:40], [str(count.get(name, 0)) for count in counts]) for name in last]
    return rows


def _span(found: Mapping[str, float] | None) -> str:
    return "-" if not found else " / ".join(f"{found[name]:g}" for name in ("min", "median", "max"))


def _cell(found: Mapping[str, Any] | None, name: str) -> str:
    return "-" if found is None else str(found[name])


def _share(found: Mapping[str, Any] | None) -> str:
    return "-" if not found or not found["tokens"] else f"{found['unknown'] / found['tokens']:.2%}"


def _becomes(described: Sequence[Mapping[str, Any] | None]) -> str:
    return next(f"longer, {one['are']}" for one in described if one and one["longer"])


def _longer(found: Mapping[str, Any] | None) -> str:
    return "-" if not found else f"{found['longer']} of {found['looked_at']}"


def _ignored(found: Mapping[str, Any] | None) -> str:
    return "-" if found is None else str(sum(one["files"] for one in found["reasons"].values()))


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name!r} ({count})" for name, count in list(found.items())[:5])


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(repr(name) for name in names[:most]) + (" ..." if len(names) > most else "")
