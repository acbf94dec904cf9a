"""What a recognizer learns from, against definitions written out."""

import itertools
import math

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.tasks.losses import SpeechOutput, TranscribeLoss, ctc_loss, shift_targets
from multiattn.tasks.spec_augment import SpecAugment, spec_augment

BLANK, END = 0, 2


def said_by(path: tuple[int, ...]) -> tuple[int, ...]:
    """What an alignment says: runs once, and no blanks."""
    return tuple(token for token, _ in itertools.groupby(path) if token != BLANK)


def brute_force(log_probs: torch.Tensor, text: tuple[int, ...]) -> float:
    """Minus the log of the probability of all alignments that say this text."""
    frames, tokens = log_probs.shape
    paths = [path for path in itertools.product(range(tokens), repeat=frames) if said_by(path) == text]
    return -math.log(sum(math.exp(sum(float(log_probs[t, k]) for t, k in enumerate(path))) for path in paths))


def test_ctc_is_the_mean_over_tokens_of_all_alignments() -> None:
    generator = torch.Generator().manual_seed(2)
    log_probs = torch.randn(2, 5, 4, generator=generator).log_softmax(dim=-1)
    targets = torch.tensor([[3, 3, END], [1, END, BLANK]])
    wanted = torch.tensor([[True, True, False], [True, False, False]])
    found = ctc_loss(log_probs, targets, wanted, torch.tensor([5, 3]), blank=BLANK)
    expected = brute_force(log_probs[0], (3, 3)) + brute_force(log_probs[1, :3], (1,))
    assert float(found) == pytest.approx(expected / 3, rel=1e-5)


def test_a_text_that_is_too_long_for_its_recording_teaches_nothing() -> None:
    raw = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    targets = torch.tensor([[3, 3, 1], [1, END, BLANK]])
    wanted = torch.tensor([[True] * 3, [True, False, False]])
    loss = ctc_loss(raw.log_softmax(dim=-1), targets, wanted, torch.tensor([3, 3]), blank=BLANK)
    loss.backward()
    assert raw.grad is not None
    assert loss.isfinite() and not raw.grad[0].any() and raw.grad[1].any()


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_sum_is_weighted_and_padding_counts_in_neither(weight: float) -> None:
    generator = torch.Generator().manual_seed(7)
    tokens = torch.tensor([[1, 4, 3, END], [1, 3, END, BLANK]])
    texts = shift_targets(tokens, tokens != BLANK)
    logits = torch.randn(2, 3, 5, generator=generator)
    ctc = torch.randn(2, 7, 5, generator=generator).log_softmax(dim=-1) if weight else None
    loss = TranscribeLoss(ctc_weight=weight, label_smoothing=0.3, blank=BLANK, end=END).eval()
    frames = torch.tensor([7, 5])
    found = loss(SpeechOutput(logits, ctc), texts, frames=frames)
    expected = -sum(
        float(logits[row].log_softmax(dim=-1)[i, tokens[row, i + 1]])
        for row, i in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))
    )
    assert float(found.attention) == pytest.approx(expected / 5, rel=1e-5)
    if ctc is None:
        assert found.ctc is None and found.total is found.attention
        return
    alone = ctc_loss(ctc, torch.tensor([[4, 3], [3, 0]]), torch.tensor([[True, True], [True, False]]), frames, blank=0)
    assert float(found.ctc) == pytest.approx(float(alone))
    assert float(found.total) == pytest.approx(0.7 * float(found.attention) + 0.3 * float(alone), rel=1e-6)
    logits[1, 2], ctc[1, 5:] = 99.0, 0.5
    again = loss(SpeechOutput(logits, ctc), texts, frames=frames)
    assert float(again.total) == float(found.total)
    assert float(loss.train()(SpeechOutput(logits, ctc), texts, frames=frames).attention) > float(
        found.attention
    )  # smoothed


def test_spans_lie_in_their_recordings_and_are_no_wider_than_asked_for() -> None:
    torch.manual_seed(11)
    features = torch.randn(211, 13, 37) + 5.0
    lengths = torch.randint(1, 38, (211,))
    settings = SpecAugment(mel_masks=1, mel_width=5, time_masks=1, time_width=7, time_share=0.4)
    found = spec_augment(features, lengths, settings)
    bands, times = set(), set()
    for before, after, length in zip(features, found, lengths.tolist(), strict=True):
        assert torch.equal(before[:, length:], after[:, length:])
        hidden = (before != after)[:, :length]
        mean = before[:, :length].mean()
        torch.testing.assert_close(after[:, :length][hidden], mean.expand(int(hidden.sum())))
        rows = [bool(row.all()) for row in hidden]
        columns = [bool(column.all()) for column in hidden.T]
        assert torch.equal(hidden, torch.tensor(rows)[:, None] | torch.tensor(columns))
        if length > 20 and not all(columns):
            bands.add(sum(rows))
            times.add(sum(columns))
            assert sum(columns) <= min(7, int(0.4 * length))
            for flags in (rows, columns):
                assert len([1 for flag, _ in itertools.groupby(flags) if flag]) <= 1  # one span
    assert bands == set(range(6))
    assert times == set(range(8))


def test_nothing_is_hidden_where_no_width_is_given() -> None:
    features = torch.randn(3, 5, 7)
    none = SpecAugment(mel_width=0, time_width=0)
    assert torch.equal(spec_augment(features, torch.tensor([7, 1, 4]), none), features)


@pytest.mark.parametrize("name", ["mel_masks", "mel_width", "time_masks", "time_width", "time_share"])
def test_spans_out_of_range(name: str) -> None:
    with pytest.raises(ModelError, match=f"`{name}` must be .*, but is -1 instead"):
        SpecAugment(**{name: -1})  # type: ignore[arg-type]
