"""Relative positions against loops over pairs of patches, and their resampling against timm's."""

import pytest
import torch
from timm.layers import resize_rel_pos_bias_table

from multiattn.attention import GridBias

H = 3


def bias_of(grid, *, prefix=1):
    module = GridBias(grid, H, prefix=prefix)
    torch.nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(0))
    return module


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize("grid", [(3, 5), (1, 2)])
def test_each_pair_has_the_row_of_its_distance(grid, prefix):
    rows, cols = grid
    module = bias_of(grid, prefix=prefix)
    found = module(grid)
    n = prefix + rows * cols
    assert found.shape == (1, H, n, n)
    distances = (2 * rows - 1) * (2 * cols - 1)
    for i in range(n):
        for j in range(n):
            if i < prefix or j < prefix:
                row = distances + (2 if i < prefix and j < prefix else 0 if i < prefix else 1)
            else:
                down = (i - prefix) // cols - (j - prefix) // cols
                across = (i - prefix) % cols - (j - prefix) % cols
                row = (down + rows - 1) * (2 * cols - 1) + across + cols - 1
            assert torch.equal(found[0, :, i, j], module.weight[row])


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, about how timm's function calls it
@pytest.mark.parametrize("old, new", [((3, 5), (6, 7)), ((7, 7), (3, 4)), ((2, 3), (2, 4)), ((14, 14), (24, 24))])
def test_another_grid_has_timms_resampled_table(old, new):
    module, resized = bias_of(old), bias_of(new)
    entries = (2 * new[0] - 1) * (2 * new[1] - 1) + 3
    with torch.no_grad():
        table = resize_rel_pos_bias_table(module.weight, new, (entries, H), old_window_size=old)
        resized.weight.copy_(table)
    torch.testing.assert_close(module(new), resized(new), atol=2e-6, rtol=0)


def test_each_row_of_the_table_is_trained():
    module = bias_of((3, 4))
    module((3, 4)).square().sum().backward()
    assert (module.weight.grad.abs().sum(-1) > 0).all()
