"""Two towers: padding changes nothing, the pooled token is the right one, and the logits are those of the formula."""

from dataclasses import replace

import pytest
import torch

from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.models import TextTower, TextTowerConfig, TwoTowers, TwoTowersConfig, ViTConfig
from tests.fixtures import tiny_match_bundle

CAUSAL = TextTowerConfig(
    vocab_size=31, dim=14, depth=2, num_heads=2, mlp_dim=23, max_length=11, start_token=29, end_token=30, pad_token=0
)
FIXED = replace(CAUSAL, causal=False, pool="last", fixed_length=True, has_start=False, end_token=1, pad_token=1)


def tower(config: TextTowerConfig) -> TextTower:
    torch.manual_seed(5)
    model = TextTower(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


ROWS = [(7, 3), (4, 9, 9, 2, 5), (8,)]


@pytest.mark.parametrize("config", [CAUSAL, replace(CAUSAL, causal=False), replace(CAUSAL, pool="highest"), FIXED])
def test_a_text_among_longer_ones_is_the_text_alone(config: TextTowerConfig) -> None:
    model = tower(config)
    rows = [config.framed(row) for row in ROWS]
    tokens, mask = config.padded(rows)
    assert tokens.shape == ((3, 11) if config.fixed_length else (3, 7))
    with torch.inference_mode():
        together = model(tokens, mask)
        for row, state in zip(rows, together, strict=True):
            torch.testing.assert_close(model(torch.tensor([row]))[0], state, rtol=1e-5, atol=1e-6)
        scrambled = tokens.masked_fill(~mask, 13)  # what stands where padding is does not count
        assert torch.equal(model(scrambled, mask), together)


def test_special_tokens_and_cut() -> None:
    assert CAUSAL.framed(range(2, 25)) == (29, *range(2, 11), 30)
    assert FIXED.framed(range(2, 25)) == (*range(2, 12), 1)
    assert (CAUSAL.longest, FIXED.longest) == (9, 10)


def test_the_state_is_that_of_the_pooled_token() -> None:
    tokens = torch.tensor([[29, 4, 30, 7, 30, 5], [29, 4, 6, 7, 2, 30]])
    for pool, columns in (("end", (2, 5)), ("highest", (2, 5))):
        model = tower(replace(CAUSAL, pool=pool))
        with torch.inference_mode():
            features = model.features(tokens)
            expected = torch.stack([features[i, column] for i, column in enumerate(columns)])
            assert torch.equal(model(tokens), expected)
    other = torch.tensor([[29, 4, 6, 28, 5, 2]])  # the highest token is not the end token, which is missing
    with torch.inference_mode():
        assert tower(replace(CAUSAL, pool="highest")).read_at(other).tolist() == [0]
        assert tower(replace(CAUSAL, pool="highest")).read_at(other[:, 1:]).tolist() == [2]
        assert tower(FIXED).read_at(tokens).tolist() == [5, 5]


def test_a_causal_tower_reads_nothing_after_the_end() -> None:
    tokens, other = torch.tensor([[29, 4, 30, 7]]), torch.tensor([[29, 4, 30, 9]])
    with torch.inference_mode():
        assert torch.equal(tower(CAUSAL)(tokens), tower(CAUSAL)(other))
        free = tower(replace(CAUSAL, causal=False))
        assert not torch.allclose(free(tokens), free(other))


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_logits_are_scaled_cosines(scores) -> None:
    bundle = tiny_match_bundle(scores)
    model = bundle.require(TwoTowers)
    images = torch.randn(2, 3, 15, 35, generator=torch.Generator().manual_seed(3))
    config = model.config.text
    tokens, mask = config.padded([config.framed(row) for row in ROWS])
    with torch.inference_mode():
        vision = model.vision.pooled(images) @ model.vision_projection.weight.T
        text = model.text(tokens, mask) @ model.text_projection.weight.T
        if scores == "sigmoid":
            text = text + model.text_projection.bias
        cosine = torch.nn.functional.cosine_similarity(vision[:, None], text[None], dim=-1)  # (b, r)
        expected = torch.e**1.1 * cosine - (0.7 if scores == "sigmoid" else 0)
        found = model(images, tokens, mask)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(model.similarities(found), cosine)


def test_a_tap_changes_nothing_and_finds_both_towers() -> None:
    model = tiny_match_bundle().require(TwoTowers)
    images, tokens = torch.randn(2, 3, 15, 35), torch.tensor([[1, 5, 6, 2]])
    sites = model.attention_sites((15, 35), tokens=4)
    assert [site.name for site in sites] == [f"{part}.blocks.{i}.self" for part in ("vision", "text") for i in range(3)]
    tap = Tap(sites)
    with torch.inference_mode():
        assert torch.equal(model(images, tokens, tap=tap), model(images, tokens))
    assert list(tap.weights) == [site.name for site in sites]
    for site in sites:
        found = tap.weights[site.name]
        assert found.shape[-2:] == (site.q_len, site.k_len)
        torch.testing.assert_close(found.sum(-1), torch.ones(found.shape[:-1]))


def test_a_text_that_is_too_long() -> None:
    with pytest.raises(ModelError, match="a text may have 11 tokens, special ones and padding included, but has 12"):
        tower(CAUSAL)(torch.ones(1, 12, dtype=torch.long))


VISION = ViTConfig(image_size=(15, 35), patch_size=5, num_classes=0, dim=22, depth=1, num_heads=2, mlp_dim=13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision": replace(VISION, num_classes=3)}, "`vision.num_classes` must be 0, but is 3 instead"),
        ({"dim": 0}, "`dim` must be at least 1, but is 0 instead"),
        ({"vision_projection": False}, r"`vision.dim` must be `dim` \(17\) without a projection, but is 22 instead"),
        ({"text_projection": False}, r"`text.dim` must be `dim` \(17\) without a projection, but is 14 instead"),
    ],
)
def test_what_cannot_be_built(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        TwoTowersConfig(**{"vision": VISION, "text": CAUSAL, "dim": 17, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_length": 2}, "`max_length` must be above 2, the special tokens of a text, but is 2 instead"),
        ({"pool": "last"}, "`pool` must be 'end' or 'highest' where texts have no fixed length, but is 'last' instead"),
    ],
)
def test_what_no_text_tower_can_be(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CAUSAL, **change)
