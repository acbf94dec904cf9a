"""The folder of `--maps` is used by one run at a time."""

from pathlib import Path

import pytest

from multiattn.cli.map_files import MapFiles
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
