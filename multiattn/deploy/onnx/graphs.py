"""What is exported of a model: one or several graphs, each with examples of its inputs and the axes that may vary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...attention import Tap
from ...blocks import applied
from ...errors import ModelError
from ...models import ViT
from ...models.domain import Domain
from ...weights import ModelBundle

Axes = Mapping[str, Mapping[int, str]]
"""For each input, the axes that may vary, with their names; axes of one name are equal."""

EXAMPLES = 2
"""Items of the examples: torch takes a size of 1 for one that never varies."""


@dataclass(frozen=True, eq=False)
class Graph:
    """One graph of an exported model."""

    module: nn.Module
    """What it computes: `forward` takes the inputs by position and returns a tuple."""

    inputs: Mapping[str, Tensor]
    """An example of each input, by name, in the order of `forward`."""

    axes: Axes
    outputs: tuple[str, ...]
    """The names of the outputs."""

    bounded: tuple[str, ...] = ()
    """Axes whose sizes the model bounds, such as to multiples of its patches; others go from 1 to any number."""


class Classifier(nn.Module):
    """A picture to the logits of its classes.

    Args:
        model: The model.
        domain: Where it is known, the distance from the training pictures is an output.
        sites: Attentions whose weights are outputs.
    """

    def __init__(self, model: ViT, domain: Domain | None, sites: Sequence[str]) -> None:
        super().__init__()
        self.model, self._domain, self._sites = model, domain, tuple(sites)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return logits (b, classes), distances (b,) if any, and weights (b, h, q, k) of each site."""
        size = (images.shape[-2], images.shape[-1])
        tap = Tap(self.model.attention_sites(size), select=self._sites) if self._sites else None
        pooled = self.model.pooled(images, tap=tap)
        outputs = [applied(self.model.head, pooled)]
        if self._domain is not None:
            outputs.append(self._domain.distances(pooled[:, None]))
        return (*outputs, *(tap.weights[site] for site in self._sites)) if tap is not None else tuple(outputs)


def picture_example(bundle: ModelBundle) -> Tensor:
    """Return an example of the pictures that a model reads, (b, c, h, w)."""
    preprocessing = bundle.pictures
    return torch.zeros(EXAMPLES, preprocessing.channels, *preprocessing.size)


def classifier_graphs(bundle: ModelBundle, sites: Sequence[str]) -> dict[str, Graph]:
    """Return the graph of a classifier."""
    model = bundle.require(ViT)
    if model.head is None:
        raise ModelError(f"{bundle.source} must have labels to be exported, but is a model without a head instead")
    chosen = [site.name for site in Tap(model.attention_sites(), select=sites).sites] if sites else []
    module = Classifier(model, bundle.domain, chosen)
    outputs = ("logits", *(("distances",) if bundle.domain else ()), *chosen)
    return {"model": Graph(module, {"images": picture_example(bundle)}, {"images": {0: "batch"}}, outputs)}
