"""Which sound made a word, against `relevance_messages` and against masking."""

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs.text import Word
from multiattn.maps import speech_lrp, time_profile
from multiattn.models import SpeechConfig, SpeechEncoderConfig, SpeechRecognizer, TextDecoderConfig

MELS, FRAMES = 11, 46
ENCODER = {"mels": MELS, "dim": 12, "depth": 2, "num_heads": 2, "mlp_dim": 17}
DECODER = {"vocab_size": 31, "dim": 12, "depth": 2, "num_heads": 3, "mlp_dim": 19, "max_length": 13, "context_dim": 12}
CONFIGS = {
    "as Whisper": SpeechConfig(
        SpeechEncoderConfig(**ENCODER, strides=(1, 2), max_frames=23), TextDecoderConfig(**DECODER)
    ),
    "masked": SpeechConfig(
        SpeechEncoderConfig(**ENCODER, strides=(2, 2), max_frames=12, masked=True, output_positions=True),
        TextDecoderConfig(**DECODER),
        context="real",
    ),
    "windowed, rotary": SpeechConfig(
        SpeechEncoderConfig(**ENCODER, strides=(2, 1), max_frames=23, masked=True, window=3, positions="rotary"),
        TextDecoderConfig(**DECODER),
        context="real",
    ),
}
LENGTHS = [46, 33]
TOKENS = [[1, 9, 5, 17, 29, 7], [1, 9, 8, 3]]
WORDS = [[Word("a", 0, 1, (0,)), Word("fox", 2, 5, (1, 2))], [Word("no", 0, 2, (0, 1))]]
ASKED = {"prompt_lengths": [2, 2], "lengths": LENGTHS, "frame_seconds": 0.02}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request):
    torch.manual_seed(0)
    model = SpeechRecognizer(request.param).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.25)
    return model


@pytest.fixture
def features():
    return torch.randn(2, MELS, FRAMES, generator=torch.Generator().manual_seed(1))


class Constants(torch.nn.Module):
    """AttnLRP on one recording, as a plain model in fp64 whose rules are written as detached constants."""

    def __init__(self, model):
        super().__init__()
        self.model = model.double()

    def norm(self, x, norm):
        centered = x - x.mean(-1, keepdim=True)
        return centered / (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt().detach() * norm.weight + norm.bias

    def gelu(self, x):
        return x * (torch.nn.functional.gelu(x) / x).detach()

    def mix(self, a, b):
        return (a @ b.detach() + a.detach() @ b) / 2

    def attend(self, module, x, context, allowed, angles):
        def heads(y):
            return y.unflatten(-1, (module.num_heads, -1)).transpose(0, 1)

        if context is None:
            q, k, v = (heads(part) for part in module.qkv(x).chunk(3, -1))
        else:
            q, (k, v) = heads(module.q(x)), (heads(part) for part in module.kv(context).chunk(2, -1))
        if angles is not None:
            q, k = (turned(one, angles) for one in (q, k))
        scores = self.mix(q, k.mT) * q.shape[-1] ** -0.5
        weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
        return module.out(self.mix(weights, v).transpose(0, 1).flatten(1))

    def block(self, module, x, allowed, context=None, angles=None):
        x = x + self.attend(module.attention, self.norm(x, module.norm1), None, allowed, angles)
        if context is not None:
            every = torch.ones(len(x), len(context), dtype=torch.bool)
            x = x + self.attend(module.cross_attention, self.norm(x, module.cross_norm), context, every, None)
        inner = self.gelu(module.feedforward.fc1(self.norm(x, module.norm2)))
        return x + module.feedforward.fc2(inner)

    def forward(self, features, tokens):
        encoder, decoder, c = self.model.encoder, self.model.decoder, self.model.encoder.config
        x = features[None]
        for conv in encoder.stem.convs:
            x = self.gelu(conv(x))
        x, count = x[0].T, x.shape[-1]
        positions = 0 if encoder.positions is None else encoder.positions[:count]
        x = x + positions
        distance = (torch.arange(count) - torch.arange(count)[:, None]).abs()
        near = distance <= (count if c.window is None else c.window)
        angles = encoder._rotary(count, x)
        for block in encoder.blocks:
            x = self.block(block, x, near, angles=angles)
        x = self.norm(x, encoder.norm) + (positions if c.output_positions else 0)
        y = decoder.embed(tokens[None], torch.arange(len(tokens))[None])[0]
        for block in decoder.blocks:
            y = self.block(block, y, torch.ones(len(y), len(y), dtype=torch.bool).tril(), x)
        y = self.norm(y, decoder.norm)
        assert decoder.head_bias is None
        return (y @ decoder.embedding.weight.T).log_softmax(-1)


def turned(x, angles):
    half = x.shape[-1] // 2
    return x * angles.cos + torch.cat([-x[..., half:], x[..., :half]], -1) * angles.sin


def summed(contributions, frames, stride):
    """The 8 cells of 11 bands, and each encoder frame's feature frames, one by one."""
    bands = [(0,), (1,), (2, 3), (4,), (5,), (6, 7), (8,), (9, 10)]
    cells = np.zeros((8, frames))
    for cell, of_cell in enumerate(bands):
        for band in of_cell:
            for t, value in enumerate(contributions[band].tolist()):
                cells[cell, t // stride] += value
    return cells


def test_a_sound_has_the_contributions_of_the_rules(model, features):
    found = speech_lrp(model, features, TOKENS, WORDS, starts=[0.0, 3.5], **ASKED)
    stride = int(np.prod(model.config.encoder.strides))
    rules = Constants(model)
    for item, (one, length) in enumerate(zip(found, LENGTHS, strict=True)):
        assert one.names == ("word", "mel", "time") and one.method == "lrp"
        assert (one.axes[1].step, one.axes[2].start, one.axes[2].step) == (MELS / 8, [0.0, 3.5][item], 0.02)
        sound = features[item].double()
        if model.config.context == "real":  # a masked model reads each recording as if it were alone
            sound = sound[:, :length]
        sound = sound.clone().requires_grad_()
        tokens = torch.tensor(TOKENS[item])
        log_probs = rules(sound, tokens[:-1])
        for w, word in enumerate(WORDS[item]):
            score = sum(log_probs[1 + piece, tokens[2 + piece]] for piece in word.pieces)
            (gradient,) = torch.autograd.grad(score, sound, retain_graph=True)
            expected = summed((gradient * sound.detach())[:, :length], -(-length // stride), stride)
            assert np.abs(expected).max() > 0
            np.testing.assert_allclose(one.values[w], expected, atol=1e-3 * np.abs(expected).max())


def test_a_recording_has_the_same_map_alone_frozen_and_in_inference_mode(model, features):
    together = speech_lrp(model, features, TOKENS, WORDS, **ASKED)[0]
    model.requires_grad_(False)
    asked = {name: value[:1] if isinstance(value, list) else value for name, value in ASKED.items()}
    with torch.inference_mode():
        alone = speech_lrp(model, features[:1].clone(), TOKENS[:1], WORDS[:1], **asked)[0]
    np.testing.assert_allclose(alone.values, together.values, atol=1e-4 * np.abs(together.values).max())


def test_a_profile_is_the_sum_over_the_bands(model, features):
    found = speech_lrp(model, features, TOKENS, WORDS, **ASKED)[0]
    profile = time_profile(found)
    assert profile.names == ("word", "time") and profile.axes[1] == found.axes[2]
    np.testing.assert_allclose(profile.values, found.values.sum(1), rtol=1e-6)
    assert time_profile(profile) is profile


def test_one_of_each_is_needed(model, features):
    with pytest.raises(ModelError, match="`lengths` must be one for each of 2 recordings, but are 1"):
        speech_lrp(model, features, TOKENS, WORDS, prompt_lengths=[2, 2], lengths=[46])
