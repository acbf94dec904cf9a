"""Which query may attend to which key. All masks are made here.

Notation: b batch, q query positions, k key positions. A mask is boolean and True means "may attend". Queries and keys
are aligned bottom-right: the last query is at the last key, so query i is at key position i + (k_len - q_len). A
decoder with a cache needs this alignment; torch's own `is_causal=True` is aligned top-left.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Mask:
    """The rule of one attention: any combination of causal, windowed and padded. The default allows everything."""

    causal: bool = False
    """A query attends to no key after its own position."""

    window: int | None = None
    """A query attends to keys at most this many positions away: on both sides, or only before it when causal."""

    keys: Shaped[Tensor, "b k"] | None = None
    """False where a key is padding, which is not attended to; None without padding."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 0:
            raise ValueError(f"`window` must be at least 0, but is {self.window} instead.")
        if self.keys is not None and self.keys.dtype != torch.bool:
            raise ValueError(f"`keys` must be boolean (True = may be attended to), but is {self.keys.dtype} instead.")

    @property
    def is_open(self) -> bool:
        """Whether every query may attend to every key."""
        return not self.causal and self.window is None and self.keys is None

    def reach(self) -> tuple[int, int]:
        """Return how many positions before and after itself a query attends to under the window."""
        assert self.window is not None
        return self.window, 0 if self.causal else self.window

    def dense(
        self, q_len: int, k_len: int, *, rows: Tensor | None = None, device: torch.device | None = None
    ) -> Bool[Tensor, "#b 1 q k"]:
        """Return the mask as a tensor, for all query rows or for those at the indices `rows`, shape (r,)."""
        if self.keys is not None and self.keys.shape[-1] != k_len:
            raise ValueError(f"`keys` must cover the {k_len} keys, but covers {self.keys.shape[-1]} instead.")
        query = torch.arange(q_len, device=device) if rows is None else rows.to(device)
        position = query[:, None] + (k_len - q_len)  # (q, 1)
        distance = torch.arange(k_len, device=device) - position  # (q, k), key minus query
        allowed = self.within(distance)[None, None]  # (1, 1, q, k)
        if self.keys is not None:
            allowed = allowed & self.keys[:, None, None, :]  # (b, 1, q, k)
        return allowed

    def within(self, distance: Tensor) -> Tensor:
        """Return whether causality and window allow keys at these distances (key position minus query position)."""
        allowed = torch.ones_like(distance, dtype=torch.bool)
        if self.causal:
            allowed = distance <= 0
        if self.window is not None:
            allowed = allowed & (distance.abs() <= self.window)
        return allowed


OPEN = Mask()
"""Every query may attend to every key."""
