"""Self-attention of any row, against the weights computed again in float64 NumPy from the block's own numbers."""

import numpy as np
import pytest
import torch

from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.inputs import Geometry
from multiattn.maps.tokens import attention_from, attention_to, picture_self_attention, self_attention, token_map
from multiattn.models import Captioner, SpeechRecognizer, ViT, ViTConfig
from tests.export.pictures import picture_map
from tests.fixtures import tiny_caption_bundle, tiny_speech_bundle

ROWS, COLUMNS, DIM, HEADS = 5, 7, 24, 3


@pytest.fixture(scope="module")
def model() -> ViT:
    torch.manual_seed(3)
    config = ViTConfig(
        image_size=(20, 28), patch_size=4, dim=DIM, depth=3, num_heads=HEADS, num_classes=5, num_registers=1
    )
    return ViT(config).eval()


def naive(model: ViT, images: torch.Tensor) -> np.ndarray:
    """The weights of every layer, head and row: (layers, heads, n, n)."""
    seen, found = [], []
    hooks = [block.norm1.register_forward_hook(lambda _m, _i, output: seen.append(output)) for block in model.blocks]
    with torch.no_grad():
        model.features(images)
    for hook in hooks:
        hook.remove()
    for block, x in zip(model.blocks, seen, strict=True):
        x = x[0].double().numpy()
        weight, bias = (
            part.detach().double().numpy() for part in (block.attention.qkv.weight, block.attention.qkv.bias)
        )
        q, k, _ = np.split(x @ weight.T + bias, 3, axis=1)
        of_heads = []
        for head in range(HEADS):
            part = slice(head * DIM // HEADS, (head + 1) * DIM // HEADS)
            scores = q[:, part] @ k[:, part].T / np.sqrt(DIM // HEADS)
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            of_heads.append(scores / scores.sum(axis=1, keepdims=True))
        found.append(of_heads)
    return np.array(found)


def test_every_row_of_every_layer_and_head_is_the_naive_one(model):
    images = torch.randn(2, 3, 20, 28)
    whole = Geometry(source_size=(20, 28), resized_size=(20, 28), crop=(0, 0, 20, 28))
    maps = picture_self_attention(model, images, geometries=[None, whole])
    for i, one in enumerate(maps):
        assert one.names == ("layer", "head", "query", "key")
        np.testing.assert_allclose(one.values, naive(model, images[i : i + 1]), atol=1e-6)
    labels = maps[0].axes[2].labels
    assert labels is not None and labels == maps[0].axes[3].labels
    assert labels[:3] == ("class token", "register 1", "row 1, column 1") and labels[-1] == "row 5, column 7"
    assert maps[0].sites == ("blocks.0.self", "blocks.1.self", "blocks.2.self") and maps[1].geometry == whole
    (last,) = picture_self_attention(model, images[:1], layers=[-1])
    np.testing.assert_array_equal(last.values, maps[0].values[2:])


def test_rows_and_columns_of_a_token(model):
    (tokens,) = picture_self_attention(model, torch.randn(1, 3, 20, 28))
    token = 2 + 3 * COLUMNS + 4  # row 4, column 5
    np.testing.assert_array_equal(attention_from(tokens, token), tokens.values[:, :, token])
    np.testing.assert_array_equal(attention_to(tokens, token), tokens.values[:, :, :, token])
    looks, looked_at = (token_map(tokens, token, (ROWS, COLUMNS), to=to) for to in (False, True))
    assert looks.names == ("layer", "head", "y", "x") and looks.target == "row 4, column 5"
    assert looks.values[1, 2, 4, 6] == tokens.values[1, 2, token, -1]
    assert looked_at.values[1, 2, 4, 6] == tokens.values[1, 2, -1, token]


def test_words_and_moments_by_a_tap_of_the_model():
    captioner = tiny_caption_bundle().model
    assert isinstance(captioner, Captioner)
    size = captioner.config.encoder.image_size
    tap = Tap(captioner.attention_sites(tokens=5), select="decoder.*.self")
    with torch.no_grad():
        captioner(torch.randn(1, 3, *size), torch.tensor([[1, 5, 7, 9, 3]]), tap=tap)
    words = self_attention(tap, labels=["[start]", "a", "red", "fox", "sits"])
    assert words.values.shape[2:] == (5, 5)
    np.testing.assert_array_equal(words.values, np.tril(words.values))  # a word sees those before it
    np.testing.assert_allclose(words.values.sum(axis=-1), 1, atol=1e-5)

    recognizer = tiny_speech_bundle().model
    assert isinstance(recognizer, SpeechRecognizer)
    features = torch.randn(1, recognizer.config.encoder.mels, 40)
    sites = recognizer.attention_sites(tokens=2, frames=10)  # of 40 feature frames
    tap = Tap(sites, select="encoder.*")
    with torch.no_grad():
        recognizer.encode(features, tap=tap)
    frames = sites[0].k_len
    moments = self_attention(tap, labels=[f"{0.02 * i:.2f} s" for i in range(frames)])
    assert moments.values.shape[2:] == (frames, frames)


def test_what_does_not_fit_is_named(model, monkeypatch):
    images = torch.randn(1, 3, 20, 28)
    (tokens,) = picture_self_attention(model, images)
    with pytest.raises(ModelError, match="`token` must be a token from 0 to 36, but is 37 instead"):
        attention_from(tokens, 37)
    with pytest.raises(ModelError, match=r"`tokens` must be a map of self-attention, but is \('y', 'x'\) instead"):
        attention_to(picture_map(np.ones((5, 7)), None), 0)
    with pytest.raises(ModelError, match="`grid` must be of at most 37 patches"):
        token_map(tokens, 0, (7, 7))
    with pytest.raises(ModelError, match="`layer` must be from -3 to 2, but is 3 instead"):
        picture_self_attention(model, images, layers=[3])
    tap = Tap(model.attention_sites())  # the last block has one row
    with torch.no_grad():
        model(images, tap=tap)
    with pytest.raises(ModelError, match=r"`blocks.2.self` must be self-attention among 37 tokens, with 3 heads, but"):
        self_attention(tap, labels=["x"] * 37)
    monkeypatch.setattr("multiattn.maps.tokens.MOST_BYTES", 40_000)
    message = "the self-attention of 1 x 37 tokens in 3 layers would take 0.0 GiB, and 1 GiB is the most"
    with pytest.raises(ModelError, match=message):
        picture_self_attention(model, images)
