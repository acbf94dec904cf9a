import pytest
import torch

from multiattn.attention import DotProductScore, Mask
from multiattn.attention import kernel as kernel_module
from tests.attention.test_score import RULES, B, D, H, K, qkv
from tests.reference import naive_attention

HALF_STEP = 2**-8
"""Half the distance of neighboring bfloat16 numbers, relative: what one rounding of an exact result may be off."""


def of_half_precision(**kwargs):
    return [x.bfloat16().requires_grad_() for x in qkv(K, **kwargs)]


def in_double(*tensors):
    return [x.detach().double().requires_grad_() for x in tensors]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "+".join(rule) or "open")
@pytest.mark.parametrize("autocast", [True, False])
def test_training_in_half_precision_on_a_cpu_rounds_the_exact_result_once(rule, autocast):
    q, k, v = of_half_precision()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        mixed = DotProductScore(D)(q, k, v, mask=Mask(**rule))
    assert mixed.dtype == torch.bfloat16
    wide = in_double(q, k, v)
    torch.testing.assert_close(mixed.double(), naive_attention(*wide, **rule), rtol=HALF_STEP, atol=1e-6)
    arriving = torch.randn(mixed.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    mixed.backward(arriving)
    DotProductScore(D)(*wide, mask=Mask(**rule)).backward(arriving.double())
    for x, exact in zip((q, k, v), wide, strict=True):
        assert x.grad.dtype == torch.bfloat16
        torch.testing.assert_close(x.grad.double(), exact.grad, rtol=HALF_STEP, atol=1e-5)


def test_a_bias_is_widened_too():
    q, k, v = of_half_precision()
    bias = torch.randn(B, H, K, K).bfloat16().requires_grad_()
    mixed = DotProductScore(D)(q, k, v, mask=Mask(), bias=bias)
    expected = naive_attention(*in_double(q, k, v), bias=bias.detach().double())
    torch.testing.assert_close(mixed.double(), expected, rtol=HALF_STEP, atol=1e-6)
    mixed.sum().backward()
    assert bias.grad.dtype == torch.bfloat16 and bias.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "training, k_len, widened",
    [
        (True, kernel_module.WIDENED_KEYS, True),
        (True, kernel_module.WIDENED_KEYS + 1, False),
        (False, K, False),
    ],
)
def test_only_short_training_steps_are_widened(training, k_len, widened, monkeypatch):
    seen = []
    kernel = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda q, *args, **kwargs: seen.append(q.dtype) or kernel(q, *args, **kwargs),
    )
    q, k, v = [x.bfloat16().requires_grad_(training) for x in qkv(4, k_len)]
    DotProductScore(D)(q, k, v, mask=Mask())
    assert seen == [torch.float32 if widened else torch.bfloat16]
