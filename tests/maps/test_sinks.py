"""Sinks on attention that was made for it, and on a model whose attention is computed again in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.maps.sinks import LAYERS, ROWS, TIMES, find_sinks, patch_sinks, picture_sinks, sink_tap, without_sinks
from multiattn.models import ViT, ViTConfig
from tests.export.pictures import picture_map, words_map

N, HEADS, DEPTH = 41, 3, 8


def even(seed: int = 0) -> list[torch.Tensor]:
    """Attention of each layer that goes almost evenly to all tokens."""
    generator = torch.Generator().manual_seed(seed)
    scores = 0.2 * torch.randn(DEPTH, HEADS, N, N, generator=generator)
    return list(scores.softmax(dim=-1))


def park(weights: torch.Tensor, token: int, share: float, rows: range = range(N)) -> None:
    """Let rows give a token this share of their attention, and the others the rest."""
    for row in rows:
        weights[:, row] *= (1 - share) / (1 - weights[:, row, token : token + 1])
        weights[:, row, token] = share


def test_even_attention_has_no_sinks():
    assert find_sinks(even()) == []


def test_a_token_that_most_rows_attend_to_in_many_layers_is_a_sink():
    weights = even()
    for layer in (1, 4):
        park(weights[layer], 17, 0.4)
        park(weights[layer], 5, 0.3)
    assert find_sinks(weights) == [5, 17]
    # the same where only one head parks attention, as long as the mean is enough
    weights = even(1)
    for layer in (1, 4):
        park(weights[layer][:1], 17, 0.9)
    assert find_sinks(weights) == [17]


def test_an_object_is_no_sink():
    weights = even()
    for layer in range(DEPTH):  # a third of the patches, those of the object, look at one of them
        park(weights[layer], 17, 0.5, range(N // 3))
    park(weights[3], 29, 0.5)  # what one layer gathers is no sink either
    assert find_sinks(weights) == []


@pytest.mark.parametrize("more", [-1, 0])
def test_the_rule_at_its_bounds(more):
    weights = [torch.full((HEADS, N, N), 1 / N) for _ in range(DEPTH)]
    rows = range(int(np.ceil(ROWS * N)) + more)
    for layer in range(max(2, int(np.ceil(LAYERS * DEPTH)))):
        park(weights[layer], 7, 1.01 * TIMES / N, rows)
    assert find_sinks(weights) == ([7] if more == 0 else [])
    weights = [torch.full((HEADS, N, N), 1 / N) for _ in range(DEPTH)]
    for layer in range(2 + more):
        park(weights[layer], 7, 1.01 * TIMES / N)
    assert find_sinks(weights) == ([7] if more == 0 else [])


def test_the_first_token_of_a_causal_text_is_found_and_short_texts_have_none():
    causal = torch.ones(N, N).tril()
    weights = [(causal / causal.sum(dim=1, keepdim=True)).repeat(HEADS, 1, 1) for _ in range(DEPTH)]
    assert find_sinks(weights) == []
    for layer in (2, 5):
        for row in range(1, N):
            weights[layer][:, row, 1 : row + 1] = 0.3 / row
            weights[layer][:, row, 0] = 0.7
    assert find_sinks(weights) == [0]
    assert find_sinks([one[:, :9, :9] for one in weights]) == []
    assert find_sinks([one[:, -1:] for one in weights]) == []


def test_those_of_a_picture_are_patches():
    torch.manual_seed(3)
    config = ViTConfig(image_size=(28, 44), patch_size=4, dim=24, depth=4, num_heads=2, num_classes=5, num_registers=2)
    model = ViT(config).eval()
    rows, columns, prefix = 7, 11, 3
    corner = prefix + (rows - 1) * columns
    images = torch.randn(2, 3, 28, 44)
    with torch.no_grad():
        # all queries have a part in common, and in two layers the key of one place answers it
        model.positions.weight[0, corner, 0] += 99
        for block in model.blocks[1:3]:
            block.attention.qkv.bias[:24] = 0.5
            block.attention.qkv.weight[24:48, 0] = 0.6
    tap = Tap(model.attention_sites(of="features"))
    with torch.no_grad():
        model.features(images, tap=tap)
    naive = []
    for i in range(2):
        many = np.zeros(prefix + rows * columns)
        for weights in tap.weights.values():
            mean = weights[i].numpy().mean(axis=0)  # [q, k]
            many += (mean * mean.shape[1] >= TIMES).mean(axis=0) >= ROWS
        naive.append([divmod(int(t) - prefix, columns) for t in np.flatnonzero(many >= 2) if t >= prefix])
    found = picture_sinks(model, images)
    assert [list(one) for one in found] == naive
    assert all((rows - 1, 0) in one for one in found)
    one_row = sink_tap(model, (28, 44), of="forward")  # the last block computes one row
    assert one_row is not None and len(one_row.sites) == 3
    with torch.no_grad():
        model.pooled(images, tap=one_row)
    assert all((rows - 1, 0) in one for one in patch_sinks(one_row, (rows, columns), 2))
    assert sink_tap(ViT(replace(config, depth=1)), (28, 44)) is None and patch_sinks(None, (7, 11), 2) == [(), ()]


def test_sinks_are_taken_out_of_a_map():
    values = np.random.default_rng(3).random((3, 5, 7))
    values[:, 0, 0] = 9.0
    for one in (words_map(values, ("a", "b", "c"), None), picture_map(values[0], None)):
        found = without_sinks(one, [(0, 0), (2, 3)])
        lowest = np.delete(one.values.reshape(-1, 35), [0, 17], axis=1).min(axis=1)
        cells = found.values.reshape(-1, 35)
        np.testing.assert_array_equal(cells[:, [0, 17]], np.stack([lowest, lowest], axis=1))
        np.testing.assert_array_equal(
            np.delete(cells, [0, 17], axis=1), np.delete(one.values.reshape(-1, 35), [0, 17], axis=1)
        )
        assert found.note.endswith("Without 2 sinks, patches that most others attend to.")
    assert without_sinks(one, ()) is one


def test_what_cannot_be_taken_out_is_named():
    one = picture_map(np.ones((5, 7)), None)
    with pytest.raises(ModelError, match=r"`sinks` must be patches of a grid of 5 x 7, but is \[\(5, 0\)\] instead"):
        without_sinks(one, [(5, 0)])
    with pytest.raises(ModelError, match="`sinks` must be fewer than all patches"):
        without_sinks(picture_map(np.ones((1, 1)), None), [(0, 0)])
