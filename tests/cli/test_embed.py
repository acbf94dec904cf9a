"""`multiattn embed`: the formats, texts and recordings, several processes, a run that goes on, and bad input."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import multiattn
from multiattn.models import ViT
from multiattn.models.text_encoder import TextEncoder, TextEncoderConfig
from multiattn.pipelines.embed_text import TextEmbedder
from multiattn.weights import save_bundle, save_text_encoder
from tests.cli.conftest import Outcome
from tests.fixtures import CONFIG, save_tiny_recognizer, tiny_bundle
from tests.parity.vocabularies import WORDPIECES, save_wordpieces

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def text_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory in BERT's layout."""
    from multiattn.inputs import Tokenizer

    vocabulary, directory = (tmp_path_factory.mktemp(name) for name in ("vocabulary", "text"))
    save_wordpieces(vocabulary)
    config = TextEncoderConfig(
        vocab_size=len(WORDPIECES),
        dim=26,
        depth=2,
        num_heads=2,
        mlp_dim=37,
        max_length=41,
        context_dim=None,
        start_token=2,
        end_token=3,
        pad_token=0,
        pre_norm=False,
        norm_eps=1e-12,
        embed_norm=True,
        final_norm=False,
    )
    torch.manual_seed(3)
    save_text_encoder(TextEncoder(config), Tokenizer.load(vocabulary), directory)
    return str(directory)


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_has_a_line_for_each_picture(run: Run, model: str, photos: Path) -> None:
    done = run("embed", photos, "--model", model)
    found = records(done.out)
    assert done.status == 0 and [Path(one["file"]).name for one in found] == ["a.png", "b.jpg", "c.png"]
    wanted = multiattn.load(model, task="classify", device="cpu").embed(sorted(photos.rglob("*.*")))
    for one, embedding in zip(found, wanted, strict=True):
        assert np.array_equal(np.array(one["embedding"], np.float32), np.asarray(embedding))
    (unit,) = records(run("embed", photos / "a.png", "--model", model, "--normalize").out)
    assert np.linalg.norm(unit["embedding"]) == pytest.approx(1)


@pytest.mark.parametrize("vectors", ["pooled", "all"])
def test_npy_and_parquet_hold_what_json_does(run: Run, model: str, photos: Path, tmp_path: Path, vectors: str) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    (photos / "broken.jpg").write_bytes(b"no picture")
    arguments = ("embed", photos, "--model", model, "--vectors", vectors)
    plain = records(run(*arguments).out)
    wanted = {one["file"]: np.array(one.get("embedding", []), np.float32) for one in plain}
    out = tmp_path / "new" / "photos.npy"
    done = run(*arguments, "--format", "npy", "--out", out)
    assert done.status == 1 and done.out == "" and "broken.jpg" in done.err
    vectors, index = np.load(out), records(out.with_suffix(".jsonl").read_text())
    assert vectors.dtype == np.float32 and vectors.ndim == 2
    assert sorted(path.name for path in out.parent.iterdir()) == ["photos.jsonl", "photos.npy"]
    for one in index:
        rows = vectors[one["row"] : one["row"] + one.get("rows", 1)] if "row" in one else np.zeros(0)
        assert np.array_equal(rows.squeeze(), wanted[one["file"]].squeeze())
    assert "error" in next(one for one in index if "broken" in one["file"])
    assert sum(one.get("rows", 1) for one in index if "row" in one) == len(vectors)
    run(*arguments, "--format", "parquet", "--out", tmp_path / "table")
    table = pyarrow.parquet.read_table(tmp_path / "table").to_pylist()
    assert [one["file"] for one in table] == [one["file"] for one in plain]
    for one in table:
        assert np.array_equal(np.array(one["embedding"] or [], np.float32), wanted[one["file"]])


@pytest.mark.slow
def test_several_processes_write_what_one_does(run: Run, model: str, photos: Path, tmp_path: Path) -> None:
    for name, more in (("one", ()), ("two", ("--processes", "2"))):
        done = run("embed", photos, "--model", model, "--format", "npy", "--out", tmp_path / f"{name}.npy", *more)
        assert done.status == 0
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "two.npy").read_bytes()
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


@pytest.mark.parametrize("vectors", ["pooled", "all"])
def test_a_run_goes_on(run: Run, model: str, photos: Path, tmp_path: Path, vectors: str) -> None:
    whole, out = tmp_path / "whole.npy", tmp_path / "photos.npy"

    def embed(out: Path, *more: str) -> Outcome:
        format = ("--vectors", vectors, "--format", "npy", "--batch-size", "1")
        return run("embed", photos, "--model", model, *format, "--out", out, *more)

    embed(whole)
    hidden = (photos / "a.png").read_bytes()
    (photos / "a.png").unlink()
    embed(out)
    (photos / "a.png").write_bytes(hidden)  # it comes first, but is computed last
    assert embed(out, "--resume").status == 0
    assert out.read_bytes() == whole.read_bytes()
    assert out.with_suffix(".jsonl").read_bytes() == whole.with_suffix(".jsonl").read_bytes()
    # as a run leaves it that was killed behind the first line
    lines = whole.with_suffix(".jsonl").read_text().splitlines(keepends=True)
    out.with_suffix(".jsonl").unlink()
    out.rename(tmp_path / "photos.npy.part")
    (tmp_path / "photos.jsonl.part").write_text(lines[0])
    assert embed(out, "--resume").status == 0
    assert out.read_bytes() == whole.read_bytes()
    out.write_bytes(b"nothing")
    refused = embed(out, "--resume")
    assert refused.status == 2 and "must hold the" in refused.err
    assert out.read_bytes() == b"nothing" and (tmp_path / "photos.jsonl.part").exists()


def test_texts(run: Run, text_encoder: str, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(["a red fox", "", "a fox"]))
    done = run("embed", "--model", text_encoder, "--text", "red", "--texts", tmp_path / "texts.txt", "--normalize")
    found = records(done.out)
    assert done.status == 0 and [one["text"] for one in found] == ["red", "a red fox", "a fox"]
    assert [one["file"] for one in found] == [None, f"{tmp_path}/texts.txt:1", f"{tmp_path}/texts.txt:3"]
    embedder = TextEmbedder.load(text_encoder, device="cpu")
    wanted = embedder.embed(["red", "a red fox", "a fox"], normalize=True)
    assert np.allclose([one["embedding"] for one in found], np.stack([np.asarray(one) for one in wanted]), atol=1e-6)
    cut = run("embed", "--model", text_encoder, "--text", "fox " * 50)
    assert "--text has 52 tokens, of which the first 40 and the last one are used" in cut.err


def test_recordings(run: Run, tmp_path: Path) -> None:
    recognizer = save_tiny_recognizer(tmp_path / "model")
    sound = tmp_path / "noise.wav"
    soundfile.write(sound, np.random.default_rng(3).uniform(-0.5, 0.5, 12000), 16000)
    (found,) = records(run("embed", sound, "--model", recognizer, "--vectors", "all").out)
    frames = multiattn.load(recognizer, task="transcribe", device="cpu").embed(sound, tokens="all")
    assert np.array_equal(np.array(found["embedding"], np.float32), frames.values)
    assert found["frame_seconds"] == frames.frame_seconds


def test_what_does_not_go_together(run: Run, model: str, text_encoder: str, photos: Path, tmp_path: Path) -> None:
    def refused(message: str, *arguments: object) -> None:
        done = run("embed", *map(str, arguments))
        assert done.status == 2 and message in done.err and done.out == "" and done.err.count("\n") == 1

    refused("the following arguments are required: PATH")
    refused("--format npy writes a file, and needs --out FILE.npy", photos, "--format", "npy")
    refused("must be a file that ends in .npy", photos, "--model", model, "--format", "npy", "--out", tmp_path / "x")
    refused("reads texts, and no files", photos, "--model", text_encoder)
    refused(
        "--text and --texts need a text encoder in BERT's layout or a model of two towers, but --model",
        "--text",
        "a fox",
        "--model",
        model,
    )
    refused("--resume goes on with records in a file, and needs --out", photos, "--resume")
    refused("can be read once only", "-", "--texts", "-", "--model", text_encoder)
    missing = run("embed", "--texts", tmp_path / "none.txt", "--model", text_encoder)
    assert missing.status == 1 and "none.txt` must be a readable file" in missing.err


def test_a_backbone_is_refused_where_labels_are_asked_for(run: Run, photos: Path, tmp_path: Path) -> None:
    bundle = replace(tiny_bundle(labels=()), model=ViT(replace(CONFIG, num_classes=0)))
    save_bundle(bundle, tmp_path / "backbone")
    done = run("classify", photos / "a.png", "--model", tmp_path / "backbone")
    assert done.status == 1 and "`multiattn embed` gives its features" in done.err and done.err.count("\n") == 1
    (found,) = records(run("embed", photos / "a.png", "--model", tmp_path / "backbone").out)
    assert len(found["embedding"]) == CONFIG.dim
