"""Which query may attend to which key. All masks are made here.

Notation: b batch, q query positions, k key positions. A mask is boolean and True means "may attend". Queries and keys
are aligned bottom-right: the last query is at the last key, so query i is at key position i + (k_len - q_len). A
decoder with a cache needs this alignment; torch's own `is_causal=True` is aligned top-left.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


class Buckets:
    """Buckets that are computed once and used again. The caller makes one for each call of an attention.

    Args:
        held: The buckets to use; those that the attention computes first where None.
    """

    def __init__(self, held: Shaped[Tensor, "b h t n"] | None = None) -> None:
        self.held = held

    def of(self, compute: Callable[[], Tensor]) -> Int64[Tensor, "b h t n"]:
        """Return the buckets, from `compute` the first time."""
        if self.held is None:
            found = compute()
            # there are at most as many as tokens; a quarter of the memory for what may be kept for a whole model
            self.held = found.to(torch.int16) if found.shape[-1] < 2**15 else found.to(torch.int32)
        return self.held.long()


@dataclass(frozen=True, eq=False)
class Mask:
    """The rule of one attention: any combination of causal, windowed and padded. The default allows everything.

    A window may have gaps and global tokens. Source: Longformer (Beltagy et al. 2020), section 3.1.
    """

    causal: bool = False
    """A query attends to no key after its own position."""

    window: int | None = None
    """A query attends to keys at most this many steps away: on both sides, or only before it when causal."""

    dilation: int = 1
    """Positions in a step of the window: a query attends to every `dilation`-th key of those within its reach."""

    global_tokens: Int64[Tensor, "#b g"] | None = None
    """Positions of the tokens that the window does not bind: they attend to all keys, and all queries attend to them.
    Each is named once; -1 fills up where an item of the batch has fewer."""

    keys: Shaped[Tensor, "b k"] | None = None
    """False where a key is padding, which is not attended to; None without padding."""

    buckets: Buckets | None = None
    """For an attention by hashing, the buckets whose tokens may attend to each other; those of the tokens where
    None."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 0:
            raise ValueError(f"`window` must be at least 0, but is {self.window} instead.")
        if self.dilation < 1:
            raise ValueError(f"`dilation` must be at least 1, but is {self.dilation} instead.")
        if self.window is None and (self.dilation > 1 or self.global_tokens is not None):
            raise ValueError("`window` must be given with `dilation` or `global_tokens`, but is None instead.")
        if self.keys is not None and self.keys.dtype != torch.bool:
            raise ValueError(f"`keys` must be boolean (True = may be attended to), but is {self.keys.dtype} instead.")

    @property
    def is_open(self) -> bool:
        """Whether every query may attend to every key."""
        return not self.causal and self.window is None and self.keys is None

    def reach(self) -> tuple[int, int]:
        """Return how many steps before and after itself a query attends to under the window."""
        assert self.window is not None
        return self.window, 0 if self.causal else self.window

    def dense(
        self, q_len: int, k_len: int, *, rows: Tensor | None = None, device: torch.device | None = None
    ) -> Bool[Tensor, "#b 1 q k"]:
        """Return the mask as a tensor, for all query rows or for those at the indices `rows`, shape (r,)."""
        self.check(k_len)
        query = torch.arange(q_len, device=device) if rows is None else rows.to(device)
        position = query + (k_len - q_len)  # (q,)
        distance = torch.arange(k_len, device=device) - position[:, None]  # (q, k), key minus query
        allowed = self.within(distance)[None, None]  # (1, 1, q, k)
        if self.global_tokens is not None:
            is_global = self.global_keys(k_len)  # (#b, k)
            of_query = is_global[:, position.clamp(min=0)] & (position >= 0)  # (#b, q)
            unbound = of_query[:, :, None] | is_global[:, None, :]  # (#b, q, k)
            allowed = allowed | (unbound & (distance <= 0) if self.causal else unbound)[:, None]
        if self.keys is not None:
            allowed = allowed & self.keys[:, None, None, :]  # (b, 1, q, k)
        return allowed

    def within(self, distance: Tensor) -> Tensor:
        """Return whether causality and window allow keys at these distances (key position minus query position)."""
        allowed = torch.ones_like(distance, dtype=torch.bool)
        if self.causal:
            allowed = distance <= 0
        if self.window is not None:
            allowed = allowed & (distance.abs() <= self.window * self.dilation)
            if self.dilation > 1:
                allowed = allowed & (distance % self.dilation == 0)
        return allowed

    def global_keys(self, k_len: int) -> Bool[Tensor, "#b k"]:
        """Return which of the keys are global tokens."""
        assert self.global_tokens is not None
        tokens = self.global_tokens
        # what fills up is set in one more place, which is cut off
        places = torch.where(tokens < 0, k_len, tokens)
        return torch.zeros(len(tokens), k_len + 1, dtype=torch.bool, device=tokens.device).scatter(1, places, True)[
            :, :k_len
        ]

    def check(self, k_len: int) -> None:
        """Check that the mask is one for this number of keys.

        Raises:
            ValueError: It covers another number, or a global token is not among them. Outside the CPU, and in a
                compiled model, the kernel itself finds such a token.
        """
        if self.keys is not None and self.keys.shape[-1] != k_len:
            raise ValueError(f"`keys` must cover the {k_len} keys, but covers {self.keys.shape[-1]} instead.")
        tokens = self.global_tokens
        if tokens is None or tokens.device.type != "cpu" or torch.compiler.is_compiling() or not tokens.numel():
            return
        low, high = int(tokens.min()), int(tokens.max())
        if low < -1 or high >= k_len:
            raise ValueError(
                f"`global_tokens` must be from 0 to {k_len - 1}, or -1 for none, but one is "
                f"{low if low < -1 else high} instead."
            )


OPEN = Mask()
"""Every query may attend to every key."""
