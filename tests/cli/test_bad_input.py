"""What people really pass: each is named with the reason, the others are done, and the exit status says so."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.fixtures import draw, save_drawing, save_tiny_model


def missing(path: Path) -> None:
    pass


def empty(path: Path) -> None:
    path.touch()


def truncated(path: Path) -> None:
    draw(5, size=(211, 199)).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:409])  # within its header: nothing can be read


def text(path: Path) -> None:
    path.write_text("These are words.\n")


def bomb(path: Path) -> None:
    """A PNG that says it has 20,000 x 20,000 pixels, and has none."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("no picture here")


@pytest.mark.parametrize(
    ("make", "name", "reason"),
    [
        (missing, "gone.jpg", "but is missing instead. Check the path."),
        (missing, "gone/*.jpg", "must match at least one picture, but matches none instead."),
        (empty, "empty.png", "but is empty instead."),
        (truncated, "half.jpg", "but is damaged or unusual instead"),
        (text, "words.png", "JPEG 2000, PNG, PPM, TGA, TIFF or WebP), but is text instead."),
        (bomb, "bomb.png", "must have at most 89 million pixels"),
        (folder, "nothing", "must hold at least one picture, but holds none instead."),
    ],
)
def test_a_bad_picture_is_named_and_the_others_are_done(
    run, model, tmp_path, make: Callable[[Path], None], name: str, reason: str
) -> None:
    make(tmp_path / name)
    before, after = save_drawing(tmp_path / "b.png", 1), save_drawing(tmp_path / "a.png", 2)
    outcome = run("classify", before, tmp_path / name, after, "--model", model, "--format", "json", "--top-k", "1")
    assert outcome.status == 1
    found = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["file"] for line in found] == [str(before), str(tmp_path / name), str(after)]
    assert [line.keys() == {"file", "error"} for line in found] == [False, True, False]
    assert reason in found[1]["error"]
    named, counted = outcome.err.splitlines()
    assert named.startswith(f"multiattn: `{tmp_path / name}` must ")
    assert reason in named
    assert counted == "multiattn: 1 of 3 inputs could not be used"

    alone = run("classify", tmp_path / name, "--model", model)
    assert (alone.status, alone.out) == (1, "")
    assert reason in alone.err


def test_a_damaged_picture_is_used_in_part_named_and_marked(run, model, tmp_path) -> None:
    file = save_drawing(tmp_path / "cut.bmp", 1)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 4])
    outcome = run("classify", file, "--model", model, "--format", "json")
    assert outcome.status == 1
    damaged = json.loads(outcome.out)["damaged"]
    assert damaged["reason"] == "it is cut off"
    assert damaged["place"].startswith("above row ")
    assert 0.2 < damaged["share"] < 0.3
    first, counted = outcome.err.splitlines()
    assert first.startswith(
        f"multiattn: {file} is damaged (it is cut off), and is used without what is missing above row"
    )
    assert counted == "multiattn: 1 of 1 inputs could be used only in part"

    refused = run("classify", file, "--model", model, "--strict")
    assert (refused.status, refused.out) == (1, "")
    assert "must be a whole picture, but is damaged or unusual instead" in refused.err


def test_the_limit_of_pixels_is_an_option(run, model, tmp_path) -> None:
    file = save_drawing(tmp_path / "a.png", 1)
    outcome = run("classify", file, "--model", model, "--max-pixels", "100")
    assert (outcome.status, outcome.out) == (1, "")
    assert "must have at most 100 pixels" in outcome.err


def test_one_pixel_is_a_picture(run, model, tmp_path) -> None:
    save_drawing(tmp_path / "dot.png", 3, size=(1, 1))
    outcome = run("classify", tmp_path / "dot.png", "--model", model, "--maps", tmp_path / "m", "--map-method", "all")
    assert (outcome.status, outcome.err) == (0, "")
    assert (tmp_path / "m" / "dot.rollout.png").exists()


def test_inputs_that_lead_nowhere_do_not_wait_for_the_model(run, tmp_path) -> None:
    outcome = run("classify", tmp_path / "gone.jpg", "--model", "no-such-model")
    assert (outcome.status, outcome.out) == (1, "")
    assert (
        outcome.err
        == f"multiattn: `{tmp_path}/gone.jpg` must be a file or folder, but is missing instead. Check the path.\n"
    )


@pytest.mark.parametrize("command", [("classify", "{photos}"), ("evaluate", "classify", "--data", "{data}"), ("info",)])
def test_an_unknown_model(run, photos, tmp_path, command) -> None:
    save_drawing(tmp_path / "data/validation/ant/1.png", 1)
    paths = {"photos": photos, "data": tmp_path / "data"}
    option = () if command == ("info",) else ("--model",)
    outcome = run(*(word.format(**paths) for word in command), *option, tmp_path / "no-such-model")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("multiattn: ")
    assert "no-such-model" in outcome.err
    assert outcome.err.count("\n") == 1


def spoil(directory: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")


def drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["norm.bias"]


def add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["extra.weight"] = torch.zeros(3)


def reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["norm.bias"] = torch.zeros(23)


def nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["blocks.1.norm1.weight"][2] = float("nan")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (drop, ["- norm.bias [22]"]),
        (add, ["+ extra.weight [3]"]),
        (reshape, ["- norm.bias [22]", "+ norm.bias [23]"]),
        (nan, ["blocks.1.norm1.weight", "NaN"]),
    ],
)
def test_a_damaged_model(run, photos, tmp_path, change, parts) -> None:
    broken = save_tiny_model(tmp_path / "broken")
    spoil(broken, change)
    for command in (("classify", photos, "--model"), ("info",), ("convert", "--to", "multiattn", "--")):
        target = (tmp_path / "copy",) if command[0] == "convert" else ()
        outcome = run(*command, broken, *target)
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err.startswith("multiattn: ")
        assert str(broken) in outcome.err
        for part in parts:
            assert part in outcome.err


def change_architecture(directory: Path, **fields: int) -> Path:
    path = directory / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"architecture": config["architecture"] | fields}))
    return directory


@pytest.mark.parametrize("field", ["depth", "num_heads", "patch_size"])
def test_a_model_that_cannot_be(run, photos, tmp_path, field) -> None:
    broken = change_architecture(save_tiny_model(tmp_path / "broken"), **{field: 0})
    for command in (("classify", photos, "--model"), ("info",)):
        outcome = run(*command, broken)
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err == f"multiattn: {broken}/config.json: `{field}` must be at least 1, but is 0 instead.\n"


def test_a_model_of_gray_pictures_with_the_preprocessing_of_color(run, photos, tmp_path) -> None:
    gray = change_architecture(save_tiny_model(tmp_path / "gray"), in_channels=1)
    spoil(gray, lambda tensors: tensors.update({"stem.proj.weight": torch.zeros(22, 1, 5, 5)}))
    outcome = run("classify", photos, "--model", gray)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith(f"multiattn: {gray}: `preprocessing.mean` must have a number for each ")
    assert outcome.err.count("\n") == 1


def test_a_directory_that_is_no_model(run, photos) -> None:
    outcome = run("classify", photos, "--model", photos)
    assert (outcome.status, outcome.out) == (1, "")
    assert "config.json" in outcome.err
