"""Which attention heads a model needs, and what each of them does, over many inputs.

The importance of a head is the expectation of how much a small change of its size changes the score: the head's output
is multiplied by a factor that is 1, and the score is differentiated by that factor. Autograd gives all heads of a model
in one backward pass. `without_heads` switches heads off instead, one forward pass each, and is what this estimates.
Source: Michel, Levy and Neubig 2019, "Are sixteen heads really better than one?", section 4.1.

Notation: b inputs, h heads, q query rows, k keys, d dimensions of a place (2 in a picture, 1 in a text or recording).
"""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attention import Attention, Site, Tap
from ..checks import require
from ..errors import ModelError
from .propagation import EmbeddingsAsLeaves

HeadOf = tuple[str, int]
"""A site of a model, such as "blocks.3.self", and the index of a head there."""

SINK, PREFIX, POSITIONAL, LOCAL, POINTS, EVEN = 0.3, 0.3, 0.4, 0.5, 2.0, 0.1
"""From when on a head has a role; EVEN is the most."""

LEAST_KEYS = 8
"""Rows that may attend to fewer keys say little: they are in no mean but that of the slope."""

LINE = torch.empty(0, 1)
"""The places of tokens that lie one after another, however many."""

_Model = TypeVar("_Model", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class TappedPrediction:
    """One prediction that can be computed again with a tap."""

    sites: tuple[Site, ...]
    """The attentions of the model, with their sizes for this input."""

    score: Callable[[nn.Module, Tap | None], Float[Tensor, ""]]
    """Computes the log-odds of the prediction with a model, under autograd where that is on."""

    places: Mapping[str, Float[Tensor, "n d"]]
    """Where the tokens of a self-attention lie, by the beginning of its site's name ("" for all): the last n of its
    tokens, row by row. Those before have no place, such as a class token. `LINE`: all tokens, one after another."""

    boxes: Mapping[str, Float[Tensor, " n"]] = field(default_factory=dict)
    """For the last n keys of a site, by the beginning of its name: the share of each that lies in a box; may be
    empty."""


@dataclass(frozen=True)
class HeadFacts:
    """What one head is and does; means over the inputs."""

    site: str
    head: int
    importance: float
    """The mean of |d score / d factor|, divided by the root of the squares' sum over its site's heads."""

    slope: float
    """The mean of |d score / d factor| itself, in nats."""

    sharpness: float
    """1 minus the normalized entropy of a row: 1 on one token, 0 spread evenly; 1 where no row had enough keys."""

    sink: float
    """The largest share of all rows' attention that one token has."""

    prefix: float | None = None
    """The share of attention from tokens with a place to those without one; None where there is none, as below."""

    local: float | None = None
    """The share of attention that stays at a token's own place and the places beside it."""

    offset: tuple[int, ...] | None = None
    """The direction, (rows, columns) or (positions,), of the neighbor with the most attention."""

    offset_share: float | None = None
    """The share of attention that goes to that neighbor."""

    pointing: float | None = None
    """How many times as dense attention is in boxes as it would be if spread evenly."""

    @property
    def described(self) -> str:
        """The role, with the direction or the token share that it is about."""
        if self.role == "positional":
            return f"positional ({', '.join(f'{step:+d}' for step in self.offset or ())}: {self.offset_share:.0%})"
        share = {"sink": self.sink, "reads the class token": self.prefix, "local": self.local}.get(self.role)
        if self.role == "points":
            return f"points (x {self.pointing:.1f})"
        return self.role if share is None else f"{self.role} ({share:.0%})"

    @property
    def role(self) -> str:
        """The first of `ROLES` that holds; "content" where no row had enough keys."""
        if self.prefix is not None and self.prefix >= PREFIX:
            return "reads the class token"
        if self.sink >= SINK:
            return "sink"
        if self.offset_share is not None and self.offset_share >= POSITIONAL and any(self.offset or ()):
            return "positional"
        if self.local is not None and self.local >= LOCAL:
            return "local"
        if self.pointing is not None and self.pointing >= POINTS:
            return "points"
        return "even" if self.sharpness <= EVEN else "content"


class HeadStatistics:
    """Collects what heads do, input by input."""

    def __init__(self) -> None:
        self._count = 0
        self._sums: dict[str, dict[str, np.ndarray]] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._offsets: dict[str, dict[tuple[int, ...], np.ndarray]] = {}

    def add(self, model: nn.Module, one: TappedPrediction) -> None:
        """Compute one prediction again and add its heads, with one forward and one backward pass.

        Args:
            model: In eval mode.
            one: The prediction.
        """
        tap = Tap(one.sites, gradients=True)
        with torch.inference_mode(False), torch.enable_grad(), EmbeddingsAsLeaves():  # weights may be frozen
            gradients = tap.gradients(one.score(model, tap))
        self._count += 1
        for name, weights in tap.weights.items():
            weights = weights.detach().double().cpu()
            slopes = head_slopes(weights, gradients[name].double().cpu()).abs().mean(dim=0)  # (h,)
            self._add(name, "slope", slopes)
            of_key = weights.mean(dim=2)  # (b, h, k)
            first = _first_row(weights)
            if first < weights.shape[2]:
                rows = weights[:, :, first:]
                entropy = torch.special.entr(rows).sum(dim=-1) / _keys(weights)[first:].log()
                self._add(name, "sharpness", 1 - entropy.mean(dim=(0, 2)))
                if rows.shape[2] >= LEAST_KEYS:  # of a few rows, it would be what they are about
                    self._add(name, "sink", rows.mean(dim=2).amax(dim=-1).mean(dim=0))
                self._add_places(name, weights, _longest(one.places, name), first)
            inside = _longest(one.boxes, name)
            if inside is not None and 0 < float(inside.sum()):
                of_cell = of_key[..., -len(inside) :]
                density = (of_cell * inside.double()).sum(dim=-1) / of_cell.sum(dim=-1).clamp(min=1e-12)
                self._add(name, "pointing", (density / inside.double().mean()).mean(dim=0))

    def _add_places(self, name: str, weights: Tensor, places: Tensor | None, least: int) -> None:
        """Add what depends on where the tokens of a self-attention lie; `weights` (b, h, q, k) count from `least`."""
        if places is None or not name.endswith(".self") or weights.shape[2] != weights.shape[3]:
            return
        places = places if len(places) else torch.arange(float(weights.shape[-1]))[:, None]
        first = weights.shape[-1] - len(places)
        rows = weights[:, :, max(first, least) :]
        if first:
            self._add(name, "prefix", rows[..., :first].sum(dim=-1).mean(dim=(0, 2)))
        between = rows[..., first:]  # (b, h, rows, n)
        steps = (places[None] - places[max(first, least) - first :, None]).round().long()  # (rows, n, d), to the key
        near = steps.abs().amax(dim=-1) <= 1
        self._add(name, "local", (between * near).sum(dim=-1).mean(dim=(0, 2)))
        offsets = self._offsets.setdefault(name, {})
        for offset in {tuple(step) for step in steps[near].tolist()}:
            there = (steps == torch.tensor(offset)).all(dim=-1)
            having = int(there.any(dim=-1).sum())  # rows that have such a neighbor
            share = (between * there).sum(dim=(0, 2, 3)).numpy() / (len(between) * having)
            offsets[offset] = offsets.get(offset, 0.0) + share
        self._counts.setdefault(name, {})["offset"] = self._counts.get(name, {}).get("offset", 0) + 1

    def _add(self, name: str, what: str, values: Tensor) -> None:
        sums, counts = self._sums.setdefault(name, {}), self._counts.setdefault(name, {})
        sums[what] = sums.get(what, 0.0) + values.numpy()
        counts[what] = counts.get(what, 0) + 1

    def result(self) -> list[HeadFacts]:
        """Return the facts of every head, in the model's order.

        Raises:
            ModelError: Nothing was added.
        """
        require(self._count > 0, "inputs", must="at least one", value=self._count)
        return [fact for name in self._sums for fact in self._of_site(name)]

    def _of_site(self, name: str) -> list[HeadFacts]:
        means = {what: values / self._counts[name][what] for what, values in self._sums[name].items()}
        slopes = means["slope"]
        norm = float(np.sqrt((slopes**2).sum())) or 1.0
        found = []
        for head in range(len(slopes)):
            of_head = {what: float(values[head]) for what, values in means.items()}
            offset, share = None, None
            if offsets := self._offsets.get(name):
                offset = max(offsets, key=lambda one: offsets[one][head])  # noqa: B023
                share = float(offsets[offset][head]) / self._counts[name]["offset"]
            found.append(
                HeadFacts(
                    site=name,
                    head=head,
                    importance=of_head["slope"] / norm,
                    slope=of_head["slope"],
                    sharpness=of_head.get("sharpness", 1.0),
                    sink=of_head.get("sink", 0.0),
                    prefix=of_head.get("prefix"),
                    local=of_head.get("local"),
                    offset=offset,
                    offset_share=share,
                    pointing=of_head.get("pointing"),
                )
            )
        return found


def head_slopes(weights: Float[Tensor, "b h q k"], gradients: Float[Tensor, "b h q k"]) -> Float[Tensor, "b h"]:
    """Compute the derivative of a score by a factor on each head's output.

    A head's output is its weights A times values, so that a factor on the output is one on A: d S / d factor is the sum
    of A times d S / d A.

    Args:
        weights: What a tap captured, of all rows.
        gradients: `Tap.gradients` of the score.
    """
    return (weights * gradients).sum(dim=(-2, -1))


def without_heads(model: _Model, heads: Collection[HeadOf]) -> _Model:
    """Return a copy of a model in which these heads add nothing.

    Args:
        model: The model; it is not changed.
        heads: The heads to switch off.

    Raises:
        ModelError: There is no such site or head, or its weights are packed as int8.
    """
    found = copy.deepcopy(model)
    for name, head in heads:
        attention = attention_of(found, name)
        require(0 <= head < attention.num_heads, "head", must=f"from 0 to {attention.num_heads - 1}", value=head)
        weight = attention.out.weight
        if weight is None:
            raise ModelError("heads cannot be switched off in int8, where weights are packed: give fp32")
        width = weight.shape[1] // attention.num_heads
        with torch.no_grad():
            weight[:, head * width : (head + 1) * width] = 0.0
    return found


def attention_of(model: nn.Module, site: str) -> Attention:
    """Return the attention of a model that is captured under a site's name.

    Raises:
        ModelError: There is none.
    """
    path, _, kind = site.rpartition(".")
    part: object = None
    for prefix in ("", "stack."):
        try:
            block = model.get_submodule(f"{prefix}{path}")
        except AttributeError:
            continue
        part = getattr(block, {"self": "attention", "cross": "cross_attention"}.get(kind, ""), None)
        break
    if not isinstance(part, Attention):
        raise ModelError(f"there is no attention {site!r} in this model")
    return part


def _longest(values: Mapping[str, Tensor], name: str) -> Tensor | None:
    """The value of the longest key that a name begins with."""
    keys = [key for key in values if name.startswith(key)]
    return values[max(keys, key=len)] if keys else None


def _keys(weights: Float[Tensor, "b h q k"]) -> Float[Tensor, " q"]:
    """The number of keys that each row may attend to: with a causal mask, those up to its own."""
    _, _, q, k = weights.shape
    is_causal = q == k > 1 and not weights.triu(1).any()
    return torch.arange(1.0, q + 1) if is_causal else torch.full((q,), float(k))


def _first_row(weights: Float[Tensor, "b h q k"]) -> int:
    """The first row with enough keys to choose from."""
    return int((_keys(weights) < LEAST_KEYS).sum())


def grid_places(rows: int, columns: int) -> Float[Tensor, "n d"]:
    """Return the places of a picture's patches, row by row."""
    return torch.cartesian_prod(torch.arange(float(rows)), torch.arange(float(columns))).reshape(-1, 2)


def most_important(facts: Sequence[HeadFacts], count: int) -> list[HeadFacts]:
    """Return the heads with the largest slopes, the largest first; of equal ones, the first in the model."""
    return sorted(facts, key=lambda one: -one.slope)[:count]


def off_losses(
    model: nn.Module, predictions: Sequence[TappedPrediction], facts: Sequence[HeadFacts], count: int
) -> dict[HeadOf, float]:
    """Compute what predictions lose with one head switched off: the mean loss of log-odds.

    Args:
        model: In eval mode.
        predictions: At least one.
        facts: Of all heads.
        count: How many heads are switched off, one after another, of those with the largest slopes and of those with
            the smallest.
    """
    order = most_important(facts, len(facts))
    chosen = list(dict.fromkeys((one.site, one.head) for one in (*order[:count], *order[max(0, len(order) - count) :])))
    if not count:
        return {}
    with torch.no_grad():
        whole = [float(one.score(model, None)) for one in predictions]
        losses = {}
        for head in chosen:
            off = without_heads(model, [head])
            left = [float(one.score(off, None)) for one in predictions]
            losses[head] = float(np.mean(whole) - np.mean(left))
    return losses
