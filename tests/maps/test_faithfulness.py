import numpy as np
import torch

from multiattn.maps import deletion_curve, deletion_score, insertion_curve, insertion_score, masked_class
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
    for values, early in ((at, True), (-at, False)):
        torch.testing.assert_close(
            deletion_curve(masked, values), torch.stack([sure] * (1 if early else 16) + [left] * (16 if early else 1))
        )
        torch.testing.assert_close(
            insertion_curve(masked, values), torch.stack([left] * (1 if early else 16) + [sure] * (16 if early else 1))
        )
        deletion, insertion = (sure + 16 * left) / 17, (left + 16 * sure) / 17
        expected = (deletion, insertion) if early else (insertion, deletion)
        np.testing.assert_allclose(
            [deletion_score(masked, values), insertion_score(masked, values)], expected, rtol=1e-6
        )


def test_the_target_is_the_class_that_is_watched():
    image, values = torch.rand(3, 48, 32), np.random.default_rng(0).random((6, 4))
    for curve in (deletion_curve, insertion_curve):
        watched = [curve(masked_class(Brightest(CONFIG), image, target), values) for target in (0, 1)]
        torch.testing.assert_close(watched[0] + watched[1], torch.ones(17))
