"""Exported models on onnxruntime itself: what is written, what is refused, and that torch is not imported."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multiattn.cli.main import main
from multiattn.deploy.onnx.export import export
from multiattn.deploy.onnx.loading import load
from multiattn.errors import ModelError
from multiattn.models import ViT
from multiattn.pipelines import ClassifyPipeline
from multiattn.weights import load_bundle
from tests.fixtures import draw, save_drawing, save_tiny_model, tiny_bundle

ROOT = Path(__file__).parents[3]
PICTURES = [draw(seed) for seed in range(5)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # in a process of its own, without the type checker: the sizes of an exported graph are symbols, and no numbers
    model, folder = save_tiny_model(tmp_path_factory.mktemp("model")), tmp_path_factory.mktemp("exported") / "model"
    command = [sys.executable, "-m", "multiattn", "export", str(model), str(folder), "--to", "onnx", "--maps", "*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.stdout == f"{folder}\n", done.stderr
    assert done.stderr.splitlines() == [f"multiattn: {model} exported for onnxruntime"]
    return folder


@pytest.mark.slow
def test_logits_and_maps_are_those_of_torch_in_batches_of_any_size(exported: Path) -> None:
    bundle = tiny_bundle()
    model, runner = bundle.require(ViT), load(exported, task="classify")
    for count in (1, 2, 5):
        images = np.stack([bundle.pictures.array(picture)[0] for picture in PICTURES[:count]])
        with torch.no_grad():
            wanted = model(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(runner._session(images=images)["logits"], wanted, atol=1e-4)
    found = list(runner.stream(PICTURES, maps="rollout", batch_size=2))
    for one, other in zip(found, ClassifyPipeline(bundle, device="cpu")(PICTURES, maps="rollout"), strict=True):
        assert [each.label for each in one.predictions] == [each.label for each in other.predictions]
        np.testing.assert_allclose(one.maps[0].map.values, other.maps[0].map.values, atol=1e-5)


@pytest.mark.slow
def test_the_directory_says_what_it_is(exported: Path) -> None:
    assert sorted(file.name for file in exported.iterdir()) == ["config.json", "model.onnx"]
    config = json.loads((exported / "config.json").read_text(encoding="utf-8"))
    assert config["format"] == "multiattn-onnx"
    assert config["exported"] == {"opset": 20, "maps": ["*"], "words": []}


@pytest.mark.slow
def test_the_command_imports_no_torch(exported: Path, tmp_path: Path) -> None:
    picture = save_drawing(tmp_path / "a.png", 3)
    code = f"""
import sys
from multiattn.cli.main import main
status = main(["classify", {str(picture)!r}, "--runtime", "onnxruntime", "--model", {str(exported)!r}, "--format",
               "json", "--maps", {str(tmp_path / "maps")!r}, "--map-format", "npz"])
print(status, sorted({{"torch", "torchaudio", "torchvision", "lightning"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    line, last = done.stdout.splitlines()
    assert last == "0 []", done.stderr
    wanted = ClassifyPipeline(tiny_bundle(), device="cpu")(picture)
    assert [one["label"] for one in json.loads(line)["predictions"]] == [one.label for one in wanted.predictions]
    assert (tmp_path / "maps" / "a.attention.npz").exists()


@pytest.mark.process
def test_what_runs_a_model_imports_no_torch() -> None:
    code = """
import sys
from multiattn.deploy.onnx import answer, caption, classify, loading, transcribe
print(sorted({'torch', 'torchaudio', 'torchvision', 'lightning', 'matplotlib', 'onnxruntime'} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout == "[]\n", done.stderr


def test_an_exported_model_is_no_model_directory(tmp_path: Path) -> None:
    for name, mend in (("onnx", "run it with --runtime onnxruntime"), ("torch", "use torch.export.load")):
        (tmp_path / "config.json").write_text(json.dumps({"format": f"multiattn-{name}", "task": "classify"}))
        with pytest.raises(ModelError, match=f"is that of an exported model, not of one with weights: {mend}"):
            load_bundle(tmp_path)


class Compiled(torch.nn.Module):
    """As `torch.compile` wraps a model, without its second of imports."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._orig_mod = model


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny_bundle()
    cases: list[tuple[str, Any, dict[str, Any]]] = [
        ("`model` must not be compiled, but is", replace(bundle, model=Compiled(bundle.model)), {}),
        ("must be in fp32 to be exported", replace(bundle, model=tiny_bundle().model.half()), {}),
        ("`opset` must be from 18 to 23, but is 11 instead", bundle, {"opset": 11}),
        ("no attention site matches 'blocks.9.*'; there are: blocks.0.self", bundle, {"sites": ["blocks.9.*"]}),
        ("must have labels to be exported", replace(bundle, model=ViT(replace(bundle.config, num_classes=0))), {}),
    ]
    for message, model, options in cases:
        with pytest.raises(ModelError, match=message.replace("*", r"\*")) as caught:
            export(model, tmp_path / "out", **options)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match="full` must be an empty folder or not exist yet"):
        export(bundle, tmp_path / "full")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ModelError, match=r"needs onnxscript, which is not installed: `pip install multiattn\[onnx\]`"):
        export(bundle, tmp_path / "out")


def test_a_damaged_configuration_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    cases = [
        ({}, "have `labels`, but lacks it"),
        ({"labels": ["a"], "preprocessing": 3}, "be the configuration of an exported model, but is dam"),
    ]
    for config, message in cases:
        (tmp_path / "config.json").write_text(json.dumps({"format": "multiattn-onnx", "task": "classify"} | config))
        with pytest.raises(ModelError, match=f"config.json` must {message}"):
            load("~", task="classify")


@pytest.mark.slow
def test_what_cannot_be_run_is_refused_in_one_line(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (save_tiny_model(tmp_path / "ours"), tmp_path / "nowhere"):
        with pytest.raises(ModelError, match="must be a directory that `multiattn export MODEL DIR --to onnx` wrote"):
            load(folder, task="classify")
    with pytest.raises(ModelError, match="must be a model for caption, but is one for classify instead"):
        load(exported, task="caption")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((exported / "config.json").read_bytes())
    with pytest.raises(ModelError, match="must have the graph model.onnx, but lacks it"):
        load(broken, task="classify")
    (broken / "model.onnx").write_bytes((exported / "model.onnx").read_bytes()[:1000])
    with pytest.raises(ModelError, match="model.onnx` must be an ONNX graph, but is damaged or unusual instead"):
        load(broken, task="classify")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"needs onnxruntime, .* `pip install multiattn\[onnxruntime\]`"):
        load(exported, task="classify")


def test_an_opset_is_that_of_onnx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "classify", str(tmp_path / "out"), "--to", "torch", "--opset", "20"]) == 2
    assert "--opset is that of ONNX, and needs --to onnx" in capsys.readouterr().err


@pytest.mark.parametrize(
    "task, options, named",
    [
        ("classify", ["--check"], "--check needs torch"),
        ("classify", ["--precision", "int8"], "--precision needs torch"),
        ("classify", ["--device", "cuda"], "--device cuda needs torch"),
        ("classify", ["--maps", "out", "--map-method", "lrp"], "--map-method lrp needs torch"),
        ("classify", ["--labels", "a", "b"], "--labels needs torch"),
        ("caption", ["--sample"], "--sample needs torch"),
        ("caption", ["--maps", "out"], "--maps needs torch"),
        ("answer", ["--question", "q", "--target", "a"], "--target needs torch"),
        ("transcribe", ["--words"], "--words needs torch"),
        ("transcribe", ["--live", "-"], "--live needs torch"),
    ],
)
def test_options_that_need_torch_are_refused_by_name(
    task: str, options: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [] if "--live" in options else ["a.png"]
    assert main([task, *paths, *options, "--runtime", "onnxruntime", "--model", "m"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and named in lines[0]
