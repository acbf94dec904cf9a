"""What a closed list of answers is taught, against the formula question by question."""

import math

import pytest
import torch

from multiattn.tasks.losses import ClosedLoss, TextLoss


def naive(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, smoothing: float) -> float:
    total = 0.0
    for row in range(len(logits)):
        probabilities = logits[row].double().softmax(dim=0).tolist()
        agreed = targets[row].tolist()
        for place, probability in enumerate(probabilities):
            share = (1 - smoothing) * agreed[place] / sum(agreed) + smoothing / len(agreed)
            total -= float(weights[row]) * share * math.log(probability)
    return total / float(weights.sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("is_training", [True, False])
def test_it_is_the_cross_entropy_against_the_shares_of_agreement(smoothing: float, is_training: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(7, 11, generator=generator) * 3
    targets = torch.zeros(7, 11)
    for row in range(7):
        targets[row, row], targets[row, 10 - row] = 0.3, 0.9
    weights = torch.tensor([1.0, 1.0, 0.0, 0.5, 1.0, 0.0, 1.0])
    loss = ClosedLoss(label_smoothing=smoothing).train(is_training)
    expected = naive(logits, targets, weights, smoothing if is_training else 0.0)
    assert float(loss(logits, targets, weights=weights)) == pytest.approx(expected, rel=1e-5)
    assert loss(logits.half(), targets, weights=weights).dtype == torch.float32


def test_a_question_that_does_not_count_teaches_nothing() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(2), requires_grad=True)
    targets = torch.eye(3, 5)
    targets[1] = 0.0  # nor does one whose answer is not in the list
    ClosedLoss(label_smoothing=0.1)(logits, targets, weights=torch.tensor([1.0, 0.0, 0.0])).backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().sum() > 0
    assert (logits.grad[1:] == 0).all()


def test_where_nothing_counts_the_loss_is_nothing_and_has_a_gradient() -> None:
    logits = torch.randn(3, 5, requires_grad=True)
    loss = ClosedLoss(label_smoothing=0.1)(logits, torch.zeros(3, 5), weights=torch.zeros(3))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and (logits.grad == 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_texts_are_weighted_token_by_token(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(3, 5, 11, generator=generator)
    targets = torch.randint(0, 11, (3, 5), generator=generator)
    wanted = torch.arange(5) < torch.tensor([5, 2, 3])[:, None]
    weights = torch.tensor([0.3, 1.0, 0.0])
    loss = TextLoss(label_smoothing=smoothing)
    rows = [loss(logits[i : i + 1], targets[i : i + 1], wanted=wanted[i : i + 1]) for i in range(3)]
    expected = (0.3 * 5 * rows[0] + 1.0 * 2 * rows[1]) / (0.3 * 5 + 1.0 * 2)
    torch.testing.assert_close(loss(logits, targets, wanted=wanted, weights=weights), expected)
    plain = loss(logits, targets, wanted=wanted)
    torch.testing.assert_close(loss(logits, targets, wanted=wanted, weights=torch.ones(3)), plain)
    assert float(loss(logits, targets, wanted=wanted, weights=torch.zeros(3))) == 0
