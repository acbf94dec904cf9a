import copy
import gc
import io
import math
import mmap
import pickle
from itertools import pairwise

import pytest
import safetensors.torch
import torch
from torch import nn

from multiattn.blocks import packed as room
from multiattn.blocks.packed import (
    HUGE_PAGE,
    PackedLinear,
    PackedWeight,
    is_half,
    move_to_huge_pages,
    pack_linears,
    worth_packing,
)

IN, OUT = 37, 53


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return nn.Linear(IN, OUT)


def used(packed, monkeypatch):
    """Calls of the two kernels that take the place of the plain one, as they come."""
    calls = []
    for name in ("_multiply", "_multiply_one"):
        multiply = getattr(PackedWeight, name)

        def spy(self, x, bias, *, name=name, multiply=multiply):
            calls.append(name)
            return multiply(self, x, bias)

        monkeypatch.setattr(PackedWeight, name, spy)
    return calls


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 1), (2, 3), (1, 7), (101,), (0,), ()], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_linear_layer(shape, bias, monkeypatch):
    torch.manual_seed(1)
    linear = nn.Linear(IN, OUT, bias=bias)
    packed = PackedLinear(linear)
    calls = used(packed, monkeypatch)
    x = torch.randn(*shape, IN)
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), linear(x), rtol=1e-5, atol=1e-6)
    assert calls == ["_multiply_one" if math.prod(shape) == 1 else "_multiply"]


def test_a_row_does_not_depend_on_the_others(linear):
    """Or a batch of texts would not be its texts one by one; a single row is the same to rounding."""
    packed, x = PackedLinear(linear), torch.randn(11, IN)
    with torch.inference_mode():
        whole = packed(x)
        for count in (2, 3, 5, 7):
            assert torch.equal(packed(x[:count]), whole[:count])
        torch.testing.assert_close(packed(x[:1]), whole[:1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("outputs", "parts"), [(2, 2), (31, 31), (37, 1), (69, 23), (74, 2), (128, 32)])
@pytest.mark.parametrize("by_column", [False, True])
def test_one_row_is_multiplied_by_equal_parts_of_the_weight(outputs, parts, by_column):
    torch.manual_seed(3)
    weight, bias, wide = torch.randn(outputs, IN), torch.randn(outputs), torch.randn(IN, 3)
    if by_column:
        weight = weight.t().contiguous().t()
    packed = PackedWeight(weight)
    assert packed._parts.shape == (parts, outputs // parts, IN)
    assert packed._parts.data_ptr() == weight.data_ptr()  # no copy, whatever the strides
    with torch.inference_mode():
        for x in (wide[:, 1], wide.t()[1:2], wide.t()[None, 2:]):  # with strides of all kinds
            torch.testing.assert_close(packed(x, weight, bias), nn.functional.linear(x, weight, bias))


def test_what_is_learned_and_saved_stays(linear):
    packed, x = PackedLinear(linear), torch.randn(3, IN)
    assert packed.weight is linear.weight and packed.bias is linear.bias
    assert list(packed.state_dict()) == ["weight", "bias"]
    packed(x).sum().backward()
    torch.testing.assert_close(linear.weight.grad, x.sum(dim=0).expand(OUT, IN))


@torch.inference_mode()
def test_gradients_autocast_and_other_types_take_the_plain_way(linear, monkeypatch):
    packed = PackedLinear(linear)
    calls = used(packed, monkeypatch)
    for rows in (1, 5):
        x = torch.randn(rows, IN)
        with torch.inference_mode(False):
            packed(torch.randn(rows, IN))
        with torch.autocast("cpu", torch.bfloat16):
            assert packed(x).dtype == torch.bfloat16
        packed.double()(x.double())
        packed.float()
    assert calls == []


def changed_in_place(layer):
    with torch.no_grad():
        layer.weight.mul_(2)
    return layer


def loaded(layer):
    layer.load_state_dict({name: value * 3 for name, value in layer.state_dict().items()})
    return layer


def replaced(layer):
    layer.weight = nn.Parameter(layer.weight.detach() + 1)
    return layer


@pytest.mark.parametrize(
    "change", [changed_in_place, loaded, replaced, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))]
)
def test_a_weight_that_changed_or_was_copied_is_never_taken_for_the_old_one(linear, change, monkeypatch):
    packed = change(PackedLinear(linear))
    calls = used(packed, monkeypatch)
    with torch.inference_mode():
        for x in (torch.randn(1, IN), torch.randn(5, IN)):
            assert torch.equal(packed(x), nn.functional.linear(x, packed.weight, packed.bias))
    assert calls == []


def test_packing_a_model_keeps_its_names_its_results_and_its_mode(monkeypatch):
    monkeypatch.setattr(room, "SMALLEST", 2)
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(IN, OUT), nn.GELU(), nn.ModuleDict({"inner": nn.Linear(OUT, 11)})["inner"]).eval()
    x, names = torch.randn(7, IN), list(model.state_dict())
    with torch.inference_mode():
        expected = model(x)
        pack_linears(model)
        pack_linears(model)  # once more changes nothing
        torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)
    assert list(model.state_dict()) == names
    assert [type(part) for part in model] == [PackedLinear, nn.GELU, PackedLinear]
    assert not any(part.training for part in model.modules())


@pytest.mark.parametrize(
    "weight",
    [
        torch.empty(OUT, IN, dtype=torch.float16),
        torch.empty(OUT, IN, dtype=torch.bfloat16),
        torch.empty(OUT, IN, device="meta"),
        torch.empty(0, IN),
        torch.inference_mode()(torch.empty)(OUT, IN),
    ],
    ids=["half precision", "bf16 without products in it", "no memory", "no rows", "made in inference mode"],
)
def test_what_cannot_be_packed_stays_plain(weight, monkeypatch):
    monkeypatch.setattr(room, "SMALLEST", 1)
    monkeypatch.setattr(room, "has_bf16_products", lambda: False)
    assert not worth_packing(weight)
    model = nn.Sequential(nn.Linear(IN, OUT))
    model[0].weight = nn.Parameter(weight, requires_grad=False)
    pack_linears(model)
    assert type(model[0]) is nn.Linear


def test_small_layers_stay_plain():
    model = nn.Sequential(nn.Linear(256, 511), nn.Linear(511, 257))
    pack_linears(model)
    assert [type(layer) for layer in model] == [nn.Linear, PackedLinear]


def half_linear(outputs=OUT, *, bias=True):
    torch.manual_seed(5)
    linear = nn.Linear(IN, outputs, bias=bias)
    linear.weight.data = linear.weight.data.half().float()
    return linear


has_half = pytest.mark.skipif(
    torch.backends.quantized.engine not in room.HALF_ENGINES, reason="no kernel for half-precision weights here"
)


@has_half
@pytest.mark.parametrize("shape", [(1,), (2,), (3, 1), (101,), (0,), ()], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_weights_that_are_half_precision_numbers_are_packed_as_such_and_products_stay_those_of_fp32(shape, bias):
    linear = half_linear(bias=bias)
    packed, x = PackedLinear(linear), torch.randn(*shape, IN)
    assert packed.packed._half is not None and packed.packed._packed is None
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), linear(x), rtol=1e-5, atol=1e-6)


@has_half
def test_one_value_that_half_precision_does_not_have_keeps_a_weight_as_it_is():
    for value in (1 + 2**-12, 1e-9, 70000.0):
        linear = half_linear(outputs=1500)
        linear.weight.data[-1, -1] = value
        assert not is_half(linear.weight)
        assert PackedLinear(linear).packed._half is None


@has_half
def test_a_row_of_a_half_precision_product_does_not_depend_on_the_others():
    packed, x = PackedLinear(half_linear()), torch.randn(11, IN)
    with torch.inference_mode():
        whole = packed(x)
        for count in (1, 2, 3, 5, 7):
            torch.testing.assert_close(packed(x[:count]), whole[:count], rtol=1e-6, atol=1e-6)


@has_half
@pytest.mark.parametrize("change", [changed_in_place, loaded, replaced, copy.deepcopy])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_half_precision_weight_or_bias_that_changed_is_never_taken_for_the_old_one(change, name):
    packed = PackedLinear(half_linear())
    if name == "bias":
        with torch.no_grad():
            packed.bias.add_(1)
    else:
        packed = change(packed)
    with torch.inference_mode():
        for x in (torch.randn(1, IN), torch.randn(5, IN)):
            assert torch.equal(packed(x), nn.functional.linear(x, packed.weight, packed.bias))


def moved(layers, *, twin=False):
    """Layers whose weights lie in huge pages, and, with `twin`, copies with ordinary memory."""
    twins = [copy.deepcopy(layer) for layer in layers]
    move_to_huge_pages([layer.weight for layer in layers])
    return (layers, twins) if twin else layers


def three():
    torch.manual_seed(4)
    return [nn.Linear(IN, OUT), nn.Linear(384, 1537), nn.Linear(OUT, 2)]


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="huge pages are asked for on Linux only")
def test_moved_weights_lie_in_one_piece_from_the_start_of_a_huge_page():
    weights = [layer.weight for layer in moved(three())]
    places = [weight.data_ptr() for weight in weights]
    assert places[0] % HUGE_PAGE == 0
    for place, weight, (a, b) in zip(places, weights, pairwise(places), strict=False):
        assert place % room.LINE == 0 and 0 <= b - a - weight.nbytes < room.LINE


def test_moved_weights_are_bit_for_bit_the_same_and_so_is_what_is_made_with_them():
    layers, twins = moved(three(), twin=True)
    for layer, twin in zip(layers, twins, strict=True):
        assert torch.equal(layer.weight, twin.weight)
        with torch.inference_mode():
            for rows in (1, 2, 5):
                x = torch.randn(rows, layer.in_features)
                assert torch.equal(PackedLinear(layer)(x), PackedLinear(twin)(x))
                assert torch.equal(layer(x), twin(x))


def test_moving_weights_by_column_or_in_inference_mode_keeps_them_as_they_are():
    weight = nn.Parameter(torch.randn(IN, OUT).t())
    before = weight.detach().clone()
    with torch.inference_mode():
        move_to_huge_pages([weight])
    assert torch.equal(weight, before) and not weight.is_inference()
    (weight * 2).sum().backward()
    assert torch.equal(weight.grad, torch.full((OUT, IN), 2.0))


def test_a_moved_weight_is_saved_and_copied_alone():
    layers, twins = moved(three(), twin=True)
    for layer, twin in zip(layers, twins, strict=True):
        assert layer.weight.untyped_storage().nbytes() == layer.weight.nbytes
        files = [io.BytesIO(), io.BytesIO()]
        for file, one in zip(files, (layer, twin), strict=True):
            torch.save(one.state_dict(), file)
        assert files[0].getvalue() == files[1].getvalue()
    states = [{str(i): layer.weight for i, layer in enumerate(these)} for these in (layers, twins)]
    assert safetensors.torch.save(states[0]) == safetensors.torch.save(states[1])
    for copied in (copy.deepcopy(layers[0]), pickle.loads(pickle.dumps(layers[0]))):
        assert torch.equal(copied.weight, layers[0].weight)
        assert copied.weight.data_ptr() != layers[0].weight.data_ptr()
        with torch.no_grad():
            copied.weight.zero_()
        assert torch.equal(layers[0].weight, twins[0].weight)


def test_the_memory_lives_as_long_as_the_last_weight_in_it():
    layers, twins = moved(three(), twin=True)
    last = layers[-1]
    del layers
    gc.collect()
    move_to_huge_pages([torch.randn(1537, 384)])  # would take the place of what was given back
    assert torch.equal(last.weight, twins[-1].weight)


def test_a_moved_weight_can_be_learned_and_converted():
    layers, twins = moved(three(), twin=True)
    x = torch.randn(3, IN)
    for layer in (layers[0], twins[0]):
        layer(x).square().sum().backward()
        torch.optim.SGD(layer.parameters(), lr=0.1).step()
    assert layers[0].weight.requires_grad and torch.equal(layers[0].weight, twins[0].weight)
    assert torch.equal(layers[0].weight.grad, twins[0].weight.grad)
    for kind in (torch.bfloat16, torch.float64):
        assert torch.equal(layers[0].to(kind).weight, twins[0].to(kind).weight)


def test_a_weight_that_two_layers_share_is_moved_for_both():
    first, second = nn.Linear(IN, OUT), nn.Linear(IN, OUT)
    second.weight = first.weight
    before, weight = first.weight.detach().clone(), first.weight
    move_to_huge_pages([first.weight, second.weight])
    assert first.weight is second.weight is weight and torch.equal(weight, before)


def test_a_compiler_gets_the_product_with_the_moved_weight_itself(monkeypatch):
    layers, twins = moved(three(), twin=True)
    packed = PackedLinear(layers[0])
    calls = used(packed, monkeypatch)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # the types that tests check stop a real one
    with torch.inference_mode():
        for x in (torch.randn(1, IN), torch.randn(5, IN)):
            assert torch.equal(packed(x), twins[0](x))
    assert calls == []


def refused(piece, advice):
    raise OSError(22, "Invalid argument")


@pytest.mark.parametrize("system", ["not Linux", "a kernel without huge pages"])
def test_where_there_are_no_huge_pages_weights_stay_where_they_are(system, monkeypatch):
    if system == "not Linux":
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    else:
        monkeypatch.setattr(mmap, "mmap", type("refusing", (mmap.mmap,), {"madvise": refused}))
    layers = three()
    places = [layer.weight.data_ptr() for layer in layers]
    move_to_huge_pages([layer.weight for layer in layers])
    assert [layer.weight.data_ptr() for layer in layers] == places


def test_moving_nothing_asks_for_no_memory(monkeypatch):
    monkeypatch.setattr(mmap, "mmap", None)
    move_to_huge_pages([])
