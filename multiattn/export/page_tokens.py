"""Self-attention as a page stores it: among the tokens of an image, as much as fits, and among the words of a text."""

from collections.abc import Sequence

import numpy as np

from ..maps.attention_map import AttentionMap
from .html import base64_of, digits, packed, quantized
from .naming import described, origin
from .page_parts import PageWord, words_within

MOST_OF_TOKENS = 1_500_000
"""Bytes of a page for self-attention."""

_STEPS = 255
"""Values are stored in 8-bit steps from 0 to the highest of their row."""


def tokens_data(tokens: AttentionMap, grid: tuple[int, int]) -> tuple[dict[str, object] | None, str]:
    """Return what a page stores of self-attention, and a sentence about what it leaves out.

    Every head of every layer, if that fits; else the mean of the heads; else that of fewer layers, evenly spread.

    Args:
        tokens: Axes (layer, head, query, key).
        grid: Rows and columns of patches, the last of the tokens.

    Returns:
        The data, None if not even one layer fits; and the sentence, "" if all of it is there.
    """
    depth, heads, n, _ = tokens.values.shape
    labels = tokens.axes[-1].labels or ()
    for layers, each in _choices(depth):
        if len(layers) * (heads if each else 1) * n * n > 3 * MOST_OF_TOKENS:  # attention is deflated to half, or so
            continue
        chosen = tokens.values[layers]
        weights = chosen if each else chosen.mean(axis=1, keepdims=True)
        highest = weights.max(axis=-1, keepdims=True)  # (l, h, n, 1)
        steps = np.round(weights / np.where(highest > 0, highest, 1) * _STEPS).astype(np.uint8)
        text = packed(steps)
        if len(text) > MOST_OF_TOKENS:
            continue
        data = {
            "name": "patch to patch",
            "note": "Where one patch looks in the encoder, or which patches look at it.",
            "origin": origin(tokens),
            "meaning": "attention weight per patch",
            "signed": False,
            "target": None,
            "words": 0,
            "layers": [f"layer {layer}" for layer in layers],
            "heads": heads if each else 0,
            "size": n,
            "prefix": list(labels[: n - grid[0] * grid[1]]),
            "scale": base64_of((highest[..., 0] / _STEPS).astype("<f4").tobytes()),
            "steps": text,
        }
        return data, _left_out(depth, len(layers), each=each)
    return None, (
        f"The attention from patch to patch is not on this page: the {n * n:,} numbers of one layer do not fit into "
        f"{MOST_OF_TOKENS / 1e6:g} MB."
    )


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
    return (
        f"From patch to patch this page has the mean of the heads, of {of_layers}: more does not fit into "
        f"{MOST_OF_TOKENS / 1e6:g} MB. `multiattn.maps.picture_self_attention` computes all of it."
    )


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
