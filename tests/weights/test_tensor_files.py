"""Weights in all the files that people have them in, and files that are made to do harm."""

import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.weights import load_bundle
from multiattn.weights.tensor_files import read_pickled, read_tensors
from tests.fixtures import save_tiny_model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model")


def states(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


def split(directory: Path, name: str, save: Callable[[Any, Path], Any]) -> dict[str, str]:
    """Replace the weights of a directory by several files with an index."""
    state = states(directory)
    (directory / "model.safetensors").unlink()
    stem, suffix = name.rsplit(".", 1)
    names = {key: f"{stem}-0000{index % 3 + 1}-of-00003.{suffix}" for index, key in enumerate(state)}
    for part in set(names.values()):
        save({key: tensor for key, tensor in state.items() if names[key] == part}, directory / part)
    (directory / f"{name}.index.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    return names


@pytest.mark.parametrize(
    "form", ["pytorch_model.bin", "old form", "state_dict", "shards", "pickled shards", "bfloat16"]
)
def test_every_published_form_of_weights(form: str, saved: Path) -> None:
    wanted = states(saved)
    if form == "shards":
        split(saved, "model.safetensors", save_file)
    elif form == "pickled shards":
        split(saved, "pytorch_model.bin", torch.save)
    elif form == "bfloat16":
        wanted = {key: tensor.bfloat16().float() for key, tensor in wanted.items()}
        save_file({key: tensor.bfloat16() for key, tensor in wanted.items()}, saved / "model.safetensors")
    else:
        (saved / "model.safetensors").unlink()
        content = {"state_dict": wanted, "epoch": 3} if form == "state_dict" else OrderedDict(wanted)
        torch.save(content, saved / "pytorch_model.bin", _use_new_zipfile_serialization=form != "old form")
    found = load_bundle(saved).model.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], tensor) and found[key].dtype == torch.float32 for key, tensor in wanted.items())


def test_safetensors_come_first(saved: Path) -> None:
    (saved / "pytorch_model.bin").write_bytes(b"nothing of use")
    assert load_bundle(saved).model.state_dict().keys() == states(saved).keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda names: {**names, "norm.bias": "../norm.safetensors"},
            "the file of 'norm.bias' must be one that ends in",
        ),
        (lambda names: {**names, "norm.bias": "/etc/norm.safetensors"}, "lies beside the index, but is '/etc/norm"),
        (lambda names: {**names, "norm.bias": "config.json"}, "must be one that ends in .safetensors"),
        (lambda names: {**names, "norm.bias": 3}, "must be one that ends in .safetensors .* but is '3' instead"),
        (lambda names: {**names, "x": "model-4.safetensors"}, "lacks model-4.safetensors, one of the 4 files of its"),
        (lambda names: {**names, "x": names["norm.bias"]}, "lacks the tensor x, which model.safetensors.index.json"),
        (lambda names: [], "must list the file of each tensor under `weight_map`, but does not"),
        (lambda names: {}, "must list the file of each tensor under `weight_map`, but does not"),
    ],
)
def test_an_index_that_cannot_be_used(change: Callable[[Any], Any], message: str, saved: Path) -> None:
    names = split(saved, "model.safetensors", save_file)
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": change(names)}))
    with pytest.raises(ModelError, match=message) as caught:
        load_bundle(saved)
    assert "\n" not in str(caught.value)


def safetensors(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.mark.parametrize(
    "content",
    [
        safetensors({}, length=2**62),
        safetensors({}, length=2**30),
        safetensors(b"[" * 50_000),
        safetensors(b"{"),
        safetensors({"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}),
        safetensors({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors({"a": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
        safetensors({key: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for key in "ab"}, bytes(4)),
        safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, bytes(4)),
        safetensors({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
    ],
    ids=[*("length", "long", "deep", "open", "shape", "overflow", "kind", "complex", "overlap", "order", "negative")],
)
def test_safetensors_that_are_none(content: bytes, saved: Path) -> None:
    (saved / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors.* must be .*") as caught:
        load_bundle(saved)
    assert "\n" not in str(caught.value)


class Call:
    """Is unpickled by calling a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def of_size(count: int, stride: int = 1) -> Call:
    storage = torch.zeros(4).storage()
    return Call(torch._utils._rebuild_tensor_v2, storage, 0, (count,), (stride,), False, OrderedDict())


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.filterwarnings("ignore:.*sparse|.*Sparse")
@pytest.mark.filterwarnings("ignore:.*quantiz")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: of_size(10**9), "a tensor of .1000000000. is larger than the file"),
        (lambda: of_size(10**9, stride=0), "a tensor of .1000000000. is larger than the file"),
        (lambda: torch.ones(3).to_sparse(), "it has a tensor that is no plain array, but sparse or quantized"),
        (lambda: torch.ones(3, dtype=torch.complex64), "must be a plain array of real numbers, but is complex"),
        (lambda: torch.ones(3, device="meta"), "must be a plain array of real numbers, but is without values"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "pytorch_model.bin"),
        (lambda: "text", "must hold tensors by name, alone or under `state_dict`, but holds something else"),
        (lambda: Call(os.system, "true"), "holds more than tensors, which is never unpickled because that can run any"),
    ],
    ids=["size", "stride", "sparse", "complex", "meta", "quantized", "text", "code"],
)
def test_pickled_values_that_are_no_plain_tensors(make: Callable[[], Any], message: str, tmp_path: Path) -> None:
    torch.save({"a": make()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=message) as caught:
        read_tensors(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_archives_that_torch_does_not_write(tmp_path: Path) -> None:
    file, again = tmp_path / "a.pt", tmp_path / "b.pt"
    torch.save({"a": torch.zeros(1000)}, file)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ModelError, match="b.pt must be a file that torch saved, .*it is compressed, which torch never"):
        read_pickled(again, under="model")
    data = bytearray(file.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    again.write_bytes(data)
    with pytest.raises(ModelError, match="b.pt must be a file that torch saved, .*it is encrypted"):
        read_pickled(again, under="model")
    for content in (b"", b"PK\x03\x04", pickle.dumps({"a": 1}), b"\x80\x02" + b"(" * 10_000, bytes(1000)):
        again.write_bytes(content)
        with pytest.raises(ModelError, match="b.pt ") as caught:
            read_pickled(again, under="model")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_folder_or_a_pipe_in_the_place_of_a_file(make: Callable[[Path], Any], name: str, saved: Path) -> None:
    for old in {name, "model.safetensors"} - ({"model.safetensors"} if name == "config.json" else set()):
        (saved / old).unlink(missing_ok=True)
    make(saved / name)
    with pytest.raises(ModelError, match=f"{name} must be a readable file, but opening it fails instead: "):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
        (b'{"a": NaN}', "NaN is not a number in JSON"),
        (b'{"a": -Infinity}', "-Infinity is not a number in JSON"),
        (b'{"a": 1, "a": 2}', "an object has the key 'a' twice"),
        (b'{"a": "\\udc00"}', "has half of a character"),
        (b"\xff", "codec can't decode"),
    ],
)
def test_a_config_that_is_no_json(text: bytes, reason: str, saved: Path) -> None:
    (saved / "config.json").write_bytes(text)
    with pytest.raises(ModelError, match=f"config.json must be JSON, but is damaged or unusual instead .*{reason}"):
        load_bundle(saved)


def test_a_config_in_utf_16(saved: Path) -> None:
    path = saved / "config.json"
    wanted = load_bundle(saved)
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        path.write_bytes(path.read_bytes().decode("utf-8-sig").encode(encoding))
        assert load_bundle(saved).labels == wanted.labels
        path.write_text(path.read_bytes().decode(encoding), encoding="utf-8")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("depth", 10**9, "`depth` must be at most 44, but is 1000000000 instead"),
        ("dim", 22 * 10**8, "`dim` must be at most"),
        ("mlp_dim", 10**12, "`mlp_dim` must be at most"),
        ("num_classes", 10**9, "`num_classes` must be at most"),
        ("image_size", [10**9, 10**9], "`image_size` must be at most"),
        ("num_registers", 10**9, "`num_registers` must be at most"),
        ("dim", 10**4000, "`dim` must be at most"),
    ],
)
def test_a_config_that_is_larger_than_its_weights(field: str, value: Any, message: str, saved: Path) -> None:
    path = saved / "config.json"
    config = json.loads(path.read_text())
    config["architecture"][field] = value
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message) as caught:
        load_bundle(saved)
    assert len(str(caught.value)) < 400
