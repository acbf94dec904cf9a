"""Layer-wise relevance propagation against `relevance_messages`, which divides relevance by hand in fp64."""

import numpy as np
import pytest
import torch

from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.maps import explain, explain_words
from multiattn.maps.lrp import PropagationRules, TokensTap
from multiattn.models import ViT, ViTConfig
from tests.maps import captions
from tests.maps import relevance_messages as messages

SIZES = {"image_size": (15, 21), "patch_size": 3, "num_classes": 5, "dim": 12, "num_heads": 3, "mlp_dim": 17}
GRID = (5, 7)
VITS = {
    "class token, registers, tanh GELU": ViTConfig(**SIZES, depth=3, num_registers=2, activation="gelu_tanh"),
    "mean of patches, quick GELU": ViTConfig(**SIZES, depth=2, class_token=False, pool="mean", activation="gelu_quick"),
    "deep: read at the second block": ViTConfig(**SIZES, depth=8),
    "one block": ViTConfig(**SIZES, depth=1),
    "SwiGLU, RMSNorm, two tokens are read": ViTConfig(
        **SIZES, depth=2, gated=True, activation="silu", norm="rms", distilled=True
    ),
    "inner norms": ViTConfig(**SIZES, depth=2, attention_norm=True, mlp_norm=True),
}


def vit(config):
    torch.manual_seed(0)
    model = ViT(config).eval().requires_grad_(False)
    for parameter in model.parameters():  # the usual start is so small that every row of attention is flat
        parameter.normal_(std=0.25)
    return model


def pictures():
    return torch.randn(2, 3, 15, 21, generator=torch.Generator().manual_seed(1))


def assert_near(found, expected):
    """Compare in parts of the largest value."""
    scale = float(expected.abs().max())
    np.testing.assert_allclose(found / scale, expected.numpy() / scale, atol=2e-4)


def by_hand(model, image, target):
    """The relevance of each token that is read, and of all else together, and the score."""
    messages.absorbed.clear()
    nodes = messages.stack(model.blocks, messages.Node(messages.vit_tokens(model, image)))
    tokens = messages.layer_norm(nodes[-1], model.norm)
    if model.config.pool == "class":
        pooled = messages.gathered(tokens, [0])
        if model.config.distilled:
            both = messages.gathered(tokens, [0, 1])
            pooled = messages.shaped(both, lambda v: v.reshape(1, -1), lambda r: r.reshape(2, -1))
    else:
        count = GRID[0] * GRID[1]
        shares = messages.Node(torch.full((1, len(tokens.value)), 1 / count, dtype=torch.float64))
        pooled = messages.Node(  # a mean is a linear layer over the tokens
            shares.value @ tokens.value,
            (tokens,),
            lambda relevance: [tokens.value / count * relevance / (shares.value @ tokens.value)],
        )
    logits = messages.linear(pooled, model.head.weight, model.head.bias)
    start = torch.zeros_like(logits.value)
    start[0, target] = logits.value[0, target]
    relevance, rest = messages.relevance_at(logits, nodes[model.config.depth // 8], start)
    return relevance.sum(-1), float(rest + sum(messages.absorbed)), float(logits.value[0, target])


@pytest.mark.parametrize("config", VITS.values(), ids=VITS)
def test_a_picture_has_the_contributions_that_messages_bring_it(config):
    model, images = vit(config), pictures()
    maps = explain(model, images, method="lrp", target=[3, 1])
    double = model.double()
    for found, image, target in zip(maps, images.double(), (3, 1), strict=True):
        relevance, rest, score = by_hand(double, image, target)
        assert float(relevance.sum()) + rest == pytest.approx(score, rel=1e-6)  # none is made or lost
        expected = relevance[-GRID[0] * GRID[1] :].reshape(GRID)
        assert_near(found.values, expected)
        assert found.is_signed


@pytest.mark.parametrize("name", captions.CONFIGS)
def test_a_word_has_the_contributions_that_messages_bring_it(name):
    """Through a causal decoder with cross-attention, before and after its norms, from a log-probability."""
    model = captions.captioner(captions.CONFIGS[name]).requires_grad_(False)
    images = captions.pictures()
    maps = explain_words(model, images, captions.TOKENS, captions.WORDS, prompt_length=captions.PROMPT, method="lrp")
    model = model.double()
    for item, found in enumerate(maps):
        encoder, decoder = model.encoder, model.decoder
        entered = messages.Node(messages.vit_tokens(encoder, images[item].double()))
        context = messages.layer_norm(messages.stack(encoder.blocks, entered)[-1], encoder.norm)
        if model.bridge is not None:
            context = messages.linear(context, model.bridge.weight, model.bridge.bias)
        inputs = torch.tensor(captions.TOKENS[item][:-1])
        embedded = messages.Node(decoder.embed(inputs[None], torch.arange(len(inputs))[None])[0])
        states = messages.stack(decoder.blocks, embedded, context, causal=True)[-1]
        if decoder.norm is not None:
            states = messages.layer_norm(states, decoder.norm)
        logits = messages.linear(states, decoder.embedding.weight, decoder.head_bias)
        for w, word in enumerate(captions.WORDS[item]):
            slope = torch.zeros_like(logits.value)
            for piece in word.pieces:
                row = captions.PROMPT - 1 + piece
                slope[row] -= logits.value[row].softmax(-1)
                slope[row, captions.TOKENS[item][row + 1]] += 1
            messages.absorbed.clear()
            relevance, rest = messages.relevance_at(logits, entered, logits.value * slope)
            total = float(relevance.sum() + rest + sum(messages.absorbed))
            assert total == pytest.approx(float((logits.value * slope).sum()), rel=1e-6)
            expected = relevance.sum(-1)[-captions.GRID[0] * captions.GRID[1] :].reshape(captions.GRID)
            assert_near(found.values[w], expected)


def test_the_rules_change_no_result():
    model, images = vit(VITS["mean of patches, quick GELU"]), pictures()
    plain = model(images)
    with PropagationRules():
        torch.testing.assert_close(model(images), plain, atol=1e-5, rtol=1e-5)
    half = model.bfloat16()
    with PropagationRules():
        found = half(images.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), plain, atol=0.2, rtol=0.05)


def test_zero_has_the_limit_of_gelu():
    x = torch.zeros(3, requires_grad=True)
    with PropagationRules():
        (gradient,) = torch.autograd.grad(torch.nn.functional.gelu(x).sum(), x)
    assert gradient.tolist() == [0.5] * 3


def test_a_compiled_model_is_refused():
    model, images = vit(VITS["one block"]), pictures()
    tap = TokensTap(model.attention_sites(), "blocks")
    with torch.no_grad():  # as hidden from autograd as inside of a compiled call
        score = model(images, tap=tap).sum()
    with pytest.raises(ModelError, match="the score does not depend on what the tap kept.*with the model uncompiled"):
        tap.contributions(score)


def test_a_tap_of_weights_keeps_no_tokens_and_a_tap_of_tokens_no_weights():
    model, images = vit(VITS["one block"]), pictures()
    tap = TokensTap(model.attention_sites(), "blocks")
    assert torch.equal(model(images, tap=tap), model(images))
    with pytest.raises(ModelError, match="the tap was not reached at blocks.0.self"):
        _ = tap.weights
    weights = Tap(model.attention_sites())
    model(images, tap=weights)
    assert not any(isinstance(value, torch.Tensor) for value in vars(weights).values())


def test_attention_by_hashing_has_no_rules_and_says_so():
    model = ViT(
        ViTConfig(image_size=(12, 12), patch_size=3, num_classes=5, dim=12, depth=1, num_heads=3, attention="lsh")
    )
    with pytest.raises(ModelError, match="lrp has no rule for attention by hashing: choose another method"):
        explain(model.eval(), torch.zeros(1, 3, 12, 12), method="lrp", target=[1])
