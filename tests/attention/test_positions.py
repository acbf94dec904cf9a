import math

import pytest
import timm.layers as timm
import torch

from multiattn.attention import (
    LearnedPositions,
    Rotary,
    apply_rotary,
    rotary,
    rotary_2d,
    rotary_mixed,
    sinusoidal,
    sinusoidal_2d,
    start_frequencies,
)


def test_sinusoidal_is_the_formula():
    table = sinusoidal(11, 6)
    for n in range(11):
        for i in range(3):
            angle = n / 10_000 ** (i / 3)
            assert table[n, i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[n, 3 + i].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_sinusoidal_2d_tells_columns_then_rows():
    table = sinusoidal_2d(3, 5, 8).unflatten(0, (3, 5))
    assert torch.equal(table[:, :, :4], sinusoidal(5, 4).expand(3, 5, 4))
    assert torch.equal(table[:, :, 4:], sinusoidal(3, 4)[:, None].expand(3, 5, 4))


def test_learned_positions_resample_as_timm_does():
    timm = pytest.importorskip("timm.layers.pos_embed")
    positions = LearnedPositions((5, 7), 11, prefix=3)
    ours = positions((13, 3))
    theirs = timm.resample_abs_pos_embed(positions.weight, (13, 3), old_size=(5, 7), num_prefix_tokens=3)
    assert torch.equal(ours, theirs)
    assert positions((5, 7)) is positions.weight


def test_rotary_turns_each_pair_and_keeps_lengths():
    angles = rotary_2d(3, 5, 8, prefix=2)
    x = torch.randn(2, 3, 17, 8, generator=torch.Generator().manual_seed(0))
    turned = apply_rotary(x, angles)
    assert torch.equal(turned[:, :, :2], x[:, :, :2]), "prefix tokens do not turn"
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    row, col = 2, 4  # the second pair turns with the row, the fourth with the column
    token = 2 + row * 5 + col
    for pair, steps in ((1, row), (3, col)):
        angle = steps * 100 ** -(1 / 2)
        a, b = x[0, 0, token, pair], x[0, 0, token, pair + 4]
        expected = a * math.cos(angle) - b * math.sin(angle)
        torch.testing.assert_close(turned[0, 0, token, pair], expected)


def test_rotary_scores_depend_on_distance_alone():
    """Source: RoFormer, equation 11."""
    grid = rotary_2d(7, 7, 12)
    q, k = torch.randn(2, 12, generator=torch.Generator().manual_seed(3)).double()
    spread = [x.expand(1, 1, 49, 12) for x in (q, k)]
    angles = Rotary(grid.cos.double(), grid.sin.double())
    turned_q, turned_k = (apply_rotary(x, angles)[0, 0].unflatten(0, (7, 7)) for x in spread)
    near = turned_q[1, 2] @ turned_k[3, 5]
    far = turned_q[3, 1] @ turned_k[5, 4]
    torch.testing.assert_close(near, far, atol=1e-5, rtol=0)
    assert not torch.isclose(near, turned_q[1, 2] @ turned_k[5, 3], atol=1e-3), "row and column are told apart"


def test_rotary_of_a_sequence_turns_by_the_distance():
    """Source: RoFormer, equations 15 and 34."""
    angles = rotary(11, 6)
    x = torch.randn(1, 1, 11, 6, generator=torch.Generator().manual_seed(4))
    turned = apply_rotary(x, angles)
    for token in range(11):
        for pair in range(3):
            angle = token * 10_000 ** (-pair / 3)
            a, b = x[0, 0, token, pair], x[0, 0, token, pair + 3]
            torch.testing.assert_close(turned[0, 0, token, pair], a * math.cos(angle) - b * math.sin(angle))
            torch.testing.assert_close(turned[0, 0, token, pair + 3], b * math.cos(angle) + a * math.sin(angle))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sinusoidal(3, 5), "`dim` must be even for sinusoidal positions, but is 5"),
        (lambda: sinusoidal_2d(3, 3, 6), "`dim` must be a multiple of 4 for 2-D sinusoidal positions, but is 6"),
        (
            lambda: sinusoidal(3, 2, inclusive=True),
            "`dim` must be even and at least 4 for sinusoidal positions, but is 2",
        ),
        (lambda: rotary(3, 5), "`head_dim` must be even for rotary positions, but is 5"),
        (lambda: rotary_2d(3, 3, 6), "`head_dim` must be a multiple of 4 for 2-D rotary positions, but is 6"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("form", "theirs"),
    [
        ({"max_period": 10_000.0, "neighbors": True, "reference": (9, 2)}, {"ref_feat_shape": (9, 2)}),
        (
            {"max_period": 10_000.0, "neighbors": True, "offset": 1.0, "columns_first": True},
            {"grid_offset": 1.0, "grid_indexing": "xy"},
        ),
        (
            {"max_period": 100.0, "columns_first": True, "reference": (4, 8), "neighbors": True},
            {"temperature": 100.0, "grid_indexing": "xy", "ref_feat_shape": (4, 8)},
        ),
    ],
)
def test_axial_rotary_positions_are_timms(form, theirs):
    rope = timm.RotaryEmbeddingCat(12, in_pixels=False, feat_shape=(5, 7), **theirs)
    sin, cos = rope.get_embed().chunk(2, dim=-1)
    ours = rotary_2d(5, 7, 12, prefix=2, **form)
    torch.testing.assert_close(ours.cos[2:], cos, atol=3e-6, rtol=0)
    torch.testing.assert_close(ours.sin[2:], sin, atol=3e-6, rtol=0)
    x = torch.randn(2, 3, 35, 12, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([x[:, :, :2], x], dim=2)
    torch.testing.assert_close(
        apply_rotary(padded, ours)[:, :, 2:], timm.apply_rot_embed(x, sin, cos), atol=2e-5, rtol=0
    )


def test_centered_rotary_positions_are_dinov3s():
    sin, cos = timm.RotaryEmbeddingDinoV3(12, feat_shape=(5, 7)).get_embed().chunk(2, dim=-1)
    ours = rotary_2d(5, 7, 12, centered=True)
    torch.testing.assert_close(ours.cos, cos, atol=3e-6, rtol=0)
    torch.testing.assert_close(ours.sin, sin, atol=3e-6, rtol=0)


@pytest.mark.parametrize("columns_first", [True, False])
def test_mixed_rotary_positions_are_timms(columns_first):
    indexing = "xy" if columns_first else "ij"
    rope = timm.RotaryEmbeddingMixed(24, 2, 3, feat_shape=(5, 7), grid_indexing=indexing)
    for block, embedded in enumerate(rope.get_embed()):
        sin, cos = embedded.chunk(2, dim=-1)  # (h, n, d) each
        ours = rotary_mixed(5, 7, rope.freqs[:, block], prefix=1, columns_first=columns_first, neighbors=True)
        torch.testing.assert_close(ours.cos[:, 1:], cos, atol=3e-6, rtol=0)
        torch.testing.assert_close(ours.sin[:, 1:], sin, atol=3e-6, rtol=0)
        assert torch.equal(ours.cos[:, 0], torch.ones(3, 8))


def test_learned_frequencies_start_as_timms_do():
    """The lengths of both halves fall alike, and the halves are at right angles; each head has its own direction."""
    frequencies = torch.empty(2, 5, 3, 8)
    torch.manual_seed(0)
    start_frequencies(frequencies, period=10.0)
    size = frequencies.norm(dim=0)
    torch.testing.assert_close(size, (10 ** -(torch.arange(4) / 4)).repeat(2).expand(5, 3, -1))
    halves = frequencies.chunk(2, dim=-1)
    torch.testing.assert_close((halves[0] * halves[1]).sum(0), torch.zeros(5, 3, 4), atol=1e-6, rtol=0)
    angles = torch.atan2(frequencies[1, :, :, 0], frequencies[0, :, :, 0])
    assert angles.unique().numel() == 15
