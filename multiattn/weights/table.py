"""Key tables: our keys against those of a published layout, with the transform between the tensors of each row.

A table is data, and is used in both directions, so that what loads from a published layout also saves to it.
Source: torchtune's invertible key maps, big_vision's `-`/`+` diff.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..errors import ModelError

# the placeholders of a key pattern, as regular expressions
_PLACEHOLDERS = {"i": r"\d+", "p": "weight|bias", "rest": ".+"}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Transform:
    """The conversion between one tensor of ours and one or several of theirs."""

    name: str
    join: Callable[[Sequence[Tensor]], Tensor]
    """Theirs to ours."""

    split: Callable[[Tensor, int], Sequence[Tensor]]
    """Ours to theirs, given the number of tensors to return."""


SAME = Transform("same", lambda theirs: theirs[0], lambda ours, count: [ours])
CONCAT = Transform(
    "concat",
    lambda theirs: torch.cat(list(theirs)),
    # clones, because safetensors refuses tensors that share memory
    lambda ours, count: [part.clone() for part in ours.chunk(count)],
)
"""Their tensors are concatenated along the first axis, e.g. q, k and v to one fused projection."""

TRANSPOSE = Transform(
    "transpose", lambda theirs: theirs[0].t().contiguous(), lambda ours, count: [ours.t().contiguous()]
)
"""Their linear maps are `x @ weight`, ours `x @ weight.T`."""

# A key bias of 0 is the same as none: it adds one number to all scores of a query, which the softmax cancels.
NO_KEY_BIAS = Transform(
    "no key bias",
    lambda theirs: torch.cat([theirs[0], torch.zeros_like(theirs[0]), theirs[1]]),
    lambda ours, count: [part.clone() for part in ours.chunk(3)[::2]],
)
"""The biases of q and v against our one of q, k and v."""

Q_OF_QKV = Transform("q of qkv", lambda theirs: theirs[0].chunk(3)[0].clone(), lambda ours, count: [ours])
KV_OF_QKV = Transform("kv of qkv", lambda theirs: torch.cat(theirs[0].chunk(3)[1:]), lambda ours, count: [ours])
"""The parts of their fused projection of q, k and v: our cross-attention has one of q, then one of k and v."""

SHARED = Transform("shared", lambda theirs: theirs[0], lambda ours, count: [ours[:0]])
"""A tensor that two parts of ours share, whose other row writes it."""

HALVES = Transform(
    "halves",
    lambda theirs: torch.cat(list(theirs), dim=1) / len(theirs),
    lambda ours, count: [part.clone() * count for part in ours.chunk(count, dim=1)],
)
HALF_EACH = Transform(
    "half each",
    lambda theirs: torch.stack(list(theirs)).mean(dim=0),
    lambda ours, count: [ours.clone() for _ in range(count)],
)
"""Weights and biases of heads whose outputs are averaged, against our one head that reads their inputs together."""

FIRST_ADDED = Transform(
    "first added",
    lambda theirs: theirs[0] + theirs[1][0],
    lambda ours, count: [ours, ours.new_zeros(2, ours.shape[1])],
)
"""The first row of their second table is added to all rows of their first: BERT's positions and its sentence types, for
a text that is a single sentence."""


@dataclass(frozen=True)
class Row:
    """One row: our key, and their key or keys. `{i}` is a number, `{p}` is `weight` or `bias`, on both sides."""

    ours: str
    theirs: str | tuple[str, ...]
    transform: Transform = SAME


@dataclass(frozen=True)
class Drop:
    """A key of theirs that is ignored on loading and not written on saving; `{rest}` is any text."""

    theirs: str
    why: str
    """Why the results are the same without it."""

    equals: str | Callable[[Tensor], bool] | None = None
    """What must hold for that, which is checked on loading: it equals the tensor under this key of theirs, where the
    file has both; or the test of its values."""


@dataclass(frozen=True)
class KeyTable:
    """The keys of one published layout against ours."""

    layout: str
    """Name of the layout, for messages."""

    rows: tuple[Row | Drop, ...]

    def names(self, ours: str) -> tuple[tuple[str, ...], Transform]:
        """Return their keys for one of ours, and the transform between them.

        Raises:
            ModelError: The table has no row for this key.
        """
        for row in self.rows:
            if isinstance(row, Row) and (found := _pattern(row.ours).fullmatch(ours)):
                theirs = (row.theirs,) if isinstance(row.theirs, str) else row.theirs
                return tuple(_fill(name, found.groupdict()) for name in theirs), row.transform
        raise ModelError(f"the {self.layout} layout has no place for the tensor {ours}")

    def has(self, theirs: str) -> bool:
        """Return whether a key of theirs is in a row, on whatever model."""
        names = (name for row in self.rows for name in ((row.theirs,) if isinstance(row.theirs, str) else row.theirs))
        return any(_pattern(name).fullmatch(theirs) for name in names)

    def drops(self, theirs: str) -> bool:
        """Return whether a key of theirs is ignored on purpose."""
        return any(isinstance(row, Drop) and _pattern(row.theirs).fullmatch(theirs) for row in self.rows)

    def check_dropped(self, state: Mapping[str, Tensor], needed: Collection[str], *, where: str) -> None:
        """Check that the tensors that are ignored on loading are what the table says of them.

        Args:
            state: A state of theirs.
            needed: The keys that are not ignored, though a row says so: a model may have a table of its own.
            where: The file, for messages.

        Raises:
            ModelError: One is not, and the results would differ without it.
        """
        for row in self.rows:
            if not isinstance(row, Drop) or row.equals is None:
                continue
            for key in filter(_pattern(row.theirs).fullmatch, state.keys() - set(needed)):
                if isinstance(row.equals, str):
                    holds = row.equals not in state or torch.equal(state[key], state[row.equals])
                    must = f"equal to {row.equals}"
                else:
                    holds, must = row.equals(state[key]), f"as in every model of this layout ({row.why})"
                if not holds:
                    raise ModelError(
                        f"{where}: the tensor {key} must be {must}, but has other values instead, which this layout "
                        "cannot use. Export the model again."
                    )

    def to_theirs(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert a state of ours to their keys. Parts of one tensor of theirs (`Q_OF_QKV`) are put together again."""
        rows = ((tensor, *self.names(ours)) for ours, tensor in state.items())
        found: dict[str, Tensor] = {}
        for tensor, names, transform in rows:
            for name, part in zip(names, transform.split(tensor, len(names)), strict=True):
                found[name] = torch.cat([found[name], part]) if name in found else part
        return found

    def to_ours(self, state: Mapping[str, Tensor], keys: Iterable[str]) -> dict[str, Tensor]:
        """Convert a state of theirs, which must have all that is needed, to these keys of ours."""
        rows = ((ours, *self.names(ours)) for ours in keys)
        return {ours: transform.join([state[name] for name in names]) for ours, names, transform in rows}


def counts(tensor: Tensor) -> bool:
    """Return whether a tensor counts from 0 along its last axis, as tables of position indices do."""
    return torch.equal(tensor, torch.arange(tensor.shape[-1], dtype=tensor.dtype).expand_as(tensor))


def is_causal(tensor: Tensor) -> bool:
    """Return whether a tensor is a causal mask: true, or 1, up to and on the diagonal."""
    return tensor.ndim >= 2 and torch.equal(tensor != 0, torch.ones_like(tensor, dtype=torch.bool).tril())


@cache
def _pattern(key: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(key)  # literal, placeholder, literal, ...
    return re.compile(
        "".join(
            f"(?P<{part}>{_PLACEHOLDERS[part]})" if index % 2 else re.escape(part) for index, part in enumerate(parts)
        )
    )


def _fill(key: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], key)
