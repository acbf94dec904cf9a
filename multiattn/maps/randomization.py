"""A model whose blocks lose what they learned, from the top one down, to see whether its maps depend on them.

Source: Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 4.1, the cascading randomization. There each
layer is drawn anew; here the values of each of its tensors change places, which keeps their spread and needs no rule
for each kind of layer.
"""

import copy
from collections.abc import Iterator

import torch
from torch import nn


def blocks_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the transformer blocks of a model with their names, in the order in which it runs them."""
    return [
        (f"{name}.{index}", block)
        for name, part in model.named_modules()
        if isinstance(part, nn.ModuleList) and name.rpartition(".")[2] == "blocks"
        for index, block in enumerate(part)
    ]


def randomized_models(model: nn.Module, *, seed: int = 0) -> Iterator[nn.Module]:
    """Yield a copy of the model with the weights of its top block shuffled, then of its top two, down to all blocks.

    It is one copy, which loses a further block each time it is asked for the next: use each before the next is taken.
    What is not in a block (the stem, positions, embeddings, the head) keeps its weights.

    Args:
        model: In eval mode; it is not changed.
        seed: Of the shuffling.
    """
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for _, block in reversed(blocks_of(model)):
        with torch.no_grad():
            for parameter in block.parameters():
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
        yield model
