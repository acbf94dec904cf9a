"""`multiattn search`: exact results by text and by picture, and a cache that renews what has changed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import multiattn
from tests.cli.conftest import Outcome
from tests.fixtures import draw, save_drawing, save_tiny_matcher

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_matcher(tmp_path_factory.mktemp("matcher")))


@pytest.fixture
def search(run: Run, matcher: str, tmp_path: Path) -> Run:
    def search(*arguments: object) -> Outcome:
        model = () if "--model" in arguments else ("--model", matcher)
        return run("search", *arguments, *model, "--cache", tmp_path / "cache")

    return search


def scores(outcome: Outcome) -> dict[str, float]:
    found = [json.loads(line) for line in outcome.out.splitlines()]
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    return {Path(one["file"]).name: one["score"] for one in found}


def cosines(query: np.ndarray, photos: Path, model: str) -> dict[str, float]:
    pipeline = multiattn.load(model, task="match", device="cpu")
    found = {}
    for path in photos.rglob("*.*"):
        vector = np.asarray(pipeline.embed(path), np.float64)
        found[path.name] = float(vector @ query / np.linalg.norm(vector) / np.linalg.norm(query))
    return found


def test_a_text_and_a_picture_find_what_is_most_like_them(search: Run, photos: Path, matcher: str) -> None:
    pipeline = multiattn.load(matcher, task="match", device="cpu")
    done = search("a red square", photos, "--format", "json")
    assert done.status == 0 and done.err == ""
    assert scores(done) == pytest.approx(cosines(pipeline.embed_texts(["a red square"])[0], photos, matcher), abs=1e-6)
    done = search(photos / "b.jpg", photos, "--format", "json", "--top-k", 2)
    found = scores(done)
    assert next(iter(found)) == "b.jpg" and found["b.jpg"] == pytest.approx(1, abs=1e-6) and len(found) == 2
    wanted = cosines(np.asarray(pipeline.embed(photos / "b.jpg")), photos, matcher)
    assert found == pytest.approx({name: wanted[name] for name in found}, abs=1e-6)
    text = search("a red square", photos).out.splitlines()
    assert (
        len(text) == 3
        and text[0].split()[1]
        == json.loads(search("a red square", photos, "--format", "json").out.splitlines()[0])["file"]
    )


def test_only_what_changed_is_embedded_again(
    search: Run, photos: Path, matcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []
    whole = multiattn.pipelines.MatchPipeline.stream_embeddings

    def noted(self, inputs, **options):
        def each():
            for one in inputs:
                embedded.append(Path(str(one)).name)
                yield one

        return whole(self, each(), **options)

    def again(*changes: str) -> Outcome:
        embedded.clear()
        done = search("the sky", photos, "--format", "json")
        assert sorted(embedded) == sorted(changes)
        pipeline = multiattn.load(matcher, task="match", device="cpu")
        embedded.clear()
        with monkeypatch.context() as plain:
            plain.setattr(multiattn.pipelines.MatchPipeline, "stream_embeddings", whole)
            wanted = cosines(pipeline.embed_texts(["the sky"])[0], photos, matcher)
        assert scores(done) == pytest.approx(wanted, abs=1e-6)
        return done

    monkeypatch.setattr(multiattn.pipelines.MatchPipeline, "stream_embeddings", noted)
    assert again("a.png", "b.jpg", "c.png").err == ""
    assert again().err == ""
    save_drawing(photos / "b.jpg", 7)
    save_drawing(photos / "d.png", 8)
    (photos / "a.png").unlink()
    told = again("b.jpg", "d.png").err
    assert told == "multiattn: the index was not up to date and is renewed: 1 changed, 1 new, 1 gone; 1 kept\n"
    size = (photos / "d.png").stat().st_size
    draw(9).save(photos / "d.png")
    content = (photos / "d.png").read_bytes()
    (photos / "d.png").write_bytes(content[:size].ljust(size, b"\0"))  # as large as before
    os.utime(photos / "d.png", ns=(1, 1))
    assert "1 changed" in again("d.png").err
    weights = Path(matcher) / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    assert "of other files of the model: all 3 pictures" in again("b.jpg", "c.png", "d.png").err
    (next((photos.parent / "cache").glob("*.f32"))).write_bytes(b"damaged")
    assert again("b.jpg", "c.png", "d.png").err == ""
    assert len(list((photos.parent / "cache").iterdir())) == 2


def test_pictures_that_cannot_be_used_are_named_and_tried_again(search: Run, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    for _ in range(2):
        done = search("the sky", photos, "--format", "json")
        assert done.status == 1 and done.err.count("broken.jpg") == 1 and len(scores(done)) == 3
    save_drawing(photos / "broken.jpg", 5)
    done = search("the sky", photos, "--format", "json")
    assert done.status == 0 and len(scores(done)) == 4


def test_what_does_not_go_together(search: Run, run: Run, photos: Path, model: str, tmp_path: Path) -> None:
    def refused(message: str, *arguments: object, status: int = 2) -> None:
        done = search(*arguments)
        assert (done.status, done.out) == (status, "") and message in done.err and done.err.count("\n") == 1

    refused("FOLDER must be a folder of pictures, but is", "the sky", photos / "a.png")
    refused("reads no texts, but there is no file 'the sky'", "the sky", photos, "--model", model)
    refused("`missing.jpg` must be a picture, but is missing instead", "missing.jpg", photos, status=1)
    refused("QUERY", " ", photos)
    (tmp_path / "empty").mkdir()
    refused("must hold at least one picture", "the sky", tmp_path / "empty", status=1)
    classified = search(photos / "a.png", photos, "--model", model, "--format", "json")
    assert classified.status == 0 and next(iter(scores(classified))) == "a.png"
