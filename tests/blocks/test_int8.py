import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from multiattn.blocks import int8
from multiattn.blocks.int8 import (
    NARROW,
    WIDE,
    FusedProduct,
    HalfEmbedding,
    Int8Linear,
    Kernels,
    RowsProduct,
    quantize_linears,
    quantized,
)
from multiattn.errors import ModelError

IN, OUT = 37, 53
KERNELS = Kernels.find()
pytestmark = pytest.mark.skipif(KERNELS is None, reason="torch has no int8 kernels on this machine")
FUSED = pytest.param(
    FusedProduct, marks=pytest.mark.skipif(KERNELS is None or KERNELS.small is None, reason="no FBGEMM here")
)


def layer(seed=0):
    torch.manual_seed(seed)
    return torch.randn(OUT, IN) * torch.logspace(-3, 2, OUT)[:, None], torch.randn(OUT)


def expected(x, weight, bias, *, levels, by_row):
    """The definition in fp64: whole numbers of a scale for each row of the weight, and of the input or all of it."""
    numbers, scale = quantized(weight)
    rows = x.reshape(-1, IN).double()
    if by_row:
        step = rows.abs().amax(dim=1, keepdim=True) / levels
        rows = (rows / step).round() * step
    found = rows @ (numbers.double() * scale.double()[:, None]).T
    return (found + (0 if bias is None else bias.double())).reshape(*x.shape[:-1], OUT)


def test_a_weight_is_within_half_a_step_of_each_row_and_keeps_its_largest_value_and_zeros():
    weight, _ = layer()
    weight[3], weight[5, 7] = 0, 0
    numbers, scale = quantized(weight)
    assert numbers.dtype == torch.int8 and numbers.abs().max() == 127
    assert ((numbers * scale[:, None] - weight).abs() <= scale[:, None] / 2 * (1 + 1e-5)).all()
    assert (numbers[weight == 0] == 0).all() and scale.isfinite().all()


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3), (1, 1), (101,), (0,), ()], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_rows_are_quantized_each_by_itself(shape, bias):
    weight, values = layer()
    values = values if bias else None
    x = torch.randn(*shape, IN) * torch.rand(*shape, 1) * 100
    found = RowsProduct(weight, values, inputs=KERNELS.large)(x)
    wanted = expected(x, weight, values, levels=KERNELS.large.levels, by_row=True)
    # where rounding falls on the other side, one whole number of the input is another
    steps = x.abs().amax(dim=-1, keepdim=True) / KERNELS.large.levels * weight.abs().amax(dim=1)
    assert found.shape == wanted.shape and found.dtype == torch.float32
    assert ((found - wanted).abs() <= 1.01 * steps + 1e-4).all()


def test_a_row_does_not_depend_on_the_others():
    weight, bias = layer()
    product, x = RowsProduct(weight, bias, inputs=KERNELS.large), torch.randn(11, IN)
    x[4] *= 1000
    whole = product(x)
    for count in (2, 3, 7):
        assert torch.equal(product(x[:count]), whole[:count])
    torch.testing.assert_close(product(x[:1]), whole[:1])


@pytest.mark.parametrize("kernel", [RowsProduct, FUSED])
@pytest.mark.parametrize("inputs", [WIDE, NARROW], ids=["wide", "narrow"])
def test_both_kernels_are_near_the_product(kernel, inputs):
    if inputs == WIDE and WIDE not in (KERNELS.large, KERNELS.small):
        pytest.skip("this processor needs narrow inputs")
    torch.manual_seed(1)
    linear, x = nn.Linear(IN, OUT), torch.randn(7, IN)
    with torch.inference_mode():
        found, wanted = kernel(linear.weight, linear.bias, inputs=inputs)(x), linear(x)
    error = (found - wanted).square().mean().sqrt() / wanted.std()
    assert 0 < error < (0.015 if inputs == WIDE else 0.03)


@pytest.mark.parametrize("kernel", [RowsProduct, FUSED])
def test_zeros_give_the_bias_and_what_is_no_number_stays_none(kernel):
    weight, bias = layer()
    product = kernel(weight, bias, inputs=NARROW)
    assert torch.equal(product(torch.zeros(2, IN)), bias.expand(2, OUT))
    assert torch.equal(product(torch.zeros(1, IN)), bias[None])


@pytest.mark.parametrize("rows", [1, 3])
def test_scores_that_are_no_numbers_are_seen(rows):
    weight, bias = layer()
    assert RowsProduct(weight, bias, inputs=KERNELS.large)(torch.full((rows, IN), torch.nan)).isnan().all()


def test_large_weights_and_machines_without_fbgemm_take_the_kernel_with_a_scale_for_each_row(monkeypatch):
    weight, _ = layer()
    assert isinstance(Kernels(WIDE, None).product(weight), RowsProduct)
    assert isinstance(Kernels(WIDE, WIDE).product(weight), FusedProduct)
    monkeypatch.setattr(int8, "LARGE", IN * OUT)
    assert isinstance(Kernels(WIDE, WIDE).product(weight), RowsProduct)


def test_layers_are_replaced_and_their_float_weights_let_go():
    model = nn.Sequential(nn.Linear(IN, OUT), nn.GELU(), nn.ModuleDict({"inner": nn.Linear(OUT, 11)})).eval()
    quantize_linears(model, KERNELS)
    assert [type(part) for part in (model[0], model[2]["inner"])] == [Int8Linear, Int8Linear]
    assert not list(model.parameters()) and not any(part.training for part in (model,))
    assert model[0].weight is None and (model[0].in_features, model[0].out_features) == (IN, OUT)


def test_packing_warns_of_nothing_and_saving_and_gradients_are_refused_in_one_line():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear = Int8Linear(nn.Linear(IN, OUT), KERNELS)
    with pytest.raises(ModelError, match=r"^a model in int8 has not kept the weights .*: load it without int8"):
        nn.Sequential(linear).state_dict()
    with pytest.raises(ModelError, match=r"^a model in int8 has no gradients.*: load it without int8$"):
        linear(torch.randn(2, IN, requires_grad=True))


def test_embeddings_that_are_half_precision_numbers_stay_bit_for_bit():
    torch.manual_seed(2)
    table = nn.Embedding(11, 7)
    table.weight.data = table.weight.data.half().float()
    tokens = torch.tensor([[3, 0], [10, 3]])
    assert torch.equal(HalfEmbedding(table)(tokens), table(tokens))


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
errors = [float((product(x) - x @ weight.T).abs().max()) for product in (
    RowsProduct(weight, None, inputs=kernels.large), FusedProduct(weight, None, inputs=kernels.small))]
print(kernels.large == NARROW, kernels.small == NARROW, max(errors) < 0.5)
"""


@pytest.mark.skipif(sys.platform != "linux" or KERNELS is None or KERNELS.small is None, reason="needs FBGEMM on Linux")
def test_without_vnni_inputs_are_narrow_and_products_right():
    """The kernels of a processor with AVX2 alone, which this one has, too."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(Path(int8.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", _FORCED], env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this torch does not export the switch of FBGEMM's instructions")
    assert done.stdout.split() == ["True"] * 3, done.stderr
