"""Reading a folder of labeled pictures, and what is said when it cannot be read."""

import subprocess
import sys
from pathlib import Path

import pytest

from multiattn.data.image_folder import read_folder
from multiattn.errors import InputError
from tests.tasks.conftest import ROOT


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_class_folders(tmp_path: Path) -> None:
    files = [tmp_path / "train" / name for name in ("cat/2.JPG", "cat/sub/1.png", "dog/1.jfif")]
    touch(*files, tmp_path / "train/cat/notes.txt", tmp_path / "train/.hidden/1.png")
    touch(tmp_path / "train/cat/._2.JPG", tmp_path / "train/cat/.ipynb_checkpoints/1.png")
    (tmp_path / "train/dog/folder.jpg").mkdir()
    records = read_folder(tmp_path, "train")
    assert records.class_names == ("cat", "dog")
    assert records.items == ((files[0], 0), (files[1], 0), (files[2], 1))
    assert records.counts() == (2, 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.jsonl", '{"file_name": "a/1.png", "label": 10}\n\n{"file_name": "2.png", "label": 9, "more": 1}\n'),
        ("metadata.csv", "file_name, label\na/1.png, 10\n2.png, 9\n"),
        ("metadata.csv", "\ufefffile_name,label,more\na/1.png,10,x\n2.png,9,y\n"),
        ("metadata.csv", "\n,,\nfile_name ,label ,\na/1.png ,10 ,\n2.png,\t9,\n"),
        ("metadata.jsonl", '{"file_name": "a/1.png", "label": "10 "}\n{"file_name": "2.png", "label": " 9"}\n'),
    ],
)
def test_metadata(name: str, text: str, tmp_path: Path) -> None:
    touch(tmp_path / "test" / name)
    (tmp_path / "test" / name).write_text(text, encoding="utf-8")
    records = read_folder(tmp_path, "test")
    assert records.class_names == ("9", "10")  # as numbers
    assert records.items == ((tmp_path / "test/a/1.png", 1), (tmp_path / "test/2.png", 0))


def test_the_classes_of_training_are_kept(tmp_path: Path) -> None:
    touch(tmp_path / "validation/dog/1.png")
    assert read_folder(tmp_path, "validation", class_names=("cat", "dog", "eel")).items[0][1] == 1
    with pytest.raises(
        InputError, match=r"dog/1\.png: the label 'dog' is unknown: the training split has cat\. Correct"
    ):
        read_folder(tmp_path, "validation", class_names=["cat"])


JSONL = "train/metadata.jsonl"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            JSONL,
            b'{"file_name": "1.png", "label": "a"}\n{"file',
            r"metadata\.jsonl, line 2 must be a JSON object, but is damaged",
        ),
        (JSONL, b'{"file_name": "1.png", "label": "\xff"}', r"metadata\.jsonl, line 1: this is not text in UTF-8"),
        (JSONL, b"\n[1]", r"line 2: this is not a JSON object, but list\."),
        (JSONL, b"[" * 60_000, r"metadata\.jsonl, line 1 must be a JSON object, but is damaged"),
        (
            JSONL,
            b"[" * 65537,
            r"line 1: a line must have at most 65536 bytes, but this one has more\. Is the file whole",
        ),
        (JSONL, b'{"label": "a"}', r"line 1: `file_name` must be the path of a picture, but is None instead\."),
        (JSONL, b'{"file_name": "1.png"}', r"line 1: `label` must be a name or a whole number, but is None instead\."),
        (JSONL, b'{"file_name": "1.png", "label": true}', r"line 1: `label` must be a name .* but is True instead\."),
        (JSONL, b"\n", r"metadata\.jsonl: the file names no picture\."),
        ("train/metadata.csv", b"name,label\n1.png,a\n", r"first line must name .* but names name, label instead\."),
        ("train/metadata.csv", b"file_name;label\n1.png;a\n", r"separated by commas, but names file_name;label"),
        ("train/metadata.csv", b"file_name,label\na,b.png,x\n", r"line 2: there are more values than the 2 columns"),
        ("train/metadata.csv", b"file_name,label\n1.png,\n", r"metadata\.csv, line 2: `label` must be a name"),
        ("train/metadata.csv", b"file_name,label\n\xff.png,a\n", r"metadata\.csv, line \d: this cannot be read as CSV"),
        (
            "train/metadata.csv",
            b"file_name,label,label\n1.png,a,b\n",
            r"named once in the first line, but label is named tw",
        ),
        ("train/cat/notes.txt", b"", r"train/cat: the class folder has no picture\. Fill it, or remove it\."),
        ("train/1.png", b"", r"train: there is no class in this folder\."),
        ("other/cat/1.png", b"", r"there is no split 'train': it has other\. Make"),
    ],
)
def test_what_is_wrong_is_named(file: str, content: bytes, message: str, tmp_path: Path) -> None:
    touch(tmp_path / file)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path, "train")


def test_a_missing_root(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: there is no such folder\. Give one with train/ in it"):
        read_folder(tmp_path / "nowhere", "train")


def test_reading_imports_neither_torch_nor_lightning() -> None:
    code = "import sys, multiattn.data.image_folder; sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
