"""A fifth task, registered here: it gets its command, its evaluation and its description without an edit elsewhere."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from multiattn.cli import evaluate, info
from multiattn.cli.map_files import Written
from multiattn.cli.options import Parser, add_maps, add_model, add_out, add_paths
from multiattn.cli.predict import Job, Predictor, block
from multiattn.errors import InputError
from multiattn.pipelines import Failure, Result
from multiattn.registry import ModelKind, TaskSpec, register, unregister
from tests.fixtures import LABELS, save_drawing, tiny_bundle

SPEC = TaskSpec(
    name="shape",
    summary="say whether pictures are wide or tall",
    reads="image",
    input="PICTURE",
    output="shapes",
    doing="looking",
    models={"vit": ModelKind("multiattn.models.vit:ViTConfig", "multiattn.models.vit:ViT")},
    pipeline="",
    command=__name__,
    evaluator=__name__,
    published="nothing",
    map_methods=("none",),
    default_map_method="none",
)


@dataclass(frozen=True)
class Shape(Result):
    file: str | None
    shape: str
    maps: tuple[Any, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"file": self.file, "shape": self.shape}

    def save_html(self, path: str | Path) -> None:
        raise InputError("there are no maps")


def shapes(files: Sequence[Path]) -> Iterator[Shape | Failure]:
    for file in files:
        try:
            with Image.open(file) as picture:
                yield Shape(str(file), "wide" if picture.width > picture.height else "tall")
        except OSError:
            yield Failure(str(file), InputError(f"{file} is no picture"))


def parser() -> Parser:
    parser = Parser(prog="multiattn shape", description="Say whether pictures are wide or tall.")
    add_paths(parser)
    add_model(parser, "shape")
    add_out(parser)
    add_maps(parser, "shape")
    parser.add_argument("--format", default="text")
    return parser


def run(args: Any) -> int:
    return ShapePredictor(args).run()


class ShapePredictor(Predictor[Shape]):
    task = "shape"

    def results(self, jobs: Sequence[Job]) -> Iterator[Shape | Failure]:
        return shapes([job.file for job in jobs])

    @staticmethod
    def as_text(result: Shape, written: Written | None) -> str:
        return block(str(result.file), [result.shape], written)


class Evaluator(evaluate.Evaluator[Path, str, Shape]):
    measures = "figures of shapes\n  accuracy  share that is right\n"
    options = ("strict",)

    @classmethod
    def add_options(cls, parser: Any) -> None:
        parser.add_argument("--strict", action="store_const", const=True)

    def read(self) -> Sequence[tuple[Path, Sequence[str]]]:
        return [(path, (path.parent.name,)) for path in sorted(Path(self.args.data).glob("*/*.png"))]

    def results(self, items: Sequence[tuple[Path, Sequence[str]]]) -> Iterator[Shape | Failure]:
        return shapes([path for path, _ in items])

    def figures(self, truths: Sequence[str], results: Sequence[Shape]) -> evaluate.Figures:
        share = sum(truth == one.shape for truth, one in zip(truths, results, strict=True)) / len(truths)
        return evaluate.Figures({"accuracy": share}, [f"accuracy  {share:.1%}"])


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    assert sys.modules[__name__].run is run  # the registry imports this module, and must not run it twice
    register(SPEC)
    yield
    unregister("shape")


def test_it_has_a_command(run, tmp_path) -> None:
    assert "\n  shape        say whether pictures are wide or tall\n" in run("--help").out
    wide = save_drawing(tmp_path / "wide.png", 1, size=(31, 17))
    (tmp_path / "broken.png").write_bytes(b"")
    outcome = run("shape", tmp_path, "--format", "json")
    assert (outcome.status, json.loads(outcome.out)) == (1, {"file": str(wide), "shape": "wide"})
    assert outcome.err.splitlines() == [
        f"multiattn: {tmp_path}/broken.png is no picture",
        "multiattn: 1 of 2 inputs could not be used",
    ]
    assert run("shape", wide).out == f"{wide}\n  wide\n"
    assert "did you mean shape?" in run("shap", wide).err


def test_it_is_evaluated(run, tmp_path) -> None:
    for number, (truth, size) in enumerate((("wide", (31, 17)), ("tall", (17, 31)), ("tall", (31, 17)))):
        save_drawing(tmp_path / truth / f"{number}.png", number, size=size)
    found = json.loads(run("evaluate", "shape", "--data", tmp_path, "--format", "json").out)
    assert (found["accuracy"], found["items"], found["model"]) == (pytest.approx(2 / 3), 3, "shape")
    assert run("evaluate", "shape", "--data", tmp_path).out.startswith("accuracy  66.7%\non 3 pictures of ")
    assert "share that is right" in run("evaluate", "--help").out
    assert "--strict: is for shapes only, but" in run("evaluate", "classify", "--data", "x", "--strict").err


def test_it_is_described() -> None:
    bundle = replace(tiny_bundle(), task="shape", source="mine")
    facts = info.describe(bundle, info.Details())
    assert (facts["task"], facts["input_size"], facts["attention_sites"]) == ("shape", [15, 35], [])
    lines = info.as_text(bundle, info.Details({"architecture": "a ruler"})).splitlines()
    assert lines[:2] == ["model          mine", "task           shape"]
    assert "architecture   a ruler" in lines
    assert f"shapes         7: {', '.join(LABELS)}" in lines
