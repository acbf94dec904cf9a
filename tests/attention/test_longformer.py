"""Attention with shared queries and keys, and with global tokens of projections of their own, against the oracle."""

import pytest
import torch

from multiattn.attention import Attention, Buckets, Chunking, GrowingCache, LSHScore, Mask, Site, Tap
from multiattn.errors import ModelError
from tests.reference import dot_product_scores, naive_lsh_weights, naive_weights

B, H, N, D = 2, 3, 13, 15
KEYS = torch.arange(N) < torch.tensor([[N], [10]])
RULE = {"window": 2, "dilation": 2, "global_tokens": torch.tensor([[0, 5], [9, -1]]), "keys": KEYS}


def tokens(n=N):
    return torch.randn(B, n, D, generator=torch.Generator().manual_seed(1))


def heads(x):
    return x.unflatten(-1, (-1, H, D // H)).permute(2, 0, 3, 1, 4)


def joined(mixed):
    return mixed.transpose(1, 2).flatten(2)


def longformer():
    torch.manual_seed(0)
    return Attention(D, H, global_projections=True)


def expected_longformer(attention, x, rule):
    """Weights and result, with the rows of global tokens from the second projections."""
    (q, k, v), (gq, gk, gv) = heads(attention.qkv(x)), heads(attention.global_qkv(x))
    weights, mixed = naive_weights(dot_product_scores(q, k), **rule), []
    of_global = naive_weights(dot_product_scores(gq, gk), **rule)
    mixed = weights @ v.double()
    for b, row in enumerate(rule["global_tokens"].expand(B, -1).tolist()):
        for i in row:
            if i >= 0:
                weights[b, :, i] = of_global[b, :, i]
                mixed[b, :, i] = torch.einsum("hk,hkd->hd", of_global[b, :, i], gv[b].double())
    return weights, attention.out(joined(mixed).float())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("request_", [{}, {"rows": [5, 0, -1], "heads": [2, 0]}])
def test_rows_of_global_tokens_come_from_their_own_projections(causal, request_):
    attention, x, rule = longformer(), tokens(), RULE | {"causal": causal}
    tap = Tap([Site("self", H, N, N)], **request_)
    with torch.no_grad():
        out = attention(x, mask=Mask(**rule), probe=tap.at("self"))
        assert torch.equal(out, attention(x, mask=Mask(**rule)))
        weights, expected = expected_longformer(attention, x, rule)
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)
    if request_:
        weights = weights[:, request_["heads"]][:, :, request_["rows"]]
    torch.testing.assert_close(tap.weights["self"].double(), weights, atol=1e-6, rtol=0)


def test_rows_of_a_long_input_that_goes_through_blocks_are_the_same():
    attention, x, rule = longformer(), tokens(157), RULE | {"keys": None}
    with torch.no_grad():
        out = attention(x, mask=Mask(**rule))
        _, expected = expected_longformer(attention, x, rule)
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)


def test_without_global_tokens_their_projections_are_not_used():
    attention, x = longformer(), tokens()
    with torch.no_grad():
        out = attention(x)
        attention.global_qkv.weight.zero_()
        assert torch.equal(out, attention(x))


def test_no_gradients_are_kept_of_weights_from_two_projections():
    tap = Tap([Site("self", H, N, N)], gradients=True)
    with pytest.raises(ModelError, match="keeps no gradients where global tokens have projections of their own"):
        longformer()(tokens(), mask=Mask(**RULE), probe=tap.at("self"))


def reformer(**options):
    torch.manual_seed(0)
    score = LSHScore(H, D // H, chunking=Chunking(length=4, once=options.pop("once", False)), rounds=3)
    return Attention(D, H, bias=False, out_bias=False, shared_qk=True, score=score, **options)


@pytest.mark.parametrize("rule", [{}, {"causal": True, "keys": KEYS}])
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("request_", [{}, {"rows": [5, 0, -1], "heads": [2, 0]}])
def test_hashed_attention_and_its_tap_equal_the_oracle(rule, once, request_):
    attention, x = reformer(once=once), 3 * tokens()
    tap = Tap([Site("self", H, N, N)], **request_)
    buckets = Buckets()
    with torch.no_grad():
        out = attention(x, mask=Mask(**rule), probe=tap.at("self"))
        assert torch.equal(out, attention(x, mask=Mask(**rule, buckets=buckets)))
        q, v = heads(attention.qk_v(x))
    assert len(buckets.held.unique()) > 1
    weights = naive_lsh_weights(q, buckets.held, length=4, once=once, **rule)
    expected = attention.out(joined(weights @ v.double()).float())
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    if request_:
        weights = weights[:, request_["heads"]][:, :, request_["rows"]]
    torch.testing.assert_close(tap.weights["self"].double(), weights, atol=1e-6, rtol=0)


def test_given_buckets_are_used():
    attention, x = reformer(), tokens()
    given = torch.randint(4, (B, H, 2, N), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        out = attention(x, mask=Mask(buckets=Buckets(given)))
        q, v = heads(attention.qk_v(x))
    expected = attention.out(joined(naive_lsh_weights(q, given, length=4) @ v.double()).float())
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)
    assert not torch.allclose(out, attention(x), atol=1e-3)


def test_gradients_of_the_hashed_weights_are_finite_differences():
    attention, x = reformer().double(), tokens().double()
    tap = Tap([Site("self", H, N, N)], gradients=True)
    gradient = tap.gradients(attention(x, probe=tap.at("self")).square().sum())["self"]
    _, v = heads(attention.qk_v(x))
    weights = tap.weights["self"].double()

    def score(nudged):
        return attention.out(joined(nudged @ v)).square().sum()

    step = torch.zeros_like(weights)
    step[1, 2, 4, 6] = 1e-4
    slope = (score(weights + step) - score(weights - step)) / 2e-4
    torch.testing.assert_close(gradient[1, 2, 4, 6].double(), slope, atol=1e-5, rtol=1e-4)


def test_what_hashing_cannot_do_is_refused():
    attention, x = reformer(), tokens()
    with pytest.raises(ValueError, match="`mask` must be without a window or bias, but is 'with one'"):
        attention(x, mask=Mask(window=2))
    with pytest.raises(ValueError, match="`mask` must be without a window or bias"):
        attention(x, bias=torch.zeros(1, 1, N, N))
    with pytest.raises(ValueError, match="`context` must be None with shared queries and keys"):
        attention(x[:, :1], x)
    with pytest.raises(ValueError, match="`context` must be None with shared queries and keys"):
        attention(x, cache=GrowingCache(*torch.zeros(2, B, H, 1, D // H)))
    with pytest.raises(ValueError, match="`shared_qk` must be False for cross-attention"):
        reformer(kv_dim=D)
    with pytest.raises(ValueError, match="`global_projections` must be False for cross-attention"):
        Attention(D, H, kv_dim=D, global_projections=True)
    with pytest.raises(ValueError, match=r"`k` must be `q` \(make the attention with `shared_qk`\)"):
        Attention(D, H, score=LSHScore(H, D // H))(x)
    with pytest.raises(ValueError, match="`rounds` must be at least 1, but is 0"):
        LSHScore(H, D // H, rounds=0)
