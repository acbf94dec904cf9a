"""Sinks: tokens that most others attend to in many layers, wherever those are and whatever they show.

A model parks attention there that it needs nowhere else. In a picture they are often corners or patches of background:
bright in a map, but no part of what was recognized. Source of the observation: Xiao et al. 2024, "Efficient streaming
language models with attention sinks", section 3 (first tokens of a text); Darcet et al. 2024, "Vision transformers need
registers", section 2 (patches of background). Those find them by their place and by the norm of their features; here a
sink is found by the attention that it gets, which needs no threshold that depends on the model's scale.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..attention import Site, Tap
from ..checks import require
from ..models import VQA, Captioner, SingleStream, ViT
from .attention_map import AttentionMap
from .building import image_size

TIMES = 5.0
"""A row attends to a sink with at least this multiple of the even share of the tokens that it sees."""

ROWS = 0.5
"""The share of the rows that do so: far more than show one thing."""

LAYERS = 0.25
"""The share of the layers in which that holds, and at least two layers: some layer always gathers somewhere."""

_SAMPLED = 64
"""Rows of a picture that are captured, evenly spread: enough to tell a half from a quarter of them."""


def find_sinks(weights: Sequence[Float[Tensor, "h q k"]]) -> list[int]:
    """Find the sinks among the tokens of one input.

    Args:
        weights: Self-attention of each layer, with the same keys; 0 where a key is masked. Layers with a single row,
            and rows that see fewer than 10 tokens, are not counted: there the rule could not be met.

    Returns:
        The tokens' indices, rising.
    """
    many = []
    for of_layer in weights:
        rows = of_layer.float().mean(dim=0)  # (q, k)
        seen = (rows > 0).sum(dim=1, keepdim=True)  # (q, 1)
        counted = rows[seen[:, 0] >= 2 * TIMES] * seen[seen[:, 0] >= 2 * TIMES]  # multiples of the even share
        if len(counted) > 1:
            many.append((counted >= TIMES).float().mean(dim=0) >= ROWS)  # (k,)
    if not many:
        return []
    layers = torch.stack(many).sum(dim=0)  # (k,)
    found: list[int] = (layers >= max(2, ceil(LAYERS * len(many)))).nonzero().flatten().tolist()
    return found


def sink_tap(encoder: ViT, size: tuple[int, int], *, of: Literal["forward", "features"] = "features") -> Tap | None:
    """Return the tap with which one pass over pictures finds their sinks, for `patch_sinks`.

    Args:
        encoder: What encodes the pictures.
        size: Their height and width in pixels.
        of: Which of the encoder's methods takes the tap.

    Returns:
        The tap; None where there are not two layers that compute all rows.
    """
    sites = encoder.attention_sites(size, of=of)
    select = [site.name for site in sites if site.q_len == sites[0].k_len]
    if len(select) < 2:
        return None
    return Tap(sites, select=select, rows=_spread(sites[0]))


def patch_sinks(tap: Tap | None, grid: tuple[int, int], count: int) -> list[tuple[tuple[int, int], ...]]:
    """Return the sinks of each picture of a pass with a tap by `sink_tap`: row and column of each patch.

    The prefix tokens (class token, registers) may be sinks too, but have no place in a map.

    Args:
        tap: The tap; None finds none.
        grid: Rows and columns of patches.
        count: Number of pictures.
    """
    if tap is None:
        return [() for _ in range(count)]
    weights, (rows, columns) = list(tap.weights.values()), grid
    prefix = weights[0].shape[-1] - rows * columns
    tokens = [find_sinks([of_layer[i] for of_layer in weights]) for i in range(count)]
    return [tuple(divmod(token - prefix, columns) for token in found if token >= prefix) for found in tokens]


@torch.no_grad()
def picture_sinks(
    model: ViT | Captioner | VQA | SingleStream, images: Float[Tensor, "b c H W"]
) -> list[tuple[tuple[int, int], ...]]:
    """Find the patches of each picture that are sinks in its encoder, in one pass: row and column of each.

    In a single stream, whose words and patches attend to each other, none are looked for.
    """
    if isinstance(model, SingleStream):
        return patch_sinks(None, (1, 1), len(images))
    encoder = model if isinstance(model, ViT) else model.encoder
    tap = sink_tap(encoder, image_size(images))
    encoder.features(images, tap=tap)
    return patch_sinks(tap, encoder.grid(image_size(images)), len(images))


def without_sinks(attention_map: AttentionMap, sinks: Sequence[tuple[int, int]]) -> AttentionMap:
    """Return the map with its sinks taken out: they have the lowest value of the other patches, and the note says so.

    Args:
        attention_map: A map with the last axes (y, x).
        sinks: Row and column of each, as `picture_sinks` returns them.

    Raises:
        ModelError: The map has other axes, or there is no such patch, or no other.
    """
    if not sinks:
        return attention_map
    names = attention_map.names
    require(names[-2:] == ("y", "x"), "attention_map", must="a map with the last axes ('y', 'x')", value=names)
    rows, columns = attention_map.values.shape[-2:]
    inside = all(0 <= row < rows and 0 <= column < columns for row, column in sinks)
    require(inside, "sinks", must=f"patches of a grid of {rows} x {columns}", value=list(sinks))
    out = np.zeros((rows, columns), dtype=bool)
    out[tuple(np.array(sinks).T)] = True
    require(not out.all(), "sinks", must="fewer than all patches", value=list(sinks))
    values = attention_map.values.copy()
    values[..., out] = values[..., ~out].min(axis=-1, keepdims=True)
    note = f"{attention_map.note} Without {len(set(sinks))} sinks, patches that most others attend to.".strip()
    return replace(attention_map, values=values, note=note)


def _spread(site: Site) -> list[int]:
    """Indices of rows, evenly spread over all of them."""
    return sorted({round(i) for i in np.linspace(0, site.q_len - 1, min(_SAMPLED, site.q_len))})
