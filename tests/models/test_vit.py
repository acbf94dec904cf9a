import math
from dataclasses import replace

import jaxtyping
import pytest
import torch

from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.models import PRESETS, ViT, ViTConfig
from tests.reference import dot_product_scores, naive_weights

SIZES = {
    "image_size": (15, 21),
    "patch_size": 3,
    "num_classes": 5,
    "dim": 24,
    "depth": 2,
    "num_heads": 3,
    "mlp_dim": 29,
}
CONV = SIZES | {"image_size": (12, 20), "patch_size": 4}
CONFIGS = {
    "learned": ViTConfig(**SIZES),
    "no prefix rows, registers": ViTConfig(**SIZES, position_prefix=False, num_registers=2),
    "sinusoidal": ViTConfig(**SIZES, positions="sinusoidal"),
    "sinusoidal_2d, mean": ViTConfig(**SIZES, positions="sinusoidal_2d", class_token=False, pool="mean"),
    "rotary_2d, q/k norm": ViTConfig(**SIZES, positions="rotary_2d", qk_norm=True, qkv_bias=False),
    "clip": ViTConfig(**SIZES, stem_norm=True, patch_norm=True, stem_bias=False, activation="gelu_quick"),
    "class and mean": ViTConfig(**SIZES, num_registers=3, position_prefix="class", pool="class_mean"),
    "layer scale, pool norm": ViTConfig(**SIZES, layer_scale=0.1, pool="mean", pool_norm=True, final_norm=False),
    "rotary and learned, centered, RMS q/k norm": ViTConfig(
        **SIZES, positions="learned_rotary_2d", rotary="centered", norm="rms", qk_norm=True, scale_feedforward=False
    ),
    "rotary by columns, scaled": ViTConfig(
        **SIZES,
        positions="rotary_2d",
        rotary_order="columns",
        rotary_pairs="neighbors",
        rotary_grid=(3, 9),
        rotary_offset=1.0,
        num_registers=1,
    ),
    "rotary of learned frequencies": ViTConfig(
        **SIZES, positions="rotary_2d", rotary="mixed", rotary_pairs="neighbors"
    ),
    "relative bias": ViTConfig(**SIZES, positions="none", relative_bias="block", pool="mean"),
    "relative bias, the same in all blocks": ViTConfig(**SIZES, relative_bias="shared", num_registers=1),
    "fewer heads of k and v": ViTConfig(**SIZES | {"num_heads": 4}, num_kv_heads=(4, 2)),
    "distilled": ViTConfig(**SIZES, distilled=True, num_registers=1),
    "attention pooling, inner norms": ViTConfig(
        **SIZES, class_token=False, pool="attention", attention_norm=True, mlp_norm=True
    ),
    "attention pooling of all tokens, RMSNorm, SwiGLU": ViTConfig(
        **SIZES,
        pool="attention",
        pool_prefix=True,
        pool_heads=2,
        pool_mlp_dim=31,
        norm="rms",
        gated=True,
        activation="silu",
        branch_bias=False,
    ),
    "mean of all tokens": ViTConfig(**SIZES, pool="mean", pool_prefix=True),
    "conv stem": ViTConfig(**CONV, stem="conv", stem_channels=(5, 7), stem_strides=(2, 2)),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request):
    torch.manual_seed(0)
    model = ViT(request.param).eval()
    for table in model.relative_bias:  # they start at 0
        torch.nn.init.normal_(table.weight)
    return model


def pictures(model, batch=2):
    return torch.randn(batch, 3, *model.config.image_size, generator=torch.Generator().manual_seed(1))


def test_forward_is_the_head_on_the_features(model):
    """The shortcut of the last block's one row changes nothing."""
    c, images = model.config, pictures(model)
    tokens = model.features(images)
    assert tokens.shape == (2, model.num_prefix_tokens + model.grid(c.image_size)[0] * model.grid(c.image_size)[1], 24)
    read = tokens if c.pool_prefix else tokens[:, model.num_prefix_tokens :]
    if c.pool == "attention":
        pooled = model.pool(read)
    elif c.pool == "class":
        pooled = torch.cat([tokens[:, 0], tokens[:, 1]], dim=1) if c.distilled else tokens[:, 0]
    else:
        pooled = read.mean(1) if c.pool == "mean" else torch.cat([tokens[:, 0], read.mean(1)], 1)
    if model.pool_norm is not None:
        pooled = model.pool_norm(pooled)
    torch.testing.assert_close(model(images), model.head(pooled), atol=1e-6, rtol=0)


def test_a_learned_query_attends_to_the_tokens_that_are_read():
    config = CONFIGS["attention pooling of all tokens, RMSNorm, SwiGLU"]
    torch.manual_seed(0)
    model = ViT(config).eval()
    images = pictures(model)
    tap = Tap(model.attention_sites())
    pooled = model.pooled(images, tap=tap)
    tokens, pool = model.features(images), model.pool
    q = pool.attention.q(pool.query).expand(2, -1, -1).unflatten(-1, (2, 12)).transpose(1, 2)
    k, v = pool.attention.kv(tokens).unflatten(-1, (2, 2, 12)).permute(2, 0, 3, 1, 4)
    weights = naive_weights(dot_product_scores(q, k))
    torch.testing.assert_close(tap.weights["pool.cross"].double(), weights, atol=1e-6, rtol=0)
    mixed = pool.attention.out((weights @ v.double()).transpose(1, 2).flatten(2).float())
    expected = mixed + pool.feedforward(pool.norm(mixed))
    torch.testing.assert_close(pooled, expected[:, 0], atol=1e-5, rtol=0)


def test_a_distilled_model_without_a_head_returns_the_mean_of_its_two_tokens():
    model = ViT(replace(CONFIGS["distilled"], num_classes=0)).eval()
    images = pictures(model)
    torch.testing.assert_close(model(images), model.features(images)[:, :2].mean(1), atol=1e-6, rtol=0)


def test_any_input_size_of_whole_patches_runs(model):
    p = model.config.patch_size
    assert model(torch.randn(2, 3, 7 * p, 3 * p)).shape == (2, 5)
    with pytest.raises(ModelError, match=rf"multiples of the patch size \({p}\), but are {p + 1} x {p} instead"):
        model(torch.randn(2, 3, p + 1, p))


def test_every_parameter_gets_a_gradient(model):
    model.train()
    model(pictures(model)).square().sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # a key bias adds the same number to every score of a query; its gradient is rounding noise or zero
    assert idle == []


def test_items_of_a_batch_do_not_meet(model):
    images = pictures(model, 3)
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]), atol=1e-6, rtol=0)


def test_positions_matter(model):
    """Patches in another order are another picture."""
    images = pictures(model)
    assert not torch.allclose(model(images), model(images.flip(-1)), atol=1e-5)


def test_stochastic_depth_and_dropout_are_for_training_only():
    model = ViT(replace(CONFIGS["learned"], stochastic_depth=0.5, dropout=0.3, attention_dropout=0.3))
    images = pictures(model)
    model.eval()
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))


@pytest.mark.parametrize(
    ("name", "millions"), [("tiny", 5.717), ("small", 22.051), ("base", 86.568), ("large", 304.327)]
)
def test_presets_have_the_published_numbers_of_parameters(name, millions):
    """Source: timm's results table, column param_count, for vit_*_patch16_224."""
    with torch.device("meta"):
        count = sum(p.numel() for p in ViT(PRESETS[name]).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=1e-3)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_built(name):
    with torch.device("meta"):
        model = ViT(PRESETS[name])
        assert model(torch.empty(1, 3, *PRESETS[name].image_size)).shape == (1, PRESETS[name].num_classes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"class_token": False}, "`class_token` must be true where `pool` is 'class'"),
        ({"rotary_period": 0.0}, "`rotary_period` must be above 0 and finite, but is 0.0"),
        ({"rotary_offset": math.nan}, "`rotary_offset` must be finite, but is nan"),
        ({"rotary_grid": (3, 0)}, r"`rotary_grid` must be a number of rows .*, but is \(3, 0\)"),
        (
            {"num_kv_heads": (2, 3)},
            r"`num_kv_heads` must be a divisor of `num_heads` \(3\) for each of 2 blocks, or \(\), but is \(2, 3\)",
        ),
        (
            {"num_kv_heads": (3, 1), "positions": "rotary_2d", "rotary": "mixed"},
            r"`num_kv_heads` must be \(\) .* where each head has rotary frequencies of its own, but is \(3, 1\)",
        ),
        (
            {"relative_bias": "block", "attention": "lsh"},
            "`relative_bias` must be 'none' with `lsh` attention or reversible blocks, but is 'block'",
        ),
        (
            {"rotary": "mixed", "reversible": True},
            "`rotary` must be the same in all reversible blocks, but is 'mixed'",
        ),
        ({"num_kv_heads": (3,)}, r"`num_kv_heads` must be .* for each of 2 blocks, .* but is \(3,\)"),
        ({"pool": "mean", "distilled": True}, "`distilled` must be false where `pool` is not 'class', but is True"),
        ({"pool_prefix": True}, "`pool_prefix` must be false where `pool` is 'class', but is True"),
        ({"pool": "attention", "pool_heads": 5}, r"`pool_heads` must be a divisor of `dim` \(24\) where .*, but is 5"),
        ({"pool": "attention", "pool_heads": 0}, "`pool_heads` must be at least 1, but is 0"),
        ({"pool_heads": 3}, "`pool_heads` must be .* and None elsewhere, but is 3"),
        ({"pool_mlp_dim": 3}, "`pool_mlp_dim` must be None where `pool` is not 'attention', but is 3"),
        ({"class_token": False, "pool": "class_mean"}, "`class_token` must be true where `pool` is 'class_mean'"),
        (
            {"class_token": False, "pool": "mean", "position_prefix": "class"},
            "`position_prefix` must be true or false where there is no `class_token`",
        ),
        ({"stem": "conv"}, r"`stem_channels` must be the channels of a conv stem, .*, but is \(\) instead"),
        (
            {"stem_channels": (3,)},
            r"`stem_channels` must be the channels of a conv stem, and \(\) for another, but is \(3,\) instead",
        ),
        (
            {"stem": "conv", "stem_channels": (5,), "stem_strides": (2,)},
            r"`stem_strides` must be strides whose product is `patch_size` \(3\), but is \(2,\) instead",
        ),
        ({"num_heads": 5}, r"`dim` must be a multiple of `num_heads` \(5\), but is 24"),
        ({"dim": 21, "positions": "sinusoidal"}, "`dim` must be a multiple of 2 for sinusoidal positions"),
        ({"dim": 18, "positions": "sinusoidal_2d"}, "`dim` must be a multiple of 4 for sinusoidal_2d positions"),
        ({"dim": 18, "positions": "rotary_2d"}, "`dim` must be a multiple of 12 for rotary_2d positions with 3 heads"),
        ({"image_size": (15, 2)}, r"`image_size` must be a .* of at least a patch \(3\), but is \(15, 2\) instead"),
        (
            {"stem": "conv", "stem_channels": (5, 0), "stem_strides": (3, 1)},
            r"`stem_channels` must be at least 1 each, but is \(5, 0\) instead",
        ),
        (
            {"stem": "conv", "stem_channels": (5, 7), "stem_strides": (-3, -1)},
            r"`stem_strides` must be at least 1 each, but is \(-3, -1\) instead",
        ),
        *(
            ({name: value}, f"`{name}` must be at least 1, but is {value} instead")
            for name in ("patch_size", "in_channels", "dim", "depth", "num_heads", "mlp_dim")
            for value in (0, -2)
        ),
        *(({name: -1}, f"`{name}` must be at least 0, but is -1 instead") for name in ("num_classes", "num_registers")),
        *(
            ({"norm_eps": value}, f"`norm_eps` must be above 0 and finite, but is {value} instead")
            for value in (0.0, -1.0, math.inf, math.nan)
        ),
        *(
            ({name: value}, f"`{name}` must be at least 0 and below 1, but is {value} instead")
            for name in ("dropout", "attention_dropout", "stochastic_depth")
            for value in (1.0, -0.1, math.nan)
        ),
    ],
)
def test_refusals(fields, message):
    with pytest.raises(ValueError, match=message):
        ViTConfig(**SIZES | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"positions": "odd"}, "`positions` must be one of learned, sinusoidal, .*, but is 'odd' instead"),
        ({"image_size": [15]}, r"`image_size` must be a height and a width .*, but is \(15,\) instead"),
    ],
)
def test_refusals_of_what_no_type_checker_sees(fields, message, monkeypatch):
    """A YAML file has any value; the tests' own checker of types would come first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        ViTConfig(**SIZES | fields)
