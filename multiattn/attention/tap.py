"""Capturing attention weights.

A `Tap` is made for one call, passed to a model's `forward`, and read afterwards. It receives the q and k of the fused
kernel, with the same mask, and computes the softmax weights in fp32, only for the requested sites, heads and query
rows. It returns nothing to the model: the output is bitwise the same with and without it.

    tap = Tap(model.attention_sites(), select="blocks.*", rows=[0])
    logits = model(images, tap=tap)
    tap.weights["blocks.11.self"]  # (b, heads, 1, k)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ModelError
from .mask import Mask
from .score import Score


@dataclass(frozen=True)
class Site:
    """One attention of a model, and the size of its weights for one item of a batch."""

    name: str
    """Its path in the model, e.g. `blocks.3.self`."""

    num_heads: int
    q_len: int
    """Number of query rows."""

    k_len: int
    """Number of keys."""


class Tap:
    """A request for attention weights, and the weights once captured. The caller makes one for each call.

    Args:
        sites: All attentions of the model (`model.attention_sites()`).
        select: Names or shell-style patterns of the sites to capture.
        heads: Indices of the heads, the same at all sites or by the site's name; all where None.
        rows: Indices of the query rows, negative from the end; all where None.
        gradients: Also keep what `gradients` needs. This copies nothing: autograd saves the same tensors.
        learn: Keep the weights in the autograd graph, so that a loss on them trains where the model attends to.

    Raises:
        ModelError: A pattern matches no site, or a head or row does not exist at a selected site.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        *,
        select: str | Sequence[str] = "*",
        heads: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        rows: Sequence[int] | None = None,
        gradients: bool = False,
        learn: bool = False,
    ) -> None:
        patterns = (select,) if isinstance(select, str) else tuple(select)
        for pattern in patterns:
            if not any(fnmatchcase(site.name, pattern) for site in sites):
                there_are = ", ".join(site.name for site in sites) or "none"
                raise ModelError(f"no attention site matches {pattern!r}; there are: {there_are}")
        for name, asked in (("select", patterns), ("heads", heads), ("rows", rows)):
            if asked is not None and not len(asked):
                raise ModelError(f"`{name}` must ask for at least one, but is empty instead; leave it out for all")
        self.sites = tuple(site for site in sites if any(fnmatchcase(site.name, pattern) for pattern in patterns))
        self._heads = self._heads_by_site(heads)
        self.rows = None if rows is None else tuple(rows)
        self.keeps_gradients = gradients
        self._learns = learn
        for site in self.sites:
            of_site = self._heads.get(site.name)
            for what, asked_here, there in (("head", of_site, site.num_heads), ("row", self.rows, site.q_len)):
                lowest = -there if what == "row" else 0
                for index in asked_here or ():
                    if not lowest <= index < there:
                        raise ModelError(f"{what} {index} does not exist at {site.name}, which has {there} {what}s")
        self._names = frozenset(site.name for site in self.sites)
        self._all_names = frozenset(site.name for site in sites)
        self._weights: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}  # (b, h, g q, d) before the heads are joined, in the autograd graph
        self._values: dict[str, Tensor] = {}  # (b, h, k, d)
        self._groups: dict[str, int] = {}  # g

    def _heads_by_site(self, heads: Sequence[int] | Mapping[str, Sequence[int]] | None) -> dict[str, tuple[int, ...]]:
        """Return the requested heads by site, without the sites of which all heads are requested."""
        if heads is None:
            return {}
        if not isinstance(heads, Mapping):
            return {site.name: tuple(heads) for site in self.sites}
        asked, selected = set(heads), {site.name for site in self.sites}
        if asked != selected:
            missing = ", ".join(sorted(selected - asked)) or "none"
            unknown = ", ".join(sorted(asked - selected)) or "none"
            raise ModelError(
                f"`heads` by site must name the selected sites, but lacks {missing} and has besides {unknown} instead"
            )
        if empty := [name for name, of_site in heads.items() if not len(of_site)]:
            raise ModelError(
                f"`heads` must ask for at least one at {empty[0]}, but is empty instead; leave it out for all"
            )
        return {name: tuple(of_site) for name, of_site in heads.items()}

    def nbytes(self, batch_size: int = 1) -> int:
        """Return the bytes that the weights will take, in fp32, before anything runs."""
        heads = [len(self._heads.get(site.name, range(site.num_heads))) for site in self.sites]
        rows = [site.q_len if self.rows is None else len(self.rows) for site in self.sites]
        return 4 * batch_size * sum(h * r * site.k_len for h, r, site in zip(heads, rows, self.sites, strict=True))

    @property
    def weights(self) -> Mapping[str, Float[Tensor, "b heads rows k"]]:
        """The captured weights by site, in the model's order; rows sum to 1, or to 0 where all keys are masked.

        Raises:
            ModelError: A requested site did not run, for instance because the tap was not passed to the model.
        """
        silent = [site.name for site in self.sites if site.name not in self._weights]
        if silent:
            raise ModelError(f"the tap was not reached at {', '.join(silent)}: give it to the model it was made for")
        return {site.name: self._weights[site.name] for site in self.sites}

    def gradients(
        self, score: Float[Tensor, ""], *, keep_graph: bool = False
    ) -> dict[str, Float[Tensor, "b heads rows k"]]:
        """Return the derivative of `score` with respect to each captured weight, as if weights were free variables.

        The fused kernel never stores its weights A, but O = A V gives the derivative exactly: dS/dA = dS/dO V^T.

        Args:
            score: A scalar computed from the tapped call, under autograd.
            keep_graph: Keep the graph, to differentiate another score of the same call.

        Raises:
            ModelError: The tap was made without `gradients`, or the model is compiled: a compiled call is one node of
                the autograd graph, which hides the tensors inside.
        """
        if not self.keeps_gradients:
            raise ModelError("the tap kept nothing to differentiate: make it with gradients=True")
        names = list(self.weights)
        try:
            by_output = torch.autograd.grad(score, [self._outputs[name] for name in names], retain_graph=keep_graph)
        except RuntimeError as error:
            raise ModelError(
                "the score does not depend on what the tap kept: compute it from the tapped call, under autograd, and "
                "with the model uncompiled"
            ) from error
        found = {}
        for name, gradient in zip(names, by_output, strict=True):
            values, group = self._values[name].detach(), self._groups[name]
            if self.rows is not None:
                gradient = gradient[:, :, self._rows_of(gradient.shape[-2], group)]
            if name in self._heads:
                gradient, values = gradient[:, list(self._heads[name])], values[:, list(self._heads[name])]
            by_weight = gradient.float() @ values.float().transpose(-2, -1)  # (b, heads, g rows, k)
            found[name] = ungrouped(by_weight, group)
        return found

    def at(self, name: str) -> "Probe":
        """Return the probe for the part of the model called `name`."""
        return Probe(self, name)

    def record(
        self,
        name: str,
        *,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        output: Tensor,
        mask: Mask,
        score: Score,
        bias: Tensor | None = None,
        group: int = 1,
    ) -> None:
        """Compute and keep the weights of one site; called by `Attention`.

        Args:
            name: The site.
            q: Queries of the kernel, (b, h, len, d): those of `group` rows that share a context, one row after another.
            k: Keys of the kernel.
            v: Values of the kernel.
            output: The mixed values that the kernel returned.
            mask: The mask of the kernel.
            score: Computes the weights.
            bias: What the kernel added to the scores, (#b, #h, len, k).
            group: Number of rows that share a context; they are separate rows again in the captured weights.

        Raises:
            ModelError: The model has no such site.
        """
        if name not in self._names:
            if name not in self._all_names:
                raise ModelError(f"the tap was made for another model: it does not know the site {name}")
            return
        learns = self._learns and torch.is_grad_enabled()
        # autocast would compute the fp32 products in half precision
        with torch.set_grad_enabled(learns), torch.autocast(device_type=q.device.type, enabled=False):
            rows = None if self.rows is None else self._rows_of(q.shape[-2], group)
            weights = score.weights(q, k, mask=mask, bias=bias, rows=rows, heads=self._heads.get(name))
            self._weights[name] = ungrouped(weights, group)
        if self.keeps_gradients:
            self._outputs[name], self._values[name], self._groups[name] = output, v, group

    def enter(self, path: str, x: Float[Tensor, "b n D"]) -> None:
        """Look at the tokens that a block is given; called by `TransformerBlock`. A tap of weights keeps none."""

    def _rows_of(self, q_len: int, group: int) -> list[int]:
        """Return the indices of the requested query rows in `q_len` queries, which `group` rows share equally."""
        assert self.rows is not None
        count = q_len // group
        return [start + row % count for start in range(0, q_len, count) for row in self.rows]


def ungrouped(weights: Tensor, group: int) -> Tensor:
    """Separate the `group` rows that share a context: (b, heads, g rows, k) to (b g, heads, rows, k)."""
    if group == 1:
        return weights
    b, heads, _, k = weights.shape
    return weights.reshape(b, heads, group, -1, k).transpose(1, 2).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class Probe:
    """A tap with the path of the part of the model that it is passed to."""

    tap: Tap
    path: str

    def at(self, name: str) -> "Probe":
        """Return the probe for a part of this part."""
        return Probe(self.tap, f"{self.path}.{name}")

    @property
    def is_wanted(self) -> bool:
        """Whether the tap captures a site of this part."""
        return any(site.name.startswith(f"{self.path}.") for site in self.tap.sites)


def probe_at(parent: Tap | Probe | None, name: str) -> Probe | None:
    """Return `parent.at(name)`, or None where nothing is captured."""
    return None if parent is None else parent.at(name)
