"""What a decoder remembers between its steps. Owned by the caller, handed to every step.

Notation: l layers, r rows (sequences that are decoded), b contexts, h heads, n new positions, k positions so far, m
context tokens, d head width. Rows of one context stand together: row i belongs to context i // (r / b). So the beams of
a picture, or its captions, share one set of the context's keys and values, which is never copied for them.

Source: fairseq2's incremental state (a growing one and a frozen one, `reorder` for beams).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..errors import ModelError


@dataclass(frozen=True, eq=False)
class KeysValues:
    """The keys and values of a context for one cross-attention: computed once, never changed."""

    keys: Float[Tensor, "b h m d"]
    values: Float[Tensor, "b h m d"]


@dataclass(frozen=True, eq=False)
class ProjectedContext:
    """What all layers of a decoder make of their contexts: for a decode about them, and for every reading after it.

    It has a length, the contexts, as the tensor has that it was made of.
    """

    layers: tuple[KeysValues, ...]
    attention_mask: Bool[Tensor, "b m"] | None = None
    """False where a context token is padding, which nothing attends to; None where none is."""

    def __len__(self) -> int:
        """Contexts there are, b."""
        return len(self.layers[0].keys)

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.layers[0].keys.device

    def select(self, items: Int64[Tensor, " chosen"]) -> "ProjectedContext":
        """A copy of some of the contexts, in that order."""
        layers = tuple(KeysValues(one.keys[items], one.values[items]) for one in self.layers)
        return ProjectedContext(layers, None if self.attention_mask is None else self.attention_mask[items])


class GrowingCache:
    """The keys and values of one self-attention, in memory that is there from the start.

    Args:
        keys: Memory for the keys; what lies in the first `length` positions counts.
        values: The same for the values.
        length: Positions that are filled.
    """

    def __init__(
        self, keys: Float[Tensor, "r h capacity d"], values: Float[Tensor, "r h capacity d"], *, length: int = 0
    ) -> None:
        self._keys, self._values = keys, values
        self.length = length

    @property
    def capacity(self) -> int:
        """Positions there is memory for."""
        return self._keys.shape[2]

    def append(self, keys: Float[Tensor, "r h n d"], values: Float[Tensor, "r h n d"]) -> KeysValues:
        """Put new positions after those that are there, and give all of them, as views.

        Raises:
            ModelError: There is no room for them.
        """
        start, end = self.length, self.length + keys.shape[2]
        if end > self.capacity:
            raise ModelError(_outgrown(end, self.capacity))
        self._keys[:, :, start:end] = keys
        self._values[:, :, start:end] = values
        self.length = end
        return KeysValues(self._keys[:, :, :end], self._values[:, :, :end])


class DecoderCache:
    """The state of all layers of a decoder for one decode.

    Args:
        context: What each layer's cross-attention attends to; it is shared, not copied.
        rows: Sequences to decode; a multiple of the contexts.
        capacity: Positions there is to be memory for, padding included.

    Raises:
        ModelError: `rows` is no multiple of the contexts.
    """

    def __init__(self, context: ProjectedContext, *, rows: int, capacity: int) -> None:
        _check_rows(rows, len(context))
        self.context = context
        _, heads, _, width = context.layers[0].keys.shape
        # one piece of memory for all layers: beams are reordered by one copy
        self._memory = context.layers[0].keys.new_empty(
            len(context.layers), 2, rows, heads, capacity, width
        )  # (l, 2, r, h, capacity, d)
        self._attention_mask: Tensor | None = None  # (r, capacity), where some row is padded
        self.length = 0
        self._before = 0  # the length before the positions that the layers are filling

    @property
    def rows(self) -> int:
        """Sequences that are decoded."""
        return self._memory.shape[2]

    @property
    def capacity(self) -> int:
        """Positions there is memory for."""
        return self._memory.shape[4]

    def layer(self, index: int) -> GrowingCache:
        """The self-attention's part of one layer, to take in what `advance` made room for: a view, for this step."""
        keys, values = self._memory[index]
        return GrowingCache(keys, values, length=self._before)

    def advance(
        self, count: int, attention_mask: Bool[Tensor, "r n"] | None
    ) -> tuple[Int64[Tensor, "#r n"], Bool[Tensor, "r k"] | None]:
        """Make room for new positions, before the layers fill it.

        Args:
            count: Of new positions, n.
            attention_mask: False where a new position is padding; None where none is.

        Returns:
            What to call the new positions, counted without padding; and which of all positions so far are no padding,
            or None where all are.

        Raises:
            ModelError: There is no room for them.
        """
        start, end = self.length, self.length + count
        if end > self.capacity:
            raise ModelError(_outgrown(end, self.capacity))
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
        """Let each row become a copy of an old one: reordered, repeated or dropped.

        Args:
            rows: The old row that each new one continues.
            items: The old contexts that stay, in their order; all where None.

        Raises:
            ModelError: The new rows are no multiple of the contexts.
        """
        if items is not None:
            self.context = self.context.select(items)
        _check_rows(len(rows), len(self.context))
        filled = self._memory[..., : self.length, :].index_select(2, rows)
        if len(rows) != self.rows:
            layers, two, _, heads, capacity, width = self._memory.shape
            self._memory = self._memory.new_empty(layers, two, len(rows), heads, capacity, width)
        self._memory[..., : self.length, :] = filled
        if self._attention_mask is not None:
            self._attention_mask = self._attention_mask[rows]


def _check_rows(rows: int, contexts: int) -> None:
    if rows % contexts:
        raise ModelError(f"`rows` must be a multiple of the contexts ({contexts}), but is {rows} instead")


def _outgrown(needed: int, capacity: int) -> str:
    return f"the decode needs {needed} positions, but its cache has room for {capacity}: start it with more `capacity`"
