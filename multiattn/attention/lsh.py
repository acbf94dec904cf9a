"""Attention to the keys that hash to near buckets, whose cost grows with the length and not as its square.

Notation: b batch, h heads, n tokens, d head width, t rounds of hashing, c tokens per chunk, e chunks per round, m keys
that a query is compared with in a round, r query rows.

Queries and keys are the same vectors. Random rotations put vectors of a similar direction into the same bucket. In
each round the tokens are sorted by bucket and cut into chunks, and each attends to its own chunk and to the one before.
The rounds are mixed by the sums of their exponentials.
Source: Reformer (Kitaev et al. 2020), section 2 and appendix A.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from ..checks import check_argument
from .mask import OPEN, Mask

_OTHERS = -1e5  # the score of a token with itself, which counts only where there is no other
_MASKED = -1e9
_COLUMNS = 64  # of the rotations: enough for some 500,000 tokens in chunks of 64
_PIECE = 2**20  # scores that are computed at once: they stay in the processor's cache, and memory does not grow


@dataclass(frozen=True)
class Chunking:
    """The keys that a query is compared with, once the tokens are sorted by bucket."""

    length: int = 64
    """Tokens per chunk."""

    before: int = 1
    """Chunks before its own that a query attends to. Those of the rounds are joined to a ring: the first chunk of a
    round comes after the last one of the round before, as in the published implementations."""

    after: int = 0
    """Chunks after its own that a query attends to."""

    once: bool = False
    """Whether a key that is found in several rounds counts once (the paper's appendix A), or once for each round it is
    found in (the published implementations). To count them takes time."""

    def __post_init__(self) -> None:
        for name, least in (("length", 1), ("before", 0), ("after", 0)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"`{name}` must be at least {least}, but is {value} instead.")


def bucket_factors(length: int, chunk: int, *, columns: int) -> tuple[int, ...]:
    """Return the number of buckets as one power of two, or as the product of two where one would need more columns.

    Two for each chunk, so that a chunk and the one before hold most of a bucket.

    Args:
        length: Number of tokens.
        chunk: Tokens per chunk.
        columns: Columns of the rotations; a factor of f takes f / 2 of them.
    """
    power = max(2 * (length // chunk), 2).bit_length() - 1
    if 2**power <= 2 * columns:
        return (2**power,)
    low = min(power // 2, columns.bit_length() - 1)
    return 2**low, 2 ** min(power - low, columns.bit_length() - 1)


@torch.no_grad()
def hashed(
    x: Float[Tensor, "b h n d"], rotations: Float[Tensor, "h d t w"], factors: tuple[int, ...]
) -> Int64[Tensor, "b h t n"]:
    """Return the bucket of each vector in each round: the axis, or its opposite, that it is nearest to when rotated.

    Args:
        x: The vectors.
        rotations: Random columns, w in all.
        factors: Number of buckets as a product of even numbers, each with columns of its own.
            Source: Andoni et al. 2015, "Practical and optimal LSH for angular distance".
    """
    used = rotations[..., : sum(factors) // 2].float()
    rotated = torch.einsum("bhnd,hdtw->bhtnw", x.float(), used)  # (b, h, t, n, w)
    buckets = torch.zeros_like(rotated[..., 0], dtype=torch.long)
    first, weight = 0, 1
    for factor in factors:
        axes = rotated[..., first : first + factor // 2]
        buckets = buckets + weight * torch.cat([axes, -axes], dim=-1).argmax(dim=-1)
        first, weight = first + factor // 2, weight * factor
    return buckets


def unit_keys(x: Float[Tensor, "b h n d"]) -> Float[Tensor, "b h n d"]:
    """Return the keys of shared vectors: those vectors at length 1, which includes the scale of the scores."""
    return F.rms_norm(x, x.shape[-1:], eps=1e-6) * x.shape[-1] ** -0.5  # type: ignore[no-any-return]


def lsh_attention(
    q: Float[Tensor, "b h n d"],
    v: Float[Tensor, "b h n d"],
    buckets: Int64[Tensor, "b h t n"],
    chunking: Chunking,
    *,
    causal: bool = False,
    keys: Shaped[Tensor, "#b n"] | None = None,
    dropout_p: float = 0.0,
) -> Float[Tensor, "b h n d"]:
    """Attend to the keys of near buckets.

    Args:
        q: The shared vectors of queries and keys.
        v: The values.
        buckets: Of the shared vectors.
        chunking: Which keys a query is compared with.
        causal: A query attends to no key after its own position.
        keys: False where a key is padding.
        dropout_p: Probability that a weight is dropped.

    Returns:
        The mixed values.
    """
    n, rounds = q.shape[2], buckets.shape[2]
    order = _Order(buckets, chunking, keys)
    queries, shared, values = order.padded(q), order.padded(unit_keys(q)), order.padded(v)
    attended = None if order.is_full else order.padded(order.keys[:, None, :, None])
    mixed: list[Tensor] = []
    masses: list[Tensor] = []
    for index in range(rounds):
        parts = []
        for at, places in zip(*(torch.split(of, order.piece, dim=2) for of in order.pairs(index)), strict=True):
            # at (b, h, f, c), places (b, h, f, m), for f chunks
            scores = order.rows(queries, at) @ order.rows(shared, places).transpose(-1, -2)  # (b, h, f, c, m)
            scores = scores if scores.dtype == torch.float64 else scores.float()
            if attended is not None:
                scores.masked_fill_(~order.rows(attended, places).squeeze(-1)[..., None, :], _MASKED)
            if causal:
                scores.masked_fill_(places[..., None, :] > at[..., :, None], _MASKED)
            if chunking.once:
                scores = scores - order.times_found(at, places).log()
            scores.masked_fill_(places[..., None, :] == at[..., :, None], _OTHERS)
            highest = scores.detach().amax(dim=-1, keepdim=True)
            weights = (scores - highest).exp()
            total = weights.sum(dim=-1, keepdim=True)  # (b, h, f, c, 1)
            weights = F.dropout(weights, dropout_p, training=dropout_p > 0).to(v.dtype)
            out = (weights @ order.rows(values, places)) / total.to(v.dtype)  # (b, h, f, c, d)
            parts.append((out.flatten(2, 3), (highest + total.log()).flatten(2, 3)))
        back = order.back[:, :, index, :n]
        for whole, of_parts in zip((mixed, masses), zip(*parts, strict=True), strict=True):
            whole.append(order.rows(torch.cat(of_parts, dim=2), back))  # (b, h, n, ...), from the order of the buckets
    if rounds == 1:
        return mixed[0]
    shares = torch.stack(masses).softmax(dim=0).to(v.dtype)  # (t, b, h, n, 1)
    out = mixed[0] * shares[0]
    for index in range(1, rounds):
        out = out + mixed[index] * shares[index]
    return out


def lsh_weights(
    q: Float[Tensor, "b h n d"],
    buckets: Int64[Tensor, "b h t n"],
    chunking: Chunking,
    *,
    rows: Int64[Tensor, " r"],
    causal: bool = False,
    keys: Shaped[Tensor, "#b n"] | None = None,
) -> Float[Tensor, "b h r n"]:
    """Return the weights, in fp32, of some rows of what `lsh_attention` computes; a key's are those of all rounds."""
    b, h, n, _ = q.shape
    rounds, c = buckets.shape[2], chunking.length
    order = _Order(buckets, chunking, keys)
    shared = order.padded(unit_keys(q.float()))
    found = []
    for index in range(rounds):
        chunk = order.back[:, :, index, rows] // c + index * order.chunks  # (b, h, r), in the ring
        near = (chunk[..., None] + torch.arange(-order.before, order.after + 1, device=q.device)) % order.ring
        found.append(order.rows(order.by_chunk, near).flatten(3))  # (b, h, r, m)
    places = torch.cat(found, dim=-1)  # (b, h, r, t m)
    scores = torch.einsum("bhrd,bhrmd->bhrm", q[:, :, rows].float(), order.rows(shared, places))
    allowed = order.rows(order.padded(order.keys[:, None, :, None]), places).squeeze(-1)
    if causal:
        allowed = allowed & (places <= rows[:, None])
    scores = scores.masked_fill(~allowed, _MASKED)
    weights = q.new_zeros(b, h, len(rows), order.length, dtype=torch.float32)
    if chunking.once:
        times = weights.scatter_add(3, places, torch.ones_like(scores))
        scores = scores - times.gather(3, places).log()
    scores = scores.masked_fill(places == rows[:, None], _OTHERS)
    return weights.scatter_add(3, places, scores.softmax(dim=-1))[..., :n]


class LSHScore(nn.Module):
    """The score of an attention whose queries and keys are the same vectors, and meet in near buckets.

    Args:
        num_heads: Number of heads.
        head_dim: Width of a head.
        chunking: Which keys a query is compared with; all where there are no more tokens than in a chunk.
        rounds: Rounds of hashing. More find more of the keys that matter, at a cost that grows with them.
        seed: Of the random rotations, which are kept with the weights.
    """

    rotations: Tensor

    def __init__(
        self, num_heads: int, head_dim: int, *, chunking: Chunking | None = None, rounds: int = 2, seed: int = 0
    ) -> None:
        super().__init__()
        check_argument(rounds >= 1, "rounds", must="at least 1", value=rounds)
        self.chunking = Chunking() if chunking is None else chunking
        drawn = torch.randn(
            num_heads, head_dim, rounds, _COLUMNS, generator=torch.Generator().manual_seed(seed), device="cpu"
        )
        self.register_buffer("rotations", drawn)

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h n d"],
        v: Float[Tensor, "b h n d"],
        *,
        mask: Mask,
        bias: Tensor | None = None,
        dropout_p: float = 0.0,
    ) -> Float[Tensor, "b h n d"]:
        """Attend to the keys of near buckets; `k` is `q`.

        Raises:
            ValueError: There is a bias or a window, or `k` is not `q`.
        """
        buckets = self._buckets(q, k, mask, bias)
        return lsh_attention(q, v, buckets, self.chunking, causal=mask.causal, keys=mask.keys, dropout_p=dropout_p)

    def weights(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h n d"],
        *,
        mask: Mask = OPEN,
        bias: Tensor | None = None,
        rows: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
    ) -> Float[Tensor, "b heads rows n"]:
        """Return the weights in fp32; those of a key are the sum over the rounds that it is found in."""
        buckets = self._buckets(q, k, mask, bias)
        if heads is not None:
            q, buckets = q[:, list(heads)], buckets[:, list(heads)]
        n = q.shape[2]
        index = torch.arange(n, device=q.device) if rows is None else torch.tensor(rows, device=q.device) % n
        return lsh_weights(q, buckets, self.chunking, rows=index, causal=mask.causal, keys=mask.keys)

    def _buckets(self, q: Tensor, k: Tensor, mask: Mask, bias: Tensor | None) -> Tensor:
        """The buckets of the mask, or those that the vectors hash to."""
        check_argument(q is k, "k", must="`q` (make the attention with `shared_qk`)", value="another tensor")
        check_argument(mask.window is None and bias is None, "mask", must="without a window or bias", value="with one")

        def compute() -> Tensor:
            b, h, n, _ = q.shape
            if n <= self.chunking.length:
                return torch.zeros(b, h, 1, n, dtype=torch.long, device=q.device)
            return hashed(q, self.rotations, bucket_factors(n, self.chunking.length, columns=_COLUMNS))

        return compute() if mask.buckets is None else mask.buckets.of(compute)


class _Order:
    """The tokens of each round in the order of their buckets, with padding to whole chunks."""

    def __init__(self, buckets: Tensor, chunking: Chunking, keys: Tensor | None) -> None:
        b, self.heads, self.rounds, n = buckets.shape
        c = self.chunk = chunking.length
        self.chunks = -(-n // c)  # e, of a round
        self.length = self.chunks * c
        self.ring = self.rounds * self.chunks
        # in a short ring, a chunk is met from both sides
        self.before = min(chunking.before, self.ring - 1)
        self.after = min(chunking.after, self.ring - 1 - self.before)
        given = torch.ones(1, n, dtype=torch.bool, device=buckets.device) if keys is None else keys
        self.keys = given.expand(b, -1)
        self.is_full = keys is None and self.length == n
        met = self.chunk * (1 + self.before + self.after)
        self.piece = max(1, _PIECE // (b * self.heads * self.chunk * met))
        # padding has a bucket of its own, the last
        there = F.pad(self.keys, (0, self.length - n))[:, None, None]  # (b, 1, 1, e c)
        last = torch.iinfo(buckets.dtype).max
        sorted_by = F.pad(buckets, (0, self.length - n)).masked_fill(~there, last)
        self.order = sorted_by.sort(dim=-1, stable=True).indices  # (b, h, t, e c): the token at each place
        self.by_chunk = self.order.view(b, self.heads, self.ring, c)  # the same, of all rounds
        places = torch.arange(self.length, device=buckets.device).expand_as(self.order)
        self.back = torch.empty_like(self.order).scatter_(-1, self.order, places)  # the place of each token

    def padded(self, x: Tensor) -> Tensor:
        """Pad (b, h, n, d) to whole chunks; of one head to all."""
        return F.pad(x, (0, 0, 0, self.length - x.shape[2])).expand(-1, self.heads, -1, -1)

    def rows(self, x: Tensor, index: Tensor) -> Tensor:
        """Return the rows of `x` (b, h, len, ...) at indices (b, h, ...): (b, h, ..., ...)."""
        b, h, length = x.shape[:3]
        first = torch.arange(b * h, device=x.device).view(b, h, *(1,) * (index.ndim - 2)) * length
        return x.flatten(0, 2).index_select(0, (index + first).flatten()).view(*index.shape, *x.shape[3:])

    def pairs(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the tokens of a round by chunk, (b, h, e, c), and those that each chunk meets, (b, h, e, m)."""
        own = torch.arange(self.chunks, device=self.order.device) + index * self.chunks
        near = (own[:, None] + torch.arange(-self.before, self.after + 1, device=own.device)) % self.ring  # (e, ...)
        return self.by_chunk[:, :, own], self.by_chunk[:, :, near].flatten(3)

    def times_found(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return in how many places of all rounds each query meets each key, (b, h, e, c, m)."""
        chunks = self.back // self.chunk + self.chunks * torch.arange(self.rounds, device=self.back.device)[:, None]
        of_queries = [self.rows(chunks[:, :, index], queries)[..., :, None] for index in range(self.rounds)]
        of_keys = [self.rows(chunks[:, :, index], keys)[..., None, :] for index in range(self.rounds)]
        times = torch.zeros(*queries.shape, keys.shape[-1], device=keys.device)
        for one in of_queries:
            for other in of_keys:
                times += (one - other + self.after) % self.ring <= self.before + self.after
        return times
