import errno
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from multiattn.errors import InputError
from multiattn.export import load_map, save_map
from multiattn.inputs import Geometry
from multiattn.maps.attention_map import AttentionMap, Axis
from tests.export.pictures import picture_map, words_map

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=7)
float32s = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=1, max_dims=4, max_side=7),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@st.composite
def values_and_fields(draw: st.DrawFn) -> tuple[np.ndarray, dict]:
    values = draw(float32s)
    names = draw(st.lists(texts, min_size=values.ndim, max_size=values.ndim, unique=True))
    axes = [
        {
            "name": name,
            "unit": draw(texts),
            "start": draw(st.floats(-9, 9)),
            "step": draw(st.floats(0.01, 9)),
            "labels": draw(st.none() | st.lists(texts, min_size=size, max_size=size)),
        }
        for name, size in zip(names, values.shape, strict=True)
    ]
    fields = {
        "shape": list(values.shape),
        "axes": axes,
        "method": draw(texts),
        "sites": draw(st.lists(texts, min_size=1, max_size=3)),
        "heads": draw(st.none() | st.lists(st.integers(0, 11), min_size=1, max_size=3)),
        "geometry": draw(st.sampled_from([None, Geometry((43, 61), (56, 79), (-2, 11, 60, 56)).to_dict()])),
        "target": draw(st.none() | texts),
        "note": draw(st.just("") | texts),
    }
    return values, fields


@given(made=values_and_fields())
def test_round_trip_is_exact(made, tmp_path_factory):
    values, fields = made
    attention_map = AttentionMap.from_dict(fields, values)
    path = tmp_path_factory.mktemp("map") / "a.b.npz"
    save_map(attention_map, path)
    loaded = load_map(path)
    assert loaded.equals(attention_map)
    assert loaded.to_dict() == fields
    assert loaded.values.tobytes() == values.tobytes()
    assert path.with_name("a.b.json").exists()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved map with a folder that had to be made."""
    axes = (Axis("y", "patch"), Axis("x", "patch"))
    attention_map = AttentionMap(
        values=np.arange(35, dtype=np.float32).reshape(5, 7),
        axes=axes,
        method="rollout",
        sites=("blocks.0.self",),
        heads=(1,),
        geometry=None,
        target="“Käse”",
    )
    path = tmp_path / "new" / "map.npz"
    save_map(attention_map, path)
    return path


def test_files_are_readable_without_this_package(saved):
    with np.load(saved, allow_pickle=False) as archive:
        assert archive.files == ["values"]
        assert archive["values"].dtype == np.float32
    text = saved.with_suffix(".json").read_text(encoding="utf-8")
    assert "“Käse”" in text
    facts = json.loads(text)
    assert facts["format"] == "multiattn-map"
    assert facts["shape"] == [5, 7]
    assert facts["axes"][0] == {"name": "y", "unit": "patch", "start": 0.0, "step": 1.0, "labels": None}


def test_the_end_of_the_path_is_checked(saved):
    with pytest.raises(InputError, match="`path` must be a path that ends in .npz, but is 'map.json' instead"):
        load_map("map.json")
    with pytest.raises(InputError, match="`path` must be a path that ends in .npz, but is 'map' instead"):
        save_map(load_map(saved), "map")


def test_missing_files_are_named(saved):
    with pytest.raises(InputError, match="other.npz: there is no such file"):
        load_map(saved.with_name("other.npz"))
    saved.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"map.json: there is no such file; .* keep them together"):
        load_map(saved)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"no archive", lambda data: data[: len(data) // 2]])
def test_damaged_values_are_named(saved, damage):
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(InputError, match="map.npz must be an npz file, but is damaged or unusual instead"):
        load_map(saved)


def test_damage_within_the_archive_is_named(saved):
    data = bytearray(saved.read_bytes())
    start = data.index(b"values.npy") + 40
    data[start : start + 20] = bytes(20)
    saved.write_bytes(data)
    with pytest.raises(InputError, match="map.npz must be an npz file, but is damaged or unusual instead"):
        load_map(saved)


def test_pickled_values_are_refused(saved):
    np.savez(saved, values=np.array([{"a": 1}], dtype=object))
    with pytest.raises(
        InputError, match="map.npz must be an npz file, .*Python objects, which are never unpickled because that can"
    ):
        load_map(saved)


def test_other_arrays_are_refused(saved):
    np.savez(saved, other=np.zeros(3, dtype=np.float32))
    with pytest.raises(InputError, match="map.npz: has no array named `values`"):
        load_map(saved)
    with saved.open("wb") as file:
        np.save(file, np.zeros(3, dtype=np.float32))
    with pytest.raises(InputError, match="map.npz: holds one bare array"):
        load_map(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "does not describe a map"),
        ({"version": 2}, "is of version 2, this program reads version 1. Update multiattn."),
        ({"shape": [5, 11]}, r"`values` must be of shape \[5, 11\], but is \[5, 7\] instead."),
        ({"method": ""}, "`method` must be a text that is not empty"),
        ({"axes": 3}, "do not make a map"),
        ({"geometry": {"crop": [0, 0, 1, 1]}}, "do not make a map: `geometry` must have"),
    ],
)
def test_wrong_facts_are_named(saved, change, message):
    path = saved.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_map(saved)


def test_a_missing_fact_is_named(saved):
    path = saved.with_suffix(".json")
    facts = json.loads(path.read_text(encoding="utf-8"))
    del facts["method"]
    path.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(InputError, match="map.json: the field 'method' is missing"):
        load_map(saved)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b""])
def test_damaged_facts_are_named(saved, text):
    saved.with_suffix(".json").write_bytes(text)
    with pytest.raises(InputError, match="map.json must be JSON, but is damaged or unusual instead"):
        load_map(saved)


def test_json_that_is_no_object_is_named(saved):
    saved.with_suffix(".json").write_text("[]")
    with pytest.raises(InputError, match="map.json: does not describe a map"):
        load_map(saved)


def entry(values: np.ndarray) -> bytes:
    """An array as npy."""
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def archive(path, data: bytes, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as written:
        written.writestr("values.npy", data)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_found_on_loading(saved, value):
    values = np.load(saved)["values"].copy()
    values[2, 3] = value
    np.savez_compressed(saved, values=values)
    with pytest.raises(
        InputError, match="map.npz: .* do not make a map: `values` must be finite, but has 1 NaN or inf"
    ):
        load_map(saved)


def test_unusual_archives_are_named_before_they_are_unpacked(saved):
    values = np.load(saved)["values"]
    facts = saved.with_suffix(".json")
    archive(saved, entry(values), zipfile.ZIP_LZMA)
    with pytest.raises(InputError, match="map.npz must be an npz file, .*a method other than deflate"):
        load_map(saved)
    archive(saved, entry(values))
    data = bytearray(saved.read_bytes())
    for start in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[start] |= 1
    saved.write_bytes(data)
    with pytest.raises(InputError, match="map.npz must be an npz file, .*it is encrypted"):
        load_map(saved)
    archive(saved, bytes(2**26 + 1))
    with pytest.raises(InputError, match=r"map.npz must be an npz file, .*it unpacks to \d+ bytes, more than 50 times"):
        load_map(saved)
    header = entry(values).replace(b"(5, 7)", b"(9**9,")  # no shape that numpy would write
    archive(saved, header)
    with pytest.raises(InputError, match="map.npz must be an npz file, but is damaged"):
        load_map(saved)
    shape = [50_000, 70_000]
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "shape": shape}))
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": tuple(shape), "fortran_order": False, "descr": "<f4"})
    archive(saved, stream.getvalue() + bytes(140))
    with pytest.raises(InputError, match="map.npz must be an npz file, .*its array is larger than the archive says"):
        load_map(saved)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"version": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
        (b'{"version": NaN}', "NaN is not a number in JSON"),
        (b'{"target": "\\ud800"}', "has half of a character"),
        (b'{"version": 1, "version": 1}', "an object has the key 'version' twice"),
    ],
)
def test_unusual_facts_are_named(saved, text, reason):
    saved.with_suffix(".json").write_bytes(text)
    with pytest.raises(InputError, match=f"map.json must be JSON, but is damaged or unusual instead .*{reason}"):
        load_map(saved)


@pytest.mark.parametrize("name", ["map.npz", "map.json"])
def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_named(saved, name):
    path = saved.with_name(name)
    for make in (os.mkfifo, os.mkdir):
        path.unlink(missing_ok=True)
        make(path)
        with pytest.raises(InputError, match=f"{name} must be a readable file, but opening it fails instead: "):
            load_map(saved)


def test_a_kill_between_the_two_files_leaves_no_pair_of_two_maps(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move, seen = Path.replace, []

    def watched(part: Path, place: Path) -> Path:
        seen.append(sorted(file.suffix for file in saved.parent.iterdir() if not file.name.startswith(".")))
        return move(part, place)

    monkeypatch.setattr(Path, "replace", watched)
    save_map(load_map(saved), saved)
    assert seen[-2:] == [[".npz"], [".npz"]]
    assert sorted(file.suffix for file in saved.parent.iterdir()) == [".json", ".npz"]


def test_a_full_disk_leaves_the_map_that_was_there(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_map(saved)

    def full(*args: object, **arrays: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space left") as raised:
        save_map(before, saved)
    assert raised.value.filename == str(saved)
    assert load_map(saved).equals(before)
    assert len(list(saved.parent.iterdir())) == 2


def test_the_json_says_how_concentrated_the_map_is(tmp_path):
    values = np.random.default_rng(3).random((3, 5, 7))
    for one in (words_map(values, ("a", "b", "c"), None), picture_map(values[0], None)):
        save_map(one, tmp_path / "map.npz")
        stated = json.loads((tmp_path / "map.json").read_text())["concentration"]
        assert set(stated) == {"entropy", "top_tenth", "highest", "flat"}
        np.testing.assert_allclose(stated["top_tenth"], one.concentration.top_tenth, atol=1e-6)
        assert load_map(tmp_path / "map.npz").equals(one)
