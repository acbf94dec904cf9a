"""The losses of two towers against naive loops and transformers, and gathered over two processes."""

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor

from multiattn.tasks.match_loss import MatchLoss, own_texts


def rows(count: int, seed: int) -> Tensor:
    found = torch.randn(count, 11, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(found, dim=1)


def naive(objective: str, pictures: Tensor, texts: Tensor, *, scale: float, bias: float) -> float:
    """One picture and one text at a time."""
    each = len(texts) // len(pictures)
    logits = [[scale * float(p @ t) + bias for t in texts] for p in pictures]
    if objective == "sigmoid":
        signs = [[1 if j // each == i else -1 for j in range(len(texts))] for i in range(len(pictures))]
        pairs = [
            math.log1p(math.exp(-sign * one))
            for row, of in zip(logits, signs, strict=True)
            for one, sign in zip(row, of, strict=True)
        ]
        return sum(pairs) / len(texts)
    of_pictures = [
        sum(math.log(sum(map(math.exp, row))) - row[i * each + k] for k in range(each)) / each
        for i, row in enumerate(logits)
    ]
    columns = list(zip(*logits, strict=True))
    of_texts = [math.log(sum(map(math.exp, column))) - column[j // each] for j, column in enumerate(columns)]
    return sum(of_pictures) / len(of_pictures) / 2 + sum(of_texts) / len(of_texts) / 2


@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize("objective", ["contrastive", "sigmoid"])
def test_the_losses_are_those_of_naive_loops(objective: str, each: int) -> None:
    pictures, texts = rows(5, 3), rows(5 * each, 4)
    found = MatchLoss(objective)(pictures, texts, scale=torch.tensor(7.0), bias=torch.tensor(-1.5))  # type: ignore[arg-type]
    assert float(found) == pytest.approx(naive(objective, pictures, texts, scale=7.0, bias=-1.5), rel=1e-5)
    assert own_texts(5, 5 * each).sum(dim=0).tolist() == [1] * 5 * each


def test_one_text_a_picture_is_the_loss_of_transformers() -> None:
    clip = pytest.importorskip("transformers.models.clip.modeling_clip")
    pictures, texts = rows(7, 5).float(), rows(7, 6).float()
    wanted = clip.image_text_contrastive_loss(9 * texts @ pictures.T)
    found = MatchLoss("contrastive")(pictures, texts, scale=torch.tensor(9.0))
    torch.testing.assert_close(found, wanted)


def _process(rank: int, objective: str, each: int, rendezvous: str, out: str) -> None:
    """Compute the gradient of half of the pictures, and average it with the other process's, as DDP does."""
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    weight, scale = (one.requires_grad_() for one in (rows(11, 8), torch.tensor(2.0, dtype=torch.float64)))
    pictures, texts = rows(6, 3)[3 * rank : 3 * rank + 3], rows(6 * each, 4)[3 * each * rank : 3 * each * (rank + 1)]
    loss = MatchLoss(objective)(pictures @ weight, texts @ weight, scale=scale.exp(), gather=True)  # type: ignore[arg-type]
    loss.backward()
    for one in (weight, scale):
        dist.all_reduce(one.grad)
    if rank == 0:
        torch.save((loss.detach(), weight.grad / 2, scale.grad / 2), out)
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("objective", ["contrastive", "sigmoid"])
def test_two_processes_have_the_gradient_of_one(objective: str, each: int, tmp_path: Path) -> None:
    arguments = (objective, each, str(tmp_path / "rendezvous"), str(tmp_path / "out.pt"))
    torch.multiprocessing.spawn(_process, arguments, nprocs=2)
    weight, scale = (one.requires_grad_() for one in (rows(11, 8), torch.tensor(2.0, dtype=torch.float64)))
    wanted = MatchLoss(objective)(rows(6, 3) @ weight, rows(6 * each, 4) @ weight, scale=scale.exp())  # type: ignore[arg-type]
    wanted.backward()
    loss, of_weight, of_scale = torch.load(tmp_path / "out.pt", weights_only=True)
    torch.testing.assert_close(loss, wanted.detach())
    torch.testing.assert_close(of_weight, weight.grad)
    torch.testing.assert_close(of_scale, scale.grad)
    assert of_weight.abs().max() > 1e-3
