import numpy as np
import torch

from multiattn.maps import MaskedInput, map_curves, masked_class
from multiattn.models import ViT, ViTConfig

CONFIG = ViTConfig(image_size=(48, 32), patch_size=8, num_classes=2, dim=8, depth=1, num_heads=1, mlp_dim=8)


class Brightest(ViT):
    """Says class 1 as surely as the brightest pixel is bright."""

    def forward(self, images, *, tap=None):
        brightest = images.amax(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(brightest), brightest], dim=1)


def test_the_curve_is_the_mean_probability_along_the_way():
    image = torch.zeros(3, 48, 32)
    image[:, 16:24, 16:24] = 24.0  # the one bright patch of 6 x 4, at row 2, column 2; the mean is 1
    masked = masked_class(Brightest(CONFIG), image, 1)
    at = np.zeros((6, 4), dtype=np.float32)
    at[2, 2] = 1.0
    sure, left = torch.sigmoid(torch.tensor(24.0)), torch.sigmoid(torch.tensor(1.0))
    # 17 points, from no patch touched to all: the patch goes at the first step, or at the very last
    early, late = map_curves(masked, [at, -at])
    torch.testing.assert_close(early.deletion, torch.stack([sure] + [left] * 16))
    torch.testing.assert_close(early.insertion, torch.stack([left] + [sure] * 16))
    torch.testing.assert_close(late.deletion, torch.stack([sure] * 16 + [left]))
    torch.testing.assert_close(late.insertion, torch.stack([left] * 16 + [sure]))


def test_the_target_is_the_class_that_is_watched():
    image, values = torch.rand(3, 48, 32), np.random.default_rng(0).random((6, 4))
    ((a,), (b,)) = (map_curves(masked_class(Brightest(CONFIG), image, target), [values]) for target in (0, 1))
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one + other, torch.ones(17))


def test_each_masked_input_is_computed_once():
    """Two maps of 23 cells in orders of which each is the other's reverse, and one that is the first again."""
    order = np.random.default_rng(1).permutation(23).astype(np.float32)
    seen = []

    def score(hidden):
        seen.extend(map(tuple, hidden.tolist()))
        return hidden.float() @ torch.arange(1.0, 24.0) / 276

    masked = MaskedInput((23,), score, 5, torch.device("cpu"))
    first, reverse, again = map_curves(masked, [order, 22 - order, order])
    assert len(seen) == len(set(seen)) < 3 * 34
    torch.testing.assert_close(first.insertion + first.deletion, torch.ones(17))
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    weights = np.arange(1.0, 24.0)[np.argsort(-order)]
    expected = [weights[: int(np.ceil(step * 23 / 16))].sum() / 276 for step in range(17)]
    np.testing.assert_allclose(first.deletion.numpy(), expected, rtol=1e-5)
    expected = [weights[::-1][: int(np.ceil(step * 23 / 16))].sum() / 276 for step in range(17)]
    np.testing.assert_allclose(reverse.deletion.numpy(), expected, rtol=1e-5)
