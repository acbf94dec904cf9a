import doctest

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.attention import AdditiveScore, DotProductScore, Mask
from multiattn.attention import score as score_module
from multiattn.attention.window import windowed_attention
from tests.reference import dot_product_scores, naive_attention, naive_weights

B, H, Q, K, D = 2, 3, 5, 11, 7


def qkv(q_len=Q, k_len=K, seed=0, heads=H, dim=D):
    generator = torch.Generator().manual_seed(seed)
    lengths = (q_len, k_len, k_len)
    return [torch.randn(B, heads, n, dim, generator=generator) for n in lengths]


def padding(k_len):
    keys = torch.ones(B, k_len, dtype=torch.bool)
    keys[0, :3] = False
    keys[1, -2:] = False
    return keys


RULES = [
    {},
    {"causal": True},
    {"window": 2},
    {"causal": True, "window": 3},
    {"keys": padding(K)},
    {"causal": True, "keys": padding(K)},
    {"causal": True, "window": 1, "keys": padding(K)},
    {"window": 2, "dilation": 3},
    {"window": 1, "global_tokens": torch.tensor([[0, 7], [10, -1]]), "keys": padding(K)},
    {"causal": True, "window": 1, "dilation": 2, "global_tokens": torch.tensor([[8]])},
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "+".join(rule) or "open")
@pytest.mark.parametrize("q_len", [1, Q, K])
def test_dot_product_equals_the_oracle(rule, q_len):
    q, k, v = qkv(q_len)
    score, mask = DotProductScore(D), Mask(**rule)
    expected = naive_attention(q, k, v, **rule)
    torch.testing.assert_close(score(q, k, v, mask=mask).double(), expected, atol=1e-6, rtol=0)
    weights = score.weights(q, k, mask=mask)
    assert weights.dtype == torch.float32
    expected = naive_weights(dot_product_scores(q, k), **rule)
    torch.testing.assert_close(weights.double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "+".join(rule) or "open")
@pytest.mark.parametrize("shape", [(B, H), (1, H), (B, 1)], ids=str)
def test_a_bias_and_a_scale_equal_the_oracle(rule, shape):
    q, k, v = qkv()
    bias = torch.randn(*shape, Q, K, generator=torch.Generator().manual_seed(1))
    score, mask = DotProductScore(D, scale=0.7), Mask(**rule)
    scores = dot_product_scores(q, k, scale=0.7, bias=bias)
    expected = torch.einsum("bhqk,bhkd->bhqd", naive_weights(scores, **rule), v.double())
    torch.testing.assert_close(score(q, k, v, mask=mask, bias=bias).double(), expected, atol=1e-6, rtol=0)
    weights = score.weights(q, k, mask=mask, bias=bias, heads=[2, 0])
    torch.testing.assert_close(weights.double(), naive_weights(scores, **rule)[:, [2, 0]], atol=1e-6, rtol=0)


def test_a_window_and_few_half_precise_keys_do_not_lose_a_bias():
    """Both have a path of their own, which knows no bias."""
    q, k, v = qkv(131, 131)
    bias = torch.randn(1, H, 131, 131, generator=torch.Generator().manual_seed(1))
    expected = naive_attention(q, k, v, bias=bias, window=7)
    found = DotProductScore(D)(q, k, v, mask=Mask(window=7), bias=bias)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)
    q, k, v = qkv()
    k, v = k.bfloat16(), v.bfloat16()
    found = DotProductScore(D)(q, k, v, mask=Mask(), bias=bias[:, :, :Q, :K])
    expected = naive_attention(q, k, v, bias=bias[:, :, :Q, :K])
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "+".join(rule) or "open")
def test_additive_equals_the_formula_written_out(rule):
    q, k, v = qkv()
    score, mask = AdditiveScore(H, D), Mask(**rule)
    scores = torch.empty(B, H, Q, K)
    with torch.no_grad():
        for b in range(B):
            for h in range(H):
                for i in range(Q):
                    for j in range(K):
                        hidden = torch.tanh(q[b, h, i] @ score.query[h] + k[b, h, j] @ score.key[h] + score.bias[h, 0])
                        scores[b, h, i, j] = hidden @ score.energy[h]
        expected = torch.einsum("bhqk,bhkd->bhqd", naive_weights(scores, **rule), v.double())
        torch.testing.assert_close(score(q, k, v, mask=mask).double(), expected, atol=1e-6, rtol=0)
        some = score.weights(q, k, heads=[2, 0], mask=mask)
    torch.testing.assert_close(some.double(), naive_weights(scores, **rule)[:, [2, 0]], atol=1e-6, rtol=0)


def test_a_row_that_may_attend_to_nothing_is_zero_not_nan():
    q, k, v = qkv()
    nothing = Mask(keys=torch.zeros(B, K, dtype=torch.bool))
    for score in (DotProductScore(D), AdditiveScore(H, D)):
        for bias in (None, torch.ones(1, 1, Q, K)):
            assert score(q, k, v, mask=nothing, bias=bias).abs().max() == 0
            assert score.weights(q, k, mask=nothing, bias=bias).abs().max() == 0


def drawn_keys(k_len):
    return torch.rand(B, k_len, generator=torch.Generator().manual_seed(k_len)) < 0.7


@settings(deadline=None, max_examples=100)
@given(
    q_len=st.integers(1, 150),
    extra=st.integers(-40, 60),
    window=st.integers(0, 40),
    dilation=st.integers(1, 5),
    tokens=st.none() | st.lists(st.lists(st.integers(-1, 10**6), min_size=3, max_size=3), min_size=1, max_size=B),
    causal=st.booleans(),
    padded=st.booleans(),
)
def test_windowed_blocks_equal_the_dense_mask(q_len, extra, window, dilation, tokens, causal, padded):
    k_len = max(q_len + extra, 1)
    q, k, v = qkv(q_len, k_len)
    if tokens is not None:
        tokens = torch.tensor([[token % k_len if token >= 0 else -1 for token in row] for row in tokens])
        # a token is global once: what is named twice is left out the second time
        twice = (tokens[:, :, None] == tokens[:, None]).tril(-1).any(-1)
        tokens = tokens.masked_fill(twice, -1)
    mask = Mask(
        causal=causal,
        window=window,
        dilation=dilation,
        global_tokens=tokens,
        keys=drawn_keys(k_len) if padded else None,
    )
    blocks = windowed_attention(q, k, v, mask, scale=D**-0.5, dropout_p=0.0)
    dense = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.dense(q_len, k_len))
    torch.testing.assert_close(blocks, dense, atol=2e-6, rtol=0)


def test_more_queries_than_keys_under_a_window_equal_the_dense_mask():
    q, k, v = qkv(97, 61)
    mask = Mask(window=5)
    blocks = windowed_attention(q, k, v, mask, scale=D**-0.5, dropout_p=0.0)
    dense = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.dense(97, 61))
    torch.testing.assert_close(blocks, dense, atol=2e-6, rtol=0)


def test_a_long_window_goes_through_blocks_and_costs_linear_work(monkeypatch):
    """Counted, not timed: four times the length is four times the pairs compared, not sixteen."""
    pairs = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def counting(q, k, v, **options):
        pairs.append(q.shape[0] * q.shape[2] * k.shape[2])
        return kernel(q, k, v, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counting)
    tokens = torch.tensor([[0, 5]])
    for rule in ({}, {"dilation": 4}, {"dilation": 2, "global_tokens": tokens}):
        pairs.clear()
        for length in (512, 2048):
            DotProductScore(D)(*qkv(length, length), mask=Mask(window=32, **rule))
        assert sum(pairs) == 5 * pairs[0] + (5 * 2 * 512 * B if "global_tokens" in rule else 0)
        assert pairs[0] == B * 512 * (3 * 32 + (2 if "global_tokens" in rule else 0))


@pytest.mark.parametrize("rule", [{}, {"dilation": 3, "global_tokens": torch.tensor([[0, 64, -1]])}])
def test_windowed_blocks_have_the_dense_gradients(rule):
    q, k, v = (x.requires_grad_() for x in qkv(131, 131))
    mask = Mask(window=7, causal=True, **rule)
    cotangent = torch.randn(B, H, 131, D, generator=torch.Generator().manual_seed(1))
    blocks = windowed_attention(q, k, v, mask, scale=D**-0.5, dropout_p=0.0)
    dense = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.dense(131, 131))
    for ours, theirs in zip(
        torch.autograd.grad(blocks, (q, k, v), cotangent), torch.autograd.grad(dense, (q, k, v), cotangent), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=5e-6, rtol=0)


def test_the_example_of_additive_scoring_runs():
    results = doctest.testmod(score_module)
    assert (results.failed, results.attempted) == (0, 8)
