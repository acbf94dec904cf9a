"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from multiattn.writing import whole_file


def test_a_file_takes_its_place_once_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with whole_file(file) as part:
        part.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_what_fails_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), whole_file(file) as part:
        part.write_text("new")
        raise RuntimeError("stop")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_of_the_system_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as raised, whole_file(tmp_path / "no" / "a.txt") as part:
        part.write_text("new")
    assert raised.value.filename == str(tmp_path / "no" / "a.txt")
