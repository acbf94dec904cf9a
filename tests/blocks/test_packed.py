import copy
import math
import pickle

import pytest
import torch
from torch import nn

from multiattn.blocks import packed as room
from multiattn.blocks.packed import PackedLinear, PackedWeight, lay_out_for_one_row, pack_linears, worth_packing

IN, OUT = 37, 53


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return nn.Linear(IN, OUT)


def used(packed, monkeypatch):
    """Calls of the packed kernel, as they come."""
    calls = []
    multiply = PackedWeight._multiply

    def spy(self, x, bias):
        calls.append(len(x))
        return multiply(self, x, bias)

    monkeypatch.setattr(PackedWeight, "_multiply", spy)
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
    assert len(calls) == (0 if math.prod(shape) == 1 else 1)  # one row is quicker without


def test_a_row_does_not_depend_on_the_others(linear):
    """Or a batch of texts would not be its texts one by one; a single row is the same to rounding."""
    packed, x = PackedLinear(linear), torch.randn(11, IN)
    with torch.inference_mode():
        whole = packed(x)
        for count in (2, 3, 5, 7):
            assert torch.equal(packed(x[:count]), whole[:count])
        torch.testing.assert_close(packed(x[:1]), whole[:1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("outputs", "inputs", "strides"), [(53, 37, (1, 53)), (37, 37, (1, 37)), (37, 53, (53, 1))])
def test_a_weight_lies_by_columns_where_it_has_more_outputs(outputs, inputs, strides):
    layer = nn.Linear(inputs, outputs)
    weight, before = layer.weight, layer.weight.detach().clone()
    for _ in range(2):  # once more changes nothing
        lay_out_for_one_row(layer.weight)
        assert layer.weight is weight and weight.stride() == strides
        assert torch.equal(weight, before)
    copied = nn.Linear(inputs, outputs)
    copied.load_state_dict(layer.state_dict())  # the values count, not how they lie
    assert torch.equal(copied.weight, before) and copied.weight.is_contiguous()
    x = torch.randn(3, inputs)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(layer)(x), copied(x), rtol=1e-5, atol=1e-6)


def test_what_is_learned_and_saved_stays(linear):
    packed, x = PackedLinear(linear), torch.randn(3, IN)
    assert packed.weight is linear.weight and packed.bias is linear.bias
    assert list(packed.state_dict()) == ["weight", "bias"]
    packed(x).sum().backward()
    torch.testing.assert_close(linear.weight.grad, x.sum(dim=0).expand(OUT, IN))


@torch.inference_mode()
def test_gradients_autocast_and_other_types_take_the_plain_way(linear, monkeypatch):
    packed, x = PackedLinear(linear), torch.randn(5, IN)
    calls = used(packed, monkeypatch)
    with torch.inference_mode(False):
        packed(torch.randn(5, IN))
    with torch.autocast("cpu", torch.bfloat16):
        assert packed(x).dtype == torch.bfloat16
    packed.double()(x.double())
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
    x = torch.randn(5, IN)
    with torch.inference_mode():
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
    assert [part.weight.stride() for part in (model[0], model[2])] == [(1, OUT), (OUT, 1)]
    assert not any(part.training for part in model.modules())


@pytest.mark.parametrize(
    "weight",
    [
        torch.empty(OUT, IN, dtype=torch.bfloat16),
        torch.empty(OUT, IN, device="meta"),
        torch.empty(0, IN),
        torch.inference_mode()(torch.empty)(OUT, IN),
    ],
    ids=["half precision", "no memory", "no rows", "made in inference mode"],
)
def test_what_cannot_be_packed_stays_plain(weight, monkeypatch):
    monkeypatch.setattr(room, "SMALLEST", 1)
    assert not worth_packing(weight)
    model = nn.Sequential(nn.Linear(IN, OUT))
    model[0].weight = nn.Parameter(weight, requires_grad=False)
    pack_linears(model)
    assert type(model[0]) is nn.Linear


def test_small_layers_stay_plain():
    model = nn.Sequential(nn.Linear(256, 511), nn.Linear(511, 257))
    pack_linears(model)
    assert [type(layer) for layer in model] == [nn.Linear, PackedLinear]
