"""The losses of two towers, over the pictures and texts of all processes.

Notation: b pictures and r texts of one process, r / b of each picture side by side; B and R those of all processes; E
width of the embeddings.
"""

from typing import Any, Literal

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

MatchObjective = Literal["contrastive", "sigmoid"]
"""`contrastive`: a softmax over all texts of a picture, and over all pictures of a text (CLIP). `sigmoid`: each pair by
itself (SigLIP)."""


class MatchLoss(nn.Module):
    """How far pictures and texts are from finding each other, in nats.

    Every process computes the loss of all, so that the mean of the processes' gradients is that of one process with all
    pictures.
    """

    def __init__(self, objective: MatchObjective) -> None:
        super().__init__()
        self.objective = objective

    def forward(
        self,
        pictures: Float[Tensor, "b E"],
        texts: Float[Tensor, "r E"],
        *,
        scale: Float[Tensor, ""],
        bias: Float[Tensor, ""] | None = None,
        gather: bool = False,
    ) -> Float[Tensor, ""]:
        """Compare every picture with every text.

        Args:
            pictures: Their embeddings, of length 1.
            texts: Those of the texts; the number of each picture's is the same.
            scale: The factor of the similarities.
            bias: Added to them.
            gather: Whether to compare with those of the other processes, which must have as many.
        """
        if gather:
            pictures, texts = gathered(pictures), gathered(texts)  # (B, E), (R, E)
        logits = scale * pictures.float() @ texts.float().T  # (B, R)
        logits = logits if bias is None else logits + bias
        return _LOSSES[self.objective](logits, own_texts(len(pictures), len(texts), device=logits.device))


def own_texts(pictures: int, texts: int, *, device: torch.device | None = None) -> Bool[Tensor, "B R"]:
    """Return which texts are a picture's own: as many of each, side by side."""
    owners = torch.arange(texts, device=device) // (texts // pictures)
    return torch.arange(pictures, device=device)[:, None] == owners


def contrastive(logits: Float[Tensor, "B R"], own: Bool[Tensor, "B R"]) -> Float[Tensor, ""]:
    """Return the mean of two cross-entropies: of each picture's own texts, and of each text's own picture.

    Source: Radford et al. 2021 (CLIP), figure 3; with several texts of a picture, the mean of their log-probabilities:
    Khosla et al. 2020, "Supervised Contrastive Learning", equation 2.
    """
    shares = own / own.sum(dim=1, keepdim=True)
    of_pictures = -(logits.log_softmax(dim=1) * shares).sum(dim=1).mean()
    of_texts = F.cross_entropy(logits.T, own.int().argmax(dim=0))
    return (of_pictures + of_texts) / 2


def sigmoid(logits: Float[Tensor, "B R"], own: Bool[Tensor, "B R"]) -> Float[Tensor, ""]:
    """Return the log-loss of all pairs, summed over the pictures, as a mean over the texts.

    Source: Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", algorithm 1.
    """
    signs = own.to(logits) * 2 - 1
    return -F.logsigmoid(signs * logits).sum() / logits.shape[1]


_LOSSES = {"contrastive": contrastive, "sigmoid": sigmoid}


def gathered(rows: Float[Tensor, "b E"]) -> Float[Tensor, "B E"]:
    """Return the rows of all processes, in their order; the gradient goes to each process's own."""
    found: Tensor = _Gather.apply(rows)
    return found


class _Gather(torch.autograd.Function):
    """All-gather whose gradient is the sum over the processes: gloo and NCCL both have these two operations."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        context.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * context.count
        return total[start : start + context.count]
