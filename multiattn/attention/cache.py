"""The keys and values that a decoder keeps between its steps. The caller owns them and passes them to every step.

Notation: l layers, r rows (sequences that are decoded), b contexts, h heads, n new positions, k positions so far, m
context tokens, d head width. The rows of one context are consecutive: row i belongs to context i // (r / b). So the
beams of a picture, or its captions, share one set of the context's keys and values without copies.

Source: fairseq2's incremental state (a growing one and a frozen one, `reorder` for beams).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..checks import require
from ..errors import ModelError


@dataclass(frozen=True, eq=False)
class KeysValues:
    """The keys and values of contexts for one cross-attention, computed once and never changed.

    `len` is the number of contexts that are attended to.
    """

    keys: Float[Tensor, "b h m d"]
    values: Float[Tensor, "b h m d"]
    runs: tuple[slice, ...] | None = None
    """The contexts that are attended to, in this order, in runs of neighbors; all where None."""

    @property
    def count(self) -> int:
        """The number of contexts that are attended to; unlike `len`, it may be a symbol of an exported graph."""
        return self.keys.shape[0] if self.runs is None else sum(run.stop - run.start for run in self.runs)

    def __len__(self) -> int:
        """Return the number of contexts that are attended to."""
        return self.count

    def to(self, dtype: torch.dtype) -> "KeysValues":
        """Return them in another type: in bf16, attention of a few queries reads half the memory."""
        return KeysValues(self.keys.to(dtype), self.values.to(dtype))


@dataclass(frozen=True, eq=False)
class ProjectedContext:
    """The keys and values of a batch of contexts for all layers of a decoder; `len` is the number of contexts."""

    layers: tuple[KeysValues, ...]
    attention_mask: Bool[Tensor, "b m"] | None = None
    """False where a context token is padding, which is not attended to; None without padding."""

    def __len__(self) -> int:
        """Return the number of contexts, b."""
        return len(self.layers[0])

    @property
    def device(self) -> torch.device:
        """The device of the keys and values."""
        return self.layers[0].keys.device

    def select(self, items: Int64[Tensor, " chosen"]) -> "ProjectedContext":
        """Return a copy of the contexts at these indices, in this order."""
        layers = []
        for one in self.layers:
            where = items if one.runs is None else _indices(one.runs, items.device)[items]
            layers.append(KeysValues(one.keys[where], one.values[where]))
        return ProjectedContext(tuple(layers), None if self.attention_mask is None else self.attention_mask[items])

    def part(self, items: Int64[Tensor, " chosen"]) -> "ProjectedContext":
        """Return the contexts at these indices, in this order; on a CPU without a copy of their keys and values."""
        if self.device.type != "cpu":
            return self.select(items)
        old = self.layers[0].runs
        runs = _runs((items if old is None else _indices(old, items.device)[items]).tolist())
        layers = tuple(KeysValues(one.keys, one.values, runs) for one in self.layers)
        return ProjectedContext(layers, None if self.attention_mask is None else self.attention_mask[items])


class GrowingCache:
    """The keys and values of one self-attention, in memory that is allocated once.

    Args:
        keys: Memory for the keys, of which the first `length` positions are filled.
        values: Memory for the values.
        length: Number of filled positions.
    """

    def __init__(
        self, keys: Float[Tensor, "r h capacity d"], values: Float[Tensor, "r h capacity d"], *, length: int = 0
    ) -> None:
        self._keys, self._values = keys, values
        self.length = length

    @property
    def capacity(self) -> int:
        """Number of positions that the memory holds."""
        return self._keys.shape[2]

    def append(self, keys: Float[Tensor, "r h n d"], values: Float[Tensor, "r h n d"]) -> KeysValues:
        """Append new positions, and return all positions so far, as views.

        Raises:
            ModelError: The memory is too small.
        """
        start, end = self.length, self.length + keys.shape[2]
        _check_capacity(end, self.capacity)
        self._keys[:, :, start:end] = keys
        self._values[:, :, start:end] = values
        self.length = end
        return KeysValues(self._keys[:, :, :end], self._values[:, :, :end])


class DecoderCache:
    """The state of all layers of a decoder for one decode.

    Args:
        context: The keys and values that the cross-attentions attend to; shared, not copied.
        rows: Number of sequences to decode, a multiple of the contexts.
        capacity: Most positions of a sequence, padding included.
        dtype: Type of the self-attentions' keys and values; that of the context where None.

    Raises:
        ModelError: `rows` is no multiple of the contexts.
    """

    def __init__(
        self, context: ProjectedContext, *, rows: int, capacity: int, dtype: torch.dtype | None = None
    ) -> None:
        _check_rows(rows, len(context))
        self.context = context
        _, heads, _, width = context.layers[0].keys.shape
        # one tensor for all layers, so that one copy reorders the beams
        self._memory = context.layers[0].keys.new_empty(
            len(context.layers), 2, rows, heads, capacity, width, dtype=dtype
        )  # (l, 2, r, h, capacity, d)
        self._attention_mask: Tensor | None = None  # (r, capacity); None while no row has padding
        self.length = 0
        self._before = 0  # the length before the positions that the layers are appending now

    @property
    def rows(self) -> int:
        """Number of sequences that are decoded."""
        return self._memory.shape[2]

    @property
    def capacity(self) -> int:
        """Number of positions that the memory holds."""
        return self._memory.shape[4]

    def layer(self, index: int) -> GrowingCache:
        """Return one layer's self-attention cache for this step, a view to which the layer appends."""
        keys, values = self._memory[index]
        return GrowingCache(keys, values, length=self._before)

    def advance(
        self, count: int, attention_mask: Bool[Tensor, "r n"] | None
    ) -> tuple[Int64[Tensor, "#r n"], Bool[Tensor, "r k"] | None]:
        """Begin a step: count the new positions, before the layers append them.

        Args:
            count: Number of new positions, n.
            attention_mask: False where a new position is padding; None without padding.

        Returns:
            The indices of the new positions in their sequences, where padding is not counted; and the mask of all
            positions so far, None without padding.

        Raises:
            ModelError: The memory is too small.
        """
        start, end = self.length, self.length + count
        _check_capacity(end, self.capacity)
        self._before, self.length = start, end
        device = self._memory.device
        if attention_mask is None and self._attention_mask is None:
            return torch.arange(start, end, device=device)[None], None
        if self._attention_mask is None:
            self._attention_mask = torch.ones(self.rows, self.capacity, dtype=torch.bool, device=device)
        if attention_mask is not None:
            self._attention_mask[:, start:end] = attention_mask
        so_far = self._attention_mask[:, :end]
        return (so_far.cumsum(dim=1) - 1).clamp(min=0)[:, start:], so_far

    def select(self, rows: Int64[Tensor, " r"], *, items: Int64[Tensor, " b"] | None = None) -> None:
        """Replace the rows by copies of old rows: reorder, repeat or drop them.

        Args:
            rows: For each new row, the index of the old row that it continues.
            items: Indices of the contexts to keep, in this order; all where None.

        Raises:
            ModelError: The number of new rows is no multiple of the contexts.
        """
        if items is not None:
            self.context = self.context.part(items)
        _check_rows(len(rows), len(self.context))
        if not self._copied_in_place(rows):
            self._copy_all(rows)
        if self._attention_mask is not None:
            self._attention_mask = self._attention_mask[rows]

    def _copied_in_place(self, rows: Tensor) -> bool:
        """Copy the rows that change, if none of them is also continued by another; else copy nothing."""
        if rows.device.type != "cpu" or len(rows) != self.rows or torch.compiler.is_compiling():
            return False
        moved = {new: old for new, old in enumerate(rows.tolist()) if new != old}
        if not moved.keys().isdisjoint(moved.values()):
            return False
        filled = self._memory[..., : self.length, :]
        for new, old in moved.items():
            filled[:, :, new] = filled[:, :, old]
        return True

    def _copy_all(self, rows: Tensor) -> None:
        old = self._memory
        if len(rows) > self.rows:
            layers, two, _, heads, capacity, width = old.shape
            self._memory = old.new_empty(layers, two, len(rows), heads, capacity, width)
        else:
            self._memory = old[:, :, : len(rows)]
        for layer, of_layer in zip(self._memory, old, strict=True):  # one at a time: a copy of all is a peak of memory
            layer[..., : self.length, :] = of_layer[..., : self.length, :].index_select(1, rows)


def _indices(runs: tuple[slice, ...], device: torch.device) -> Int64[Tensor, " chosen"]:
    return torch.cat([torch.arange(run.start, run.stop, device=device) for run in runs])


def _runs(indices: list[int]) -> tuple[slice, ...]:
    """Return runs of neighbors that make up these indices."""
    runs = list[slice]()
    for index in indices:
        if runs and runs[-1].stop == index:
            runs[-1] = slice(runs[-1].start, index + 1)
        else:
            runs.append(slice(index, index + 1))
    return tuple(runs)


def _check_rows(rows: int, contexts: int) -> None:
    require(rows % contexts == 0, "rows", must=f"a multiple of the contexts ({contexts})", value=rows)


def _check_capacity(needed: int, capacity: int) -> None:
    if needed > capacity:
        raise ModelError(
            f"the decode needs {needed} positions, but its cache has room for {capacity}: start it with more `capacity`"
        )
