import mmap

import pytest
import safetensors.torch
import torch

from multiattn.blocks import packed as room
from multiattn.blocks.packed import PackedLinear, PackedWeight
from multiattn.generation import packing as layout
from multiattn.generation.packing import lay_out_for_decoding, lay_out_for_reading
from multiattn.models.text_decoder import TextDecoder, TextDecoderConfig
from multiattn.models.text_encoder import TextEncoder, TextEncoderConfig
from tests.parity.random_weights import randomize

V, D, C = 101, 24, 17


@pytest.fixture(autouse=True)
def pack_small_weights_too(monkeypatch):
    monkeypatch.setattr(room, "SMALLEST", 1)


def decoder(**options) -> TextDecoder:
    config = TextDecoderConfig(V, dim=D, depth=2, num_heads=3, mlp_dim=53, context_dim=C, max_length=13, **options)
    return randomize(TextDecoder(config), seed=0)


def decode(model: TextDecoder, *, rows: int) -> torch.Tensor:
    """The logits of a prompt of five and of three tokens after it, one at a time."""
    generator = torch.Generator().manual_seed(1)
    context = torch.randn(1, 7, C, generator=generator)
    tokens = torch.randint(V, (rows, 8), generator=generator)
    with torch.inference_mode():
        cache = model.start(context, rows=rows, capacity=8)
        parts = [model(tokens[:, :5], cache=cache), *(model(tokens[:, i : i + 1], cache=cache) for i in range(5, 8))]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("rows", [1, 3, 11])
@pytest.mark.parametrize(
    "options",
    [{}, {"tied": False}, {"head": "transform", "head_bias": True, "pre_norm": False, "final_norm": False}],
    ids=["tied", "not tied", "bert"],
)
def test_results_stay_to_rounding(rows, options):
    model = decoder(**options)
    expected = decode(model, rows=rows)
    lay_out_for_decoding(model)
    torch.testing.assert_close(decode(model, rows=rows), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_every_product_of_a_step_takes_the_packed_way(tied, monkeypatch):
    model = decoder(tied=tied, head="transform")
    lay_out_for_decoding(model)
    taken = {"_multiply": [], "_multiply_one": []}
    for name, calls in taken.items():
        multiply = getattr(PackedWeight, name)

        def spy(self, x, bias, *, calls=calls, multiply=multiply):
            calls.append(self)
            return multiply(self, x, bias)

        monkeypatch.setattr(PackedWeight, name, spy)
    several, one = taken.values()
    context, tokens = torch.randn(1, 7, C), torch.tensor([[1], [3]])
    with torch.inference_mode():
        cache = model.start(context, rows=2, capacity=3)
        assert (len(several), len(one)) == (2, 0)  # one a block: its keys and values
        several.clear()
        model(tokens[:1], cache=model.start(cache.context, rows=1, capacity=3))
        assert not several
        model(tokens, cache=cache)
    # a block: qkv and out, q and out of the cross-attention, two of the feedforward; then the head's two
    assert several == one
    assert len(one) == len(set(map(id, one))) == 2 * 6 + 2
    layers = [part for part in model.modules() if isinstance(part, PackedLinear)]
    assert len(layers) == 2 * 7 + (1 if tied else 2)


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="huge pages are asked for on Linux only")
@pytest.mark.parametrize("tied", [True, False])
def test_weights_that_tokens_are_multiplied_with_are_moved_to_huge_pages_once(tied):
    model = decoder(tied=tied)
    before = {name: weight.data_ptr() for name, weight in model.named_parameters()}
    lay_out_for_decoding(model)
    layers = {f"{name}.weight": part for name, part in model.named_modules() if isinstance(part, PackedLinear)}
    moved = {name for name, weight in model.named_parameters() if weight.data_ptr() != before[name]}
    assert moved == layers.keys() | ({"embedding.weight"} if tied else set())
    places = {name: layer.weight.data_ptr() for name, layer in layers.items()}
    lay_out_for_decoding(model)  # once more would leave the packed copies behind
    assert {name: layer.weight.data_ptr() for name, layer in layers.items()} == places


@pytest.mark.parametrize("rows", [1, 3])
def test_huge_pages_change_no_bit(rows, monkeypatch):
    model, ordinary = decoder(), decoder()
    lay_out_for_decoding(model)
    monkeypatch.setattr(layout, "move_to_huge_pages", lambda weights: None)
    lay_out_for_decoding(ordinary)
    assert torch.equal(decode(model, rows=rows), decode(ordinary, rows=rows))


def test_what_is_saved_stays(tmp_path):
    model = decoder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lay_out_for_decoding(model)
    after = model.state_dict()
    assert list(after) == list(before)
    for name, value in before.items():
        assert torch.equal(after[name], value)
    torch.save(after, tmp_path / "weights.pt")
    decoder().load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert safetensors.torch.save(after) == safetensors.torch.save(before)


def test_gradients_still_flow():
    """A map by gradients is made from the same model that decodes."""
    model = decoder()
    tokens, context = torch.tensor([[1, 3, 5]]), torch.randn(1, 7, C)
    wanted = torch.autograd.grad(model(tokens, context)[0, -1, 7], model.embedding.weight)[0]
    lay_out_for_decoding(model)
    found = torch.autograd.grad(model(tokens, context)[0, -1, 7], model.embedding.weight)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert wanted.any()


def test_another_precision_is_left_alone():
    model = decoder().double()
    lay_out_for_decoding(model)
    assert not any(isinstance(part, PackedLinear) for part in model.modules())
    assert model.project is torch.nn.functional.linear


def test_an_encoder_that_is_laid_out_reads_to_rounding():
    config = TextEncoderConfig(V, dim=D, depth=2, num_heads=3, mlp_dim=53, context_dim=C, max_length=13)
    model = randomize(TextEncoder(config), seed=0).eval()
    tokens, context = torch.randint(V, (3, 8)), torch.randn(1, 7, C)
    with torch.inference_mode():
        expected = model(tokens, context)
    lay_out_for_reading(model)
    assert any(isinstance(module, PackedLinear) for module in model.modules())
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens, context), expected, rtol=1e-5, atol=1e-5)
