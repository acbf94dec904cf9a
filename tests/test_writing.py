"""Files and folders are written whole or not at all, and a folder is used by one process at a time."""

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.errors import InputError, MultiattnError
from multiattn.writing import (
    FolderLock,
    remove_parts,
    whole_file,
    whole_folder,
    write_bytes,
    write_json,
    write_text,
)
from tests.disks import small_disk


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; the test is skipped where it cannot be mounted."""
    with small_disk(tmp_path / "small", size="256k") as folder:
        yield folder


def test_a_file_takes_its_place_once_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with whole_file(file) as part:
        part.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [RuntimeError("stop"), InputError("stop"), KeyboardInterrupt("stop")], ids=repr)
def test_what_fails_leaves_the_old_file_and_no_part(error: BaseException, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(type(error), match="stop"), whole_file(file) as part:
        part.write_text("new")
        raise error
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_of_the_system_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as raised, whole_file(tmp_path / "no" / "a.txt") as part:
        part.write_text("new")
    assert raised.value.filename == str(tmp_path / "no" / "a.txt")


def test_an_error_about_another_file_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, whole_file(tmp_path / "a.txt"):
        (tmp_path / "source.txt").read_text()
    assert raised.value.filename == str(tmp_path / "source.txt")


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(FileNotFoundError) as raised, whole_file(folder / "a.txt") as part:
        part.write_text("new")
        folder.rename(tmp_path / "elsewhere")
    assert raised.value.filename == str(folder / "a.txt")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as raised:
        write_bytes(tmp_path, b"new")
    assert raised.value.filename == str(tmp_path)


def test_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mode() -> int:
        return stat.S_IMODE((tmp_path / "a").stat().st_mode)

    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "a") as part:
            part.write_bytes(b"new")
            part.chmod(0o600)  # as safetensors does
    finally:
        os.umask(before)
    assert mode() == 0o640
    (tmp_path / "a").chmod(0o604)
    write_bytes(tmp_path / "a", b"newer")
    assert mode() == 0o604
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a test may run as root, who may write all files
    with pytest.raises(PermissionError) as raised:
        write_bytes(tmp_path / "a", b"newest")
    assert raised.value.filename == str(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"newer"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("there", "missing"):
        link, target = tmp_path / name, tmp_path / "folder" / f"{name}.txt"
        link.symlink_to(Path("folder") / target.name)
        if name == "there":
            target.write_text("old")
        write_text(link, "new")
        assert link.is_symlink()
        assert target.read_text() == "new"
    assert sorted(file.name for file in (tmp_path / "folder").iterdir()) == ["missing.txt", "there.txt"]


def test_a_pipe_and_an_open_file_are_written_straight(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_bytes(tmp_path / "pipe", b"new")
    reader.join()
    assert read == [b"new"]
    with (tmp_path / "out.txt").open("w+b") as stream:
        write_bytes(f"/dev/fd/{stream.fileno()}", b"new")
        assert os.fstat(stream.fileno()).st_nlink == 1  # the file that is open is still the one in the folder
    assert (tmp_path / "out.txt").read_bytes() == b"new"
    write_bytes(os.devnull, b"new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.txt", "pipe"]


def test_the_longest_name(tmp_path: Path) -> None:
    write_text(tmp_path / ("ä" * 127), "new")
    assert len(list(tmp_path.iterdir())) == 1


def test_half_characters(tmp_path: Path) -> None:
    write_text(tmp_path / "a.html", "caf\udce9")
    assert (tmp_path / "a.html").read_bytes() == b"caf?"
    write_json(tmp_path / "a.json", {"file": "caf\udce9", "kind": "ä"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"file": "caf\udce9", "kind": "ä"}
    assert "ä" in (tmp_path / "a.json").read_text(encoding="utf-8")


def _save_tensors(part: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1 << 18)}, part)


def _save_state(part: Path) -> None:
    torch.save({"x": torch.zeros(1 << 18)}, part)


def _save_array(part: Path) -> None:
    with part.open("wb") as file:
        np.savez(file, values=np.zeros(1 << 18))


def _save_picture(part: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
    Image.fromarray(noise).save(part, format="PNG")


def _save_sound(part: Path) -> None:
    import soundfile

    soundfile.write(part, np.zeros(1 << 18), 8000, format="WAV", subtype="PCM_16")


@pytest.mark.parametrize("writer", [_save_tensors, _save_state, _save_array, _save_picture, _save_sound])
def test_whatever_a_library_raises_when_the_disk_is_full(writer, full_disk: Path) -> None:
    file = full_disk / "a.file"
    file.write_text("old")
    with pytest.raises(OSError, match="No space left on device") as raised, whole_file(file) as part:
        writer(part)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(file))
    assert list(full_disk.iterdir()) == [file]
    assert file.read_text() == "old"


def test_a_new_folder_takes_its_place_in_one_step(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "sub" / "model", last="config.json") as part:
        write_text(part / "config.json", "{}")
        assert not (tmp_path / "sub" / "model").exists()
    assert [file.name for file in (tmp_path / "sub" / "model").iterdir()] == ["config.json"]
    assert len(list((tmp_path / "sub").iterdir())) == 1


def test_an_optional_file_of_the_old_folder_goes_with_it(tmp_path: Path) -> None:
    for name in ("config.json", "statistics", "notes.txt"):
        (tmp_path / name).write_text("old")
    with whole_folder(tmp_path, last="config.json", optional=("statistics", "missing")) as part:
        (part / "config.json").write_text("new")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"config.json": "new", "notes.txt": "old"}


def test_an_old_folder_lacks_its_last_file_while_it_is_replaced(tmp_path: Path, monkeypatch) -> None:
    for name in ("config.json", "weights", "notes.txt"):
        (tmp_path / name).write_text("old")
    seen: list[dict[str, str]] = []
    move = Path.replace

    def watched(part: Path, place: Path) -> Path:
        files = (file for file in tmp_path.iterdir() if file.is_file())
        seen.append({file.name: file.read_text() for file in files})
        return move(part, place)

    with whole_folder(tmp_path, last="config.json") as part:
        for name in ("config.json", "weights"):
            (part / name).write_text("new")
        monkeypatch.setattr(Path, "replace", watched)
    assert seen == [{"weights": "old", "notes.txt": "old"}, {"weights": "new", "notes.txt": "old"}]
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "config.json": "new",
        "weights": "new",
        "notes.txt": "old",
    }


def test_a_folder_that_fails_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("old")
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(OSError, match="No space left") as raised, whole_folder(folder, last="config.json") as part:
            write_text(part / "weights", "new")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part / "config.json"))
        assert raised.value.filename == str(folder / "config.json")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("config.json", "old")]
    with pytest.raises(NotADirectoryError) as raised, whole_folder(tmp_path / "config.json", last="config.json"):
        pass
    assert raised.value.filename == str(tmp_path / "config.json")


def test_parts_of_killed_processes_are_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from multiattn.writing import *\n"
        "with whole_file(sys.argv[1] + '/a') as file, whole_folder(sys.argv[1] + '/b', last='c') as folder:\n"
        "    file.write_text('x'); (folder / 'c').write_text('x'); os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".hidden.part").write_text("not ours")
    remove_parts(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".hidden.part"]


def test_a_folder_is_locked_until_it_is_released(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, subject="--maps out")
    with pytest.raises(MultiattnError, match=r"^--maps out must be a folder that no other process writes to, but one"):
        FolderLock(tmp_path, subject="--maps out")
    lock.release()
    again = FolderLock(tmp_path, subject="--maps out")
    del again  # the lock ends with the object
    FolderLock(tmp_path, subject="--maps out", wait=True)
    assert list(tmp_path.iterdir()) == []


def test_a_forked_worker_holds_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from multiattn.writing import FolderLock\n"
        "lock = FolderLock(sys.argv[1], subject='it'); end, begin = os.pipe(); runs, ready = os.pipe()\n"
        "if not os.fork(): os.close(begin); os.write(ready, b'x'); os.read(end, 1); os._exit(0)\n"
        "os.read(runs, 1); lock.release(); FolderLock(sys.argv[1], subject='it')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    FolderLock(tmp_path, subject="--maps out")
    FolderLock(tmp_path, subject="--maps out")
