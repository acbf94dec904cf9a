from dataclasses import replace

import jaxtyping
import pytest
import torch
from torch import nn

from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.models import TextDecoder, TextDecoderConfig

V, D, C, M, MAX = 37, 22, 13, 5, 17
SIZES = {
    "vocab_size": V,
    "dim": D,
    "depth": 3,
    "num_heads": 2,
    "mlp_dim": 29,
    "max_length": MAX,
    "context_dim": C,
}
POST_NORM = {"pre_norm": False, "norm_eps": 1e-12, "embed_norm": True, "final_norm": False}
CONFIGS = {
    "pre-norm": TextDecoderConfig(**SIZES),
    "bert": TextDecoderConfig(**SIZES, **POST_NORM, head="transform", head_bias=True),
    "t5": TextDecoderConfig(
        **SIZES,
        positions="relative",
        num_buckets=4,
        max_distance=5,
        norm="rms",
        gated=True,
        linear_bias=False,
        head_dim=7,
        scale_scores=False,
        scale_states=True,
    ),
    "own head, sinusoidal": TextDecoderConfig(**SIZES, tied=False, positions="sinusoidal", activation="gelu_tanh"),
}
TOKENS = 7


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def decoder(request):
    return random_weights(TextDecoder(request.param))


def random_weights(module):
    generator = torch.Generator().manual_seed(3)
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, mean=float("norm" in name), std=0.3, generator=generator)
    return module.eval().requires_grad_(False)


def context(batch=2):
    return torch.randn(batch, M, C, generator=torch.Generator().manual_seed(1))


def texts(rows=6, count=TOKENS):
    return torch.randint(V, (rows, count), generator=torch.Generator().manual_seed(2))


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_a_later_token_changes_nothing_before_it(decoder):
    tokens = texts()
    before = decoder(tokens, context())
    tokens[:, 4] = (tokens[:, 4] + 1) % V
    after = decoder(tokens, context())
    close(after[:, :4], before[:, :4])
    assert (after[:, 4:] - before[:, 4:]).abs().amax(dim=(1, 2)).min() > 1e-3


def test_the_context_counts_and_each_row_has_its_own(decoder):
    tokens = texts(rows=1).expand(6, -1)
    logits = decoder(tokens, context())
    close(logits[:3], logits[:1].expand(3, -1, -1))
    assert (logits[0] - logits[3]).abs().max() > 1e-3
    close(logits, decoder(tokens, context().repeat_interleave(3, dim=0)))


@pytest.mark.parametrize("steps", [(6, 1), (1,) * 7, (3, 2, 2)], ids=["prefill and one", "one by one", "in pieces"])
def test_a_decode_with_a_cache_equals_the_whole_pass(decoder, steps):
    tokens = texts()
    cache = decoder.start(context(), rows=6, capacity=TOKENS)
    parts = [decoder(part, cache=cache) for part in tokens.split(steps, dim=1)]
    close(torch.cat(parts, dim=1), decoder(tokens, context()))
    assert cache.length == TOKENS


def test_a_context_can_be_projected_once_for_all(decoder):
    tokens, projected = texts(), decoder.project_context(context())
    whole = decoder(tokens, context())
    close(decoder(tokens, projected), whole)
    before = [(one.keys.clone(), one.values.clone()) for one in projected.layers]
    for _ in range(2):  # a decode leaves it as it was
        cache = decoder.start(projected, rows=6, capacity=TOKENS)
        assert cache.context is projected
        close(decoder(tokens[:, :4], cache=cache), whole[:, :4])
        cache.select(torch.tensor([5, 3]), items=torch.tensor([1]))
        close(decoder(tokens[[5, 3], 4:], cache=cache), whole[[5, 3], 4:])
    for one, (keys, values) in zip(projected.layers, before, strict=True):
        assert torch.equal(one.keys, keys) and torch.equal(one.values, values)
        assert one.keys.is_contiguous() and one.values.is_contiguous()
    chosen = projected.select(torch.tensor([1, 0, 1]))
    assert len(chosen) == 3
    close(decoder(tokens[[3, 0, 5]], chosen), whole[[3, 0, 5]])


def test_a_decode_goes_on_right_after_rows_were_reordered_and_contexts_dropped(decoder):
    tokens, order = texts(), torch.tensor([2, 0, 0, 4, 5, 3])
    cache = decoder.start(context(), rows=6, capacity=TOKENS)
    decoder(tokens[:, :4], cache=cache)
    cache.select(order)
    reordered = torch.cat([tokens[order, :4], tokens[:, 4:]], dim=1)
    expected = decoder(reordered, context())
    close(decoder(reordered[:, 4:6], cache=cache), expected[:, 4:6])
    cache.select(torch.tensor([5, 3]), items=torch.tensor([1]))
    last = torch.cat([reordered[[5, 3], :6], tokens[:2, 6:]], dim=1)
    close(decoder(last[:, 6:], cache=cache), decoder(last, context()[1:])[:, 6:])


def test_padding_before_a_text_changes_nothing_of_it(decoder):
    tokens = texts(rows=4)
    lengths = (7, 3, 5, 1)
    expected = [decoder(tokens[i : i + 1, :n], context(4)[i : i + 1]) for i, n in enumerate(lengths)]
    padded, attention_mask = torch.zeros(4, 7, dtype=torch.int64), torch.zeros(4, 7, dtype=torch.bool)
    for i, n in enumerate(lengths):
        padded[i, 7 - n :], attention_mask[i, 7 - n :] = tokens[i, :n], True
    cache = decoder.start(context(4), rows=4, capacity=9)
    logits = decoder(padded, cache=cache, attention_mask=attention_mask)
    for i, n in enumerate(lengths):
        close(logits[i : i + 1, 7 - n :], expected[i])
    following = texts(rows=4, count=2)
    logits = torch.cat([decoder(following[:, i : i + 1], cache=cache) for i in range(2)], dim=1)
    for i, n in enumerate(lengths):
        whole = torch.cat([tokens[i : i + 1, :n], following[i : i + 1]], dim=1)
        close(logits[i : i + 1], decoder(whole, context(4)[i : i + 1])[:, n:])


def test_padding_after_a_text_changes_nothing_of_it(decoder):
    tokens, attention_mask = texts(rows=2), torch.ones(2, TOKENS, dtype=torch.bool)
    attention_mask[1, 4:] = False
    logits = decoder(tokens, context(), attention_mask=attention_mask)
    close(logits[:1], decoder(tokens[:1], context()[:1]))
    close(logits[1:, :4], decoder(tokens[1:, :4], context()[1:]))


def test_only_the_last_token_can_be_scored(decoder):
    tokens = texts()
    close(decoder(tokens, context(), last_only=True), decoder(tokens, context())[:, -1:])


def test_a_tap_at_each_step_sees_what_one_sees_in_the_whole_pass(decoder):
    tokens = texts()
    whole = Tap(decoder.attention_sites(tokens=TOKENS, context_tokens=M))
    plain = decoder(tokens, context())
    assert torch.equal(decoder(tokens, context(), tap=whole), plain)
    cache = decoder.start(context(), rows=6, capacity=TOKENS)
    for step in range(TOKENS):
        tap = Tap(decoder.attention_sites(tokens=1, context_tokens=M))
        decoder(tokens[:, step : step + 1], cache=cache, tap=tap)
        for i in range(3):
            close(tap.weights[f"blocks.{i}.cross"][:, :, 0], whole.weights[f"blocks.{i}.cross"][:, :, step])
            close(tap.weights[f"blocks.{i}.self"][:, :, 0], whole.weights[f"blocks.{i}.self"][:, :, step, : step + 1])


def test_sites_have_the_shapes_that_are_captured(decoder):
    sites = decoder.attention_sites(tokens=TOKENS, context_tokens=M)
    tap = Tap(sites)
    decoder(texts(), context(), tap=tap)
    assert [site.name for site in sites] == [f"blocks.{i}.{part}" for i in range(3) for part in ("self", "cross")]
    for site in sites:
        assert tuple(tap.weights[site.name].shape) == (6, site.num_heads, site.q_len, site.k_len)


def test_a_text_longer_than_the_position_table_is_refused(decoder):
    expected = rf"may have {MAX} tokens, special ones and padding included, but has {MAX + 1} instead: shorten it"
    with pytest.raises(ModelError, match=expected):
        decoder(texts(count=MAX + 1), context())
    cache = decoder.start(context(), rows=6, capacity=MAX + 1)
    decoder(texts(count=MAX), cache=cache)
    with pytest.raises(ModelError, match=expected):
        decoder(texts(count=1), cache=cache)
    assert cache.length == MAX  # what was refused has left no trace


def test_a_decode_that_outgrows_its_cache_is_refused(decoder):
    cache = decoder.start(context(), rows=6, capacity=3)
    with pytest.raises(ModelError, match="needs 4 positions, but its cache has room for 3"):
        decoder(texts(count=4), cache=cache)


def test_one_of_context_and_cache_is_needed(decoder):
    cache = decoder.start(context(), rows=6, capacity=9)
    for arguments in ({}, {"context": context(), "cache": cache}):
        with pytest.raises(ModelError, match="one of `context` and `cache` must be given, and only one"):
            decoder(texts(), **arguments)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("depth", 0, "`depth` must be at least 1, but is 0"),
        ("num_heads", 3, r"`dim` must be a multiple of `num_heads` \(3\), but is 22"),
        ("start_token", V, "`start_token` must be from 0 to 36, but is 37"),
        ("end_token", -1, "`end_token` must be from 0 to 36, but is -1"),
        ("norm_eps", 0.0, "`norm_eps` must be above 0 and finite, but is 0"),
        ("dropout", 1.0, "`dropout` must be at least 0 and below 1, but is 1"),
        ("head", "linear", "`head` must be one of plain, transform, but is 'linear'"),
        ("activation", "tanh", "`activation` must be one of gelu, gelu_tanh, gelu_quick, silu, relu, but is 'tanh'"),
        ("head_dim", 0, "`head_dim` must be at least 1, but is 0"),
        ("num_buckets", 3, "`num_buckets` must be from 4 to 1024, but is 3"),
        ("max_distance", 16, r"`max_distance` must be above half of `num_buckets` \(32\), but is 16"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(field, value, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # whose own check comes first in tests
    with pytest.raises(ValueError, match=message):
        replace(CONFIGS["pre-norm"], **{field: value})


def test_without_cross_attention_a_decode_equals_the_whole_pass():
    decoder = random_weights(TextDecoder(replace(CONFIGS["pre-norm"], context_dim=None)))
    tokens, order = texts(), torch.tensor([2, 0, 0, 4, 5, 3])
    sites = decoder.attention_sites(tokens=TOKENS, context_tokens=0)
    assert [site.name for site in sites] == [f"blocks.{i}.self" for i in range(3)]
    cache = decoder.start(decoder.no_context(6), rows=6, capacity=TOKENS)
    close(decoder(tokens[:, :4], cache=cache), decoder(tokens)[:, :4])
    cache.select(order)
    reordered = torch.cat([tokens[order, :4], tokens[:, 4:]], dim=1)
    close(decoder(reordered[:, 4:6], cache=cache), decoder(reordered)[:, 4:6])
    cache.select(torch.tensor([5, 3]), items=torch.tensor([5, 3]))
    last = torch.cat([reordered[[5, 3], :6], tokens[:2, 6:]], dim=1)
    close(decoder(last[:, 6:], cache=cache), decoder(last)[:, 6:])
    with pytest.raises(ModelError, match="`context` must be left out for a decoder without cross-attention"):
        decoder(tokens, context())


def test_sinusoidal_positions_need_an_even_width():
    with pytest.raises(ValueError, match="`dim` must be even for sinusoidal positions, but is 21"):
        TextDecoderConfig(**(SIZES | {"dim": 21, "num_heads": 3}), positions="sinusoidal")
