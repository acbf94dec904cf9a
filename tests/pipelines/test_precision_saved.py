"""Directories in int8 and in half precision: written by a command, loaded at once, the same as rounded on loading."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import multiattn
from multiattn.blocks.int8 import Int8Weight, Kernels
from multiattn.cli.main import main
from multiattn.errors import ModelError
from multiattn.models import PRESETS, ViT, int8
from multiattn.resources import shipped
from multiattn.weights import ModelBundle, convert, load_bundle, save_bundle
from multiattn.weights.tensor_files import read_tensors
from tests.fixtures import (
    draw,
    save_tiny_answerer,
    save_tiny_captioner,
    save_tiny_matcher,
    save_tiny_model,
    save_tiny_whisper,
    tiny_bundle,
)
from tests.pipelines.test_precision import run

pytestmark = pytest.mark.skipif(Kernels.find() is None, reason="torch has no int8 kernels on this machine")
SAVE = {
    "classify": save_tiny_model,
    "caption": save_tiny_captioner,
    "answer": save_tiny_answerer,
    "match": save_tiny_matcher,
    "transcribe": save_tiny_whisper,
}


def size(directory: Path) -> int:
    return (directory / "model.safetensors").stat().st_size


@pytest.mark.parametrize("task", SAVE)
def test_a_directory_in_int8_is_the_model_that_is_rounded_on_loading(task: str, tmp_path: Path, monkeypatch) -> None:
    source, target = SAVE[task](tmp_path / "fp32"), tmp_path / "int8"
    assert main(["convert", str(source), str(target), "--to", "multiattn", "--precision", "int8"]) == 0
    on_loading = multiattn.load(source, device="cpu", precision="int8")
    kernels = Kernels.find()
    monkeypatch.setattr(Kernels, "find", classmethod(lambda cls: kernels))  # which quantizes weights to try kernels
    monkeypatch.setattr(Int8Weight, "of", None)
    stored = multiattn.load(target, device="cpu")  # nothing is quantized again
    assert int8.is_int8(stored.bundle.model)
    wanted, found = on_loading.bundle.model.state_dict(), stored.bundle.model.state_dict()
    assert wanted.keys() == found.keys()
    for key, tensor in wanted.items():
        assert found[key].dtype == tensor.dtype and torch.equal(found[key], tensor), key
    assert str(run(task, stored)) == str(run(task, on_loading)).replace(str(source), str(target))

    save_bundle(stored.bundle, tmp_path / "again")
    convert(target, tmp_path / "once more", to="multiattn", precision="int8")
    for directory in ("again", "once more"):
        assert (tmp_path / directory / "model.safetensors").read_bytes() == (target / "model.safetensors").read_bytes()


def test_weights_in_int8_are_widened_for_other_precisions_and_for_training(tmp_path: Path) -> None:
    convert(save_tiny_model(tmp_path / "fp32"), tmp_path / "int8", to="multiattn", precision="int8")
    state = read_tensors(tmp_path / "int8")
    for bundle in (load_bundle(tmp_path / "int8"), multiattn.load(tmp_path / "int8", precision="fp32").bundle):
        assert not int8.is_int8(bundle.model)
        for key, tensor in bundle.model.state_dict().items():
            if key in state and state[key].dtype == torch.int8:
                tensor, wanted = tensor / state[f"{key}_scale"].view(-1, *(1,) * (tensor.ndim - 1)), state[key].float()
                torch.testing.assert_close(tensor, wanted, rtol=0, atol=1e-3)
    convert(tmp_path / "int8", tmp_path / "back", to="timm")
    assert not int8.is_int8(load_bundle(tmp_path / "back").model)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
@pytest.mark.parametrize("layout", ["multiattn", "hf-vit"])
def test_directories_in_half_precision(precision: str, dtype: torch.dtype, layout: str, tmp_path: Path) -> None:
    source, target = save_tiny_model(tmp_path / "fp32"), tmp_path / "half"
    assert main(["convert", str(source), str(target), "--to", layout, "--precision", precision]) == 0
    assert {one.dtype for one in load_file(target / "model.safetensors").values()} == {dtype}
    if layout == "hf-vit":
        assert json.loads((target / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    for key, tensor in load_bundle(target).model.state_dict().items():
        assert torch.equal(tensor, tiny_bundle().model.state_dict()[key].to(dtype).float())


@pytest.mark.parametrize("task", ["caption", "answer", "match", "transcribe", "classify"])
def test_a_directory_takes_at_most_three_tenths(task: str, tmp_path: Path) -> None:
    """Of a shipped model, the smallest that there are; larger ones have fewer norms and biases for each weight."""
    convert(shipped("models", task), tmp_path / "fp32", to="multiattn")
    convert(shipped("models", task), tmp_path / "int8", to="multiattn", precision="int8")
    assert size(tmp_path / "int8") <= 0.3 * size(tmp_path / "fp32")


@pytest.mark.slow
def test_a_vit_base_takes_at_most_three_tenths(tmp_path: Path) -> None:
    labels = tuple(map(str, range(PRESETS["base"].num_classes)))
    vit = ModelBundle(
        task="classify", model=ViT(PRESETS["base"]), preprocessing=tiny_bundle().preprocessing, labels=labels
    )
    save_bundle(vit, tmp_path / "fp32")
    convert(tmp_path / "fp32", tmp_path / "int8", to="multiattn", precision="int8")
    assert size(tmp_path / "int8") <= 0.26 * size(tmp_path / "fp32")


def test_what_cannot_be_in_int8_is_refused(tmp_path: Path, capsys, monkeypatch) -> None:
    source = save_tiny_model(tmp_path / "fp32")
    arguments = ["convert", str(source), str(tmp_path / "new"), "--to", "timm", "--precision", "int8"]
    assert main(arguments) == 1
    assert "`to` must be multiattn for int8, which no other layout has, but is timm instead" in capsys.readouterr().err
    stored = multiattn.load(source, device="cpu", precision="int8").bundle
    with pytest.raises(ModelError, match="^`layout` must be multiattn for a model in int8, but is hf-vit instead"):
        save_bundle(stored, tmp_path / "new", layout="hf-vit")
    with pytest.raises(ModelError, match="^`precision` must be one of int8, fp32, bf16, fp16, but is 'int4' instead"):
        convert(source, tmp_path / "new", to="multiattn", precision="int4")
    monkeypatch.setattr(Kernels, "find", classmethod(lambda cls: None))
    with pytest.raises(ModelError, match="^`precision` must not be int8 here, for torch .* has no kernels for it"):
        convert(source, tmp_path / "new", to="multiattn", precision="int8")
    assert not (tmp_path / "new").exists()


def test_a_machine_without_kernels_computes_a_directory_in_int8_in_fp32(tmp_path: Path, monkeypatch) -> None:
    convert(save_tiny_model(tmp_path / "fp32"), tmp_path / "int8", to="multiattn", precision="int8")
    monkeypatch.setattr(Kernels, "find", classmethod(lambda cls: None))
    pipeline = multiattn.load(tmp_path / "int8", device="cpu")
    assert not int8.is_int8(pipeline.bundle.model) and pipeline(draw(3)).predictions


def change(directory: Path, **tensors: torch.Tensor | None) -> None:
    state = load_file(directory / "model.safetensors") | {key.replace("/", "."): one for key, one in tensors.items()}
    save_file({key: one for key, one in state.items() if one is not None}, directory / "model.safetensors")


@pytest.mark.parametrize("precision", [None, "fp32"])
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"head/weight_scale": None}, r"head\.weight_scale"),
        ({"head/weight_scale": torch.ones(3)}, r"head\.weight_scale"),
        ({"head/weight_scale": torch.full((7,), torch.inf)}, "NaN or infinite"),
        ({"norm/weight": torch.ones(22, dtype=torch.int8), "norm/weight_scale": torch.ones(22)}, "fit|shape"),
        ({"more": torch.ones(3, dtype=torch.int8)}, "more"),
    ],
    ids=["no scale", "another shape", "infinite", "a norm", "more"],
)
def test_a_damaged_directory_in_int8_is_refused(tensors, message: str, precision, tmp_path: Path) -> None:
    convert(save_tiny_model(tmp_path / "fp32"), tmp_path / "int8", to="multiattn", precision="int8")
    change(tmp_path / "int8", **tensors)
    if "norm/weight" in tensors and precision == "fp32":
        return  # it can be widened, and means the same
    with pytest.raises(ModelError, match=message):
        multiattn.load(tmp_path / "int8", device="cpu", precision=precision)


def test_another_precision_in_the_configuration_is_refused(tmp_path: Path) -> None:
    directory = save_tiny_model(tmp_path / "fp32")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "precision": "int3"}))
    with pytest.raises(ModelError, match="`precision` must be fp32 or int8, but is 'int3' instead"):
        load_bundle(directory)
