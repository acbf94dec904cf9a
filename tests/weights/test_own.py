"""Our own directory: what is saved comes back, and what is not as we write it is refused by name."""

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.generation import GenerationConfig, generate
from multiattn.models.vit import PRESETS, ViT, ViTConfig
from multiattn.weights import ModelBundle, convert, directory, load_bundle, save_bundle
from multiattn.weights.state import difference
from tests.fixtures import LABELS, tiny_bundle, tiny_caption_bundle, tiny_speech_bundle

FOR_CLASSIFIERS = ("multiattn", "timm", "hf-vit")

CONFIGS = {
    "class token": ViTConfig(
        image_size=(15, 35), patch_size=5, num_classes=7, dim=22, num_heads=2, mlp_dim=13, depth=2
    ),
    "convolutions": replace(PRESETS["compact"], num_classes=7, depth=2),
    "everything": ViTConfig(
        image_size=(15, 35),
        patch_size=5,
        num_classes=7,
        dim=22,
        depth=2,
        num_heads=2,
        mlp_dim=13,
        stem_bias=False,
        stem_norm=True,
        positions="sinusoidal",
        num_registers=3,
        pool="mean",
        final_norm=False,
        pool_norm=True,
        qkv_bias=False,
        qk_norm=True,
        layer_scale=0.1,
        activation="gelu_quick",
        norm_eps=1e-5,
        dropout=0.1,
        attention_dropout=0.2,
        stochastic_depth=0.3,
    ),
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_bundle(tiny_bundle(), tmp_path / "model")
    return tmp_path / "model"


def change_tensors(directory: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    state = load_file(directory / "model.safetensors")
    change(state)
    save_file(state, directory / "model.safetensors")


def change_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", CONFIGS)
def test_round_trip(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = ViT(CONFIGS[name]).eval()
    bundle = replace(tiny_bundle(), model=model, card={"accuracy": 0.5, "data": ["drawn"]})
    save_bundle(bundle, tmp_path / "deep" / "er", dtype=dtype)
    assert {path.name for path in (tmp_path / "deep" / "er").iterdir()} == {"config.json", "model.safetensors"}

    loaded = load_bundle(tmp_path / "deep" / "er")
    assert loaded.model.config == model.config
    assert (loaded.labels, loaded.card, loaded.preprocessing) == (bundle.labels, bundle.card, bundle.preprocessing)
    assert (loaded.task, loaded.layout, loaded.source) == ("classify", "multiattn", str(tmp_path / "deep" / "er"))
    assert not any(module.training for module in loaded.model.modules())
    for key, tensor in model.state_dict().items():
        on_disk = tensor.to(dtype).float() if tensor.is_floating_point() else tensor
        got = loaded.model.state_dict()[key]
        assert got.dtype == tensor.dtype and torch.equal(got, on_disk), key


@pytest.mark.parametrize("layout", ["multiattn", "hf-vit", "timm"])
@pytest.mark.parametrize("function", ["sigmoid", "identity"])
def test_how_outputs_become_scores_is_saved(function: Any, layout: str, tmp_path: Path) -> None:
    save_bundle(replace(tiny_bundle(), score_function=function), tmp_path, layout=layout)
    assert load_bundle(tmp_path).score_function == function


def test_a_directory_that_does_not_say_how_outputs_become_scores(tmp_path: Path) -> None:
    save_bundle(tiny_bundle(), tmp_path)
    assert "score_function" not in json.loads((tmp_path / "config.json").read_text())
    assert load_bundle(tmp_path).score_function == "softmax"
    one = ViT(replace(tiny_bundle().config, num_classes=1))  # a softmax over one output is always 1
    save_bundle(replace(tiny_bundle(), model=one, labels=("ant",)), tmp_path)
    change_config(tmp_path, score_function="softmax")
    assert load_bundle(tmp_path).score_function == "sigmoid"
    change_config(tmp_path, score_function="cosine")
    with pytest.raises(ModelError, match="`score_function` must be one of softmax, sigmoid, identity, but is 'cosine'"):
        load_bundle(tmp_path)


def test_saving_again_replaces(saved: Path) -> None:
    bundle = load_bundle(saved)
    with torch.no_grad():
        bundle.model.class_token.fill_(0.25)
    save_bundle(bundle, saved)
    assert load_bundle(saved).model.class_token.unique().tolist() == [0.25]


@pytest.mark.parametrize("layout", FOR_CLASSIFIERS)
def test_others_may_read_the_weights_as_they_may_read_the_description(tmp_path, layout):
    save_bundle(tiny_bundle(), tmp_path, layout=layout)
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "config.json").stat().st_mode


@pytest.mark.parametrize("layout", FOR_CLASSIFIERS)
def test_a_full_disk_leaves_the_model_that_was_there(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_bundle()
    save_bundle(bundle, tmp_path, layout=layout)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fill_the_disk(path: Path, data: Any) -> None:
        path.write_text("{")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(directory, "write_json", fill_the_disk)
    with torch.no_grad():
        bundle.model.class_token.fill_(0.25)
    with pytest.raises(ModelError, match="cannot be written .*No space left on device"):
        save_bundle(bundle, tmp_path, layout=layout)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_states_that_agree_have_no_difference() -> None:
    state = {"weight": torch.ones(2, 3)}
    assert difference(state, {"weight": torch.zeros(2, 3)}) == []
    assert difference(state, {}) == ["  - weight [2, 3]"]


def test_the_loaded_model_does_not_hang_on_the_file(saved: Path) -> None:
    model = load_bundle(saved).model
    before = model.class_token.clone()
    (saved / "model.safetensors").write_bytes(b"\0" * (saved / "model.safetensors").stat().st_size)
    assert torch.equal(model.class_token, before)


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda state: state.pop("blocks.1.norm1.bias"), ["  - blocks.1.norm1.bias [22]"]),
        (lambda state: state.update(odd=torch.ones(3)), ["  + odd [3]"]),
        (
            lambda state: state.update({"head.weight": torch.ones(5, 22)}),
            ["  - head.weight [7, 22]", "  + head.weight [5, 22]"],
        ),
        (
            lambda state: state.update({"norm.bias": torch.ones(22, dtype=torch.int64)}),
            ["  - norm.bias [22]", "  + norm.bias [22] int64"],
        ),
    ],
    ids=["missing", "extra", "shape", "kind"],
)
def test_a_tensor_that_does_not_fit_is_shown_as_a_diff(change: Any, lines: list[str], saved: Path) -> None:
    change_tensors(saved, change)
    with pytest.raises(ModelError) as caught:
        load_bundle(saved)
    first, *diff = str(caught.value).splitlines()
    assert first == f"{saved} does not fit its architecture (- needed, + found):"
    assert diff == lines


def test_a_long_diff_is_cut(saved: Path) -> None:
    change_tensors(saved, lambda state: state.update({f"odd.{index}": torch.ones(1) for index in range(29)}))
    with pytest.raises(ModelError, match=r"\.\.\. and 9 more lines$"):
        load_bundle(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused(value: float, saved: Path) -> None:
    change_tensors(saved, lambda state: state["blocks.2.feedforward.fc1.weight"].view(-1)[5:7].fill_(value))
    with pytest.raises(
        ModelError,
        match=r"blocks\.2\.feedforward\.fc1\.weight has 2 NaN or infinite of 286 values; the file is unusable$",
    ):
        load_bundle(saved)


def test_nan_and_overflow_are_not_saved(tmp_path: Path) -> None:
    bundle = tiny_bundle()
    with torch.no_grad():
        bundle.model.head.bias[3] = 1e6
    with pytest.raises(
        ModelError, match=r"head\.bias has values too large for torch\.float16: save with `dtype` float32"
    ):
        save_bundle(bundle, tmp_path, dtype=torch.float16)
    save_bundle(bundle, tmp_path)
    with torch.no_grad():
        bundle.model.head.bias[3] = float("nan")
    with pytest.raises(
        ModelError,
        match=r"^the model cannot be saved, for its training has diverged: "
        r"head\.bias has 1 NaN or infinite of 7 values; lower `lr`$",
    ):
        save_bundle(bundle, tmp_path)
    assert load_bundle(tmp_path).model.head.bias[3] == 1e6, "the directory that was there is left whole"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "`version` must be 1, but is 2 instead: install the multiattn that wrote it"),
        (
            {"task": "translate"},
            "`task` must be one of classify, caption, transcribe, answer, match, but is 'translate' instead",
        ),
        (
            {"task": "caption"},
            "must have the keys architecture, card, decoding, .*, but has architecture, card, .*label",
        ),
        ({"odd": 1}, "must have the keys architecture, card, .*, but has architecture, card, .*odd"),
        ({"labels": ["ant"]}, "must have a label for each of 7 classes, but has 1 instead"),
        ({"labels": [1, 2, 3, 4, 5, 6, 7]}, r"`labels` must be a list of names, but is \[1, 2, 3"),
        ({"card": None}, "`card` must be an object, but is None instead"),
        ({"preprocessing": {}}, "`preprocessing` .*must have `size`"),
        ({"preprocessing": None}, "`preprocessing` cannot be used"),
        ({"architecture": 3}, "`architecture` must be an object, but is 3 instead"),
        ({"architecture": {"deepth": 3}}, "`architecture` has no field deepth; the fields are image_size, patch_size"),
        ({"architecture": {"depth": "12"}}, "`depth` must be int, but is '12' instead"),
        ({"architecture": {"depth": True}}, "`depth` must be int, but is True instead"),
        ({"architecture": {"norm_eps": None}}, "`norm_eps` must be float, but is None instead"),
        ({"architecture": {"image_size": [224]}}, r"`image_size` must be tuple\[int, int\], but is \[224\] instead"),
        ({"architecture": {"pool": "max"}}, r"`pool` must be Literal\['class', 'mean', .*\], but is 'max' instead"),
        ({"architecture": {"class_token": False}}, "`class_token` must be true where `pool` is 'class'"),
        ({"architecture": {"dim": 23, "num_heads": 2}}, "`dim` must be a multiple of `num_heads`"),
        ({"architecture": {"num_heads": -2}}, "config.json: `num_heads` must be at least 1, but is -2 instead"),
        ({"architecture": {"depth": 0}}, "config.json: `depth` must be at least 1, but is 0 instead"),
        (
            {"architecture": {"norm_eps": -1.0}},
            "config.json: `norm_eps` must be above 0 and finite, but is -1.0 instead",
        ),
        (
            {"format": "other"},
            r"of a layout that is not known \(\"format\": 'other'\): the nearest .*known are multiattn .*timm .*hf-vit",
        ),
    ],
)
def test_a_config_that_is_not_ours(changes: dict[str, Any], message: str, saved: Path) -> None:
    change_config(saved, **changes)
    with pytest.raises(ModelError, match=message):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no config.json: it is no model directory"),
        ("{", "config.json must be JSON, but is damaged or unusual instead .*line 1 column 2"),
        ("[1]", "config.json must hold a JSON object, but holds a list instead"),
        ("{}", "is of a layout that is not known: .*; known are"),
    ],
)
def test_a_directory_without_a_usable_config(text: str | None, message: str, saved: Path) -> None:
    (saved / "config.json").unlink()
    if text is not None:
        (saved / "config.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "has no model.safetensors and no pytorch_model.bin: save it as safetensors first"),
        ("other.pt", "no pytorch_model.bin, only other.pt: save it as safetensors first"),
        ("pytorch_model.bin", "pytorch_model.bin must be a file that torch saved, but is damaged or unusual instead"),
        ("model.safetensors.index.json", r"model.safetensors.index.json must be JSON, but is damaged"),
    ],
)
def test_a_directory_without_usable_weights(name: str, message: str, saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    (saved / name).write_bytes(b"\x80\x02.")
    with pytest.raises(ModelError, match=message):
        load_bundle(saved)


@pytest.mark.parametrize("keep", [0, 5, 1000])
def test_a_truncated_file_is_named(keep: int, saved: Path) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        ModelError, match=r"model\.safetensors must be a safetensors file, but is damaged .*Download or save it again"
    ):
        load_bundle(saved)


def test_wrong_arguments(saved: Path, tmp_path: Path) -> None:
    bundle = load_bundle(saved)
    with pytest.raises(ModelError, match="`layout` must be one of multiattn, timm, hf-vit, .*, but is 'onnx' instead"):
        save_bundle(bundle, tmp_path, layout="onnx")
    with pytest.raises(ModelError, match=r"`dtype` must be float32, float16 or bfloat16, but is torch\.int8 instead"):
        save_bundle(bundle, tmp_path, dtype=torch.int8)
    with pytest.raises(ModelError, match="the bundle must have a label for each of 7 classes, but has 2 instead"):
        save_bundle(replace(bundle, labels=("ant", "bee")), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="cannot be written"):
        save_bundle(bundle, tmp_path / "file")
    with pytest.raises(ModelError, match="the directory to write must not be the source"):
        convert(saved, saved, to="timm")


def test_convert_through_every_layout(saved: Path, tmp_path: Path) -> None:
    """Ours to each published layout and back: the same model, bit by bit."""
    images = torch.randn(3, 3, 15, 35, generator=torch.Generator().manual_seed(3))
    original = load_bundle(saved)
    for layout in FOR_CLASSIFIERS:
        written = convert(saved, tmp_path / layout, to=layout)
        assert isinstance(written, ModelBundle) and written.layout == "multiattn"
        convert(tmp_path / layout, tmp_path / "back", to="multiattn")
        back = load_bundle(tmp_path / "back")
        assert back.model.config == original.model.config, layout
        assert back.labels == LABELS
        assert back.preprocessing == original.preprocessing
        with torch.inference_mode():
            assert torch.equal(back.model(images), original.model(images)), layout
        shutil.rmtree(tmp_path / "back")


def test_a_directory_with_the_decoding_names_of_before_november_2026(tmp_path: Path) -> None:
    former = {"beams": 3, "candidates": 2, "renormalise": True, "max_tokens": 7, "prompt": "a"}
    former |= {"compression_ratio_limit": 2.0, "log_prob_limit": -0.5, "no_speech_limit": 0.7}
    save_bundle(tiny_caption_bundle(), tmp_path)
    change_config(tmp_path, decoding=former)
    bundle = load_bundle(tmp_path)
    search = {"num_beams": 3, "num_return_sequences": 2, "renormalize": True, "max_tokens": 7}
    thresholds = {"compression_ratio_threshold": 2.0, "log_prob_threshold": -0.5, "no_speech_threshold": 0.7}
    assert bundle.decoding == search | thresholds | {"prompt": "a"}

    options = GenerationConfig.from_decoding(bundle.decoding, beside=("prompt", *thresholds))
    assert options == GenerationConfig(**search)
    context = bundle.model.encode(torch.randn(1, 3, 15, 35, generator=torch.Generator().manual_seed(3)))
    found = generate(bundle.model.decoder, context, [[bundle.model.config.decoder.start_token]], options)
    assert found == generate(
        tiny_caption_bundle().model.decoder,
        context,
        [[bundle.model.config.decoder.start_token]],
        GenerationConfig(**search),
    )
    assert len(found[0]) == 2

    save_bundle(bundle, tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["decoding"] == search | thresholds | {
        "prompt": "a"
    }


def test_a_directory_with_the_spelling_of_a_scale_of_before_november_2026(tmp_path: Path) -> None:
    bundle = tiny_speech_bundle()
    bundle.preprocessing = replace(bundle.sound, scale="normalized")
    save_bundle(bundle, tmp_path)
    path = tmp_path / "config.json"
    written = json.loads(path.read_text())
    written["preprocessing"]["scale"] = "normalised"
    path.write_text(json.dumps(written))
    assert load_bundle(tmp_path).sound == bundle.sound
