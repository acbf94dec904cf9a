"""Maps of a classifier without torch, from the attention weights that its graph gives: `attention` and `rollout`.

Notation: b pictures, l layers, h heads, q query rows, n tokens (prefix first, then patches), k keys.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32

from ...errors import ModelError
from ...inputs import Geometry
from ...maps.attention_map import AttentionMap, Axis
from ...maps.method_notes import METHOD_NOTES, STACK_NOTE

METHODS = ("attention", "rollout")


def check_exported(methods: Sequence[str], config: Mapping[str, Any], sites: Iterable[str]) -> None:
    """Check that the weights which methods are computed from were exported.

    Args:
        methods: Some of `METHODS`.
        config: `architecture` of the model's `config.json`.
        sites: The attentions whose weights were exported, perhaps among other names.

    Raises:
        ModelError: Some were not.
    """
    depth = config["depth"]
    has_pool = config["pool"] == "attention"
    needed = {f"blocks.{i}.self" for i in range(0 if "rollout" in methods else depth - 1, depth)}
    if missing := sorted((needed | ({"pool.cross"} if has_pool else set())).difference(sites)):
        raise ModelError(
            f"`maps` by {', '.join(methods)} need the attention weights of {missing[0]}, which were not exported: "
            "export the model again, with --maps '*'"
        )


@dataclass(frozen=True, eq=False)
class ClassifierMaps:
    """What the graph of a classifier gave for a batch of pictures.

    Source: `multiattn.maps.image`, which computes the same on torch.
    """

    config: Mapping[str, Any]
    """`architecture` of the model's `config.json`."""

    grid: tuple[int, int]
    """Rows and columns of patches."""

    weights: Mapping[str, Float32[np.ndarray, "b h q k"]]
    """By site, those that were exported."""

    @property
    def _prefix(self) -> int:
        """Tokens before the patches."""
        c = self.config
        return int(c["class_token"]) + int(c.get("distilled", False)) + int(c["num_registers"])

    @property
    def _num_read(self) -> int:
        return 2 if self.config.get("distilled") else 1

    @cached_property
    def _blocks(self) -> dict[str, np.ndarray]:
        return {name: one for name, one in self.weights.items() if name.endswith(".self")}

    def maps(self, method: str, geometries: Sequence[Geometry]) -> list[AttentionMap]:
        """Return one map for each picture, axes (y, x) in patches."""
        if method == "rollout":
            rows, sites = self._rollout(), tuple(self.weights)
        elif "pool.cross" in self.weights:
            rows, sites = self._padded(self.weights["pool.cross"])[:, :, 0].mean(axis=1), ("pool.cross",)
        else:
            last = f"blocks.{self.config['depth'] - 1}.self"
            rows, sites = self._read_rows(self.weights[last]).mean(axis=1), (last,)
        return [
            self._map(row, (), method, sites, one, METHOD_NOTES[method])
            for row, one in zip(rows, geometries, strict=True)
        ]

    def stacks(self, geometries: Sequence[Geometry]) -> list[AttentionMap]:
        """Return what the exported layers and their heads attended to: axes (layer, head, y, x)."""
        rows = np.stack([self._read_rows(one) for one in self._blocks.values()], axis=1)  # (b, l, h, n)
        axes = (Axis("layer", "index"), Axis("head", "index"))
        sites = tuple(self._blocks)
        return [
            self._map(one, axes, "attention", sites, at, STACK_NOTE) for one, at in zip(rows, geometries, strict=True)
        ]

    def _read_rows(self, weights: np.ndarray) -> Float32[np.ndarray, "b h n"]:
        """Return the attention of one block from the tokens that the classifier reads, their mean."""
        pool = self.config["pool"]
        if pool == "class":
            return np.asarray(weights[:, :, : self._num_read].mean(axis=2))
        if pool == "attention":
            read = self._padded(self.weights["pool.cross"].mean(axis=1))[:, 0]  # (b, n)
            return np.asarray(np.einsum("bhqn,bq->bhn", weights, read))
        patches = weights[:, :, 0 if self.config.get("pool_prefix") else self._prefix :].mean(axis=2)
        return np.asarray((weights[:, :, 0] + patches) / 2 if pool == "class_mean" else patches)

    def _rollout(self) -> Float32[np.ndarray, "b n"]:
        blocks = list(self._blocks.values())
        path = np.broadcast_to(self._read_tokens(), (len(blocks[0]), 1, blocks[0].shape[-1]))  # (b, 1, n)
        for block in reversed(blocks):
            mean = block.mean(axis=1)  # (b, q, n): of the last block perhaps some rows alone
            path = 0.5 * path + 0.5 * (path[:, :, : mean.shape[1]] @ mean)
        return path[:, 0]

    def _read_tokens(self) -> Float32[np.ndarray, "#b 1 n"]:
        """Return the weight of each token in what the classifier reads."""
        pool = self.config["pool"]
        if pool == "attention":
            return self._padded(self.weights["pool.cross"].mean(axis=1))
        tokens = next(iter(self._blocks.values())).shape[-1]
        row = np.zeros((1, 1, tokens), np.float32)
        if pool != "class":
            first = 0 if self.config.get("pool_prefix") else self._prefix
            row[..., first:] = 1.0 / (tokens - first)
        if pool != "mean":
            row[..., : self._num_read] = 1.0
        return np.asarray(row / row.sum())

    def _padded(self, weights: np.ndarray) -> np.ndarray:
        """Add the prefix tokens to the keys of the learned query, with 0, where it does not read them."""
        before = 0 if self.config.get("pool_prefix") else self._prefix
        return np.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(before, 0)])

    def _map(
        self, rows: np.ndarray, axes: tuple[Axis, ...], method: str, sites: tuple[str, ...], at: Geometry, note: str
    ) -> AttentionMap:
        patches = rows[..., rows.shape[-1] - self.grid[0] * self.grid[1] :].reshape(*rows.shape[:-1], *self.grid)
        return AttentionMap(
            values=np.ascontiguousarray(patches, dtype=np.float32),
            axes=(*axes, Axis("y", "patch"), Axis("x", "patch")),
            method=method,
            sites=sites,
            heads=None,
            geometry=at,
            target=None,
            note=note,
        )
