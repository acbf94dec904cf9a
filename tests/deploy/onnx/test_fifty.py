"""Fifty inputs of each task: the same tokens on onnxruntime as on torch; and the classifier in a browser."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import multiattn
from multiattn.deploy.onnx.export import graphs_of
from multiattn.deploy.onnx.loading import load
from tests.deploy.onnx.test_runners import assert_same
from tests.fixtures import draw, real_whisper, save_tiny_answerer, save_tiny_whisper

ROOT = Path(__file__).parents[3]
QUESTIONS = ("what color is the circle?", "how many squares are there?", "is there a triangle?")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Export a model in a process of its own, without the type checker, to which a symbol is no number."""

    def write(model: str | Path, *options: str) -> Path:
        folder = tmp_path_factory.mktemp("exported") / "model"
        command = [sys.executable, "-m", "multiattn", "export", str(model), str(folder), *(options or ("--to", "onnx"))]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return folder

    return write


def pictures(count: int = 50) -> list[Any]:
    return [draw(seed, size=(40 + seed, 90 - seed)) for seed in range(count)]


def compared(found: Any, wanted: Any, *, count: int = 50) -> None:
    found, wanted = list(found), list(wanted)
    assert len(found) == len(wanted) == count
    for one, other in zip(found, wanted, strict=True):
        assert_same(one.to_dict(), other.to_dict())


def test_classify(exported: Callable[..., Path]) -> None:
    runner = load(exported("classify"), task="classify")
    compared(runner.stream(pictures()), multiattn.load("classify", device="cpu").stream(pictures()))
    model = multiattn.load("classify", device="cpu")
    images = np.stack([model.bundle.pictures.array(one)[0] for one in pictures()])
    with torch.no_grad():
        wanted = model.vision(torch.from_numpy(images)).numpy()
    assert np.abs(runner._session(images=images)["logits"] - wanted).max() < 1e-4


@pytest.mark.parametrize("beams", [1, 3])
def test_caption(exported: Callable[..., Path], beams: int) -> None:
    runner, pipeline = load(exported("caption"), task="caption"), multiattn.load("caption", device="cpu")
    compared(runner.stream(pictures(), num_beams=beams), pipeline.stream(pictures(), num_beams=beams))


def test_answer(exported: Callable[..., Path]) -> None:
    asked = [(picture, QUESTIONS[i % 3]) for i, picture in enumerate(pictures())]
    runner = load(exported("answer"), task="answer")
    compared(runner.stream(asked), multiattn.load("answer", device="cpu").stream(asked))


def test_answers_that_are_written(exported: Callable[..., Path], tmp_path: Path) -> None:
    model = save_tiny_answerer(tmp_path / "model", "decoder")
    asked = [(picture, "what is the red square?") for picture in pictures()]
    runner = load(exported(model), task="answer")
    compared(runner.stream(asked), multiattn.load(model, device="cpu").stream(asked))


@pytest.mark.parametrize("beams", [1, 5])
def test_whisper_tiny_en(exported: Callable[..., Path], tmp_path: Path, beams: int) -> None:
    """Fifty windows of spoken digits, at several speeds: the texts are right or wrong, but the same."""
    model = real_whisper("tiny.en", tmp_path / "tiny.en")
    with multiattn.inputs.Recording.open(str(ROOT / "assets" / "inputs" / "digits.flac")) as recording:
        samples = torch.cat(list(recording.blocks())).numpy()
    starts = np.linspace(0, len(samples) // 2, 50).astype(int)
    recordings = [samples[start : start + 16_000 * (1 + i % 5)] for i, start in enumerate(starts)]
    runner, pipeline = load(exported(model), task="transcribe"), multiattn.load(model, device="cpu")
    options: dict[str, Any] = {"num_beams": beams, "max_tokens": 40}
    compared(
        runner.stream(recordings, **options), pipeline.stream(recordings, vad="off", temperatures=[0.0], **options)
    )


def test_programs_of_torch_take_any_batch(exported: Callable[..., Path], tmp_path: Path) -> None:
    folder = exported("classify", "--to", "torch")
    program = torch.export.load(folder / "model.pt2").module()
    model = multiattn.load("classify", device="cpu").vision
    for count in (1, 3, 30):
        images = torch.randn(count, 3, *model.config.image_size)
        with torch.no_grad():
            torch.testing.assert_close(program(images)[0], model(images), atol=1e-5, rtol=1e-4)
    saved = save_tiny_whisper(tmp_path / "whisper")
    program = torch.export.load(exported(saved, "--to", "torch") / "decoder.pt2")
    decoder = program.module(check_guards=False)  # type: ignore[no-untyped-call]
    wanted = graphs_of(multiattn.load(saved, device="cpu").bundle)["decoder"].module
    depth, heads, width = 3, 2, 13
    for contexts, rows, count, before in ((1, 1, 4, 0), (1, 1, 1, 4), (1, 5, 1, 4), (2, 3, 1, 9), (3, 2, 5, 0)):
        past = torch.randn(depth, 2, contexts, rows, heads, before, width)
        context = torch.randn(depth, 2, contexts, heads, 100, width)
        tokens = torch.randint(0, 20, (contexts, rows, count))
        with torch.no_grad():
            torch.testing.assert_close(decoder(tokens, past, context), wanted(tokens, past, context))
