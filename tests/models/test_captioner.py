from dataclasses import replace

import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from multiattn.attention import Tap
from multiattn.models import Captioner, CaptionerConfig, TextDecoderConfig, ViTConfig
from multiattn.models.captioner import PRESETS

ENCODER = ViTConfig(image_size=(15, 21), patch_size=3, num_classes=0, dim=14, depth=2, num_heads=2, mlp_dim=19)
DECODER = TextDecoderConfig(vocab_size=31, dim=22, depth=3, num_heads=2, mlp_dim=29, max_length=11, context_dim=14)
PICTURE_TOKENS = 1 + 5 * 7
CONFIGS = {
    "direct": CaptionerConfig(ENCODER, DECODER),
    "bridged": CaptionerConfig(ENCODER, replace(DECODER, context_dim=10), bridge=True),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request):
    model = Captioner(request.param)
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval().requires_grad_(False)


def pictures(batch=2):
    return torch.randn(batch, 3, 15, 21, generator=torch.Generator().manual_seed(1))


def texts(rows=4, count=7):
    return torch.randint(31, (rows, count), generator=torch.Generator().manual_seed(2))


def test_it_decodes_what_the_encoder_saw(model):
    context = model.encode(pictures())
    assert context.shape == (2, PICTURE_TOKENS, model.config.decoder.context_dim)
    assert torch.equal(model(pictures(), texts()), model.decoder(texts(), context))
    assert torch.equal(model.bridged(model.encoder.features(pictures())), context)
    assert (model(pictures(), texts()) - model(pictures().flip(0), texts())).abs().max() > 1e-3


@pytest.mark.parametrize("bridge", [False, True])
def test_a_decoder_that_sees_no_picture_is_refused(bridge):
    with pytest.raises(
        ValueError, match=r"`decoder\.context_dim` must be the width of the picture's features, but is N"
    ):
        CaptionerConfig(ENCODER, replace(DECODER, context_dim=None), bridge=bridge)


def test_a_decode_starts_from_pictures(model):
    cache = model.start(pictures(), rows=4, capacity=7)
    logits = torch.cat([model.decoder(part, cache=cache) for part in texts().split(3, dim=1)], dim=1)
    torch.testing.assert_close(logits, model(pictures(), texts()), atol=1e-5, rtol=0)


def test_sites_are_those_of_both_parts(model):
    sites = model.attention_sites(tokens=7)
    tap = Tap(sites)
    assert torch.equal(model(pictures(), texts(), tap=tap), model(pictures(), texts()))
    assert [site.name for site in sites] == [f"encoder.blocks.{i}.self" for i in range(2)] + [
        f"decoder.blocks.{i}.{part}" for i in range(3) for part in ("self", "cross")
    ]
    for site in sites:
        rows = 2 if site.name.startswith("encoder") else 4
        assert tuple(tap.weights[site.name].shape) == (rows, site.num_heads, site.q_len, site.k_len)
    other = model.attention_sites((9, 12), tokens=5)
    assert other[0].k_len == 1 + 3 * 4 and other[-1].q_len == 5 and other[-1].k_len == 1 + 3 * 4


def test_every_parameter_has_its_layer(model):
    found = {}
    names = {id(parameter): name for name, parameter in model.requires_grad_(True).named_parameters()}
    groups = param_groups_layer_decay(
        model, weight_decay=0.1, no_weight_decay_list=model.no_weight_decay(), layer_decay=0.5
    )
    for group in groups:
        for parameter in group["params"]:
            found[names[id(parameter)]] = (group["lr_scale"], group["weight_decay"])
    assert found.keys() == set(names.values())
    assert found["encoder.stem.proj.weight"] == (0.125, 0.1)
    assert found["encoder.class_token"] == (0.125, 0.0)
    assert found["encoder.blocks.0.attention.qkv.weight"] == (0.25, 0.1)
    assert found["encoder.blocks.1.attention.qkv.weight"] == found["encoder.norm.weight"][:1] + (0.1,) == (0.5, 0.1)
    assert found["decoder.embedding.weight"] == (1.0, 0.1)
    assert found["decoder.positions.weight"] == (1.0, 0.0)


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="`encoder.num_classes` must be 0, but is 5 instead"):
        CaptionerConfig(replace(ENCODER, num_classes=5), DECODER)
    with pytest.raises(ValueError, match=r"`decoder.context_dim` must be the encoder's `dim` \(14\) .* but is 13"):
        CaptionerConfig(ENCODER, replace(DECODER, context_dim=13))


def test_the_presets_are_the_published_sizes():
    """Parameters of the published files, where a table that is tied is stored once."""
    sizes = {"blip_base": 223_971_644, "blip_large": 446_290_492, "vit_gpt2": 238_605_312}
    for name, expected in sizes.items():
        with torch.device("meta"):
            model = Captioner(PRESETS[name])
        assert sum(parameter.numel() for parameter in model.parameters()) == expected, name
