"""Relative positions against loops over pairs of patches or tokens, and resampling against timm's."""

import math

import pytest
import torch
from timm.layers import resize_rel_pos_bias_table

from multiattn.attention import BucketBias, GridBias

H = 3


def bias_of(grid, *, prefix=1):
    module = GridBias(grid, H, prefix=prefix)
    torch.nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(0))
    return module


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize("grid", [(3, 5), (1, 2)])
def test_each_pair_has_the_row_of_its_distance(grid, prefix):
    rows, cols = grid
    module = bias_of(grid, prefix=prefix)
    found = module(grid)
    n = prefix + rows * cols
    assert found.shape == (1, H, n, n)
    distances = (2 * rows - 1) * (2 * cols - 1)
    for i in range(n):
        for j in range(n):
            if i < prefix or j < prefix:
                row = distances + (2 if i < prefix and j < prefix else 0 if i < prefix else 1)
            else:
                down = (i - prefix) // cols - (j - prefix) // cols
                across = (i - prefix) % cols - (j - prefix) % cols
                row = (down + rows - 1) * (2 * cols - 1) + across + cols - 1
            assert torch.equal(found[0, :, i, j], module.weight[row])


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, about how timm's function calls it
@pytest.mark.parametrize("old, new", [((3, 5), (6, 7)), ((7, 7), (3, 4)), ((2, 3), (2, 4)), ((14, 14), (24, 24))])
def test_another_grid_has_timms_resampled_table(old, new):
    module, resized = bias_of(old), bias_of(new)
    entries = (2 * new[0] - 1) * (2 * new[1] - 1) + 3
    with torch.no_grad():
        table = resize_rel_pos_bias_table(module.weight, new, (entries, H), old_window_size=old)
        resized.weight.copy_(table)
    torch.testing.assert_close(module(new), resized(new), atol=2e-6, rtol=0)


def test_each_row_of_the_table_is_trained():
    module = bias_of((3, 4))
    module((3, 4)).square().sum().backward()
    assert (module.weight.grad.abs().sum(-1) > 0).all()


def bucket_of(key_after, *, buckets, furthest, causal):
    """The formula of the paper's code; the tolerance is for whole numbers that a logarithm just misses."""
    if causal:
        after, distance = 0, max(-key_after, 0)
    else:
        buckets //= 2
        after, distance = buckets if key_after > 0 else 0, abs(key_after)
    exact = buckets // 2
    if distance < exact:
        return after + distance
    share = math.log(distance / exact) / math.log(furthest / exact)
    return after + min(buckets - 1, exact + int(share * (buckets - exact) + 1e-9))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (8, 20), (4, 3), (13, 7), (34, 1000)])
@pytest.mark.parametrize(("q_len", "k_len"), [(1, 1), (7, 7), (1, 150), (3, 150), (150, 150)])
def test_each_pair_of_tokens_has_the_row_of_its_bucket(causal, buckets, furthest, q_len, k_len):
    module = BucketBias(H, num_buckets=buckets, max_distance=furthest, causal=causal)
    torch.nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(0))
    rows = [
        [bucket_of(j - (i + k_len - q_len), buckets=buckets, furthest=furthest, causal=causal) for j in range(k_len)]
        for i in range(q_len)
    ]
    wanted = module.weight[torch.tensor(rows)].permute(2, 0, 1)[None]
    assert torch.equal(module(q_len, k_len), wanted)


def test_each_bucket_is_trained():
    module = BucketBias(H, num_buckets=8, max_distance=20)
    module(31, 31).sum().backward()
    used = (module.weight.grad.abs().sum(-1) > 0).tolist()
    assert used == [True] * 4 + [False] + [True] * 3  # no key is 0 tokens after a query


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_buckets": 3}, "`num_buckets` must be at least 4, but is 3 instead"),
        ({"max_distance": 16}, r"`max_distance` must be above half of `num_buckets` \(32\), but is 16 instead"),
    ],
)
def test_buckets_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        BucketBias(H, **options)
