"""The registry of tasks, and a fifth task that is defined in this file alone and edits no other."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models import ViT
from multiattn.registry import (
    ModelKind,
    TaskSpec,
    layouts,
    load_part,
    model_kind,
    register,
    task_spec,
    tasks,
    unregister,
    value_at,
)
from multiattn.weights import ModelBundle, convert, layout_names, load_bundle, save_bundle
from tests.fixtures import tiny_answer_bundle, tiny_bundle, tiny_caption_bundle, tiny_speech_bundle

COLORS = ("red", "green", "blue")


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
        return self.head(self.hidden(images.mean(dim=(2, 3))).relu())


SPEC = TaskSpec(
    name="color",
    summary="say which color pictures have",
    reads="image",
    input="PICTURE",
    output="colors",
    doing="looking",
    models={"mean": ModelKind("tests.test_registry:ColorConfig", "tests.test_registry:ColorModel")},
    pipeline="tests.test_registry:ColorPipeline",
    command="tests.test_registry",
    evaluator="tests.test_registry",
    published="nothing",
    num_labels="num_colors",
    label_noun=("color", "colors"),
    unique_labels=True,
)


def color_bundle() -> ModelBundle:
    torch.manual_seed(7)
    preprocessing = ImagePreprocessing((11, 13), (11, 13), "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = ColorModel(ColorConfig(len(COLORS))).eval()
    return ModelBundle("color", model, preprocessing, labels=COLORS, card={"data": "none"}, source="toy")


@pytest.fixture
def color() -> Iterator[None]:
    register(SPEC)
    yield
    unregister("color")


@pytest.mark.usefixtures("color")
def test_a_fifth_task_saves_loads_and_converts(tmp_path: Path) -> None:
    bundle = color_bundle()
    save_bundle(bundle, tmp_path / "color")
    convert(tmp_path / "color", tmp_path / "copy", to="multiattn")
    loaded = load_bundle(tmp_path / "copy")
    assert (loaded.task, loaded.labels, loaded.card) == ("color", COLORS, bundle.card)
    assert loaded.preprocessing == bundle.preprocessing and not loaded.model.training
    model = loaded.require(ColorModel)
    assert model.config == ColorConfig(3)
    images = torch.randn(2, 3, 11, 13, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        assert torch.equal(model(images), bundle.require(ColorModel)(images))
    assert list(tasks()) == ["classify", "caption", "transcribe", "answer", "color"]


@pytest.mark.usefixtures("color")
def test_a_fifth_task_has_the_errors_of_the_others(tmp_path: Path) -> None:
    bundle = color_bundle()
    with pytest.raises(ModelError, match="toy must be a model for classify, but is one for color instead"):
        bundle.require(ViT)
    with pytest.raises(ModelError, match="tiny must be a model for color, but is one for classify instead"):
        tiny_bundle().require(ColorModel)
    with pytest.raises(ModelError, match="must have a label for each of 3 colors, but has 2 instead"):
        save_bundle(replace(bundle, labels=COLORS[:2]), tmp_path)
    with pytest.raises(ModelError, match="must have each color once, but has 'red' twice instead"):
        save_bundle(replace(bundle, labels=("red", "red", "blue")), tmp_path)
    with pytest.raises(ModelError, match=r"`layout` must be one for color \(multiattn\), but timm is one for classify"):
        save_bundle(bundle, tmp_path, layout="timm")
    with pytest.raises(ModelError, match="the model for color is missing from this installation"):
        load_bundle("color")


def test_a_model_of_no_task_is_refused() -> None:
    with pytest.raises(ModelError, match="`config` must be that of a registered task's model, but is a ColorConfig"):
        model_kind(ColorConfig(3))
    with pytest.raises(ModelError, match="`task` must be one of classify, caption, transcribe, answer, but is 'color'"):
        task_spec("color")
    with pytest.raises(ModelError, match="tiny must be a model for ColorModel, but is one for classify instead"):
        tiny_bundle().require(ColorModel)


@pytest.mark.usefixtures("color")
def test_a_name_is_that_of_one_task() -> None:
    register(SPEC)
    with pytest.raises(ModelError, match="`name` must be that of a new task, but 'color' is registered already"):
        register(replace(SPEC, doing="guessing"))


@pytest.mark.parametrize("spec", tasks().values(), ids=list(tasks()))
def test_the_parts_and_paths_of_a_spec_are_there(spec: TaskSpec) -> None:
    for kind in spec.models.values():
        assert issubclass(load_part(kind.model), nn.Module)
    for part in (spec.pipeline, spec.command, spec.evaluator):
        load_part(part)
    for name, module in spec.layouts.items():
        assert load_part(f"{module}:LAYOUT").name == name
    bundles = {
        "classify": [tiny_bundle()],
        "caption": [tiny_caption_bundle()],
        "transcribe": [tiny_speech_bundle()],
        "answer": [tiny_answer_bundle("closed"), tiny_answer_bundle("decoder")],
    }
    for path in (spec.num_labels, *spec.vocab_sizes, spec.num_mels, *spec.heads.values()):
        assert not path or any(value_at(bundle.config, path) is not None for bundle in bundles[spec.name]), path
    assert spec.default_map_method in spec.map_methods


def test_every_layout_belongs_to_a_task() -> None:
    assert layout_names() == ("multiattn", *layouts())
    assert set(layouts()) == {name for spec in tasks().values() for name in spec.layouts}


def test_the_registry_imports_no_torch() -> None:
    code = "import sys; from multiattn.registry import tasks; tasks(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
