"""The one map type: an array with named axes, the method and attentions it comes from, and the way back to the source.

A map of a picture has the axes (y, x), in patches, and the geometry that leads back to source pixels. Captions,
questions and answers have (word, y, x), speech has (word, time); a stack has the axes (layer, head) before those. All
are of the same type, so that every exporter reads all of them.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from ..checks import require
from ..errors import ModelError
from ..inputs import Geometry
from .concentration import Concentration, concentration, even_shares

_PLACES = ("y", "x", "mel", "time")  # axes of cells, always the last
_MOST = 1e9  # of an axis, in its unit


@dataclass(frozen=True)
class Axis:
    """One axis of a map: what its positions stand for, and where they lie in its unit."""

    name: str
    """What it runs over: `y`, `x`, `layer`, `head`, `time`, `word`."""

    unit: str
    """What one position is, or is measured in: `patch`, `index`, `second`, `word`."""

    start: float = 0.0
    """Where position 0 begins, in `unit`."""

    step: float = 1.0
    """The distance from one position to the next, in `unit`; above 0."""

    labels: tuple[str, ...] | None = None
    """A name for each position, or None. For words each begins with the space before it, so that the labels concatenate
    to the text and their lengths add up to character offsets."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ModelError: A field has the wrong type, `start` is not finite, or `step` is not above 0.
        """
        for field in ("name", "unit"):
            _check_text(field, getattr(self, field))
        for field in ("start", "step"):
            value = getattr(self, field)
            holds = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST
            require(holds, field, must=f"a finite number of at most {_MOST:g}", value=value)
        require(self.step > 0, "step", must="above 0", value=self.step)
        require(self.step >= 1 / _MOST, "step", must=f"at least {1 / _MOST:g}", value=self.step)
        if self.labels is not None:
            _check_texts("labels", self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        labels = None if self.labels is None else list(self.labels)
        return {"name": self.name, "unit": self.unit, "start": self.start, "step": self.step, "labels": labels}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Axis":
        """Make the axis that `to_dict` described.

        Raises:
            KeyError: A field is missing.
            ModelError: A field is wrong.
        """
        labels = fields["labels"]
        return cls(
            name=fields["name"],
            unit=fields["unit"],
            start=fields["start"],
            step=fields["step"],
            labels=None if labels is None else tuple(labels),
        )


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """How much each part of the input counts, by one method. Immutable: the values are a read-only copy.

    Compare maps with `equals`; `==` is identity, because arrays have no single truth value.
    """

    values: Float32[np.ndarray, "..."]
    """Finite numbers, one dimension for each of `axes`."""

    axes: tuple[Axis, ...]
    """The axes in the order of the dimensions; no name twice."""

    method: str
    """How it was computed: `attention`, `rollout`, `relevance`, ..."""

    sites: tuple[str, ...]
    """The attentions it was computed from, e.g. `blocks.11.self`; at least one."""

    heads: tuple[int, ...] | None
    """The heads it was computed from, each at one or more of `sites`; None where all were averaged, or where heads are
    an axis."""

    geometry: Geometry | None
    """How the picture was cut from its source; None where unknown, or where the input is no picture."""

    target: str | None
    """What it explains: a label or a text; None where it is not specific to one."""

    note: str = ""
    """One line on how to read it."""

    def __post_init__(self) -> None:
        """Check the fields and take a read-only copy of the values.

        Raises:
            ModelError: A field has the wrong type, or the values do not fit the axes.
        """
        self._check_values()
        _check_text("method", self.method)
        _check_texts("sites", self.sites)
        require(self.sites != (), "sites", must="at least one attention", value=self.sites)
        heads = self.heads
        fits = isinstance(heads, tuple) and heads != () and all(type(head) is int and head >= 0 for head in heads)
        require(heads is None or fits, "heads", must="None or a tuple of indices from 0", value=heads)
        fits = self.geometry is None or isinstance(self.geometry, Geometry)
        require(fits, "geometry", must="None or a Geometry", value=self.geometry)
        require(self.target is None or isinstance(self.target, str), "target", must="None or text", value=self.target)
        require(isinstance(self.note, str), "note", must="text", value=self.note)
        values = self.values.copy(order="C")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    def _check_values(self) -> None:
        fits = isinstance(self.axes, tuple) and all(isinstance(axis, Axis) for axis in self.axes)
        require(fits, "axes", must="a tuple of Axis", value=self.axes)
        names = tuple(axis.name for axis in self.axes)
        require(0 < len(names) == len(set(names)), "axes", must="at least one, no name twice", value=names)
        if not isinstance(self.values, np.ndarray) or self.values.dtype != np.float32:
            kind = self.values.dtype if isinstance(self.values, np.ndarray) else type(self.values).__name__
            raise ModelError(f"`values` must be a float32 array, but is {kind} instead.")
        shape = self.values.shape
        fits = len(shape) == len(names) and self.values.size > 0
        require(fits, "values", must=f"of the dimensions {names}, none of them 0", value=shape)
        if not np.isfinite(self.values).all():
            bad = int(np.count_nonzero(~np.isfinite(self.values)))
            raise ModelError(f"`values` must be finite, but has {bad} NaN or infinite values instead.")
        for axis, size in zip(self.axes, shape, strict=True):
            if axis.labels is not None and len(axis.labels) != size:
                raise ModelError(
                    f"`labels` of axis `{axis.name}` must be as many as its positions ({size}), "
                    f"but are {len(axis.labels)} instead."
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes, in the order of the dimensions."""
        return tuple(axis.name for axis in self.axes)

    @property
    def even_shares(self) -> Float[np.ndarray, "..."]:
        """The values as multiples of the even share: 12 is twelve times what each patch or moment would have evenly.

        Evenly means the mean over the cells of the absolute values, for each word, layer and head by itself.
        """
        return even_shares(self._cells).reshape(self.values.shape)

    @property
    def concentration(self) -> Concentration:
        """How concentrated the map is: one number for each word, layer and head, or one where it has no such axis."""
        return concentration(self._cells)

    @property
    def is_flat(self) -> bool:
        """Whether all of it is flat, each cell within a tenth of the even share: it says nothing about where."""
        return bool(self.concentration.flat.all())

    @property
    def is_signed(self) -> bool:
        """Whether there are values below 0, as in a difference of two maps: it is drawn in two colors."""
        return bool((self.values < 0).any())

    @property
    def _cells(self) -> Float32[np.ndarray, "*axes n"]:
        places = sum(name in _PLACES for name in self.names) or 1
        return self.values.reshape(*self.values.shape[: self.values.ndim - places], -1)

    def equals(self, other: "AttentionMap") -> bool:
        """Return whether every field is the same, the values bit for bit."""
        return self.to_dict() == other.to_dict() and self.values.tobytes() == other.values.tobytes()

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the values as JSON values, with their shape for a check."""
        return {
            "shape": list(self.values.shape),
            "axes": [axis.to_dict() for axis in self.axes],
            "method": self.method,
            "sites": list(self.sites),
            "heads": None if self.heads is None else list(self.heads),
            "geometry": None if self.geometry is None else self.geometry.to_dict(),
            "target": self.target,
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any], values: np.ndarray) -> "AttentionMap":
        """Make the map that `to_dict` described, with its values.

        Raises:
            KeyError: A field is missing.
            ModelError: A field is wrong, or the values have another shape.
        """
        shape = list(values.shape)
        require(shape == fields["shape"], "values", must=f"of shape {fields['shape']}", value=shape)
        return cls(
            values=values,
            axes=tuple(Axis.from_dict(axis) for axis in fields["axes"]),
            method=fields["method"],
            sites=tuple(fields["sites"]),
            heads=None if fields["heads"] is None else tuple(fields["heads"]),
            geometry=None if fields["geometry"] is None else Geometry.from_dict(fields["geometry"]),
            target=fields["target"],
            note=fields["note"],
        )


def _check_text(field: str, value: object) -> None:
    require(isinstance(value, str) and value != "", field, must="a text that is not empty", value=value)


def _check_texts(field: str, value: object) -> None:
    fits = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    require(fits, field, must="a tuple of texts", value=value)


def time_profile(speech_map: AttentionMap) -> AttentionMap:
    """Sum a map over its mel bands: axes (word, time). A map without them is returned as it is."""
    if "mel" not in speech_map.names:
        return speech_map
    at = speech_map.names.index("mel")
    return replace(
        speech_map,
        values=speech_map.values.sum(axis=at, dtype=np.float32),
        axes=(*speech_map.axes[:at], *speech_map.axes[at + 1 :]),
    )
