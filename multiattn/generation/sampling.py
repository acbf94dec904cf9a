"""Chance: which tokens may be drawn, and the draw.

Notation: r rows, V vocabulary.
"""

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from .config import GenerationConfig


def narrowed(scores: Float[Tensor, "r V"], options: GenerationConfig) -> Float[Tensor, "r V"]:
    """Scores to draw by: with the temperature, and -inf where top-k and then top-p leave a token out.

    Source: Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p).
    """
    # the best at 0, and in fp64: a temperature near 0 would make them infinite, and then nothing could be drawn
    scores = (scores - scores.amax(dim=-1, keepdim=True)).double() / options.temperature
    if options.top_k is not None and options.top_k < scores.shape[-1]:
        least = scores.topk(options.top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < least, -math.inf)
    if options.top_p is not None and options.top_p < 1:
        ordered, order = scores.sort(dim=-1, descending=True)
        probs = ordered.softmax(dim=-1)
        before = probs.cumsum(dim=-1) - probs  # of the tokens that are likelier
        out = before >= options.top_p
        out[:, 0] = False  # rounding must not leave nothing
        scores = scores.masked_fill(out.scatter(1, order, out), -math.inf)
    return scores


def random_shares(texts: int, count: int, *, generator: torch.Generator) -> Float64[Tensor, "texts count"]:
    """Numbers above 0 and up to 1 for the draws of each text.

    Each text has a stream of its own, begun by one number of the generator's: what it draws does not depend on the
    other texts, nor on how long they are.
    """
    rows = []
    for _ in range(texts):
        seed = torch.randint(2**62, (), generator=generator, device=generator.device)
        own = torch.Generator().manual_seed(int(seed))
        rows.append(1 - torch.rand(count, generator=own, dtype=torch.float64))
    return torch.stack(rows)


def draw(scores: Float[Tensor, "r V"], *, shares: Float64[Tensor, " r"]) -> Int64[Tensor, " r"]:
    """The token of each row at which its tokens' probabilities, added up, reach its share of them all."""
    sums = scores.double().softmax(dim=-1).cumsum(dim=-1)  # (r, V)
    reached = torch.searchsorted(sums, (shares * sums[:, -1])[:, None])[:, 0]
    return reached.clamp(max=scores.shape[-1] - 1)  # where nothing may be drawn, the sums are NaN
