"""The maps of windows, and their order: what a window left out is decoded again, and lies between its segments."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ...alignment import SpokenWord
from ...maps import AttentionMap, Checked


class WindowMap(NamedTuple):
    """Attention for each word of a window, by one map method."""

    map: AttentionMap
    """Axes ("word", "time") or ("word", "mel", "time"); the time in seconds of the recording."""

    stack: AttentionMap
    """Axes ("layer", "head", "word", "time"); the same for all methods."""

    words: tuple[SpokenWord, ...]
    checked: Checked | None
    """Its verdicts; None where it was not checked."""

    segments: tuple[tuple[float, int], ...]
    """Where each segment of the window begins, in seconds, and the number of its words."""


def in_order(found: Sequence[WindowMap]) -> list[WindowMap]:
    """Return maps in the order of the recording's words.

    Args:
        found: For each window, as it was decoded, one map for each method.

    Returns:
        The same; a window between whose segments those of another lie is cut there. Its verdicts stay with the first
        part.
    """
    windows: list[list[WindowMap]] = []
    for one in found:
        if not windows or windows[-1][0].stack is not one.stack:
            windows.append([])
        windows[-1].append(one)
    parts = list[tuple[float, int, int, int]]()  # start, window, and its words from where to where
    for number, window in enumerate(windows):
        first = 0
        for start, count in window[0].segments:
            parts.append((start, number, first, first + count))
            first += count
    runs = list[tuple[int, int, int]]()  # window, and its words from where to where
    for _, number, first, last in sorted(parts, key=lambda part: part[0]):
        if runs and runs[-1][0] == number and runs[-1][2] == first:
            first = runs.pop()[1]
        runs.append((number, first, last))
    return [_part(one, first, last) for number, first, last in runs if first < last for one in windows[number]]


def _part(one: WindowMap, first: int, last: int) -> WindowMap:
    if (first, last) == (0, len(one.words)):
        return one
    return one._replace(
        map=_of_words(one.map, first, last),
        stack=_of_words(one.stack, first, last),
        words=one.words[first:last],
        checked=one.checked if first == 0 else None,
    )


def _of_words(one: AttentionMap, first: int, last: int) -> AttentionMap:
    """Return the rows of some words."""
    at = one.names.index("word")
    axis = one.axes[at]
    cut = replace(axis, labels=None if axis.labels is None else axis.labels[first:last])
    values = one.values[(slice(None),) * at + (slice(first, last),)]
    return replace(one, values=values, axes=(*one.axes[:at], cut, *one.axes[at + 1 :]))
