"""open_clip's two towers, through its own exporter and our converter, and the way back into open_clip.

Needs open_clip_torch, which is in the `parity` extra; the tests are skipped where it is absent.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing, Tokenizer
from multiattn.models import TwoTowers
from multiattn.weights import load_bundle, save_bundle
from tests.parity.random_weights import randomize
from tests.parity.vocabularies import save_clip_pieces

open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is in the `parity` extra")

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.filterwarnings("default")]

TEXTS = ("a red fox", "two", "blue dogs near a tree, near a tree, near a tree")
VISION = {"image_size": 21, "patch_size": 7, "width": 32, "layers": 3, "head_width": 16, "mlp_ratio": 1.5}
TEXT = {"context_length": 13, "width": 26, "heads": 2, "layers": 3, "mlp_ratio": 1.5}
SIGLIP = {"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
TIMM = {"timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False, "image_size": 224}


def save_theirs(directory: Path, *, form: str = "safetensors", **changes: Any) -> torch.nn.Module:
    """A directory as open_clip's own exporter writes it, but for the vocabulary; `changes` of its configuration."""
    is_clip = "no_causal_mask" not in changes.get("text_cfg", {})
    directory.mkdir(parents=True)
    if is_clip:
        tokenizer = save_clip_pieces(directory)
    else:
        tokenizer = Tokenizer.train(TEXTS, kind="bpe", vocab_size=53)
        tokenizer.save(directory)
        (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "[END]", "pad_token": "[PAD]"}))
    config = {
        "embed_dim": 19,
        **changes,
        "vision_cfg": VISION | changes.get("vision_cfg", {}),
        "text_cfg": TEXT | {"vocab_size": tokenizer.vocab_size} | changes.get("text_cfg", {}),
    }
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"] = changes["vision_cfg"]
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    arguments = {key: value for key, value in config.items() if key != "custom_text"}
    model = randomize(kind(**arguments), seed=3)
    with torch.no_grad():
        model.logit_scale.fill_(1.7)
    prepared = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "interpolation": "bicubic", "resize_mode": "squash"}
    open_clip.model.set_model_preprocess_cfg(model, prepared)
    exporter = import_module("open_clip.push_to_hf_hub")  # the package has a function of this name
    exporter.save_for_hf(model, _NoTokenizer(), config, str(directory), safe_serialization=form == "safetensors")
    return model


class _NoTokenizer:
    def save_pretrained(self, directory: Path) -> None:
        """Write nothing: the vocabulary is there."""


@torch.inference_mode()
def largest_difference(ours: TwoTowers, theirs: torch.nn.Module, tokenizer: Tokenizer) -> float:
    """The largest difference of the logits, relative to the largest logit."""
    config = ours.config.text
    tokens, mask = config.padded([config.framed(tokenizer.encode(text)) for text in TEXTS])
    padded = torch.nn.functional.pad(tokens, (0, 13 - tokens.shape[1]))
    size = ours.config.vision.image_size
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(7))
    pictures, texts = theirs.encode_image(images, normalize=True), theirs.encode_text(padded, normalize=True)
    wanted = theirs.logit_scale.exp() * pictures @ texts.T
    if theirs.logit_bias is not None:
        wanted = wanted + theirs.logit_bias
    assert wanted.std() > 0.1
    return float((ours(images, tokens, mask) - wanted).abs().max() / wanted.abs().max())


CASES = {
    "clip": {},
    "openai": {"quick_gelu": True},
    "custom text": {"custom_text": True},
    "layer scale": {"vision_cfg": {"ls_init_value": 0.1, "no_ln_pre": True, "norm_kwargs": {"eps": 1e-6}}},
    "siglip with its own tower": {"text_cfg": SIGLIP, "custom_text": True, "init_logit_bias": -3.0},
    "siglip with timm's": {
        "embed_dim": 192,
        "text_cfg": SIGLIP | {"act_kwargs": {"approximate": "tanh"}},
        "vision_cfg": {**TIMM, "timm_pool": "map", "timm_proj": "none"},
        "custom_text": True,
        "init_logit_bias": -3.0,
    },
    "timm's with a projection": {"vision_cfg": {**TIMM, "timm_pool": "token", "timm_proj": "linear"}},
    "timm's own head": {"vision_cfg": {**TIMM, "timm_pool": "token", "timm_proj": ""}},
}


SLOW = [case for case in CASES if "timm" in case]


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if case in SLOW else []) for case in CASES]
)
def test_logits_are_theirs_both_ways(case: str, tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs", **CASES[case])
    assert not (tmp_path / "theirs" / "config.json").exists()
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.task, bundle.layout) == ("match", "open-clip")
    size = bundle.config.vision.image_size
    wanted = ImagePreprocessing(size, size, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert bundle.preprocessing == wanted
    ours, vocabulary = bundle.require(TwoTowers), bundle.vocabulary
    assert ours.config.scores == ("sigmoid" if "siglip" in case else "softmax")
    assert largest_difference(ours, theirs, vocabulary) <= 1e-5
    save_bundle(bundle, tmp_path / "back", layout="open-clip")
    again = load_bundle(tmp_path / "back")
    assert again.config == bundle.config and again.preprocessing == bundle.preprocessing
    config = json.loads((tmp_path / "back" / "open_clip_config.json").read_text())["model_cfg"]
    text, vision = config.pop("text_cfg"), config.pop("vision_cfg")
    assert config.pop("custom_text")
    read = open_clip.CustomTextCLIP(vision_cfg=vision, text_cfg={**text, "hf_tokenizer_name": None}, **config)
    open_clip.load_checkpoint(read, str(tmp_path / "back" / "open_clip_model.safetensors"))
    assert largest_difference(ours, read.eval(), vocabulary) <= 1e-5


def test_pickled_weights_are_read_without_code(tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs", form="pickled")
    assert not list((tmp_path / "theirs").glob("*.safetensors"))
    bundle = load_bundle(tmp_path / "theirs")
    assert largest_difference(bundle.require(TwoTowers), theirs, bundle.vocabulary) <= 1e-5


def test_clips_real_vocabulary(tmp_path: Path) -> None:
    """open_clip's package has the vocabulary of the published models."""
    from open_clip.tokenizer import SimpleTokenizer

    theirs = SimpleTokenizer()
    merges = sorted(theirs.bpe_ranks, key=theirs.bpe_ranks.__getitem__)
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): index for token, index in theirs.encoder.items()}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (tmp_path / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ours = Tokenizer.load(tmp_path)
    for text in (
        "a photo of a cat",
        "  A  Photo\tof 2 DOGS!! ",
        "café naïve Ünïcode",
        "😀👍🏽 日本語",
        "don't we'll",
        "",
    ):
        assert ours.encode(text) == theirs.encode(text), text
    long = "the quick brown fox " * 40
    cut = theirs([long])[0].tolist()
    start, end = (vocabulary[name] for name in names.values())
    assert cut == [start, *ours.encode(long)[:75], end]


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("vision_cfg", {"attentional_pool": True}, "`attentional_pool` of the vision_cfg"),
        ("vision_cfg", {"layers": [2, 2, 2, 2]}, "`layers` must be a number, for a transformer"),
        ("text_cfg", {"hf_model_name": "roberta-base"}, "a text tower of transformers"),
        ("text_cfg", {"embed_cls": True}, "`embed_cls` of the text_cfg"),
        ("text_cfg", {"pool_type": "first"}, "`pool_type` must be one of argmax, eos, last, but is"),
        ("", {"multimodal_cfg": {"width": 3}}, "`multimodal_cfg` of the model_cfg"),
    ],
)
def test_what_is_refused(part: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_theirs(tmp_path / "theirs")
    path = tmp_path / "theirs" / "open_clip_config.json"
    config = json.loads(path.read_text())
    (config["model_cfg"][part] if part else config["model_cfg"]).update(change)
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path / "theirs")
