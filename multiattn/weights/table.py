"""Foreign weights as a two-column table: our keys, their keys, and how to get from the one to the other and back.

A table is data. It is read in both directions, so that whatever loads from a published layout saves to it too.
Source: torchtune's invertible key maps, big_vision's `-`/`+` diff.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ModelError

# what a placeholder in a key pattern stands for
_PLACEHOLDERS = {"i": r"\d+", "p": "weight|bias", "rest": ".+"}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Transform:
    """How their tensors become the one of ours, and back."""

    name: str
    join: Callable[[Sequence[Tensor]], Tensor]
    """Theirs to ours."""

    split: Callable[[Tensor, int], Sequence[Tensor]]
    """Ours to theirs, into as many tensors as the row names."""


SAME = Transform("same", lambda theirs: theirs[0], lambda ours, count: [ours])
CONCAT = Transform(
    "concat",
    lambda theirs: torch.cat(list(theirs)),
    # clones, for a file of tensors cannot hold two that share memory
    lambda ours, count: [part.clone() for part in ours.chunk(count)],
)
"""Their tensors one below the other, e.g. separate q, k and v against one fused projection."""

TRANSPOSE = Transform(
    "transpose", lambda theirs: theirs[0].t().contiguous(), lambda ours, count: [ours.t().contiguous()]
)
"""Rows for columns: their linear maps are `x @ weight`."""

FIRST_ADDED = Transform(
    "first added",
    lambda theirs: theirs[0] + theirs[1][0],
    lambda ours, count: [ours, ours.new_zeros(2, ours.shape[1])],
)
"""A table, and a table of two rows of which the first is added to each of its: BERT's positions, and its kinds of
sentence where there is only one."""


@dataclass(frozen=True)
class Row:
    """One row: our key, their key or keys. `{i}` stands for a number, `{p}` for `weight` or `bias`, on both sides."""

    ours: str
    theirs: str | tuple[str, ...]
    transform: Transform = SAME


@dataclass(frozen=True)
class Drop:
    """A key of theirs that we leave out when loading and do not write when saving; `{rest}` stands for anything."""

    theirs: str
    why: str
    """The reason that the result stays the same without it."""


@dataclass(frozen=True)
class KeyTable:
    """The keys of one published layout against ours."""

    layout: str
    """Name of the layout, for messages."""

    rows: tuple[Row | Drop, ...]

    def names(self, ours: str) -> tuple[tuple[str, ...], Transform]:
        """Their keys for one of ours, and the transform between them.

        Raises:
            ModelError: The layout has no place for this key.
        """
        for row in self.rows:
            if isinstance(row, Row) and (found := _pattern(row.ours).fullmatch(ours)):
                theirs = (row.theirs,) if isinstance(row.theirs, str) else row.theirs
                return tuple(_fill(name, found.groupdict()) for name in theirs), row.transform
        raise ModelError(f"the {self.layout} layout has no place for the tensor {ours}")

    def drops(self, theirs: str) -> bool:
        """Whether a key of theirs is left out on purpose."""
        return any(isinstance(row, Drop) and _pattern(row.theirs).fullmatch(theirs) for row in self.rows)

    def to_theirs(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state of ours under their keys."""
        result: dict[str, Tensor] = {}
        for ours, tensor in state.items():
            names, transform = self.names(ours)
            result.update(zip(names, transform.split(tensor, len(names)), strict=True))
        return result

    def to_ours(self, state: Mapping[str, Tensor], keys: Iterable[str]) -> dict[str, Tensor]:
        """The tensors for `keys` of ours, out of a state of theirs that has all they need."""
        result: dict[str, Tensor] = {}
        for ours in keys:
            names, transform = self.names(ours)
            result[ours] = transform.join([state[name] for name in names])
        return result


def _pattern(key: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(key)  # literal, placeholder, literal, ...
    return re.compile(
        "".join(
            f"(?P<{part}>{_PLACEHOLDERS[part]})" if index % 2 else re.escape(part) for index, part in enumerate(parts)
        )
    )


def _fill(key: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], key)
