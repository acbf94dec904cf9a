"""The distance of a picture's features from those of the training pictures."""

from dataclasses import replace

import pytest
import torch

from multiattn.models.domain import Domain, fit_prototypes, with_threshold

# a thin cloud: in its last direction a small step is a large one
SPREAD = torch.tensor([3.0, 1.0, 1.0, 1.0, 0.5, 0.2, 0.1])


def cloud(seed: int, count: int, tokens: int) -> torch.Tensor:
    return torch.randn(count, tokens, 7, generator=torch.Generator().manual_seed(seed)) * SPREAD + 5


def test_the_distance_is_that_to_the_nearest_prototype_once_whitened() -> None:
    domain = replace(fit_prototypes(cloud(0, 300, 1), count=53), threshold=0.7)
    tokens = cloud(1, 11, 1)
    white = (tokens[:, 0] - domain.mean) @ domain.whitening
    expected = torch.stack([(domain.prototypes - row).norm(dim=1).min() for row in white]) / 0.7
    torch.testing.assert_close(domain.distances(tokens), expected, atol=1e-3, rtol=1e-3)


def test_the_worst_tokens_count() -> None:
    domain = fit_prototypes(cloud(0, 100, 13), count=31)
    tokens = cloud(1, 5, 13)
    each = domain.distances(tokens.reshape(-1, 1, 7)).view(5, 13)
    torch.testing.assert_close(domain.distances(tokens), each.topk(4).values.mean(dim=1), atol=1e-3, rtol=1e-3)
    assert torch.allclose(domain.distances(tokens[:, :3]), each[:, :3].mean(dim=1), atol=1e-3)


@pytest.mark.parametrize("tokens", [1, 13])
def test_a_share_of_like_pictures_is_marked_and_all_unlike_ones_are(tokens: int) -> None:
    domain = with_threshold(fit_prototypes(cloud(0, 500, tokens), count=211), [(cloud(1, 500, tokens), 0.05)])
    assert int((domain.distances(cloud(1, 500, tokens)) > 1).sum()) == 25
    shifted = cloud(2, 200, tokens) + torch.tensor([0.0, 0, 0, 0, 0, 0, 2])  # a step that the whitening makes long
    assert bool((domain.distances(shifted) > 1).all())


def test_the_strictest_group_decides() -> None:
    domain = fit_prototypes(cloud(0, 500, 1), count=211)
    wide = cloud(1, 500, 1) * 1.5 - 2.5
    both = with_threshold(domain, [(cloud(2, 500, 1), 0.1), (wide, 0.1)])
    assert int((both.distances(wide) > 1).sum()) == 50
    assert int((both.distances(cloud(2, 500, 1)) > 1).sum()) < 50


def test_prototypes_cover_rare_patches() -> None:
    rare = torch.full((1, 13, 7), 40.0)
    domain = fit_prototypes(torch.cat([cloud(0, 100, 13), rare]), count=5)
    assert float(domain.distances(rare)) < 0.1


def test_new_words_are_named_where_questions_are_checked() -> None:
    domain = fit_prototypes(cloud(0, 20, 1), count=3)
    assert domain.new_words("what color is the table?") == ()
    known = replace(domain, words=frozenset({"color", "circle"}))
    assert known.new_words("What COLOR is the table, the Table?") == ("table",)
    assert known.new_words("which color has the circle?") == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"whitening": torch.eye(5)}, r"`whitening` must be 7 x 7, but is \(5, 5\) instead"),
        ({"prototypes": torch.zeros(0, 7)}, r"`prototypes` must be some rows of 7, but is \(0, 7\) instead"),
        ({"prototypes": torch.zeros(3, 5)}, r"`prototypes` must be some rows of 7, but is \(3, 5\) instead"),
        ({"threshold": float("nan")}, "`threshold` must be above 0, but is nan instead"),
        ({"threshold": 0.0}, "`threshold` must be above 0, but is 0.0 instead"),
        ({"worst": 0}, "`worst` must be at least 1, but is 0 instead"),
    ],
)
def test_parts_that_do_not_fit(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(Domain(torch.zeros(7), torch.eye(7), torch.zeros(3, 7)), **change)
