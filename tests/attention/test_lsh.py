"""Attention by hashing against the oracle, pair by pair."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.attention.lsh import Chunking, bucket_factors, hashed, lsh_attention, lsh_weights, unit_keys
from multiattn.attention.mask import Buckets
from tests.reference import naive_lsh_weights

B, H, D, N = 2, 3, 7, 23


def vectors(n=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, H, n, D, generator=generator), torch.randn(B, H, n, D, generator=generator)


def drawn_buckets(n, rounds, seed=0, most=5):
    return torch.randint(most, (B, H, rounds, n), generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(1, 13),
    rounds=st.integers(1, 3),
    length=st.integers(1, 7),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    once=st.booleans(),
    causal=st.booleans(),
    padded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_length_equals_the_oracle(n, rounds, length, before, after, once, causal, padded, seed):
    q, v = vectors(n, seed)
    buckets = drawn_buckets(n, rounds, seed)
    keys = torch.rand(B, n, generator=torch.Generator().manual_seed(seed)) < 0.7 if padded else None
    rule = {"length": length, "before": before, "after": after, "once": once}
    expected = naive_lsh_weights(q, buckets, **rule, causal=causal, keys=keys)
    rows = torch.arange(n)
    weights = lsh_weights(q, buckets, Chunking(**rule), rows=rows, causal=causal, keys=keys)
    torch.testing.assert_close(weights.double(), expected, atol=1e-6, rtol=0)
    mixed = lsh_attention(q, v, buckets, Chunking(**rule), causal=causal, keys=keys)
    torch.testing.assert_close(mixed.double(), expected @ v.double(), atol=5e-6, rtol=0)
    some = rows.flip(0)[::3]
    part = lsh_weights(q, buckets, Chunking(**rule), rows=some, causal=causal, keys=keys)
    torch.testing.assert_close(part, weights[:, :, some], atol=1e-6, rtol=0)


@pytest.mark.parametrize("once", [True, False])
def test_gradients_are_those_of_the_weights_written_out(once):
    q, v = (x.double().requires_grad_() for x in vectors())
    buckets, chunking = drawn_buckets(N, 2), Chunking(length=5, once=once)
    cotangent = torch.randn(B, H, N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad(lsh_attention(q, v, buckets, chunking), (q, v), cotangent)

    # which pairs meet, and how often, from the oracle on vectors that are all alike; then a softmax over all keys
    alike = naive_lsh_weights(torch.zeros(B, H, N, D), buckets, length=5, once=once)
    scores = q @ unit_keys(q).mT + alike.log()
    expected = torch.autograd.grad(scores.softmax(dim=-1) @ v, (q, v), cotangent)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_a_bucket_is_the_nearest_axis_in_each_round():
    x, _ = vectors()
    rotations = torch.randn(H, D, 2, 5, generator=torch.Generator().manual_seed(3))
    buckets = hashed(x, rotations, (4, 6))
    for h in range(H):
        for t in range(2):
            low, high = (x[:, h] @ rotations[h, :, t]).split([2, 3], dim=-1)
            first = torch.cat([low, -low], dim=-1).argmax(dim=-1)
            second = torch.cat([high, -high], dim=-1).argmax(dim=-1)
            assert torch.equal(buckets[:, h, t], first + 4 * second)
    assert not buckets.requires_grad


def test_the_length_of_a_vector_does_not_change_its_bucket():
    x, _ = vectors()
    rotations = torch.randn(H, D, 2, 4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(hashed(x, rotations, (8,)), hashed(7 * x, rotations, (8,)))
    opposite = hashed(-x, rotations, (8,))
    assert torch.equal((hashed(x, rotations, (8,)) + 4) % 8, opposite)


def test_near_vectors_meet_and_weights_come_near_to_full_attention_with_more_rounds():
    """Eight groups of tokens; buckets keep each together, and a token attends to its own group first."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(8, 16, generator=generator)
    group = torch.randint(8, (256,), generator=generator)
    q = 4 * torch.nn.functional.normalize(centers[group] + 0.1 * torch.randn(256, 16, generator=generator), dim=-1)
    q = q[None, None]
    full = (q @ unit_keys(q).mT).masked_fill(torch.eye(256, dtype=torch.bool), -torch.inf).softmax(dim=-1)
    errors = []
    for rounds in (1, 4, 16):
        rotations = torch.randn(1, 16, rounds, 4, generator=torch.Generator().manual_seed(1))
        weights = lsh_weights(q, hashed(q, rotations, (8,)), Chunking(32, once=True), rows=torch.arange(256))
        errors.append(float((weights - full).abs().sum(dim=-1).mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.2


@pytest.mark.parametrize(
    ("length", "factors"), [(10, (2,)), (64, (2,)), (200, (4,)), (4096, (128,)), (90_000, (32, 64)), (10**7, (64, 64))]
)
def test_there_are_two_buckets_a_chunk_as_a_power_of_two(length, factors):
    assert bucket_factors(length, 64, columns=64) == factors


def test_buckets_are_computed_once_and_kept_small():
    calls = []

    def compute():
        calls.append(1)
        return drawn_buckets(N, 2)

    memo = Buckets()
    assert torch.equal(memo.of(compute), memo.of(compute))
    assert len(calls) == 1
    assert memo.held.dtype == torch.int16


@pytest.mark.parametrize(("field", "value"), [("length", 0), ("before", -1), ("after", -1)])
def test_a_chunking_that_cannot_be_is_refused(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be at least {value + 1}, but is {value} instead"):
        Chunking(**{field: value})
