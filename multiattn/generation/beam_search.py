"""Beam search: the likeliest texts of each item are continued side by side.

`beams` keeps them, and decides which go on.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .beams import Beams, Best
from .config import Generated, GenerationConfig
from .search import ProcessLogits, Step
from .texts import StoppingCriteria

_GROUP = 16
"""Scores of which the largest is found first; of large vocabularies on a CPU, whose `topk` is slow."""

_LARGE = 2**13
"""Tokens of a vocabulary from which on that is faster."""


class BeamSearch:
    """A search that keeps several beams for each item.

    Args:
        options: The options of the generation.
        items: Number of items in the batch.
        stopping: When a text is complete.
    """

    def __init__(self, options: GenerationConfig, *, items: int, stopping: StoppingCriteria) -> None:
        self._beams = Beams(options, items=items, stopping=stopping)

    def step(self, logits: Float[Tensor, "r V"], process: ProcessLogits) -> Step | None:
        """Extend each beam by every token, and keep the likeliest."""
        own = logits.log_softmax(dim=-1)
        scores = process(own)
        totals = scores.new_tensor(self._beams.totals)  # (b, w)
        items, width = totals.shape
        vocab_size, keep = logits.shape[-1], self._beams.keep
        of_row, tokens_of_row = likeliest(scores, min(keep, vocab_size))  # (r, c)
        all_totals = (of_row.view(items, width, -1) + totals[..., None]).flatten(1)  # (b, w c)
        best = all_totals.topk(min(keep, all_totals.shape[1]), dim=1)
        positions = (
            tokens_of_row.view(items, width, -1) + vocab_size * torch.arange(width, device=scores.device)[:, None]
        )
        positions = positions.flatten(1).gather(1, best.indices)
        own_best = own.view(items, -1).gather(1, positions)
        # one tensor, as reading it waits for the device; float64 holds all three exactly
        found = torch.stack([best.values.double(), positions.double(), own_best.double()], dim=1).tolist()
        following = self._beams.extend([Best(*one) for one in found], vocab_size=vocab_size)
        if following is None:
            return None
        return Step(torch.tensor(following.tokens, device=logits.device), following.rows, following.items)

    def results(self) -> list[list[Generated]]:
        """Return the texts of each item, best first."""
        return self._beams.results()


def likeliest(scores: Float[Tensor, "r V"], count: int) -> tuple[Float[Tensor, "r c"], Int64[Tensor, "r c"]]:
    """Return the largest scores of each row, in order, and their tokens.

    They are in the groups with the largest maxima, so only those are sorted.
    """
    groups = scores.shape[1] // _GROUP
    if scores.device.type != "cpu" or scores.shape[1] < _LARGE or groups < count:
        found = scores.topk(count, dim=1)
        return found.values, found.indices
    # the tokens of a group are `groups` apart: so the maximum goes along the memory; the last few tokens are in none
    peaks = scores[:, : groups * _GROUP].view(-1, _GROUP, groups).amax(dim=1)  # (r, groups)
    chosen = peaks.topk(count, dim=1).indices
    tokens = (chosen[:, None] + groups * torch.arange(_GROUP)[:, None]).flatten(1)  # (r, _GROUP c)
    rest = torch.arange(groups * _GROUP, scores.shape[1]).expand(len(scores), -1)
    tokens = torch.cat([tokens, rest], dim=1)
    found = scores.gather(1, tokens).topk(count, dim=1)
    return found.values, tokens.gather(1, found.indices)
