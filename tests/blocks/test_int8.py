import copy
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from multiattn.blocks import int8
from multiattn.blocks.int8 import NARROW, WIDE, FusedProduct, Int8Weight, Kernels, RowsProduct
from multiattn.blocks.int8_layers import Int8Embedding, Int8Linear, Int8Scores, round_convolution

IN, OUT = 37, 53
KERNELS = Kernels.find()
pytestmark = pytest.mark.skipif(KERNELS is None, reason="torch has no int8 kernels on this machine")
HAS_FBGEMM = KERNELS is not None and KERNELS.kind is FusedProduct
FUSED = pytest.param(FusedProduct, marks=pytest.mark.skipif(not HAS_FBGEMM, reason="no FBGEMM here"))
KINDS = [RowsProduct, FUSED]


def layer(seed=0):
    torch.manual_seed(seed)
    return torch.randn(OUT, IN) * torch.logspace(-3, 2, OUT)[:, None], torch.randn(OUT)


def product(kind, weight, bias=None, *, inputs=None):
    return kind(Int8Weight.of(weight), bias, inputs=inputs or fitting(kind))


def fitting(kind):
    return int8._fitting(kind) or NARROW


def expected(x, weight, bias, *, levels):
    """The definition in fp64: whole numbers of a scale for each row of the weight, and of the input."""
    rows = x.reshape(-1, IN).double()
    step = rows.abs().amax(dim=1, keepdim=True) / levels
    found = (rows / step).round() * step @ Int8Weight.of(weight).widened().double().T
    return (found + (0 if bias is None else bias.double())).reshape(*x.shape[:-1], OUT)


def test_a_weight_is_within_half_a_step_of_each_row_and_keeps_its_largest_value_and_zeros():
    weight, _ = layer()
    weight[3], weight[5, 7] = 0, 0
    found = Int8Weight.of(weight)
    assert found.numbers.dtype == torch.int8 and found.numbers.abs().max() == 127
    assert ((found.widened() - weight).abs() <= found.scale[:, None] / 2 * (1 + 1e-5)).all()
    assert (found.numbers[weight == 0] == 0).all() and found.scale.isfinite().all()


@pytest.mark.parametrize("shape", [(5,), (2, 3), (101,), (0,), ()], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_quantized_each_by_itself(kind, shape, bias):
    weight, values = layer()
    values = values if bias else None
    x = torch.randn(*shape, IN) * torch.rand(*shape, 1) * 100
    found = product(kind, weight, values).by_row(x)
    wanted = expected(x, weight, values, levels=fitting(kind).levels)
    # where rounding falls on the other side, one whole number of the input is another
    steps = x.abs().amax(dim=-1, keepdim=True) / fitting(kind).levels * weight.abs().amax(dim=1)
    assert found.shape == wanted.shape and found.dtype == torch.float32
    assert ((found - wanted).abs() <= 1.01 * steps + 1e-4).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_the_others_and_alone_differs_by_the_rounding(kind):
    weight, bias = layer()
    by, x = product(kind, weight, bias), torch.randn(11, IN)
    x[4] *= 1000
    whole = by(x)
    # the sums are whole numbers; oneDNN has kernels for AMX that scale them in another order for few rows
    rounding = 0 if kind is FusedProduct else 4 * torch.finfo(torch.float32).eps
    largest = whole.abs() + bias.abs()
    for count in (2, 3, 7):
        assert ((by(x[:count]) - whole[:count]).abs() <= rounding * largest[:count]).all()
    # alone, FBGEMM finds the scale of a row another way
    steps = x[0].abs().max() / fitting(kind).levels * weight.abs().amax(dim=1) * IN**0.5
    assert ((by(x[:1]) - whole[:1]).abs() <= steps).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inputs", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("rows", [1, 7])
def test_all_kernels_are_near_the_product(kind, inputs, rows):
    if inputs == WIDE and fitting(kind) != WIDE:
        pytest.skip("this processor needs narrow inputs")
    torch.manual_seed(1)
    linear, x = nn.Linear(IN, OUT), torch.randn(rows, IN)
    with torch.inference_mode():
        found, wanted = product(kind, linear.weight, linear.bias, inputs=inputs)(x), linear(x)
    error = (found - wanted).square().mean().sqrt() / wanted.std()
    assert 0 < error < (0.015 if inputs == WIDE else 0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_give_the_bias(kind):
    weight, bias = layer()
    by = product(kind, weight, bias, inputs=NARROW)
    for zeros in (torch.zeros(2, IN), torch.zeros(1, IN)):
        assert torch.equal(by(zeros), bias.expand(len(zeros), OUT))
        assert torch.equal(by.by_row(zeros), bias.expand(len(zeros), OUT))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_that_are_no_numbers_are_seen(kind, rows):
    weight, bias = layer()
    assert product(kind, weight, bias).by_row(torch.full((rows, IN), torch.nan)).isnan().all()
    scores = Int8Scores(Int8Weight.of(weight), bias, Kernels(kind, KERNELS.inputs))
    assert scores(torch.full((rows, IN), torch.nan), None, bias).isnan().all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("rows", [1, 3])
def test_what_is_no_number_does_not_become_one(rows, value):
    by, x = KERNELS.product(Int8Weight.of(layer()[0])), torch.ones(rows, IN)
    x[0, 5] = value
    for found in (by(x), by.by_row(x)):
        assert not found[0].isfinite().any() and found[1:].isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_numbers_come_back_as_they_were_packed(kind):
    weight = Int8Weight.of(layer()[0])
    found = kind(weight, None, inputs=KERNELS.inputs).weight()
    assert torch.equal(found.numbers, weight.numbers) and torch.equal(found.scale, weight.scale)


def test_machines_without_fbgemm_take_the_kernel_of_onednn(monkeypatch):
    monkeypatch.setattr(int8, "ENGINES", ())
    assert Kernels.find().kind is RowsProduct


@pytest.mark.parametrize("rows", [1, 5])
def test_the_gradient_is_that_of_the_widened_weight(rows):
    weight, bias = layer()
    linear = Int8Linear(Int8Weight.of(weight), bias, KERNELS)
    x = torch.randn(rows, IN, requires_grad=True)
    found, along = linear(x), torch.randn(rows, OUT)
    assert torch.equal(found, linear(x.detach()))
    found.backward(along)
    torch.testing.assert_close(x.grad, along @ Int8Weight.of(weight).widened())


def test_packing_warns_of_nothing_and_the_state_is_what_was_packed():
    weight, bias = layer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear = Int8Linear(Int8Weight.of(weight), bias, KERNELS)
        state = nn.ModuleDict({"a": linear, "b": copy.deepcopy(linear)}).state_dict()
    assert list(state) == ["a.weight", "a.weight_scale", "a.bias", "b.weight", "b.weight_scale", "b.bias"]
    assert torch.equal(state["b.weight"], Int8Weight.of(weight).numbers) and torch.equal(state["a.bias"], bias)
    assert linear.weight is None and (linear.in_features, linear.out_features) == (IN, OUT)


def test_a_table_returns_the_rows_of_its_widened_weight():
    weight, _ = layer()
    tokens = torch.tensor([[3, 0], [52, 3]])
    assert torch.equal(Int8Embedding(Int8Weight.of(weight))(tokens), Int8Weight.of(weight).widened()[tokens])


@pytest.mark.parametrize("conv", [nn.Conv2d(3, 7, 5, bias=False), nn.Conv1d(3, 7, 5)], ids=["2d", "1d"])
def test_a_convolution_has_the_rounded_weight_and_its_copies_save_the_numbers(conv):
    weight = Int8Weight.of(conv.weight)
    round_convolution(conv, weight)
    assert torch.equal(conv.weight, weight.widened())
    for one in (conv, copy.deepcopy(conv)):
        state = one.state_dict()
        assert torch.equal(state["weight"], weight.numbers) and torch.equal(state["weight_scale"], weight.scale)


_FORCED = """
import ctypes, sys, torch
from pathlib import Path
force = getattr(ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")),
                "_ZN6fbgemm14fbgemmForceIsaENS_10inst_set_tE", None)
if force is None:
    sys.exit(77)
force(1)  # AVX2
from multiattn.blocks.int8 import *
kernels = Kernels.find()
weight, x = torch.randn(101, 256), torch.rand(5, 256)  # above 0: the largest whole numbers
errors = [
    float((kind(Int8Weight.of(weight), None, inputs=kernels.inputs)(rows) - rows @ weight.T).abs().max())
    for kind in (RowsProduct, FusedProduct) for rows in (x, x[:1])
]
print(kernels.kind is FusedProduct, kernels.inputs == NARROW, max(errors) < 0.5)
"""


@pytest.mark.skipif(sys.platform != "linux" or not HAS_FBGEMM, reason="needs FBGEMM on Linux")
def test_without_vnni_inputs_are_narrow_and_products_right():
    """The kernels of a processor with AVX2 alone, which this one has, too."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(Path(int8.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", _FORCED], env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this torch does not export the switch of FBGEMM's instructions")
    assert done.stdout.split() == ["True"] * 3, done.stderr
