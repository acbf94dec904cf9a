from dataclasses import replace

import pytest
import torch
from torch import nn

from multiattn.attention import Tap
from multiattn.models import TextDecoderConfig, TextEncoderConfig, TextToText, TextToTextConfig

V, D, N, T = 37, 22, 11, 7
SIZES = {"vocab_size": V, "dim": D, "num_heads": 2, "mlp_dim": 29, "max_length": 17}
T5 = {"positions": "relative", "num_buckets": 6, "max_distance": 5, "norm": "rms", "linear_bias": False}
CONFIGS = {
    "t5": TextToTextConfig(
        TextEncoderConfig(**SIZES, **T5, depth=3, context_dim=None),
        TextDecoderConfig(**SIZES, **T5, depth=2, context_dim=D),
    ),
    "the first": TextToTextConfig(
        TextEncoderConfig(**SIZES, depth=3, context_dim=None, positions="sinusoidal", pre_norm=False),
        TextDecoderConfig(**SIZES, depth=2, context_dim=D, positions="sinusoidal", pre_norm=False),
    ),
    "tables of their own": TextToTextConfig(
        TextEncoderConfig(**SIZES | {"vocab_size": 31}, depth=3, context_dim=None),
        TextDecoderConfig(**SIZES | {"dim": 26}, depth=2, context_dim=D),
        shared=False,
    ),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request):
    model = TextToText(request.param)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, mean=float("norm" in name), std=0.3, generator=generator)
    return model.eval().requires_grad_(False)


def inputs():
    generator = torch.Generator().manual_seed(2)
    read, written = (torch.randint(31, (3, count), generator=generator) for count in (N, T))
    return read, written, torch.arange(N) < torch.tensor([[N], [5], [1]])


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_what_is_written_depends_on_the_whole_text_and_on_what_is_before(model):
    read, written, _ = inputs()
    before = model(read, written)
    for place in (0, N - 1):
        other = read.clone()
        other[:, place] = (other[:, place] + 1) % 31
        assert (model(other, written) - before).abs().amax(dim=2).min() > 1e-4
    other = written.clone()
    other[:, 4] = (other[:, 4] + 1) % 31
    after = model(read, other)
    close(after[:, :4], before[:, :4])
    assert (after[:, 4:] - before[:, 4:]).abs().amax(dim=2).min() > 1e-4


def test_a_decode_with_a_cache_equals_the_whole_pass(model):
    read, written, mask = inputs()
    cache = model.decoder.start(model.read(read, attention_mask=mask), rows=3, capacity=T)
    parts = [model.decoder(part, cache=cache) for part in written.split((3, 1, 1, 2), dim=1)]
    close(torch.cat(parts, dim=1), model(read, written, attention_mask=mask))


def test_padding_changes_nothing(model):
    read, written, mask = inputs()
    whole = model(read, written, attention_mask=mask)
    for row, count in enumerate((N, 5, 1)):
        close(whole[row : row + 1], model(read[row : row + 1, :count], written[row : row + 1]))


def test_sites_are_those_of_both_parts(model):
    read, written, mask = inputs()
    sites = model.attention_sites(tokens=N, written=T)
    tap = Tap(sites)
    assert torch.equal(model(read, written, attention_mask=mask, tap=tap), model(read, written, attention_mask=mask))
    assert [site.name for site in sites] == [f"encoder.blocks.{i}.self" for i in range(3)] + [
        f"decoder.blocks.{i}.{part}" for i in range(2) for part in ("self", "cross")
    ]
    for site in sites:
        assert tuple(tap.weights[site.name].shape) == (3, site.num_heads, site.q_len, site.k_len)


def test_a_shared_table_is_one(model):
    assert (model.decoder.embedding is model.encoder.embedding) == model.config.shared
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    again = TextToText(model.config)
    again.load_state_dict(state, strict=True, assign=True)
    assert (again.decoder.embedding.weight is again.encoder.embedding.weight) == model.config.shared


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder": replace(CONFIGS["t5"].encoder, context_dim=D)},
            "`encoder.context_dim` must be None, for it reads a",
        ),
        (
            {"decoder": replace(CONFIGS["t5"].decoder, context_dim=19)},
            r"`decoder.context_dim` must be the encoder's `dim`",
        ),
        (
            {"decoder": replace(CONFIGS["t5"].decoder, dim=26)},
            r"`decoder.dim` must be the encoder's `dim` \(22\) with a",
        ),
        ({"decoder": replace(CONFIGS["t5"].decoder, vocab_size=41)}, r"`decoder.vocab_size` must be the encoder's `vo"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIGS["t5"], **changes)
