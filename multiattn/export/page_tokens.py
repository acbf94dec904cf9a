"""Self-attention as a page stores it: among patches or moments as much as fits, and among the words of a text."""

from collections.abc import Sequence

import numpy as np

from ..maps.attention_map import AttentionMap
from .html import base64_of, digits, packed, quantized
from .naming import described, meaning, origin
from .page_parts import PageWord, words_within

MOST_OF_TOKENS = 1_500_000
"""Bytes of a page for self-attention."""

_STEPS = 255
"""Values are stored in 8-bit steps from 0 to the highest of their row."""


def tokens_data(tokens: AttentionMap, grid: tuple[int, int]) -> tuple[dict[str, object] | None, str]:
    """Return what a page stores of self-attention among patches, and a sentence about what it leaves out.

    Every head of every layer, if that fits; else the mean of the heads; else that of fewer layers, evenly spread.

    Args:
        tokens: Axes (layer, head, query, key).
        grid: Rows and columns of patches, the last of the tokens.

    Returns:
        The data, None if not even one layer fits; and the sentence, "" if all of it is there.
    """
    n = tokens.values.shape[-1]
    labels = tokens.axes[-1].labels or ()
    stored = _stored([tokens])
    if stored is None:
        return None, (
            f"The attention from patch to patch is not on this page: the {n * n:,} numbers of one layer do not fit "
            f"into {MOST_OF_TOKENS / 1e6:g} MB."
        )
    facts, (matrices,), left_out = stored
    data = {
        "name": "patch to patch",
        **facts,
        "note": "Where one patch looks in the encoder, or which patches look at it.",
        "meaning": "attention weight per patch",
        "words": 0,
        "prefix": list(labels[: n - grid[0] * grid[1]]),
        **matrices,
    }
    rest = f"From patch to patch {left_out} `multiattn.maps.picture_self_attention` computes all of it."
    return data, rest if left_out else ""


def moments_data(windows: Sequence[AttentionMap]) -> tuple[dict[str, object] | None, str]:
    """Return what a page stores of self-attention among the moments of a recording, as `tokens_data` does.

    Args:
        windows: Of each window in order: axes (layer, head, query, key), the last two in seconds.
    """
    stored = _stored(windows)
    if stored is None:
        return None, (
            "The attention from moment to moment is not on this page: that of one layer does not fit into "
            f"{MOST_OF_TOKENS / 1e6:g} MB."
        )
    facts, matrices, left_out = stored
    data = {
        "name": "moment to moment",
        **facts,
        "note": windows[0].note,
        "meaning": meaning(windows[0]),
        "isMoments": True,
        "windows": [
            {"start": one.axes[-1].start, "step": one.axes[-1].step, **of_window}
            for one, of_window in zip(windows, matrices, strict=True)
        ],
    }
    rest = f"From moment to moment {left_out} `multiattn.maps.moment_attention` computes all of it."
    return data, rest if left_out else ""


def _stored(maps: Sequence[AttentionMap]) -> tuple[dict[str, object], list[dict[str, object]], str] | None:
    """Return what is common to the maps, the matrices of each, and what is left out; None if not even a layer fits."""
    depth, heads = maps[0].values.shape[:2]
    cells = sum(one.values[0, 0].size for one in maps)
    for layers, each in _choices(depth):
        if len(layers) * (heads if each else 1) * cells > 3 * MOST_OF_TOKENS:  # attention is deflated to half, or so
            continue
        matrices = [_matrices(one, layers, each=each) for one in maps]
        if sum(len(str(one["steps"])) for one in matrices) > MOST_OF_TOKENS:
            continue
        facts = {
            "origin": origin(maps[0]),
            "signed": False,
            "target": None,
            "verdicts": [],
            "layers": [f"layer {layer}" for layer in layers],
            "heads": heads if each else 0,
        }
        return facts, matrices, _left_out(depth, len(layers), each=each)
    return None


def _matrices(attention_map: AttentionMap, layers: Sequence[int], *, each: bool) -> dict[str, object]:
    """The self-attention of these layers, of each head or the mean of them: rows in steps up to their highest value."""
    chosen = attention_map.values[list(layers)]
    weights = chosen if each else chosen.mean(axis=1, keepdims=True)
    highest = weights.max(axis=-1, keepdims=True)  # (l, h, n, 1)
    steps = np.round(weights / np.where(highest > 0, highest, 1) * _STEPS).astype(np.uint8)
    return {
        "size": weights.shape[-1],
        "scale": base64_of((highest[..., 0] / _STEPS).astype("<f4").tobytes()),
        "steps": packed(steps),
    }


def _choices(depth: int) -> list[tuple[list[int], bool]]:
    """Return which layers may be stored, and whether with each head, from the most on."""
    found = [(list(range(depth)), True)]
    for step in range(1, depth + 1):
        found.append((list(range(depth - 1, -1, -step))[::-1], False))
    return found


def _left_out(depth: int, layers: int, *, each: bool) -> str:
    if each:
        return ""
    of_layers = "all layers" if layers == depth else f"{layers} of {depth} layers"
    return f"this page has the mean of the heads, of {of_layers}: more does not fit into {MOST_OF_TOKENS / 1e6:g} MB."


def words_data(attention_map: AttentionMap, words: Sequence[PageWord]) -> dict[str, object]:
    """Return what a page stores of self-attention among the words of a text: a grid of queries and keys, whole.

    Args:
        attention_map: Axes (layer, head, query, key).
        words: The words, which are among its queries and its keys.
    """
    rows, columns = attention_map.values.shape[-2:]
    low, size, steps = quantized(attention_map.values.reshape(-1, rows * columns).astype(np.float64), _STEPS)
    queries, keys = (axis.labels or () for axis in attention_map.axes[2:])
    return described(attention_map) | {
        "name": "word to word",
        "origin": origin(attention_map),
        "meaning": "attention weight per word",
        "target": None,
        "verdicts": [],
        "isWords": True,
        "rows": rows,
        "columns": columns,
        "queries": [label.strip() for label in queries],
        "keys": [label.strip() for label in keys],
        "firstQuery": words_within(queries, words),
        "firstKey": words_within(keys, words),
        "bits": 8,
        "low": digits(low),
        "step": digits(size),
        "steps": packed(steps.astype(np.uint8)),
        "words": 0,
    }
