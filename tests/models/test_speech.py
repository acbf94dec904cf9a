from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from multiattn.attention import Tap
from multiattn.blocks import MelStem
from multiattn.errors import ModelError
from multiattn.generation import GenerationConfig, generate
from multiattn.models import SpeechConfig, SpeechEncoderConfig, SpeechRecognizer, TextDecoderConfig
from multiattn.models.speech import PRESETS

V, D, MELS = 23, 22, 7
ENCODER = SpeechEncoderConfig(mels=MELS, dim=D, depth=3, num_heads=1, mlp_dim=29, max_frames=31)
DECODER = TextDecoderConfig(vocab_size=V, dim=D, depth=2, num_heads=2, mlp_dim=29, max_length=17, context_dim=D)
LENGTHS = torch.tensor([41, 18, 29])
MASKED = {
    "rotary": replace(ENCODER, positions="rotary", masked=True),
    "rotary, window": replace(ENCODER, positions="rotary", masked=True, window=3, strides=(2, 2)),
    "sinusoidal": replace(ENCODER, masked=True),
    "learned": replace(ENCODER, positions="learned", masked=True, strides=(2, 1)),
}


def build(encoder, *, context="real", ctc=True):
    model = SpeechRecognizer(SpeechConfig(encoder, DECODER, ctc=ctc, context=context))
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, mean=float("norm" in name), std=0.2, generator=generator)
    return model.eval().requires_grad_(False)


@pytest.fixture(params=MASKED.values(), ids=MASKED)
def model(request):
    return build(request.param)


@pytest.fixture
def features():
    return torch.randn(3, MELS, 41, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def texts():
    return torch.randint(3, V, (3, 5), generator=torch.Generator().manual_seed(2))


def test_a_recording_does_not_depend_on_the_others_or_on_what_fills_it_up(model, features, texts):
    together = model(features, texts, lengths=LENGTHS)
    encoded = model.encode(features, lengths=LENGTHS)
    for i, length in enumerate(LENGTHS.tolist()):
        alone = features[i : i + 1, :, :length]
        torch.testing.assert_close(together[i], model(alone, texts[i : i + 1])[0], atol=1e-5, rtol=0)
        count = model.encoder.frames(length)
        torch.testing.assert_close(encoded[i, :count], model.encode(alone)[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(
            model.ctc_log_probs(encoded)[i, :count], model.ctc_log_probs(model.encode(alone))[0], atol=1e-5, rtol=0
        )


def test_the_decoder_alone_may_leave_the_filling_out(features, texts):
    """As fine-tuning of a model that reads silence does: the encoder reads all, the decoder what is real."""
    model = build(ENCODER)
    encoded = model.encode(features, lengths=LENGTHS)
    torch.testing.assert_close(encoded, model.encode(features), atol=0, rtol=0)
    together = model(features, texts, lengths=LENGTHS)
    for i, length in enumerate(LENGTHS.tolist()):
        kept = encoded[i : i + 1, : model.encoder.frames(length)]
        torch.testing.assert_close(together[i], model.decoder(texts[i : i + 1], kept)[0], atol=1e-5, rtol=0)
    everything = build(ENCODER, context="all")
    assert not torch.allclose(together[1], everything(features, texts, lengths=LENGTHS)[1], atol=1e-3)


def test_cached_decoding_of_padded_contexts_is_the_whole_pass(model, features, texts):
    encoded = model.encode(features, lengths=LENGTHS)
    projected = model.decoder.project_context(encoded, model.context_attention_mask(encoded.shape[1], LENGTHS))
    whole = model(features, texts, lengths=LENGTHS)
    torch.testing.assert_close(model.decoder(texts, projected), whole, atol=1e-5, rtol=0)
    cache = model.decoder.start(projected, rows=3, capacity=5)
    steps = [model.decoder(texts[:, k : k + 1], cache=cache) for k in range(3)]
    cache.select(torch.tensor([2, 0]), items=torch.tensor([2, 0]))
    steps_after = [model.decoder(texts[[2, 0], k : k + 1], cache=cache) for k in range(3, 5)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole[:, :3], atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat(steps_after, dim=1), whole[[2, 0], 3:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_batch_of_padded_recordings_is_written_as_its_items_are(model, features, num_beams):
    options = GenerationConfig(max_tokens=7, num_beams=num_beams)
    encoded = model.encode(features, lengths=LENGTHS)
    projected = model.decoder.project_context(encoded, model.context_attention_mask(encoded.shape[1], LENGTHS))
    together = generate(model.decoder, projected, [[1], [1, 5], [1]], options)
    for i, length in enumerate(LENGTHS.tolist()):
        alone = generate(model.decoder, model.encode(features[i : i + 1, :, :length]), [[1, 5][: 1 + i % 2]], options)
        assert together[i][0].tokens == alone[0][0].tokens


def test_nothing_beyond_the_windows_of_all_blocks_is_heard(features):
    """Three blocks of 3 frames each way hear 9 frames each way, and the stem's convolutions 2 feature frames more."""
    model = build(MASKED["rotary, window"])
    changed = features.clone()
    changed[:, :, 0] += 1.0  # encoder frame 0, through the convolutions frames 0 and 1 (strides 2 and 2)
    difference = (model.encode(features) - model.encode(changed)).abs().amax(dim=(0, 2))
    assert (difference[:10] > 0).all() and (difference[11:] == 0).all()


def test_rotary_positions_have_no_longest_recording():
    model = build(MASKED["rotary"])
    assert model.encode(torch.zeros(1, MELS, 200)).shape == (1, 100, D)
    with pytest.raises(ModelError, match="a recording may have 31 encoder frames, but has 100 instead: cut it"):
        build(ENCODER).encode(torch.zeros(1, MELS, 200))


def test_positions_may_be_in_what_the_decoder_attends_to(features):
    plain, again = (build(replace(MASKED["sinusoidal"], output_positions=there)) for there in (False, True))
    again.load_state_dict(plain.state_dict())
    positions = plain.encoder.positions[:21]
    torch.testing.assert_close(again.encode(features), plain.encode(features) + positions, atol=1e-6, rtol=0)


def test_sinusoidal_positions_stay_with_the_weights():
    positions = build(ENCODER).state_dict()["encoder.positions"]
    expected = torch.tensor([[f * t for f in 10_000 ** (-torch.arange(11).double() / 10)] for t in range(31)])
    torch.testing.assert_close(
        positions.double(), torch.cat([expected.sin(), expected.cos()], dim=-1), atol=1e-6, rtol=0
    )


def test_taps_see_what_there_is_to_see(model, features, texts):
    frames = model.encoder.frames(41)
    sites = model.attention_sites(tokens=5, frames=frames)
    assert [site.name for site in sites][::3] == [
        "encoder.blocks.0.self",
        "decoder.blocks.0.self",
        "decoder.blocks.1.cross",
    ]
    tap = Tap(sites)
    plain = model(features, texts, lengths=LENGTHS)
    assert torch.equal(model(features, texts, lengths=LENGTHS, tap=tap), plain)
    for i, length in enumerate(LENGTHS.tolist()):
        count = model.encoder.frames(length)
        for name, weights in tap.weights.items():
            if name.endswith("cross"):
                torch.testing.assert_close(weights[i, ..., :count].sum(-1), torch.ones(2, 5))
                assert (weights[i, ..., count:] == 0).all()


def test_heads_may_be_named_by_site(features, texts):
    model = build(ENCODER)
    sites = model.attention_sites(tokens=5, frames=21)
    whole = Tap(sites, select="decoder.*.cross")
    part = Tap(sites, select="decoder.*.cross", heads={"decoder.blocks.0.cross": [1], "decoder.blocks.1.cross": [1, 0]})
    for tap in (whole, part):
        model(features, texts, tap=tap)
    for name, heads in (("decoder.blocks.0.cross", [1]), ("decoder.blocks.1.cross", [1, 0])):
        torch.testing.assert_close(part.weights[name], whole.weights[name][:, heads], atol=1e-6, rtol=0)
    assert part.nbytes(3) == sum(weights.nbytes for weights in part.weights.values())


FIRST, SECOND = "decoder.blocks.0.cross", "decoder.blocks.1.cross"


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({FIRST: [0]}, f"`heads` by site must name the selected sites, but lacks {SECOND} and has besides none"),
        ({FIRST: [0], SECOND: [1], "x": [0]}, "but lacks none and has besides x instead"),
        ({FIRST: [0], SECOND: []}, f"`heads` must ask for at least one at {SECOND}, but is empty"),
        ({FIRST: [2], SECOND: [0]}, f"head 2 does not exist at {FIRST}"),
    ],
)
def test_heads_that_are_not_there(heads, message):
    sites = build(ENCODER).attention_sites(tokens=5)
    with pytest.raises(ModelError, match=message):
        Tap(sites, select="decoder.*.cross", heads=heads)


@pytest.mark.parametrize("strides", [(1, 2), (2, 2), (3, 1)])
def test_the_stem_is_two_convolutions(strides):
    stem = MelStem(MELS, D, strides=strides)
    features = torch.randn(2, MELS, 37, generator=torch.Generator().manual_seed(4))
    expected = features
    for conv, stride in zip(stem.convs, strides, strict=True):
        expected = F.gelu(F.conv1d(expected, conv.weight, conv.bias, stride=stride, padding=1))
    found = stem(features)
    torch.testing.assert_close(found, expected.transpose(1, 2))
    assert stem.frames(37) == found.shape[1]
    assert stem.frames(torch.tensor([37, 1])).tolist() == [found.shape[1], 1]


def test_no_ctc_without_its_head():
    with pytest.raises(ModelError, match="the model has no CTC head: train one with `ctc`"):
        build(ENCODER, ctc=False).ctc_log_probs(torch.zeros(1, 2, D))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mels": 0}, "`mels` must be at least 1, but is 0"),
        ({"strides": (1, 0)}, r"`strides` must be two whole numbers of at least 1, but is \(1, 0\)"),
        ({"positions": "rotary", "output_positions": True}, "`output_positions` must be False with rotary positions"),
        ({"window": -1}, "`window` must be at least 0, but is -1"),
        ({"dim": 21, "num_heads": 3}, "`dim` must be even for sinusoidal positions, and at least 4, but is 21"),
        ({"dim": 21, "num_heads": 3, "positions": "rotary"}, r"an even number of times `num_heads` \(3\) for rotary"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and below 1, but is 1.0"),
    ],
)
def test_encoders_that_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message):
        replace(ENCODER, **fields)


def test_parts_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"`decoder.context_dim` must be the encoder's `dim` \(22\), but is 13 instead"
    ):
        SpeechConfig(ENCODER, replace(DECODER, context_dim=13))
    with pytest.raises(ValueError, match="`context` must be 'real' where the encoder is `masked`, but is 'all'"):
        SpeechConfig(replace(ENCODER, masked=True), DECODER)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("whisper_tiny_en", 37_184_256), ("whisper_tiny", 37_184_640), ("whisper_base", 71_825_920)],
)
def test_published_sizes(name, parameters):
    """Those of the reference implementation, with a zero bias to each key besides."""
    config = PRESETS[name]
    with torch.device("meta"):
        model = SpeechRecognizer(config)
    keys = (config.encoder.depth + 2 * config.decoder.depth) * config.encoder.dim
    assert sum(parameter.numel() for parameter in model.parameters()) - keys == parameters
