"""The options for long inputs of the vision transformer and of the speech encoder."""

from dataclasses import replace

import pytest
import torch

from multiattn.attention import Tap
from multiattn.models import SpeechEncoder, SpeechEncoderConfig, ViT, ViTConfig
from multiattn.models.long_inputs import spread_tokens
from tests.reference import dot_product_scores, naive_weights

PICTURE = ViTConfig(image_size=(33, 39), patch_size=3, num_classes=5, dim=15, depth=2, num_heads=3, mlp_dim=23)
TOKENS = 1 + 11 * 13
SPEECH = SpeechEncoderConfig(mels=7, dim=12, depth=2, num_heads=3, mlp_dim=23, max_frames=200, masked=True)
OPTIONS = {
    "window": {"window": 5, "global_tokens": 2},
    "dilated": {"window": 3, "dilation": 4, "global_tokens": 1},
    "lsh": {"attention": "lsh", "lsh_chunk": 16},
    "reversible": {"reversible": True},
    "reversible lsh": {"attention": "lsh", "lsh_chunk": 16, "reversible": True},
}


def vit(**options):
    torch.manual_seed(0)
    return ViT(replace(PICTURE, **options)).eval()


def encoder(**options):
    torch.manual_seed(0)
    return SpeechEncoder(replace(SPEECH, **options)).eval()


def images():
    return torch.randn(2, 3, 33, 39, generator=torch.Generator().manual_seed(1))


def features(count=2, frames=301):
    return torch.randn(count, 7, frames, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", OPTIONS)
@torch.no_grad()
def test_a_tap_of_the_picture_has_the_sizes_of_the_sites_and_changes_nothing(name):
    model = vit(**OPTIONS[name])
    tap = Tap(model.attention_sites(), rows=[0, -1])
    plain = model(images())
    assert torch.equal(model(images(), tap=tap), plain)
    assert plain.shape == (2, 5)
    for weights in tap.weights.values():
        assert weights.shape == (2, 3, 2, TOKENS)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 2), atol=1e-5, rtol=0)
    assert tap.nbytes(2) == sum(weights.nbytes for weights in tap.weights.values())


@pytest.mark.parametrize("name", ["window", "dilated"])
@torch.no_grad()
def test_weights_of_a_window_equal_the_oracle_and_mix_the_values(name):
    options = OPTIONS[name]
    model = vit(**options)
    block, seen = model.blocks[0], []
    handle = block.attention.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    tap = Tap(model.attention_sites(), select="blocks.0.self")
    model(images(), tap=tap)
    handle.remove()
    ((x, out),) = seen
    q, k, v = block.attention.qkv(x).unflatten(-1, (3, 3, 5)).permute(2, 0, 3, 1, 4)
    rule = options | {"global_tokens": torch.arange(options["global_tokens"])[None]}
    expected = naive_weights(dot_product_scores(q, k), **rule)
    torch.testing.assert_close(tap.weights["blocks.0.self"].double(), expected, atol=1e-6, rtol=0)
    mixed = (expected @ v.double()).transpose(1, 2).flatten(2).float()
    torch.testing.assert_close(out, block.attention.out(mixed), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_window_beyond_the_length_is_full_attention():
    torch.testing.assert_close(vit(window=500, global_tokens=1)(images()), vit()(images()), atol=1e-6, rtol=0)
    lengths = torch.tensor([301, 173])
    wide = encoder(window=500, dilation=1)(features(), lengths=lengths)
    torch.testing.assert_close(wide, encoder()(features(), lengths=lengths), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OPTIONS)
def test_each_parameter_of_a_training_step_has_a_gradient(name):
    model = vit(**OPTIONS[name]).train()
    model(images()).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", OPTIONS)
@torch.no_grad()
def test_the_padding_of_a_recording_is_not_attended_to(name):
    """Its values do not matter; and but for hashing, which depends on the length, not even how much there is."""
    model, lengths = encoder(**OPTIONS[name]), torch.tensor([301, 173])
    sound = features()
    out = model(sound, lengths=lengths)
    sound[1, :, 173:] = 5.0
    changed = model(sound, lengths=lengths)
    real = int(model.frames(torch.tensor(173)))
    assert torch.equal(changed[0], out[0])
    assert torch.equal(changed[1, :real], out[1, :real])
    if "lsh" not in name:
        alone = model(sound[1:, :, :173], lengths=lengths[1:])
        torch.testing.assert_close(alone[0], out[1, :real], atol=1e-5, rtol=0)


@torch.no_grad()
def test_frames_that_are_global_are_attended_to_from_afar():
    model, lengths = encoder(window=2, global_tokens=3), torch.tensor([301, 173])
    tap = Tap(model.attention_sites(151), select="blocks.0.self", rows=[60])
    model(features(), lengths=lengths, tap=tap)
    for item, frames in enumerate((151, 87)):
        found = tap.weights["blocks.0.self"][item, 0, 0].nonzero().flatten().tolist()
        near = [i for i in range(58, 63) if i < frames]
        assert found == sorted({*near, *((2 * i + 1) * frames // 6 for i in range(3))})


def test_tokens_are_spread_over_each_item_and_named_once():
    assert spread_tokens(torch.tensor([100, 10, 3]), 5).tolist() == [
        [10, 30, 50, 70, 90],
        [1, 3, 5, 7, 9],
        [0, -1, 1, 2, -1],
    ]
    assert spread_tokens(torch.tensor([7]), 0) is None
    assert spread_tokens(torch.tensor([0]), 2).tolist() == [[-1, -1]]


def test_a_window_alone_says_what_kind_of_attention_it_is():
    assert replace(SPEECH, window=3).attention == "window"
    assert SPEECH.attention == "full"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "window"}, "`window` must be a number for 'window', but is None"),
        ({"attention": "lsh", "window": 3}, "`window` must be None for 'lsh', but is 3"),
        ({"window": -1}, "`window` must be at least 0, but is -1"),
        ({"dilation": 2}, r"`dilation` must be 1 without a window \('full'\), but is 2"),
        ({"window": 3, "dilation": 0}, "`dilation` must be at least 1, but is 0"),
        ({"attention": "lsh", "global_tokens": 2}, r"`global_tokens` must be 0 without a window \('lsh'\), but is 2"),
        ({"attention": "lsh", "lsh_chunk": 0}, "`lsh_chunk` must be at least 1, but is 0"),
        ({"attention": "lsh", "lsh_rounds": 0}, "`lsh_rounds` must be at least 1, but is 0"),
    ],
)
@pytest.mark.parametrize("config", [PICTURE, SPEECH], ids=["picture", "speech"])
def test_options_that_do_not_fit_are_named(config, options, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **options)


def test_the_tokens_that_the_head_reads_must_be_global_and_there():
    with pytest.raises(
        ValueError, match=r"`global_tokens` must be from 1 \(the tokens that the head reads\) to 144, but is 0"
    ):
        replace(PICTURE, window=3)
    with pytest.raises(ValueError, match="`global_tokens` must be from 1 .* to 144, but is 145"):
        replace(PICTURE, window=3, global_tokens=145)
    model = vit(window=3, global_tokens=9)
    with pytest.raises(ValueError, match="`global_tokens` must be from 0 to 4, or -1 for none, but one is 8 instead"):
        model(images()[..., :6, :6])
