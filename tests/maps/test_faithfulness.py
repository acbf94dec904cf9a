import torch

from multiattn.maps import class_probability, deletion_scores, insertion_scores
from multiattn.models import ViT, ViTConfig

CONFIG = ViTConfig(image_size=(48, 32), patch_size=8, num_classes=2, dim=8, depth=1, num_heads=1, mlp_dim=8)


class Brightest(ViT):
    """Says class 1 as surely as the brightest pixel is bright."""

    def forward(self, images, *, tap=None):
        brightest = images.amax(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(brightest), brightest], dim=1)


def test_the_curve_is_the_mean_probability_along_the_way():
    images = torch.zeros(2, 3, 48, 32)
    images[:, :, 16:24, 16:24] = 24.0  # the one bright patch of 6 x 4, at row 2, column 2; the mean is 1
    maps = torch.zeros(2, 6, 4)
    maps[0, 2, 2], maps[1, 2, 2] = 1.0, -1.0  # the first picture's map points at it, the second's away from it
    sure, left = torch.sigmoid(torch.tensor(24.0)), torch.sigmoid(torch.tensor(1.0))
    # 17 points, from no patch touched to all: the patch goes at the first step, or at the very last
    expected = torch.stack([(1 * sure + 16 * left) / 17, (16 * sure + 1 * left) / 17])
    torch.testing.assert_close(deletion_scores(class_probability(Brightest(CONFIG), [1, 1]), images, maps), expected)
    expected = torch.stack([(1 * left + 16 * sure) / 17, (16 * left + 1 * sure) / 17])
    torch.testing.assert_close(insertion_scores(class_probability(Brightest(CONFIG), [1, 1]), images, maps), expected)


def test_the_target_is_the_class_that_is_watched():
    images, maps = torch.rand(3, 3, 48, 32), torch.rand(3, 6, 4)
    for scores in (deletion_scores, insertion_scores):
        watched = [scores(class_probability(Brightest(CONFIG), [target] * 3), images, maps) for target in (0, 1)]
        torch.testing.assert_close(watched[0] + watched[1], torch.ones(3))
