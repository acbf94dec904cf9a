"""A disk that is full while features or a state are written."""

from pathlib import Path

import pytest

from multiattn.errors import MultiattnError
from tests.disks import small_disk

from .captioned import draw_captioned
from .conftest import train, write_config
from .test_features import prepared

pytestmark = [pytest.mark.slow, pytest.mark.training]


def test_while_features_are_written(tmp_path: Path) -> None:
    data = draw_captioned(tmp_path / "data", sizes={"train": 61})
    with small_disk(tmp_path / "disk", size="16k") as disk:
        with pytest.raises((MultiattnError, OSError)) as raised:
            prepared(data, disk / "features")
        said = str(raised.value)
        assert str(disk) in said and "No space left on device" in said
        assert "\n" not in said


def test_while_a_state_is_written(pictures: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size="100k") as disk:
        config = write_config(tmp_path / "c.yaml", root=pictures, run=disk / "run", workers=0)
        done = train("fit", "--config", config)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        *_, last = done.stderr.splitlines()
        assert str(disk) in last and "No space left on device" in last
        left = [path for path in (disk / "run").rglob("*") if path.is_file() and path.suffix not in (".csv", ".yaml")]
        assert all(path.name.startswith("events.out") for path in left), "a state that was begun is gone"
