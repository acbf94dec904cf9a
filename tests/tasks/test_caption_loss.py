"""Teacher forcing and self-critical rewards against plain loops."""

import itertools
import math

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.tasks.loading.tokens import padded
from multiattn.tasks.losses import TextLoss, shift_targets
from multiattn.tasks.self_critical import Rewards, SelfCritical, advantages, self_critical_loss

TEXTS = [[1, 7, 8, 9, 2], [1, 5, 2], [1, 4, 6, 2]]
VOCABULARY = 11


@pytest.mark.parametrize("prompt", [[], [3, 10]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_each_token_of_the_captions_counts_once_and_nothing_else_does(prompt: list[int], smoothing: float) -> None:
    tokens, attention_mask = padded(TEXTS, 0)
    texts = shift_targets(tokens, attention_mask, prompt=prompt)
    torch.manual_seed(1)
    logits = torch.randn(*texts.tokens.shape, VOCABULARY)
    loss = TextLoss(label_smoothing=smoothing)
    for mode in (True, False):
        loss.train(mode)
        share = smoothing if mode else 0.0
        expected = []
        for row, (start, *words) in enumerate(TEXTS):
            read = [start, *prompt, *words]
            for place, word in enumerate(words):
                before = len(prompt) + place  # the token that this one follows
                assert texts.tokens[row, before] == read[before]
                assert texts.attention_mask[row, before]
                log_probs = logits[row, before].double().log_softmax(dim=0)
                expected.append(-(1 - share) * log_probs[word] - share * log_probs.mean())
        torch.testing.assert_close(
            loss(logits, texts.targets, wanted=texts.wanted).double(), torch.stack(expected).mean(), rtol=1e-5, atol=0
        )


def test_the_loss_of_half_precision_is_taken_in_float32() -> None:
    tokens, attention_mask = padded(TEXTS, 0)
    texts = shift_targets(tokens, attention_mask)
    logits = torch.randn(*texts.tokens.shape, VOCABULARY, dtype=torch.bfloat16)
    loss = TextLoss(label_smoothing=0.0)
    assert loss(logits, texts.targets, wanted=texts.wanted).dtype == torch.float32
    assert torch.equal(
        loss(logits, texts.targets, wanted=texts.wanted), loss(logits.float(), texts.targets, wanted=texts.wanted)
    )


def test_the_gradient_is_that_of_the_expected_reward() -> None:
    """All texts of two tokens, each weighed by its probability: the mean of the estimates is the exact gradient."""
    torch.manual_seed(2)
    vocabulary = 3
    logits = torch.randn(2, vocabulary, dtype=torch.float64, requires_grad=True)  # of the first and the second token
    texts = list(itertools.product(range(vocabulary), repeat=2))
    reward_of = {text: float(torch.rand(())) for text in texts}
    probabilities = {text: logits.softmax(dim=1)[[0, 1], list(text)].prod() for text in texts}
    expected = sum(probabilities[text] * reward_of[text] for text in texts)
    (exact,) = torch.autograd.grad(expected, logits)

    estimate = torch.zeros_like(exact)
    for text in texts:
        for baseline in (0.0, 0.4):  # a baseline changes no mean
            one = logits[None]
            loss = self_critical_loss(
                one,
                torch.tensor([text]),
                wanted=torch.ones(1, 2, dtype=torch.bool),
                advantage=torch.tensor([reward_of[text] - baseline]),
            )
            (gradient,) = torch.autograd.grad(loss, logits)
            estimate -= 0.5 * probabilities[text].detach() * gradient * 2  # the loss is a mean over two tokens
    torch.testing.assert_close(estimate, exact, rtol=1e-5, atol=1e-7)


def test_padding_has_no_part_in_the_self_critical_loss() -> None:
    torch.manual_seed(3)
    tokens, attention_mask = padded(TEXTS, 0)
    texts = shift_targets(tokens, attention_mask)
    logits = torch.randn(*texts.tokens.shape, VOCABULARY)
    advantage = torch.tensor([0.5, -2.0, 1.0])
    total = sum(
        float(advantage[row]) * float(logits[row, place].log_softmax(dim=0)[word])
        for row, (_, *words) in enumerate(TEXTS)
        for place, word in enumerate(words)
    )
    found = self_critical_loss(logits, texts.targets, wanted=texts.wanted, advantage=advantage)
    assert float(found) == pytest.approx(-total / sum(len(text) - 1 for text in TEXTS), rel=1e-5)


def test_the_baselines() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    others = [[1 - 4, 2 - 3.5, 6 - 1.5], [-1.5, -1.5, 3]]
    torch.testing.assert_close(advantages(rewards, greedy=None), torch.tensor(others))
    greedy = advantages(rewards, greedy=torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(greedy, torch.tensor([[-1.0, 0.0, 4.0], [-1.0, -1.0, 2.0]]))


REFERENCES = [
    ["a red disc on a wall", "the disc is red"],
    ["a dog runs in the snow", "the dog in the snow"],
    ["two men ride a wave", "men on a blue wave"],
]


def test_a_caption_of_its_own_picture_is_worth_more_and_one_that_breaks_off_less() -> None:
    rewards = Rewards(REFERENCES)
    texts = ["a red disc on a wall", "a dog runs in the snow", "a red disc on a wall", "a red disc on a"]
    own, other, cut_off, broken = rewards(texts, [True, True, False, True], [0, 0, 0, 0])
    assert own > cut_off > 0  # it never said that it had ended
    assert own > broken
    assert own > other
    assert np.isfinite([own, other, cut_off, broken]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 1}, "`samples` must be at least 2 with the baseline 'mean', but is 1 instead."),
        (
            {"samples": 0, "baseline": "greedy"},
            "`samples` must be at least 1 with the baseline 'greedy', but is 0 instead.",
        ),
    ],
)
def test_samples_that_have_no_baseline(options: dict, message: str) -> None:
    with pytest.raises(ModelError) as raised:
        SelfCritical(**options)
    assert str(raised.value) == message


def test_nothing_to_say_is_as_bad_as_it_gets() -> None:
    assert math.isclose(Rewards(REFERENCES)([""], [False], [1])[0], 0.0)
