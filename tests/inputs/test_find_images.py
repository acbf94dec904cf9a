"""Files, folders and patterns become a list of pictures in a stable order."""

from pathlib import Path

import pytest

from multiattn.errors import InputError
from multiattn.inputs import find_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hidden = ("._a.jpg", ".ipynb_checkpoints/a.jpg", "sub/.trash/deep/a.jpg")
    for name in ("b.PNG", "a.jpg", "sub/deep/c.webp", "notes.txt", *hidden, "sub/d.tif", "cat[1].jpg"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    (tmp_path / "folder.jpg").mkdir()
    return tmp_path


def test_a_folder_is_searched_through_and_sorted(folder: Path) -> None:
    names = ("a.jpg", "b.PNG", "cat[1].jpg", "sub/d.tif", "sub/deep/c.webp")
    assert find_images([folder]) == [folder / name for name in names]
    assert find_images([str(folder)]) == find_images([folder])


def test_a_file_is_taken_whatever_its_suffix_and_the_order_is_kept(folder: Path) -> None:
    paths = [folder / "notes.txt", folder / "sub", folder / "a.jpg", folder / "a.jpg"]
    expected = ["notes.txt", "sub/d.tif", "sub/deep/c.webp", "a.jpg", "a.jpg"]
    assert find_images(paths) == [folder / name for name in expected]


def test_a_pattern_gives_the_pictures_it_matches(folder: Path) -> None:
    assert find_images([f"{folder}/*"]) == [folder / name for name in ("a.jpg", "b.PNG", "cat[1].jpg")]
    assert find_images([f"{folder}/**/*.webp"]) == [folder / "sub/deep/c.webp"]
    assert find_images([folder / "cat[1].jpg"]) == [folder / "cat[1].jpg"]  # a file of that name comes first


def test_nothing_to_be_found_is_an_error(folder: Path) -> None:
    bare = folder / "folder.jpg"
    for path, message in (
        (bare, f"`{bare}` must hold at least one picture, but holds none instead. Pictures end in .avif, .bmp, "),
        (f"{folder}/*.bmp", f"`{folder}/*.bmp` must match at least one picture, but matches none instead."),
        (folder / "gone.jpg", f"`{folder}/gone.jpg` must be a file or folder, but is missing instead. Check the path."),
    ):
        with pytest.raises(InputError) as caught:
            find_images([path])
        assert str(caught.value).startswith(message)


def test_a_lone_text_is_not_taken_for_a_list() -> None:
    with pytest.raises(InputError, match=r"`paths` must be a list of paths, .* Write \['photos'\]."):
        find_images("photos")
    assert find_images([]) == []
