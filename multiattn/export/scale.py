"""The scale of a map: which of the palette's colors a value has. `base.js` has the same for the pages.

Values are read in multiples of the even share, the mean of the grid's absolute values. The lowest value is clear and
the highest has the last color, but the palette spans at least one even share: a map that is nearly flat looks nearly
flat. A map with values below 0 has two halves, from 0 to its largest absolute value, and 0 is clear.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..maps.concentration import FLAT_WITHIN

OWN_SCALE = (
    "Each {} has a scale of its own, from its lowest value to its highest, or to one even share above its lowest."
)
"""What a figure says below several grids."""

FLAT = "This map is flat: every {} is within a tenth of the even share, so it does not say where."
"""What a figure says of a flat map."""


@dataclass(frozen=True)
class Scale:
    """The scale of one grid."""

    low: float
    """The value that is clear."""

    span: float
    """From `low` to the value with the last color; 0 where all values are 0."""

    even: float
    """The even share."""

    signed: bool
    """Whether there are values below `low`, drawn in the colors of the other half."""

    flat: bool
    """Whether every value is within a tenth of the even share."""

    @classmethod
    def of(cls, values: Float[np.ndarray, "*grid"], *, signed: bool | None = None) -> "Scale":
        """Return the scale of a grid.

        Args:
            values: The grid.
            signed: Whether 0 is the middle; by default where a value is below 0.
        """
        low, high, even = float(values.min()), float(values.max()), float(np.abs(values.astype(np.float64)).mean())
        if low < 0 or signed:
            return cls(low=0.0, span=max(high, -low, even), even=even, signed=True, flat=even == 0)
        flat = max(high - even, even - low) <= FLAT_WITHIN * even
        return cls(low=low, span=max(high - low, even), even=even, signed=False, flat=flat)

    def positions(self, values: Float[np.ndarray, "*grid"]) -> Float[np.ndarray, "*grid"]:
        """Return where values lie in the palette: 0 clear, 1 the last color, -1 that of the other half."""
        return (values.astype(np.float64) - self.low) / (self.span or 1.0)

    @property
    def ends(self) -> tuple[float, float]:
        """The first and the last color's values in multiples of the even share; both 0 where all values are 0."""
        if not self.even:
            return 0.0, 0.0
        return (-self.span if self.signed else self.low) / self.even, (self.low + self.span) / self.even


def times(multiple: float) -> str:
    """Return a multiple of the even share to read: `× 12`, `× 1.9`, `× 0.21`, `× −3.0`."""
    size = abs(multiple)
    text = f"{size:.0f}" if size >= 9.95 else f"{size:.1f}" if size >= 0.995 else f"{size:.2f}"
    return f"× {'−' if multiple < 0 and float(text) else ''}{text}"
