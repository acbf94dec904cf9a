"""What to capture of the attention, and the sink that holds it.

A `Tap` is made for one call, handed to a model's `forward`, and read afterwards. It receives the q and k that the
fused kernel gets, with the same mask, and computes the softmax weights in fp32 for the sites, heads and query rows
asked for, nothing else. It hands nothing back to the model: the output is bitwise the same with and without it.

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
    """One attention of a model, and how large its weights are for one item of a batch."""

    name: str
    """Where it is, e.g. `blocks.3.self`."""

    num_heads: int
    q_len: int
    """Query rows it computes."""

    k_len: int
    """Keys each row sees."""


class Tap:
    """A request for attention weights, and what came of it. Owned by the caller, made per call.

    Args:
        sites: The attentions there are, as the model names them (`model.attention_sites()`).
        select: Names or shell-style patterns of the sites to capture.
        heads: Indices of the heads, the same at all sites or by the name of the site; all where None.
        rows: Indices of the query rows, negative from the end; all where None.
        gradients: Also keep what `gradients` needs. Costs no extra copies: the tensors are the ones autograd saves.
        learn: Let the weights be part of the graph, so that a loss of them teaches the model where to look.

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
        """The heads asked for at each site; a site with all of its heads is not there."""
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
        """Bytes the weights will take, in fp32, known before anything runs."""
        total = 0
        for site in self.sites:
            heads = len(self._heads.get(site.name, range(site.num_heads)))
            rows = site.q_len if self.rows is None else len(self.rows)
            total += 4 * batch_size * heads * rows * site.k_len
        return total

    @property
    def weights(self) -> Mapping[str, Float[Tensor, "b heads rows k"]]:
        """The captured weights by site, in the model's order; rows sum to 1, or to 0 where a row may attend to nothing.

        Raises:
            ModelError: A requested site did not run, as when another model, or none, was given this tap.
        """
        silent = [site.name for site in self.sites if site.name not in self._weights]
        if silent:
            raise ModelError(f"the tap was not reached at {', '.join(silent)}: give it to the model it was made for")
        return {site.name: self._weights[site.name] for site in self.sites}

    def gradients(
        self, score: Float[Tensor, ""], *, keep_graph: bool = False
    ) -> dict[str, Float[Tensor, "b heads rows k"]]:
        """The derivative of `score` by each captured weight, as if the weights were free variables.

        The fused kernel never holds its weights A, but O = A V gives the derivative exactly: dS/dA = dS/dO V^T.

        Args:
            score: A scalar computed from the tapped call, under autograd.
            keep_graph: Leave the graph for the gradients of another score of the same call.

        Raises:
            ModelError: The tap was made without `gradients`, or the model was compiled: a compiled call is one node
                of the graph, and what lies inside it cannot be differentiated by.
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
        """The probe for the part of the model called `name`."""
        return Probe(self, name)

    def record(
        self, name: str, *, q: Tensor, k: Tensor, v: Tensor, output: Tensor, mask: Mask, score: Score, group: int = 1
    ) -> None:
        """Called by `Attention` with what its kernel got; q, k, v and output are (b, h, len, d).

        The queries are those of `group` rows side by side, each of which has weights of its own for those who look.
        """
        if name not in self._names:
            if name not in self._all_names:
                raise ModelError(f"the tap was made for another model: it does not know the site {name}")
            return
        q_len, k_len = q.shape[-2], k.shape[-2]
        # autocast would turn the fp32 products back into half precision
        learns = self._learns and torch.is_grad_enabled()
        with torch.set_grad_enabled(learns), torch.autocast(device_type=q.device.type, enabled=False):
            rows = None if self.rows is None else self._rows_of(q_len, group)
            allowed = None
            if not mask.is_open:
                allowed = mask.dense(q_len, k_len, rows=None if rows is None else torch.tensor(rows), device=q.device)
            asked = q if rows is None else q[:, :, rows]
            weights = score.weights(asked, k, heads=self._heads.get(name), allowed=allowed)
            self._weights[name] = ungrouped(weights, group)
        if self.keeps_gradients:
            self._outputs[name], self._values[name], self._groups[name] = output, v, group

    def _rows_of(self, q_len: int, group: int) -> list[int]:
        """The rows asked for, of each of `group` rows whose queries stand side by side, `q_len` in all."""
        assert self.rows is not None
        count = q_len // group
        return [start + row % count for start in range(0, q_len, count) for row in self.rows]


def ungrouped(weights: Tensor, group: int) -> Tensor:
    """What queries side by side have, (b, heads, g rows, k), as rows again: (b g, heads, rows, k)."""
    if group == 1:
        return weights
    b, heads, _, k = weights.shape
    return weights.reshape(b, heads, group, -1, k).transpose(1, 2).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class Probe:
    """A tap on its way down the model: it knows the name of the part it has come to."""

    tap: Tap
    path: str

    def at(self, name: str) -> "Probe":
        """The probe for a part of this part."""
        return Probe(self.tap, f"{self.path}.{name}")


def probe_at(parent: Tap | Probe | None, name: str) -> Probe | None:
    """`parent.at(name)`, or None where nobody looks."""
    return None if parent is None else parent.at(name)
