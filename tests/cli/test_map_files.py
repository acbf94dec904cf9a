"""The folder of `--maps` is used by one run at a time."""

from pathlib import Path

import pytest

from multiattn.cli.map_files import FreeNames, MapFiles
from multiattn.cli.map_options import MAP_FORMATS
from multiattn.errors import MultiattnError


def test_a_second_run_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    first = MapFiles(tmp_path / "maps", MAP_FORMATS)
    with pytest.raises(MultiattnError, match=r"^--maps .*/maps must be a folder that no other process writes to, but"):
        MapFiles(tmp_path / "maps", MAP_FORMATS)
    del first
    (tmp_path / "maps" / ".cat.png.0123456789ab.part").touch()  # of a run that was killed
    second = MapFiles(tmp_path / "maps", MAP_FORMATS)
    assert list((tmp_path / "maps").iterdir()) == []
    del second


def test_names_are_short_enough_for_a_file_and_differ_where_macos_takes_them_for_one() -> None:
    free = FreeNames()
    long = "\u00e4" * 124  # 248 bytes, which a file system allows
    names = [free.of(f"{folder}/{long}.png") for folder in "ab"]
    assert len(set(names)) == 2 and all(len(f"{name}.2.relevance.question.npz.part".encode()) < 256 for name in names)
    assert [free.of(name) for name in ("caf\u00e9.png", "cafe\u0301.png", "CAF\u00c9.png")] == [
        "caf\u00e9",
        "cafe\u0301-2",
        "CAF\u00c9-3",
    ]
