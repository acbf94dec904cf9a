"""Small disks in memory, for tests of what happens when one is full or may not be written."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, size: str) -> Iterator[Path]:
    """A file system of `size` (such as "300k") mounted at `folder`; the test is skipped where that is not allowed."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_read_only(folder: Path) -> None:
    """Let nobody write to a disk of `small_disk`, not even root."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def check_whole(folder: Path) -> list[str]:
    """Open every file of a folder of results and maps, and return their names; parts of files are no such."""
    import json

    import numpy as np
    from PIL import Image

    names = sorted(path.name for path in folder.iterdir())
    for path in map(folder.joinpath, names):
        match path.suffix:
            case ".png":
                with Image.open(path) as picture:
                    picture.load()
            case ".npz":
                assert np.isfinite(np.load(path)["values"]).all()
            case ".json":
                json.loads(path.read_text())
            case ".jsonl":
                assert [json.loads(line) for line in path.read_text().splitlines()] and path.read_text()[-1] == "\n"
            case ".html":
                assert path.read_text().rstrip().endswith("</html>")
            case _:
                raise AssertionError(f"{path.name} is left over")
    return names
