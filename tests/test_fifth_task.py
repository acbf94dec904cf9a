"""A fifth task, defined in this file alone: it is trained, converted, described, run and evaluated without an edit.

It names the color of a picture. Everything that CONTRIBUTING.md lists for a new task is here: the `TaskSpec`, the
model, the pipeline with its result, the command, the evaluator, and the task and data module for `fit`.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import multiattn
from multiattn.cli import evaluate
from multiattn.cli.arguments import Option, Parser
from multiattn.cli.info import Details
from multiattn.cli.main import main
from multiattn.cli.map_files import Written
from multiattn.cli.options import COMPUTE, model_of, out_file, output_format, paths_of
from multiattn.cli.predict import Predictor
from multiattn.cli.result_lines import block, score_line
from multiattn.data.image_folder import ClassificationRecords, read_folder
from multiattn.errors import InputError, ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.inputs.files import PICTURES
from multiattn.models import ViT
from multiattn.pipelines import Failure, Pipeline, Result
from multiattn.pipelines.base import stacked
from multiattn.pipelines.pictures import Prepared, stream_pictures
from multiattn.registry import ModelKind, TaskSpec, model_kind, register, task_spec, tasks, unregister
from multiattn.tasks.base import BaseTask, Prediction
from multiattn.tasks.contracts import ClassifyFacts, ClassifyNeeds
from multiattn.tasks.loading.datamodule import BaseData
from multiattn.tasks.loading.pictures import EvaluationPictures, ImageBatch, TrainingPictures, collate_pictures
from multiattn.tasks.loading.transforms import Augmentation, training_transform
from multiattn.tasks.optim import Optimization
from multiattn.weights import ModelBundle, load_bundle, save_bundle
from tests.fixtures import tiny_bundle

COLORS = {"blue": (20, 30, 200), "green": (30, 180, 40), "red": (210, 20, 30)}

pytestmark = pytest.mark.filterwarnings("default")  # Lightning's own warnings on this torch are no failure of ours

HERE = "tests.test_fifth_task"

SPEC = TaskSpec(
    name="color",
    summary="say which color pictures have",
    reads="image",
    input="PICTURE",
    output="colors",
    doing="looking",
    models={"mean": ModelKind(f"{HERE}:ColorConfig", f"{HERE}:ColorModel")},
    pipeline=f"{HERE}:ColorPipeline",
    command=HERE,
    evaluator=HERE,
    published="nothing",
    num_labels="num_colors",
    label_noun=("color", "colors"),
    unique_labels=True,
    details=f"{HERE}:details",
)

PREPROCESSING = ImagePreprocessing((11, 13), (11, 13), "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


# --- the model ---


@dataclass(frozen=True)
class ColorConfig:
    """What a `ColorModel` is made of."""

    num_colors: int
    dim: int = 5


class ColorModel(nn.Module):
    """Scores a color for the mean of an image."""

    def __init__(self, config: ColorConfig) -> None:
        super().__init__()
        self.config = config
        self.hidden = nn.Linear(3, config.dim)
        self.head = nn.Linear(config.dim, config.num_colors)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (b, colors) of images (b, 3, h, w)."""
        return self.head(self.hidden(images.mean(dim=(2, 3))).tanh())


# --- the pipeline ---


@dataclass(frozen=True)
class Color(Result):
    """The color of a picture."""

    file: str | None
    color: str
    score: float
    maps: tuple[Any, ...] = ()

    def to_dict(self) -> dict[str, object]:
        return {"file": self.file, "color": self.color, "score": self.score}

    def save_html(self, path: str | Path) -> None:
        raise InputError("there are no maps to save")


class ColorPipeline(Pipeline[ColorModel]):
    """Names the colors of pictures."""

    def __init__(self, bundle: ModelBundle, *, device: str | torch.device = "auto") -> None:
        super().__init__(bundle, bundle.require(ColorModel), device=device)

    def stream(self, inputs: Iterable[Path], *, batch_size: int, maps: None = None) -> Iterator[Color | Failure]:
        """The color of each picture."""
        return stream_pictures(inputs, self.bundle.pictures, self._compute, batch_size=batch_size)

    @torch.inference_mode()
    def _compute(self, batch: list[Prepared]) -> list[Color]:
        scores, indices = self._model(stacked(batch, self.device)).softmax(dim=-1).max(dim=-1)
        found = zip(batch, scores.tolist(), indices.tolist(), strict=True)
        return [Color(item.file, self.bundle.labels[index], score) for item, score, index in found]


# --- the command, and its parts of `evaluate` and `info` ---


def parser() -> Parser:
    options = (paths_of(PICTURES), model_of("color"), output_format("json: one object a line"), out_file(), *COMPUTE)
    no_maps = (Option("--maps", help=argparse.SUPPRESS), Option("--map-method", help=argparse.SUPPRESS))
    return Parser(*options, *no_maps, prog="multiattn color", description="Say which color pictures have.")


def run(args: argparse.Namespace) -> int:
    return ColorPredictor(args).run()


class ColorPredictor(Predictor[Color]):
    task = "color"

    @staticmethod
    def as_text(result: Color, written: Written | None) -> str:
        return block(str(result.file), [score_line(result.score, result.color)], written)


class Evaluator(evaluate.Evaluator[Path, str, Color]):
    measures = "figures of colors\n  accuracy  share that is right\n"
    own_options = (Option("--strict", action="store_const", const=True),)
    options = ("strict",)

    def read(self) -> Sequence[tuple[Path, Sequence[str]]]:
        records = read_folder(self.args.data, self.args.split)
        return [(path, (records.class_names[index],)) for path, index in records.items]

    def results(self, items: Sequence[tuple[Path, Sequence[str]]]) -> Iterator[Color | Failure]:
        pipeline = multiattn.load(self.args.model, task="color", device=self.args.device)
        return pipeline.stream((path for path, _ in items), batch_size=self.args.batch_size)

    def figures(self, truths: Sequence[str], results: Sequence[Color]) -> evaluate.Figures:
        share = sum(truth == one.color for truth, one in zip(truths, results, strict=True)) / len(truths)
        return evaluate.Figures({"accuracy": share}, [f"accuracy  {share:.1%}"])


def details(bundle: ModelBundle) -> Details:
    return Details({"architecture": f"the mean color through {bundle.require(ColorModel).config.dim} numbers"})


# --- the training ---


class ColorTask(BaseTask[ImageBatch, ClassifyNeeds, ClassifyFacts]):
    """Learns to name colors."""

    task = "color"
    preprocessing = PREPROCESSING

    def __init__(self, *, dim: int = 5, optimization: Optimization | None = None) -> None:
        super().__init__(optimization=optimization)
        self.dim = dim

    def needs(self) -> ClassifyNeeds:
        return ClassifyNeeds(PREPROCESSING)

    def build_model(self, facts: ClassifyFacts) -> nn.Module:
        self.labels = facts.labels
        return ColorModel(ColorConfig(len(facts.labels), self.dim))

    def build_loss(self, facts: ClassifyFacts) -> nn.Module:
        return nn.CrossEntropyLoss()

    def shared_step(self, batch: ImageBatch, split: str) -> Tensor:
        loss = F.cross_entropy(self.model(batch.images), batch.labels)
        self.log_loss(loss, split, size=len(batch.labels))
        return loss

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> list[Prediction]:
        found = self.model(batch.images).argmax(dim=-1).tolist()
        return [(i, {"color": self.labels[k]}) for i, k in zip(batch.indices.tolist(), found, strict=True)]


class ColorData(BaseData[ClassifyNeeds, ClassifyFacts]):
    """Pictures in a folder for each color."""

    def __init__(self, root: str) -> None:
        super().__init__(root, needs=ClassifyNeeds(PREPROCESSING), batches=None, predict_split="validation")
        self.batches = replace(self.batches, num_workers=0)
        self.batch_size = self.eval_batch_size = 5

    def facts(self) -> ClassifyFacts:
        records = self.records("train")
        return ClassifyFacts(records.class_names, records.counts(), self.batch_size)

    def records(self, split: str) -> ClassificationRecords:
        return read_folder(self.root, split)

    def training_items(self) -> TrainingPictures:
        transform = training_transform(Augmentation(), self.needs.preprocessing)
        return TrainingPictures(self.records("train"), transform, seed=self.seed)

    def evaluation_items(self, split: str) -> EvaluationPictures:
        return EvaluationPictures(self.records(split), self.needs.preprocessing)

    def collate(self) -> partial[ImageBatch]:
        return partial(collate_pictures, size=self.needs.preprocessing.size)


YAML = """
seed_everything: 7
model:
  class_path: tests.test_fifth_task.ColorTask
  init_args: {{dim: 7, optimization: {{lr: 0.1}}}}
data:
  class_path: tests.test_fifth_task.ColorData
  init_args: {{root: {root}}}
trainer: {{default_root_dir: {run}, accelerator: cpu, devices: 1, max_epochs: 5}}
"""


# --- the tests ---


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    assert sys.modules[HERE].SPEC is SPEC  # the registry imports this module, and must not run it twice
    register(SPEC)
    yield
    unregister("color")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain pictures, 7 of each color for training and 2 for validation."""
    root = tmp_path_factory.mktemp("colors")
    for split, count in (("train", 7), ("validation", 2)):
        for name, color in COLORS.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                shade = tuple(min(255, value + 3 * number) for value in color)
                Image.new("RGB", (17, 19), shade).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def config(pictures: Path) -> Path:
    path = pictures / "color.yaml"
    path.write_text(YAML.format(root=pictures, run=pictures / "run"))
    return path


@pytest.fixture(scope="module")
def trained(pictures: Path, config: Path) -> Path:
    """The directory of a model that `multiattn fit` has trained."""
    assert main(["fit", "--config", str(config)]) == 0
    return pictures / "run" / "model"


def color_bundle() -> ModelBundle:
    torch.manual_seed(7)
    model = ColorModel(ColorConfig(len(COLORS))).eval()
    return ModelBundle("color", model, PREPROCESSING, labels=tuple(COLORS), card={"data": "none"}, source="toy")


@pytest.mark.training
def test_a_trial_of_its_training_leaves_no_model(config: Path, tmp_path: Path) -> None:
    run = ["--trainer.default_root_dir", str(tmp_path / "run"), "--trainer.fast_dev_run", "true"]
    assert main(["fit", "--config", str(config), *run]) == 0
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.training
def test_its_trained_model_names_colors(trained: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [pictures / "validation" / name / "1.png" for name in COLORS]
    broken = pictures / "broken.png"
    broken.write_bytes(b"")
    capsys.readouterr()
    assert main(["color", *map(str, files), str(broken), "--model", str(trained), "--format", "json"]) == 1
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    *found, failed = found
    assert [(one["file"], one["color"]) for one in found] == list(zip(map(str, files), COLORS, strict=True))
    assert failed["file"] == str(broken) and failed["error"] in err
    assert f"`{broken}` must be a picture" in err and "1 of 4 inputs could not be used" in err
    assert main(["color", str(files[2]), "--model", str(trained)]) == 0
    assert capsys.readouterr().out == f"{files[2]}\n  {found[2]['score']:6.1%}  red\n"


def test_its_command_is_listed_and_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "\n  color        say which color pictures have\n" in capsys.readouterr().out
    assert main(["colour", "x.png"]) == 2
    assert "did you mean color?" in capsys.readouterr().err


@pytest.mark.training
def test_its_trained_model_is_evaluated(trained: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "color", "--data", str(pictures), "--model", str(trained)]
    capsys.readouterr()
    assert main([*command, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["accuracy"], found["items"], found["model"]) == (1.0, 6, str(trained))
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("accuracy  100.0%\non 6 pictures of ")
    assert main(["evaluate", "--help"]) == 0
    assert "share that is right" in capsys.readouterr().out
    assert main(["evaluate", "classify", "--data", "x", "--strict"]) == 2
    assert "--strict: is for colors only, but" in capsys.readouterr().err


@pytest.mark.training
def test_its_trained_model_is_described(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(trained)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (lines["model"], lines["task"]) == (str(trained), "color")
    assert lines["architecture"] == "the mean color through 7 numbers"
    assert lines["colors"] == "3: blue, green, red"
    assert main(["info", str(trained), "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["task"], facts["input_size"], facts["attention_sites"]) == ("color", [11, 13], [])


@pytest.mark.training
def test_its_trained_model_is_converted(trained: Path, tmp_path: Path) -> None:
    assert main(["convert", str(trained), str(tmp_path / "copy"), "--to", "multiattn"]) == 0
    ours, copy = load_bundle(trained), load_bundle(tmp_path / "copy")
    assert (copy.task, copy.labels, copy.card) == ("color", tuple(COLORS), ours.card)
    assert copy.config == ColorConfig(3, 7)
    for key, value in ours.model.state_dict().items():
        assert torch.equal(copy.model.state_dict()[key], value)


def test_it_saves_and_loads(tmp_path: Path) -> None:
    bundle = color_bundle()
    save_bundle(bundle, tmp_path / "color")
    loaded = load_bundle(tmp_path / "color")
    assert (loaded.task, loaded.labels, loaded.card) == ("color", tuple(COLORS), bundle.card)
    assert loaded.preprocessing == bundle.preprocessing and not loaded.model.training
    images = torch.randn(2, 3, 11, 13, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        assert torch.equal(loaded.require(ColorModel)(images), bundle.require(ColorModel)(images))
    assert list(tasks()) == ["classify", "caption", "transcribe", "answer", "match", "color"]


def test_it_has_the_errors_of_the_others(tmp_path: Path) -> None:
    bundle = color_bundle()
    with pytest.raises(ModelError, match="toy must be a model for classify, but is one for color instead"):
        bundle.require(ViT)
    with pytest.raises(ModelError, match="tiny must be a model for color, but is one for classify instead"):
        tiny_bundle().require(ColorModel)
    with pytest.raises(ModelError, match="must have a label for each of 3 colors, but has 2 instead"):
        save_bundle(replace(bundle, labels=("blue", "green")), tmp_path)
    with pytest.raises(ModelError, match="must have each color once, but has 'red' twice instead"):
        save_bundle(replace(bundle, labels=("red", "red", "blue")), tmp_path)
    with pytest.raises(ModelError, match=r"`layout` must be one for color \(multiattn\), but timm is one for classify"):
        save_bundle(bundle, tmp_path, layout="timm")
    with pytest.raises(ModelError, match="the model for color is missing from this installation"):
        load_bundle("color")


def test_its_name_is_that_of_one_task() -> None:
    register(SPEC)
    with pytest.raises(ModelError, match="`name` must be that of a new task, but 'color' is registered already"):
        register(replace(SPEC, doing="guessing"))


def test_without_its_registration_its_models_are_refused() -> None:
    unregister("color")
    try:
        with pytest.raises(ModelError, match="`config` must be that of a registered task's model, but is a ColorConf"):
            model_kind(ColorConfig(3))
        with pytest.raises(
            ModelError, match="`task` must be one of classify, caption, transcribe, answer, match, but is 'color'"
        ):
            task_spec("color")
        with pytest.raises(ModelError, match="tiny must be a model for ColorModel, but is one for classify instead"):
            tiny_bundle().require(ColorModel)
    finally:
        register(SPEC)
