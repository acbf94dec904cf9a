"""A click, or an arrow key, on a label shows the map that explains it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import PagePicture, write_page
from tests.export.pictures import picture_map, whole

pytestmark = pytest.mark.browser


def test_a_label_is_chosen(visit, tmp_path: Path) -> None:
    picture = Image.new("RGB", (70, 50), (90, 120, 90))
    drawn = np.random.default_rng(5)

    def explaining(label: str, method: str = "relevance"):
        values = drawn.random((5, 7)).astype(np.float32)
        return replace(picture_map(values, whole(picture), method=method), target=label)

    base, shared = explaining("fox"), replace(explaining("", "rollout"), target=None)
    page_picture = PagePicture(
        picture,
        "one.jpg",
        [("fox", 0.6), ("dog", 0.3), ("cat", 0.1)],
        [base, shared],
        label_maps=[[explaining("fox")], [explaining("dog")]],
    )
    write_page(tmp_path / "page.html", pictures=[page_picture], title="Labels")
    page = visit(tmp_path / "page.html")
    labels, origin = page.locator("input[name=label]"), page.locator("#origin")
    assert labels.count() == 2 and labels.nth(0).is_checked(), "cat has no map of its own"
    assert "fox" in origin.inner_text()
    labels.nth(1).check()
    assert "dog" in origin.inner_text()
    page.keyboard.press("ArrowUp")
    assert "fox" in origin.inner_text()
    labels.nth(1).check()
    page.get_by_label("rollout", exact=True).check()
    assert "dog" not in origin.inner_text(), "this map is the same for every label"
    page.get_by_label("relevance", exact=True).check()
    assert "dog" in origin.inner_text()
