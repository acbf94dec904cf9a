"""Self-attention among the tokens of one input: which tokens any token attends to, and which attend to it.

A map of it has the axes (layer, head, query, key); the labels of the last two name the tokens. `self_attention` makes
one from a tap that captured all rows, of patches, words or moments alike; `picture_self_attention` runs an encoder of
pictures.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ..attention import Tap
from ..checks import require
from ..errors import ModelError
from ..inputs import Geometry
from ..models import VQA, Captioner, ViT
from .attention_map import AttentionMap, Axis
from .building import STACK_AXES, check_pictures, checked_geometries, image_size, layer_index

_NOTE = "The share of each token's attention that went to each other token, in every layer and head."

MOST_BYTES = 2**30
"""The most that the weights of one call may take."""


def self_attention(tap: Tap, *, labels: Sequence[str], item: int = 0, geometry: Geometry | None = None) -> AttentionMap:
    """Build the map of one input from a tap that captured self-attention with all rows, axes (layer, head, query, key).

    Args:
        tap: It captured the sites of the layers, and no others, in one call of a model.
        labels: A name for each token: patches, words or moments.
        item: The index of the input in the batch.
        geometry: How a picture was cut from its source.

    Raises:
        ModelError: A site is no self-attention among as many tokens as there are labels, or the sites have different
            numbers of heads.
    """
    weights = list(tap.weights.items())
    for name, one in weights:
        sizes = tuple(one.shape[-2:])
        fits = sizes == (len(labels), len(labels)) and one.shape[1] == weights[0][1].shape[1]
        must = f"self-attention among {len(labels)} tokens, with {weights[0][1].shape[1]} heads"
        require(fits, name, must=must, value=f"{one.shape[1]} heads, {sizes[0]} x {sizes[1]}")
    values = torch.stack([one[item] for _, one in weights]).cpu().numpy()  # (l, h, n, n)
    names = tuple(labels)
    return AttentionMap(
        values=np.ascontiguousarray(values, dtype=np.float32),
        axes=(*STACK_AXES, Axis("query", "token", labels=names), Axis("key", "token", labels=names)),
        method="self_attention",
        sites=tuple(name for name, _ in weights),
        heads=None,
        geometry=geometry,
        target=None,
        note=_NOTE,
    )


@torch.no_grad()
def picture_self_attention(
    model: ViT | Captioner | VQA,
    images: Float[Tensor, "b c H W"],
    *,
    geometries: Sequence[Geometry | None] | None = None,
    layers: Sequence[int] | None = None,
) -> list[AttentionMap]:
    """Compute the self-attention of a picture's tokens, all rows, in the encoder; one map for each picture.

    The tokens are the class token and registers, then the patches, named `row 2, column 3` from 1 on.

    Args:
        model: In eval mode.
        images: Its input.
        geometries: How each picture was cut from its source.
        layers: Which blocks, negative from the end; all where None.

    Raises:
        ModelError: There is no such layer, or the weights would take more than 1 GiB; or geometries that do not fit.
    """
    check_pictures(images)
    geometries = checked_geometries(geometries, len(images))
    encoder = model if isinstance(model, ViT) else model.encoder
    size = image_size(images)
    sites = encoder.attention_sites(size, of="features")
    chosen = range(len(sites)) if layers is None else [layer_index(layer, len(sites)) for layer in layers]
    tap = Tap(sites, select=[sites[i].name for i in chosen])
    needed = tap.nbytes(len(images))
    if needed > MOST_BYTES:
        raise ModelError(
            f"the self-attention of {len(images)} x {sites[0].k_len} tokens in {len(tap.sites)} layers would take "
            f"{needed / 2**30:.1f} GiB, and 1 GiB is the most: ask for fewer `layers`, or for fewer pictures at once"
        )
    encoder.features(images, tap=tap)
    labels = token_labels(encoder, encoder.grid(size))
    return [self_attention(tap, labels=labels, item=i, geometry=geometry) for i, geometry in enumerate(geometries)]


def token_labels(encoder: ViT, grid: tuple[int, int]) -> list[str]:
    """Return the names of a picture's tokens: `class token`, `register 1`, ..., `row 1, column 1`, ..."""
    config, (rows, columns) = encoder.config, grid
    prefix = ["class token"] * config.class_token + ["distilled token"] * config.distilled
    prefix += [f"register {i + 1}" for i in range(config.num_registers)]
    return prefix + [f"row {row + 1}, column {column + 1}" for row in range(rows) for column in range(columns)]


def attention_from(tokens: AttentionMap, token: int) -> Float32[np.ndarray, "l h n"]:
    """Return which tokens a token attends to: its row, in every layer and head.

    Raises:
        ModelError: The map is no self-attention, or there is no such token.
    """
    _check_token(tokens, token)
    return tokens.values[:, :, token]


def attention_to(tokens: AttentionMap, token: int) -> Float32[np.ndarray, "l h n"]:
    """Return which tokens attend to a token: its column, in every layer and head.

    Raises:
        ModelError: As for `attention_from`.
    """
    _check_token(tokens, token)
    return tokens.values[:, :, :, token]


def token_map(tokens: AttentionMap, token: int, grid: tuple[int, int], *, to: bool = False) -> AttentionMap:
    """Return the stack of one token over the patches, axes (layer, head, y, x).

    Args:
        tokens: From `picture_self_attention`.
        token: The index of the token; a patch's is the number of prefix tokens + row * columns + column, from 0.
        grid: Rows and columns of patches.
        to: Whether to return who attends to the token, instead of what it attends to.

    Raises:
        ModelError: As for `attention_from`, or there are fewer tokens than patches.
    """
    values = (attention_to if to else attention_from)(tokens, token)
    patches = grid[0] * grid[1]
    require(patches <= values.shape[-1], "grid", must=f"of at most {values.shape[-1]} patches", value=grid)
    label = (tokens.axes[-1].labels or ())[token]
    note = f"The patches that attend to it ({label})." if to else f"What it attends to ({label})."
    return replace(
        tokens,
        values=np.ascontiguousarray(values[..., values.shape[-1] - patches :].reshape(*values.shape[:2], *grid)),
        axes=(*STACK_AXES, Axis("y", "patch"), Axis("x", "patch")),
        method="attention",
        target=label,
        note=note,
    )


def _check_token(tokens: AttentionMap, token: int) -> None:
    names = tokens.names
    require(names == ("layer", "head", "query", "key"), "tokens", must="a map of self-attention", value=names)
    last = tokens.values.shape[-1] - 1
    require(0 <= token <= last, "token", must=f"a token from 0 to {last}", value=token)
