"""Files, folders and patterns become a list of pictures in a stable order."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from multiattn.errors import InputError
from multiattn.inputs import find_images
from multiattn.inputs.files import PICTURES
from multiattn.inputs.walk import Unusable, natural


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


def test_natural_order() -> None:
    names = [
        "a",
        "A1",
        "a01",
        "a1",
        "a2b9",
        "a2b10",
        "a10",
        "a10b",
        "b",
        "B2",
        "c99999999999999999999",
        "c" + "9" * 21,
        "Ä",
    ]
    shuffled = random.Random(3).sample(names, len(names))
    assert sorted(shuffled, key=natural) == names


def test_folders_are_searched_in_natural_order(tmp_path: Path) -> None:
    names = ("img2.png", "img10.png", "Img11.png", "s9/b.png", "s9/x/1.png", "s10/a.png", "t.png")
    for name in reversed(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_images([tmp_path]) == [tmp_path / name for name in names]
    assert find_images([f"{tmp_path}/**/*.png"]) == [tmp_path / name for name in names]
    assert find_images([f"{tmp_path}/**"]) == [tmp_path / name for name in names]
    assert find_images([f"{tmp_path}/s*/**/?.png"]) == [tmp_path / name for name in names[3:6]]


def test_patterns_are_those_of_glob(folder: Path) -> None:
    import glob

    for pattern in (
        "**",
        "*",
        "**/*",
        "*/*",
        "*/**/*.webp",
        "sub/**/d.*",
        "[ab].*",
        "**/deep/*",
        "s?b/*",
        ".*/*",
        "*/.*/**/*",
    ):
        found = {Path(one) for one in glob.glob(f"{folder}/{pattern}", recursive=True)}
        expected = {one for one in found if one.is_file() and PICTURES.matches(one.name)}
        ours = [one for one in PICTURES.search(f"{folder}/{pattern}") if not isinstance(one, Unusable)]
        assert (set(ours), len(ours)) == (expected, len(expected)), pattern


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for name in ("root/b/1.png", "other/2.png", "other/deep/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (root / "a").symlink_to(root)  # a loop
    (root / "c").symlink_to(other)
    (root / "d").symlink_to(other)  # the same folder again
    (root / "e").symlink_to(root / "b")
    (other / "up").symlink_to(root)
    (root / "f.png").symlink_to("nowhere")  # for the reader to name
    (root / "g").symlink_to("nowhere")
    expected = [root / name for name in ("b/1.png", "c/2.png", "c/deep/3.png", "f.png")]
    assert find_images([root]) == expected
    assert find_images([f"{root}/**/*.png"]) == expected
    again = [root / "d" / name for name in ("2.png", "deep/3.png", "up/b/1.png", "up/f.png")]
    assert find_images([root, root / "d"]) == [*expected, *again]


def test_nothing_is_looked_at_ahead_of_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*(f"{i}.png" for i in range(97)), "x/1.png", "y/1.png", "z.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "98.png").symlink_to("0.png")
    looked, listed = [], []
    stat, scan = os.stat, os.scandir
    monkeypatch.setattr(os, "stat", lambda path, **how: (looked.append(path), stat(path, **how))[1])
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(path), scan(path))[1])
    found = PICTURES.search(tmp_path)
    assert next(found) == tmp_path / "0.png"
    assert (set(looked), listed) == ({tmp_path}, [tmp_path])
    assert [next(found) for _ in range(96)][-1] == tmp_path / "96.png"
    assert (set(looked), listed) == ({tmp_path}, [tmp_path])
    assert next(found) == tmp_path / "98.png"
    assert listed == [tmp_path]
    assert [next(found), *found] == [tmp_path / "x/1.png", tmp_path / "y/1.png"]
    assert listed == [tmp_path, tmp_path / "x", tmp_path / "y"]


@pytest.mark.skipif(not shutil.which("setpriv") or os.geteuid() != 0, reason="needs to become another user")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    code = (
        "import sys; from multiattn.inputs.files import PICTURES\n"
        "print([getattr(one, 'error', one) and str(getattr(one, 'error', one)) for one in PICTURES.search('.')])"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    subprocess.run(["chmod", "-R", "a+rX", tmp_path.parent, tmp_path], check=True)
    (tmp_path / "a").chmod(0o700)
    command = [*user, sys.executable, "-c", code]
    probe = [*user, sys.executable, "-c", "import multiattn.inputs.files"]
    if subprocess.run(probe, cwd=tmp_path, env=env, capture_output=True).returncode:
        pytest.skip("the other user cannot read this package")
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    closed = "`a` must be a folder that may be read, but opening it fails instead: Permission denied."
    assert done.stdout == f"{[closed, 'b/2.png', 'c.png']}\n"
