import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import multiattn
from multiattn.errors import ModelError
from multiattn.pipelines import CaptionPipeline, ClassifyPipeline
from multiattn.pipelines.base import find_device
from multiattn.registry import register, task_spec, unregister
from tests.fixtures import LABELS, draw, save_tiny_captioner, save_tiny_model, tiny_bundle, tiny_caption_bundle

ROOT = Path(__file__).parents[2]


def test_load_takes_a_directory(tmp_path) -> None:
    classify = multiattn.load(save_tiny_model(tmp_path / "model"), device="cpu")
    assert classify.labels == LABELS
    assert classify.device == torch.device("cpu")
    picture = draw(3)
    pixels, _ = tiny_bundle().preprocessing(picture)
    with torch.no_grad():
        best = tiny_bundle().model(pixels[None]).argmax().item()
    assert classify(picture).label == LABELS[best]


def test_load_makes_the_pipeline_of_the_models_task(tmp_path) -> None:
    captioner, classifier = save_tiny_captioner(tmp_path / "captioner"), save_tiny_model(tmp_path / "classifier")
    caption = multiattn.load(captioner, device="cpu")
    assert isinstance(caption, CaptionPipeline)
    assert caption(draw(3)).candidates == CaptionPipeline(tiny_caption_bundle(), device="cpu")(draw(3)).candidates
    assert isinstance(multiattn.load(captioner, task="caption", device="cpu"), CaptionPipeline)
    assert isinstance(multiattn.load(classifier, task="classify", device="cpu"), ClassifyPipeline)


def test_a_model_for_another_task_than_the_one_asked_for(tmp_path) -> None:
    directory = save_tiny_model(tmp_path / "model")
    with pytest.raises(ModelError, match=f"{directory} must be a model for caption, but is one for classify instead"):
        multiattn.load(directory, task="caption", device="cpu")
    with pytest.raises(
        ModelError, match="`task` must be one of classify, caption, transcribe, answer, match, but is 'draw' instead"
    ):
        multiattn.load("no-such-model", task="draw", device="cpu")  # told before the model is looked for


class Sorting(ClassifyPipeline):
    """The pipeline of a fifth task."""


def test_a_registered_task_has_its_pipeline(monkeypatch) -> None:
    spec = replace(task_spec("classify"), name="sort", layouts={}, pipeline=f"{__name__}:Sorting")
    bundle = replace(tiny_bundle(), task="sort")
    monkeypatch.setattr(sys.modules[multiattn.load.__module__], "load_bundle", lambda name, **_: bundle)
    register(spec)
    try:
        assert isinstance(multiattn.load("anything", task="sort", device="cpu"), Sorting)
        assert isinstance(multiattn.load("anything", device="cpu"), Sorting)
    finally:
        unregister("sort")
    with pytest.raises(ModelError, match="`task` must be one of classify, .*, but is 'sort' instead"):
        multiattn.load("anything", device="cpu")


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ModelError, match="no-such-model"):
        multiattn.load("no-such-model", device="cpu")


def test_auto_is_what_there_is(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == torch.device("cpu")


def test_cuda_where_there_is_none(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="`device` is 'cuda', but torch .* finds no CUDA device here; use cpu or auto"):
        multiattn.load("no-such-model", device="cuda")  # told before the model is looked for


def test_a_gpu_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ModelError, match="`device` must be one of cuda:0 to cuda:1, but is 'cuda:2' instead"):
        find_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "meta", "mps"])
def test_a_device_that_is_none(name) -> None:
    with pytest.raises(ModelError, match=f"`device` must be auto, cpu or cuda .* but is '{name}' instead"):
        find_device(name)


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, multiattn; heavy = {'torch', 'lightning', 'timm', 'transformers', 'torchvision', 'matplotlib'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules); "
        "assert 'load' in dir(multiattn); multiattn.load; "
        "assert 'torch' in sys.modules; heavy.remove('torch'); "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="module 'multiattn' has no attribute 'unload'"):
        multiattn.unload  # noqa: B018
