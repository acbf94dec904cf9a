"""`--files LIST.parquet`: the paths in a column, such as that of earlier results."""

import os

import pyarrow
import pyarrow.parquet
import pytest

from multiattn.cli.path_lists import read_list
from multiattn.errors import InputError


def test_results_are_a_list_of_files(run, model, photos, tmp_path) -> None:
    strange = photos / os.fsdecode(b"caf\xe9.png")
    strange.write_bytes((photos / "a.png").read_bytes())
    command = ["--model", model, "--format", "parquet", "--out"]
    assert run("classify", photos, *command, tmp_path / "first").status == 0
    (part,) = (tmp_path / "first").iterdir()
    assert run("classify", "--files", part, *command, tmp_path / "second").status == 0
    tables = [pyarrow.parquet.read_table(tmp_path / name).to_pylist() for name in ("first", "second")]
    assert tables[0] == tables[1] and len(tables[0]) == 4
    assert str(strange) in read_list(str(part))


def test_tables_that_are_no_list(run, tmp_path) -> None:
    for name, column in (("a", {"path": ["x"]}), ("b", {"file": [3]})):
        pyarrow.parquet.write_table(pyarrow.table(column), tmp_path / f"{name}.parquet")
    (tmp_path / "c.parquet").write_text("x.png\n")
    outcome = run("classify", "--files", tmp_path / "a.parquet")
    assert outcome.status == 1
    assert f"`--files {tmp_path}/a.parquet` must have a column `file` of paths, but has path instead." in outcome.err
    with pytest.raises(InputError, match="must have text in its column `file`, but has 3 instead"):
        list(read_list(str(tmp_path / "b.parquet")))
    with pytest.raises(InputError, match="must be a table of parquet, but is damaged or unusual instead"):
        list(read_list(str(tmp_path / "c.parquet")))


def test_a_list_from_windows_is_read(tmp_path) -> None:
    names = ["\u00e9t\u00e9.png", "b.png"]
    file = tmp_path / "list.txt"
    for mark in (b"", b"\xef\xbb\xbf"):
        for separator in (b"\r\n", b"\0"):
            file.write_bytes(mark + separator.join(name.encode() for name in names))
            assert list(read_list(str(file))) == names
    file.write_bytes(b"\xef\xbb\xbf")
    assert list(read_list(str(file))) == []
    file.write_bytes("\r\n".join(names).encode("utf-16"))
    with pytest.raises(InputError, match="must be in UTF-8, but is in UTF-16 instead. Save it as UTF-8."):
        list(read_list(str(file)))
