import base64
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import multiattn
from tests.fixtures import LABELS, draw, save_drawing


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_object_a_line_in_order(run, model, photos) -> None:
    outcome = run("classify", photos / "deep/c.png", photos, "--model", model, "--format", "json", "--top-k", "3")
    assert (outcome.status, outcome.err) == (0, "")
    found = lines(outcome.out)
    names = ("deep/c.png", "a.png", "b.jpg", "deep/c.png")
    assert [line["file"] for line in found] == [str(photos / name) for name in names]
    assert all(line.keys() == {"file", "predictions"} for line in found)
    classify = multiattn.load(model, device="cpu")
    for line in found:
        theirs = classify(line["file"], top_k=3).predictions
        assert [p["label"] for p in line["predictions"]] == [p.label for p in theirs]
        assert [p["score"] for p in line["predictions"]] == pytest.approx([p.score for p in theirs], abs=1e-5)


def test_text_is_a_block_a_picture(run, model, photos) -> None:
    outcome = run("classify", photos / "a.png", photos / "b.jpg", "--model", model, "--top-k", "2")
    assert (outcome.status, outcome.err) == (0, "")
    blocks = outcome.out.splitlines()
    assert len(blocks) == 6
    first = multiattn.load(model, device="cpu")(photos / "a.png").predictions
    assert blocks[:4] == [
        str(photos / "a.png"),
        f"  {first[0].score:6.1%}  {first[0].label}",
        f"  {first[1].score:6.1%}  {first[1].label}",
        str(photos / "b.jpg"),
    ]


def test_more_labels_than_there_are_gives_all(run, model, photos) -> None:
    (line,) = lines(run("classify", photos / "a.png", "--model", model, "--format", "json", "--top-k", "99").out)
    assert sorted(p["label"] for p in line["predictions"]) == sorted(LABELS)
    assert sum(p["score"] for p in line["predictions"]) == pytest.approx(1, abs=1e-5)


def test_a_pattern(run, model, photos) -> None:
    outcome = run("classify", f"{photos}/**/*.png", "--model", model, "--format", "json")
    assert [line["file"] for line in lines(outcome.out)] == [str(photos / "a.png"), str(photos / "deep/c.png")]


@pytest.mark.parametrize("batch_size", ["1", "2", "7"])
def test_the_batch_size_changes_nothing(run, model, photos, batch_size) -> None:
    expected = lines(run("classify", photos, "--model", model, "--format", "json").out)
    found = lines(run("classify", photos, "--model", model, "--format", "json", "--batch-size", batch_size).out)
    assert [line["file"] for line in found] == [line["file"] for line in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert [p["score"] for p in ours["predictions"]] == pytest.approx(
            [p["score"] for p in theirs["predictions"]], abs=1e-5
        )


def test_out_takes_the_results(run, model, photos, tmp_path) -> None:
    to_stdout = run("classify", photos, "--model", model, "--format", "json").out
    outcome = run("classify", photos, "--model", model, "--format", "json", "--out", tmp_path / "r.jsonl")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert (tmp_path / "r.jsonl").read_text() == to_stdout


def test_out_in_a_folder_that_is_missing(run, model, photos, tmp_path) -> None:
    outcome = run("classify", photos / "a.png", "--model", model, "--out", tmp_path / "new/deep/r.txt")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert (tmp_path / "new/deep/r.txt").read_text().startswith(f"{photos}/a.png\n")


def test_out_that_cannot_be_written(run, model, photos, tmp_path) -> None:
    outcome = run("classify", photos, "--model", model, "--out", photos)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"multiattn: --out {photos}: cannot be written: Is a directory\n"
    outcome = run("classify", photos, "--model", model, "--out", photos / "a.png/r.txt")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"multiattn: the parent of --out {photos}/a.png/r.txt must be a folder, but is a file instead\n"
    )


@pytest.mark.parametrize("name", ["own.png", "own", "link.txt", "hard.txt", "sub/../own.png"])
def test_out_replaces_no_picture_that_is_classified(run, model, tmp_path, name) -> None:
    content = save_drawing(tmp_path / "own.png", 1).read_bytes()
    (tmp_path / "own").write_bytes(content)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.txt").symlink_to("own.png")
    (tmp_path / "hard.txt").hardlink_to(tmp_path / "own.png")
    out = tmp_path / name
    outcome = run("classify", tmp_path / "gone", tmp_path / "own", tmp_path / "own.png", "--model", model, "--out", out)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == (
        f"multiattn classify: --out {out} must not be one of the pictures, which it would replace; "
        "give another file (multiattn classify --help tells more)\n"
    )
    assert out.read_bytes() == content


def test_out_replaces_no_other_picture(run, model, photos) -> None:
    content = (photos / "b.jpg").read_bytes()
    outcome = run("classify", photos / "a.png", "--model", model, "--out", photos / "b.jpg")
    assert (outcome.status, outcome.out) == (2, "")
    assert f"--out {photos}/b.jpg must not be a picture, which it would replace; give another file, or" in outcome.err
    assert outcome.err.count("\n") == 1
    assert (photos / "b.jpg").read_bytes() == content


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk(run, model, photos) -> None:
    outcome = run("classify", photos, "--model", model, "--out", "/dev/full")
    message = "multiattn: --out /dev/full: cannot be written: No space left on device\n"
    assert (outcome.status, outcome.out, outcome.err) == (1, "", message)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: ..."),
        MemoryError(),
    ],
)
def test_a_memory_that_is_too_small(run, model, photos, monkeypatch, error) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("multiattn.models.vit.ViT.pooled", exhausted)
    outcome = run("classify", photos, "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "multiattn: the device's memory is too small for this; try a smaller --batch-size, fewer --beams or "
        "--candidates where there are any, or --device cpu\n"
    )


def test_maps_are_written_and_named(run, model, photos, tmp_path) -> None:
    maps = tmp_path / "new" / "maps"
    outcome = run(
        "classify", photos / "a.png", "--model", model, "--format", "json", "--maps", maps, "--map-method", "rollout"
    )
    (line,) = lines(outcome.out)
    assert line["maps"] == {
        "rollout": {
            "html": str(maps / "a.html"),
            "png": str(maps / "a.rollout.png"),
            "npz": str(maps / "a.rollout.npz"),
            "json": str(maps / "a.rollout.json"),
        }
    }
    assert sorted(path.name for path in maps.iterdir()) == [
        "a.html",
        "a.rollout.json",
        "a.rollout.npz",
        "a.rollout.png",
    ]
    with Image.open(maps / "a.rollout.png") as overlay:
        assert overlay.size > (53, 37)
    values = np.load(maps / "a.rollout.npz", allow_pickle=False)["values"]
    np.testing.assert_allclose(
        values, multiattn.load(model)(photos / "a.png", maps="rollout").maps[0].map.values, atol=1e-6
    )
    assert "a.png" in (maps / "a.html").read_text(encoding="utf-8")


def test_map_methods_add_up(run, model, photos, tmp_path) -> None:
    arguments = ("classify", photos / "a.png", "--model", model, "--format", "json", "--maps", tmp_path / "m")
    arguments = (*arguments, "--map-format", "npz")
    (default,) = lines(run(*arguments).out)
    assert list(default["maps"]) == ["lrp"]
    (several,) = lines(run(*arguments, "--map-method", "rollout,attention", "--map-method", "relevance").out)
    assert list(several["maps"]) == ["rollout", "attention", "relevance"]
    (all_of_them,) = lines(run(*arguments, "--map-method", "all").out)
    assert list(all_of_them["maps"]) == ["lrp", "attention", "rollout", "relevance", "gradient_x_input"]


def test_the_text_says_where_the_page_is(run, model, photos, tmp_path) -> None:
    outcome = run("classify", photos / "a.png", "--model", model, "--maps", tmp_path / "m")
    assert outcome.out.splitlines()[-1] == f"    maps  {tmp_path}/m/a.html"


def test_pictures_of_one_name_keep_their_maps_apart(run, model, tmp_path) -> None:
    names = ("x/cat.png", "y/cat.png", "y/CAT.jpg", "y/cat-2.png", "cat.jpg")
    files = [save_drawing(tmp_path / name, seed) for seed, name in enumerate(names)]
    outcome = run("classify", *files, "--model", model, "--format", "json", "--maps", tmp_path / "m")
    pages = [Path(line["maps"]["lrp"]["html"]) for line in lines(outcome.out)]
    assert [page.name for page in pages] == ["cat.html", "cat-2.html", "CAT-3.html", "cat-2-2.html", "cat-4.html"]
    contents = {page.read_bytes() for page in pages}
    assert len(contents) == 5
    assert len(list((tmp_path / "m").iterdir())) == 20 + 1  # the index


@pytest.mark.parametrize("maps", ["maps", "."])
def test_maps_of_an_earlier_run_are_no_inputs(run, model, photos, maps) -> None:
    arguments = ("classify", photos, "--model", model, "--format", "json", "--maps", photos / maps)
    first, second = run(*arguments), run(*arguments)
    assert first.out == second.out
    assert len(first.out.splitlines()) == 3


def test_a_map_of_an_earlier_run_is_an_input_where_it_is_named(run, model, photos) -> None:
    overlay = save_drawing(photos / "maps/a.relevance.png", 3)
    options = ("--model", model, "--format", "json", "--maps", photos / "maps")
    named = run("classify", overlay, *options)
    assert [line["file"] for line in lines(named.out)] == [str(overlay)]
    searched = run("classify", photos / "maps", *options)
    (photos / "maps/a.relevance.lrp.png").unlink()
    assert searched.status == 1
    assert [line.keys() for line in lines(searched.out)] == [{"file": 0, "error": 0}.keys()]
    assert (
        searched.err
        == f"multiattn: `{photos}/maps` must hold at least one picture, but holds only maps of ours instead.\n"
    )


def test_a_maps_folder_that_is_a_file(run, model, photos) -> None:
    outcome = run("classify", photos, "--model", model, "--maps", photos / "a.png")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"multiattn: --maps {photos}/a.png must be a folder, but is a file instead\n"
    outcome = run("classify", photos, "--model", model, "--maps", photos / "a.png/deep/maps")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"multiattn: --maps {photos}/a.png/deep/maps must be a folder, but {photos}/a.png is a file instead\n"
    )
    (photos / "broken").symlink_to("nowhere")
    outcome = run("classify", photos, "--model", model, "--maps", photos / "broken")
    assert (outcome.status, outcome.out) == (1, "")
    assert "/broken must be a folder, but is a link that leads nowhere instead\n" in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="names cannot hold these there")
def test_map_files_have_names_that_are_safe_in_an_address(run, model, tmp_path) -> None:
    names = ('-a#b%c?d<e>f&g:h"i|j*k\\l\n.png', "-a.png", "_a.png", "a-b c.png")
    files = [save_drawing(tmp_path / "in" / name, seed) for seed, name in enumerate(names)]
    outcome = run("classify", *files, "--model", model, "--format", "json", "--maps", tmp_path / "m")
    found = lines(outcome.out)
    assert [line["file"] for line in found] == [str(file) for file in files]
    pages = [Path(line["maps"]["lrp"]["html"]).name for line in found]
    assert pages == ["_a_b_c_d_e_f_g_h_i_j_k_l_.html", "_a.html", "_a-2.html", "a-b c.html"]
    assert sorted(path.name for path in (tmp_path / "m").glob("*.html")) == sorted([*pages, "index.html"])


def test_a_name_that_commands_a_terminal_is_made_harmless(run, model, tmp_path) -> None:
    name = "a\nb\x1b[2Jc\u202ed\u2028e\u200d\u202fé"
    harmless = str(tmp_path / r"a\nb\x1b[2Jc\u202ed\u2028e") + "\u200d\u202fé"
    save_drawing(tmp_path / f"{name}.png", 1)
    maps = tmp_path / f"{name} maps"
    (tmp_path / f"{name}.jpg").touch()
    outcome = run("classify", tmp_path / f"{name}.png", tmp_path / f"{name}.jpg", "--model", model, "--maps", maps)
    assert outcome.status == 1
    assert outcome.out.split("\n")[0] == f"{harmless}.png"
    assert outcome.out.split("\n")[-2].startswith(f"    maps  {harmless} maps/")
    assert len(outcome.out.split("\n")) == 8
    named, _, end = outcome.err.split("\n")
    assert named.startswith(f"multiattn: `{harmless}.jpg` must be ")
    assert end == ""
    alone = run("classify", tmp_path / f"{name}.gone", "--model", model)
    assert alone.err.startswith(f"multiattn: `{harmless}.gone` must match ")
    assert alone.err.count("\n") == 1
    usage = run("classify", "x.png", f"--{name}")
    assert r"a\nb\x1b[2Jc\u202ed\u2028e" in usage.err
    assert usage.err.count("\n") == 1
    (exact,) = lines(run("classify", tmp_path / f"{name}.png", "--model", model, "--format", "json").out)
    assert exact["file"] == str(tmp_path / f"{name}.png")


def test_cuda_asked_for_and_not_there(run, model, photos, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    outcome = run("classify", photos, "--model", model, "--device", "cuda")
    assert (outcome.status, outcome.out) == (1, "")
    assert "finds no CUDA device here; use cpu or auto" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only there")
def test_a_file_name_that_is_no_text_comes_out_as_it_went_in(run, model, tmp_path) -> None:
    name = str(tmp_path / "caf\udce9.png")  # a Latin-1 name, as Python holds it
    draw(1).save(name, format="PNG")
    out = run("classify", name, "--model", model, "--format", "json").out
    (line,) = lines(out)
    assert line["file"] == str(tmp_path / "caf\ufffd.png")
    assert base64.b64decode(line["file_bytes"]) == os.fsencode(name)
    assert list(line)[:2] == ["file", "file_bytes"]
    json.dumps(line, ensure_ascii=False).encode()  # no half character is left
    assert run("classify", name, "--model", model, "--out", tmp_path / "o.txt").status == 0
    assert b"caf\xe9.png\n" in (tmp_path / "o.txt").read_bytes()


def test_the_label_that_maps_explain(run, model, photos, tmp_path) -> None:
    photo = next(Path(photos).glob("*.jpg")) if Path(photos).is_dir() else photos
    maps = tmp_path / "maps"
    outcome = run("classify", photo, "--model", model, "--maps", maps, "--target", "dog", "--versus", "gnu")
    assert outcome.status == 0, outcome.err
    (facts,) = [json.loads(path.read_text()) for path in maps.glob("*.json")]
    assert facts["target"] == "dog rather than gnu"
    usage = run("classify", photo, "--model", model, "--target", "dog")
    assert usage.status == 2 and "--target says what maps explain, and needs --maps DIR" in usage.err
    unknown = run("classify", photo, "--model", model, "--maps", maps, "--target", "dgo")
    assert unknown.status == 1 and "but is 'dgo' instead: did you mean 'dog'?" in unknown.err
    assert unknown.err.count("\n") == 1
