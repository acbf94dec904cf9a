"""Shards: what is written comes back, from a disk and from a web server, and as far as possible from damaged ones."""

import gc
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock

import pytest
import webdataset

from multiattn.cli.main import main as command
from multiattn.data.image_folder import read_folder
from multiattn.data.multi_labels import read_labeled
from multiattn.data.recordings import read_recordings
from multiattn.data.shards import ShardSample, find_index, in_shards, shard_samples, store
from multiattn.data.shards.index import expand
from multiattn.errors import InputError
from multiattn.inputs import load_image
from multiattn.inputs.files import PICTURES, RECORDINGS

PNG = b"\x89PNG picture %d"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of files that nobody opens here."""
    for split, count in (("train", 9), ("validation", 2)):
        for number in range(count):
            file = tmp_path / "data" / split / "ab"[number % 2] / f"{number}.PNG"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(PNG % number * (1 + number))
    return tmp_path / "data"


def shard(folder: Path, out: Path, *options: str) -> int:
    return command(["shard", str(folder), str(out), "--size", "0.00005", *options])


def contents(root: str, split: str) -> list[tuple[bytes, str]]:
    index = find_index(root)
    assert index is not None
    records = in_shards(read_folder(index.root, split), [index], reach=3)
    return [(file.open(PICTURES).read(), records.class_names[label]) for file, label in records.items]


EXPECTED = [(PNG % number * (1 + number), "ab"[number % 2]) for number in range(9)]


def test_files_come_back_as_they_were_with_their_labels(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert shard(folder, out) == 0
    found = contents(str(out), "train")
    assert sorted(found) == sorted(EXPECTED) != found  # in a drawn order, the same each time
    assert contents(str(out), "validation") == EXPECTED[:2:2] + EXPECTED[1:2]  # in their own
    content = json.loads((out / "index.json").read_text())
    assert content["task"] == "classify" and content["labels"] == ["a", "b"]
    shards = content["splits"]["train"]["shards"]
    assert sum(one["items"] for one in shards) == content["splits"]["train"]["items"] == 9 and len(shards) > 3
    assert [(out / "train" / one["name"]).stat().st_size for one in shards] == [one["bytes"] for one in shards]
    # by several processes, and again: the same bytes, and nothing that is there is written again
    assert shard(folder, tmp_path / "other", "--processes", "2") == 0
    files = [path.relative_to(out) for path in sorted(out.rglob("*.tar"))]
    assert [(out / name).read_bytes() for name in files] == [(tmp_path / "other" / name).read_bytes() for name in files]
    before = [(out / name).stat().st_ino for name in files]
    assert shard(folder, out) == 0 and [(out / name).stat().st_ino for name in files] == before
    assert json.loads((out / "index.json").read_text()) == content


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # they leave files open
def test_other_programs_read_what_is_written(folder: Path, tmp_path: Path) -> None:
    assert shard(folder, tmp_path / "out") == 0
    files = [str(path) for path in sorted((tmp_path / "out" / "train").glob("*.tar"))]
    samples = list(webdataset.WebDataset(files, shardshuffle=False))
    gc.collect()
    assert sorted((one["png"], json.loads(one["json"])["label"]) for one in samples) == sorted(EXPECTED)
    with tarfile.open(files[0]) as archive:
        assert [member.name[-4:] for member in archive][:2] == [".png", "json"]


def test_a_run_that_was_interrupted_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    written = list[Path]()
    read = Path.read_bytes

    def broken(path: Path) -> bytes:
        if path.suffix == ".PNG":
            written.append(path)
            if len(written) == 6:
                raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", broken)
    assert shard(folder, out) == 130
    assert not (out / "index.json").exists() and not list(out.rglob("*.part"))
    kept = {path: path.stat().st_ino for path in out.rglob("*.tar")}
    assert 0 < len(kept) < 6
    with pytest.raises(InputError, match=r"there are shards, but there is no index.json .*`multiattn shard .*out`"):
        find_index(str(out))
    assert shard(folder, out) == 0
    assert len(written) < 6 + 11 and {path: path.stat().st_ino for path in kept} == kept
    assert sorted(contents(str(out), "train")) == sorted(EXPECTED)
    # a file that has changed: its shard alone is written anew
    (folder / "train" / "a" / "0.PNG").write_bytes(b"other")
    assert shard(folder, out) == 0
    assert sorted(contents(str(out), "train")) == sorted([(b"other", "a"), *EXPECTED[1:]])
    (folder / "train" / "a" / "0.PNG").write_bytes(b"OTHER")  # of the same size
    os.utime(folder / "train" / "a" / "0.PNG", ns=(0, 1))
    assert shard(folder, out) == 0
    assert sorted(contents(str(out), "train")) == sorted([(b"OTHER", "a"), *EXPECTED[1:]])


def test_a_file_that_could_not_be_read_and_a_changed_row_are_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    file, out = tmp_path / "data" / "train" / "1.PNG", tmp_path / "out"
    file.write_bytes(PNG % 1)
    table = file.with_name("metadata.jsonl")
    rows = [
        {"file_name": "1.PNG", "question": "what?", "answers": ["a"]},
        {"file_name": "1.PNG", "question": "is it?", "answers": ["b"]},
    ]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", Mock(side_effect=PermissionError(13, "no")))
        table.write_text("\n".join(map(json.dumps, rows)))
        shard(tmp_path / "data", out)
    for known in (rows, [row | {"type": "t"} for row in rows]):
        table.write_text("\n".join(map(json.dumps, known)))
        assert shard(tmp_path / "data", out) == 0
        with tarfile.open(out / "train" / "000000.tar") as archive:
            told = json.loads(archive.extractfile(archive.getnames()[1]).read())["questions"]
        assert [row.get("type") for row in told] == [row.get("type") for row in known]


def test_a_file_that_cannot_be_read_is_named_and_left_out(folder: Path, tmp_path: Path, capsys) -> None:
    (folder / "train" / "a" / "4.PNG").unlink()
    (folder / "train" / "a" / "4.PNG").symlink_to("nothing")
    assert shard(folder, tmp_path / "out") == 1
    assert "4.PNG: it cannot be read (" in capsys.readouterr().err
    assert sorted(contents(str(tmp_path / "out"), "train")) == sorted(EXPECTED[:4] + EXPECTED[5:])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    assert shard(folder, tmp_path / "full") == 1
    assert "must be empty or a folder of shards, but holds thesis.tex instead" in capsys.readouterr().err
    assert shard(tmp_path / "out", tmp_path / "out2") == 1
    assert "must be a folder of files, but has shards instead: they need no others" in capsys.readouterr().err
    assert shard(folder, folder) == 2
    assert "to make the index of shards anew, leave OUT out" in capsys.readouterr().err
    assert shard(tmp_path / "none", tmp_path / "out2") == 1
    assert "must be a folder, but there is none instead" in capsys.readouterr().err


def tar_of(members: list[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_shards_of_others_are_read_and_get_an_index(kind: int, tmp_path: Path) -> None:
    long = "d" * 130 + "/0007"
    members = [("x/1.seg.jpg", b"one"), ("x/1.cls", b"3"), (f"{long}.png", b"two"), (f"{long}.txt", b" a dog\n")]
    members += [("notes.txt", b"no sample"), ("2.json", b"{broken"), ("2.jpeg", b"")]
    place = tmp_path / "train" / "0.tar"
    place.parent.mkdir()
    place.write_bytes(tar_of(members, kind))
    found = [(one.name, one.data, one.row) for one in shard_samples(place) if isinstance(one, ShardSample)]
    assert found == [
        (f"{place}/x/1.seg.jpg", b"one", {"label": "3"}),
        (f"{place}/{long}.png", b"two", {"text": "a dog"}),
        (f"{place}/2.jpeg", b"", {}),
    ]
    place.write_bytes(tar_of([("1.wav", b"one"), ("1.txt", b"a dog"), ("2.wav", b"two2"), ("2.txt", b"")], kind))
    assert command(["shard", str(tmp_path)]) == 0
    index = find_index(str(tmp_path))
    assert index is not None and index.task == "transcribe"
    records = in_shards(read_recordings(tmp_path, "train"), [index], reach=1)
    assert [(str(file), file.open(RECORDINGS).read(), text) for file, text in records.items] == [
        (f"{place}/1.wav", b"one", "a dog"),
        (f"{place}/2.wav", b"two2", ""),
    ]


def test_several_labels_come_back(tmp_path: Path) -> None:
    folder, rows = tmp_path / "data" / "train", [["cat", "sofa"], [], ["sofa"]]
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.png").write_bytes(PNG % number)
    lines = [json.dumps({"file_name": f"{number}.png", "labels": labels}) for number, labels in enumerate(rows)]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    assert shard(tmp_path / "data", tmp_path / "out") == 0
    index = find_index(str(tmp_path / "out"))
    assert index is not None and index.task == "classify"
    records = in_shards(read_labeled(index.root, "train"), [index], reach=1)
    found = {file.open(PICTURES).read(): [records.class_names[one] for one in known] for file, known in records.items}
    assert found == {PNG % number: labels for number, labels in enumerate(rows)}


def test_members_in_folders_are_found_by_an_index(tmp_path: Path) -> None:
    place = tmp_path / "train" / "0.tar"
    place.parent.mkdir()
    members = [("a/b/1.png", b"one"), ("a/b/1.cls", b"3"), ("c%2F/2.png", b"two"), ("c%2F/2.cls", b"4")]
    place.write_bytes(tar_of(members, tarfile.USTAR_FORMAT))
    assert command(["shard", str(tmp_path)]) == 0
    assert contents(str(tmp_path), "train") == [(b"one", "3"), (b"two", "4")]


def test_a_damaged_shard_gives_its_other_samples(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    whole = tar_of([(f"{i}.jpg", b"%d" % i * 700) for i in range(6)], tarfile.USTAR_FORMAT)
    for damage, names, message in (
        (whole[:1536] + bytes(512) + whole[2048:], "0 2 3 4 5", "is damaged at byte 1536 instead"),
        (whole[:1550] + b"\xff\xff\xff" + whole[1553:], "0 2 3 4 5", "is damaged at byte 1536 instead"),
        (whole[:4000], "0 1", "ends after 4000 bytes, within a sample"),
        (whole[: 6 * 1536], "0 1 2 3 4 5", "has no end instead"),
        (b"no tar file", "", "is damaged at byte 0 instead"),
    ):
        file.write_bytes(damage)
        found = list(shard_samples(file))
        errors = [str(one) for one in found if isinstance(one, InputError)]
        assert [one.name.rpartition("/")[2][0] for one in found if isinstance(one, ShardSample)] == names.split()
        assert message in errors[0] and str(file) in errors[0]
    file.write_bytes(whole)
    assert len([one for one in shard_samples(file) if isinstance(one, ShardSample)]) == 6
    with pytest.raises(InputError, match="none.tar` must be a shard, but opening it fails instead: No such file"):
        list(shard_samples(tmp_path / "none.tar"))


def test_patterns_stand_for_names() -> None:
    assert list(expand("a{08..10}-{1..2}.tar")) == [f"a{n}-{k}.tar" for n in ("08", "09", "10") for k in (1, 2)]
    assert list(expand("a.tar")) == ["a.tar"]
    with pytest.raises(InputError, match=r"must have rising ranges, such as .* but has \{3\.\.1\} instead"):
        list(expand("{3..1}.tar"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, dict[str, int], list[str]]]:
    """A web server for `tmp_path`: its address, how often each path shall fail first, and what was asked of it."""
    failures, asked = dict[str, int](), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            file = tmp_path / self.path[1:]
            left = failures.get(self.path, 0)
            failures[self.path] = left - 1
            if left > 0 or not file.is_file():
                self.send_error(503 if left > 0 else 404)
                return
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", failures, asked
        http.shutdown()


def test_shards_at_an_address(folder: Path, tmp_path: Path, server, monkeypatch: pytest.MonkeyPatch) -> None:
    address, failures, asked = server
    monkeypatch.setattr(store, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(store.fetch, "__kwdefaults__", store.fetch.__kwdefaults__ | {"pauses": (0.0, 0.0)})
    assert shard(folder, tmp_path / "out") == 0
    failures |= {"/out/index.json": 2, "/out/train/000001.tar": 1}
    assert sorted(contents(f"{address}/out", "train")) == sorted(EXPECTED)
    tars = [path for path in asked if path.endswith(".tar")]
    assert len(tars) == 1 + len({*tars}) and asked[:3] == ["/out/index.json"] * 3  # each once, and the one that failed
    assert contents(f"{address}/out/{{split}}/{{000001..000002}}.tar", "train")

    failures["/out/train/000002.tar"] = 99
    index = find_index(f"{address}/out")
    assert index is not None and index.is_remote
    records = in_shards(read_folder(index.root, "train"), [index], reach=3)
    readable, errors = 0, set[str]()
    del asked[:]
    for file, _ in records.items:
        try:
            load_image(file)
        except InputError as error:
            errors.add(str(error))
    broken = [error for error in errors if "fetched" in error]
    assert broken == [
        f"`{address}/out/train/000002.tar` must be a file that can be fetched, but the server answers 503 Service "
        "Unavailable instead. Try again later. (tried 3 times)"
    ]
    assert asked.count("/out/train/000002.tar") == 3 and readable == 0
    with pytest.raises(InputError, match=r"nothing/index.json` must be a file .* 404 Not Found .*\(tried 3 times\)"):
        find_index(f"{address}/nothing")
    failures.clear()
    samples = list(shard_samples(f"{address}/out/train/000000.tar"))
    assert all(
        isinstance(one, ShardSample) and one.name.startswith(f"{address}/out/train/000000.tar/") for one in samples
    )


def test_memory_and_open_files_stay_the_same_over_many_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_OPEN", 5)
    reader = store.ShardStore({})
    for number in range(23):
        (tmp_path / f"{number}.tar").write_bytes(tar_of([("1.jpg", b"x%d" % number)], tarfile.USTAR_FORMAT))
    before = len(os.listdir("/proc/self/fd"))
    for number in (*range(23), 0):
        data = b"x%d" % number
        assert reader.read(str(tmp_path / f"{number}.tar"), "1.jpg", 512, len(data)) == data
    assert len(os.listdir("/proc/self/fd")) <= before + 5
    with pytest.raises(InputError, match="must be the shard that its index tells of, but is damaged or another one"):
        reader.read(str(tmp_path / "0.tar"), "2.jpg", 512, 2)
