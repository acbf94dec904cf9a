"""The sample pictures of our own are there, small, and what their script draws."""

from pathlib import Path

import numpy as np

from multiattn.inputs import find_images, load_image
from tests.make_inputs import truck

FOLDER = Path(__file__).parents[2] / "assets" / "inputs"


def test_the_sample_pictures_are_small_and_of_both_shapes() -> None:
    files = find_images([FOLDER])
    scenes = ["scene.png", "scene_count.png"]
    assert [file.name for file in files] == sorted(["airplane.png", "frog.png", "ship.png", "truck.png", *scenes])
    assert max(file.stat().st_size for file in files) < 150_000
    sizes = [load_image(file).size for file in files]
    assert any(width > height for width, height in sizes) and any(width < height for width, height in sizes)


def test_the_script_draws_the_shipped_picture() -> None:
    drawn = np.asarray(truck(), np.int16)
    shipped = np.asarray(load_image(FOLDER / "truck.png"), np.int16)
    assert np.abs(drawn - shipped).mean() < 1  # another PIL may smooth an edge a little differently
