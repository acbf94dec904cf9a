"""Live modules, over the registry: what a layout writes, held by a module in memory, is read by its table alone."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import timm
import tokenizers
import torch
from torch import Tensor, nn

from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models.blip_matcher import BlipMatcher
from multiattn.models.two_towers import TwoTowers, TwoTowersConfig
from multiattn.models.vit import ViT
from multiattn.registry import layouts, load_part
from multiattn.weights import ModelBundle, bundle_of
from multiattn.weights.bundle import Layout
from multiattn.weights.live import unwrapped
from multiattn.weights.table import SAME, KeyTable, Row
from tests.fixtures import (
    CONFIG,
    LABELS,
    draw,
    tiny_answer_bundle,
    tiny_blip_matcher_bundle,
    tiny_bundle,
    tiny_match_bundle,
    tiny_whisper_bundle,
)
from tests.pipelines import test_single_stream
from tests.weights import test_answerers, test_captioners

ORIGINALS = {"blip", "whisper", "ct2-whisper", "open-clip"}
"""The layouts of files that no live module of timm or transformers is saved as."""


class Stated:
    """Holds what `to_json_string` of a configuration or a processor of transformers gives."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def to_json_string(self, use_diff: bool = True) -> str:
        return json.dumps({**self._data, "not_set": None})


class Standing(nn.Module):
    """A live module as a layout writes it: its tensors under their keys, its configuration and its generation's."""

    def __init__(self, state: Mapping[str, Tensor], files: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__()
        self._state = dict(state)
        self.config = Stated(files["config.json"])
        if "generation_config.json" in files:
            self.generation_config = Stated(files["generation_config.json"])

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        return self._state


BEIT = {"layer_scale": 1e-5, "resampling": "bicubic_aliased"}
VITS: tuple[dict[str, Any], ...] = (
    {"num_classes": 0},
    {"pool": "class_mean", "layer_scale": 1e-5, "resampling": "bicubic_aliased"},
    {"layer_scale": 1e-5, "num_registers": 3, "position_prefix": "class", "num_classes": 0},
    {"layer_scale": 1e-5, "gated": True, "activation": "silu", "mlp_dim": 48, "num_classes": 0},
    {"distilled": True},
    {"num_registers": 1},
    {"stem_bias": False, "stem_norm": True, "pool": "mean", "final_norm": False},
    {"stem_bias": False, "stem_norm": True, "pool_norm": True, "final_norm": False, "num_classes": 0},
    {"class_token": False, "pool": "mean"},
    {"positions": "none", "relative_bias": "block", "pool": "mean", "pool_norm": True, "final_norm": False, **BEIT},
    {"positions": "none", "relative_bias": "shared", "num_classes": 0, **BEIT},
    {"positions": "rotary_2d", "rotary": "centered", "layer_scale": 1e-5, "num_classes": 0, "dim": 24},
    {"class_token": False, "pool": "attention", "num_classes": 0},
)
"""What sets the picture encoders of published layouts apart."""


def vit_bundle(**changes: Any) -> ModelBundle:
    """A classifier, or an encoder without a head."""
    torch.manual_seed(7)
    config = replace(CONFIG, **{"mlp_dim": 44, **changes})
    labels = LABELS[: config.num_classes]
    return replace(tiny_bundle(), model=ViT(config).eval(), labels=labels)


def towers_bundle(scores: Literal["softmax", "sigmoid"]) -> ModelBundle:
    """Two towers that CLIP (softmax) or SigLIP (sigmoid) can express."""
    bundle = tiny_match_bundle(scores)
    config: TwoTowersConfig = bundle.config
    if scores == "softmax":
        # the vocabulary's end token is 2, which in CLIP's files stands for the highest
        text = replace(config.text, pool="highest")
        config = replace(config, vision=replace(config.vision, stem_bias=False, stem_norm=True), text=text)
    else:
        vision = replace(config.vision, class_token=False, pool="attention")
        text = replace(config.text, has_start=False, start_token=config.text.end_token)
        config = replace(config, vision=vision, text=text, dim=vision.dim, vision_projection=False)
    return replace(bundle, model=TwoTowers(config).eval())


def matcher_bundle(folder: Path) -> ModelBundle:
    """A BLIP for matching whose special tokens have BERT's names, by which its layout finds them."""
    bundle, tokenizer = tiny_blip_matcher_bundle(), test_answerers.blip_bundle(folder).vocabulary
    names = {"start_token": "[CLS]", "end_token": "[SEP]", "pad_token": "[PAD]"}
    tokens = {role: tokenizer.id_of(name) for role, name in names.items()}
    text = replace(bundle.config.text, vocab_size=tokenizer.vocab_size, **tokens)
    return replace(bundle, tokenizer=tokenizer, model=BlipMatcher(replace(bundle.config, text=text)).eval())


def examples(folder: Path) -> list[ModelBundle]:
    """Models of which each layout can express one."""
    return [
        tiny_bundle(),
        *(vit_bundle(**changes) for changes in VITS),
        test_captioners.with_layout("hf-blip"),
        test_captioners.with_layout("vit-gpt2"),
        test_captioners.with_layout("trocr"),
        test_answerers.blip_bundle(folder / "blip"),
        test_single_stream.bundle(),
        tiny_whisper_bundle(),
        towers_bundle("softmax"),
        towers_bundle("sigmoid"),
        matcher_bundle(folder / "matcher"),
    ]


def described(layout: Layout, folder: Path) -> list[tuple[ModelBundle, Mapping[str, Mapping[str, Any]]]]:
    """The examples that a layout can express, with its JSON files."""
    found = []
    for bundle in examples(folder):
        try:
            found.append((bundle, layout.describe(bundle)))
        except ModelError:
            continue
    return found


def module_of(layout: Layout, bundle: ModelBundle, files: Mapping[str, Mapping[str, Any]]) -> nn.Module:
    """A live module with a bundle's weights."""
    config = files["config.json"]
    table = layout.table_of(config)
    assert table is not None
    state = table.to_theirs(bundle.model.state_dict())
    if "architecture" in config:  # timm is at hand
        module = timm.create_model(config["architecture"], num_classes=config["num_classes"], **config["model_args"])
        module.load_state_dict(state)
        module.pretrained_cfg = {**config["pretrained_cfg"], "label_names": config["label_names"]}
        return module
    (name,) = config["architectures"]
    return type(name, (Standing,), {})(state, files)


@pytest.mark.parametrize("name", sorted(set(layouts()) - ORIGINALS))
def test_every_layout_reads_a_live_module_by_its_table(name: str, tmp_path: Path) -> None:
    layout: Layout = load_part(f"{layouts()[name]}:LAYOUT")
    cases = described(layout, tmp_path)
    assert cases, f"`examples` must have a model that {name} can express"
    for bundle, files in cases:
        module = module_of(layout, bundle, files)
        processor = None if name == "timm" else Processor(files)
        tokenizer = None if bundle.tokenizer is None else FastTokenizer(files)
        found = bundle_of(module, processor=processor, tokenizer=tokenizer)
        assert (found.tokenizer is None) == (bundle.tokenizer is None)
        assert (found.task, found.layout, found.labels) == (bundle.task, name, bundle.labels)
        assert found.config == bundle.config and found.preprocessing == bundle.preprocessing
        assert not found.model.training
        table = layout.table_of(files["config.json"])
        assert table is not None
        check_shared(table, module, found)


class Processor(Stated):
    """An image processor or feature extractor of transformers, by what it is saved as."""

    def __init__(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(files["preprocessor_config.json"])


class FastTokenizer:
    """A fast tokenizer of transformers, by what it is saved as."""

    def __init__(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        self.backend_tokenizer = tokenizers.Tokenizer.from_str(json.dumps(files["tokenizer.json"]))
        for role, name in files["tokenizer_config.json"].items():
            setattr(self, role, name)


def check_shared(table: KeyTable, module: nn.Module, found: ModelBundle) -> None:
    """Each tensor of a row without a transform lies where the module's lies; the others have its values."""
    theirs, ours = module.state_dict(), found.model.state_dict()
    shared = 0
    for key, tensor in ours.items():
        names, transform = table.names(key)
        assert torch.equal(tensor, transform.join([theirs[name] for name in names]))
        if transform is SAME:
            assert tensor.data_ptr() == theirs[names[0]].data_ptr(), key
            shared += 1
    rows = [row for row in table.rows if isinstance(row, Row) and row.transform is SAME]
    assert shared >= len(rows) / 2


def test_originals_have_no_live_module() -> None:
    """A layout that is added later is either read live, or stands in `ORIGINALS` on purpose."""
    for name in ORIGINALS:
        layout = load_part(f"{layouts()[name]}:LAYOUT")
        assert not layout.recognizes({"model_type": name}) and not layout.recognizes({"architecture": name}), name


def small_timm(**arguments: Any) -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", embed_dim=24, depth=2, img_size=32, **arguments)


@torch.inference_mode()
def test_a_module_is_left_as_it_was() -> None:
    module = small_timm(num_classes=5, proj_drop_rate=0.5).train()
    module.blocks[0].eval()
    modes = [part.training for part in module.modules()]
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    found = bundle_of(module)
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(found.model(images), module.eval()(images), rtol=0, atol=1e-5)


def test_weights_in_half_precision_are_read_as_float32() -> None:
    module = small_timm(num_classes=5).half()
    found = bundle_of(module)
    assert {tensor.dtype for tensor in found.model.state_dict().values()} == {torch.float32}
    assert next(module.parameters()).dtype == torch.float16


def test_compiled_and_wrapped_modules_stand_for_the_module_in_them() -> None:
    module = small_timm(num_classes=5)
    for wrapped in (torch.compile(module), nn.DataParallel(module), torch.compile(nn.DataParallel(module))):
        found = bundle_of(wrapped)
        assert found.source == "VisionTransformer"
        assert found.model.head.weight.data_ptr() == module.head.weight.data_ptr()


def test_labels_are_the_modules_own_or_given() -> None:
    module = small_timm(num_classes=3)
    assert bundle_of(module).labels == ("0", "1", "2")
    assert bundle_of(module, labels=["ant", "bee", "cow"]).labels == ("ant", "bee", "cow")
    with pytest.raises(
        ModelError, match="VisionTransformer must have a label for each of 3 classes, but has 1 instead"
    ):
        bundle_of(module, labels=["ant"])
    assert bundle_of(small_timm(num_classes=0)).labels == ()


def test_a_model_of_ours_is_live_too() -> None:
    bundle = tiny_bundle()
    found = bundle_of(bundle.model, processor=bundle.preprocessing, labels=LABELS)
    assert found.task == "classify" and found.labels == LABELS and found.model is not bundle.model
    ours = bundle.model.state_dict()
    assert all(tensor.data_ptr() == ours[key].data_ptr() for key, tensor in found.model.state_dict().items())
    answerer = tiny_answer_bundle("closed")
    again = bundle_of(
        answerer.model, processor=answerer.preprocessing, tokenizer=answerer.tokenizer, labels=answerer.labels
    )
    assert again.task == "answer"
    with pytest.raises(ModelError, match="`processor` must be an `ImagePreprocessing` .* for a ViT"):
        bundle_of(bundle.model, labels=LABELS)


class Untold(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 5, 2)})
        self.neck = nn.Linear(3, 2)


def test_what_is_not_supported_is_named() -> None:
    refusals: list[tuple[nn.Module, str]] = [
        (
            Untold(),
            r"but is a .*test_live\.Untold instead: the nearest is timm \(2 of 4 tensors, .* its neck\.weight\)",
        ),
        (nn.ReLU(), r"but is a torch\.nn.*ReLU instead: it has no tensors"),
        (nn.Linear(3, 2), r"but is a torch.nn.*Linear instead: no layout has a tensor weight"),
        (timm.create_model("resnet18"), "ResNet: timm's ResNet is not supported, only its VisionTransformer"),
        (small_timm(attn_layer="diff"), "VisionTransformer: this timm model has attention of type DiffAttention, "),
    ]
    for module, message in refusals:
        with pytest.raises(ModelError, match=message) as raised:
            bundle_of(module)
        assert "\n" not in str(raised.value)
    changed = small_timm(num_classes=5)
    changed.head = nn.Sequential(nn.Linear(24, 5))
    with pytest.raises(ModelError, match=r"the layout timm, but there is no place for its tensor head\.0\.bias \[5\]"):
        bundle_of(changed)
    with torch.device("meta"):
        empty = small_timm(num_classes=5)
    with pytest.raises(ModelError, match="must be a plain array of real numbers, but is on the device meta"):
        bundle_of(empty)


def test_what_is_not_given_is_named(tmp_path: Path) -> None:
    layout: Layout = load_part(f"{layouts()['hf-vit']}:LAYOUT")
    bundle = tiny_bundle()
    files = layout.describe(bundle)
    module = module_of(layout, bundle, files)
    with pytest.raises(ModelError, match="`processor` must be given for a ViTForImageClassification, which does not"):
        bundle_of(module)
    with pytest.raises(ModelError, match="`processor` must be a processor of transformers, .* but is a int instead"):
        bundle_of(module, processor=3)
    with pytest.raises(ModelError, match="`module` must be a torch module, but is a str instead: `multiattn.load`"):
        unwrapped("vit")
    captioner = test_captioners.with_layout("hf-blip")
    blip: Layout = load_part(f"{layouts()['hf-blip']}:LAYOUT")
    module = module_of(blip, captioner, blip.describe(captioner))
    with pytest.raises(ModelError, match="`tokenizer` must be given for a BlipForConditionalGeneration, which reads"):
        bundle_of(module, processor=captioner.preprocessing)
    with pytest.raises(ModelError, match="`tokenizer` must be a fast tokenizer of transformers, .* but is a list"):
        bundle_of(module, processor=captioner.preprocessing, tokenizer=["a"])


def test_a_directory_gives_what_the_module_does_not_state(tmp_path: Path) -> None:
    layout: Layout = load_part(f"{layouts()['hf-vit']}:LAYOUT")
    bundle = tiny_bundle()
    files = layout.describe(bundle)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(files["preprocessor_config.json"]))
    found = bundle_of(module_of(layout, bundle, files), processor=tmp_path)
    assert isinstance(found.preprocessing, ImagePreprocessing) and found.preprocessing == bundle.preprocessing
    pixels, _ = found.pictures(draw(3))
    assert isinstance(found.model, ViT) and found.model(pixels[None]).shape == (1, 7)
