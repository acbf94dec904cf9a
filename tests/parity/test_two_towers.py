"""CLIP and SigLIP against transformers, through the real converter: logits, the way back, and the ids of hard texts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer
from multiattn.models import TwoTowers
from multiattn.weights import load_bundle, save_bundle
from multiattn.weights.hf_pictures import read_preprocessing
from multiattn.weights.model_files import ModelFiles
from tests.parity.random_weights import randomize
from tests.parity.vocabularies import save_clip_pieces

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")

TEXTS = ("a red fox", "two", "blue dogs near a tree, near a tree, near a tree")
BLOCKS = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 37, "hidden_size": 26}
PICTURES = {**BLOCKS, "num_attention_heads": 3, "hidden_size": 30, "image_size": 21, "patch_size": 7}


def save_clip(directory: Path, *, eos: str = "new", **text: Any) -> torch.nn.Module:
    """A tiny CLIP; with "old", the `eos_token_id` of early files, for which the highest token is read."""
    tokenizer = save_clip_pieces(directory)
    ids = {"bos_token_id": tokenizer.id_of("<|startoftext|>"), "eos_token_id": tokenizer.id_of("<|endoftext|>")}
    config = transformers.CLIPConfig(
        projection_dim=19,
        text_config={
            **BLOCKS,
            "vocab_size": tokenizer.vocab_size,
            "max_position_embeddings": 13,
            "pad_token_id": 1,
            **ids,
            **({"eos_token_id": 2} if eos == "old" else {}),
            **text,
        },
        vision_config=PICTURES,
    )
    model = randomize(transformers.CLIPModel(config), seed=3)
    with torch.no_grad():
        model.logit_scale.fill_(1.7)
    model.save_pretrained(directory)
    processor = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 21}, "crop_size": 21}
    (directory / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


def save_siglip(directory: Path, **text: Any) -> torch.nn.Module:
    """A tiny SigLIP with a vocabulary of this package."""
    tokenizer = Tokenizer.train(TEXTS, kind="bpe", vocab_size=53)
    tokenizer.save(directory)
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "[END]", "pad_token": "[PAD]"}))
    sizes = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": 13, "projection_size": 30}
    config = transformers.SiglipConfig(text_config={**BLOCKS, **sizes, **text}, vision_config=PICTURES)
    model = randomize(transformers.SiglipModel(config), seed=3)
    with torch.no_grad():
        model.logit_scale.fill_(1.7)
        model.logit_bias.fill_(-0.3)
    model.save_pretrained(directory)
    (directory / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "SiglipImageProcessor", "size": {"height": 21, "width": 21}})
    )
    return model


@torch.inference_mode()
def largest_difference(ours: TwoTowers, theirs: torch.nn.Module, tokenizer: Tokenizer) -> float:
    """The largest difference of the logits, relative to the largest logit."""
    config = ours.config.text
    tokens, mask = config.padded([config.framed(tokenizer.encode(text)) for text in TEXTS])
    images = torch.randn(2, 3, 21, 21, generator=torch.Generator().manual_seed(7))
    seen = {} if config.fixed_length else {"attention_mask": mask.long()}
    wanted = theirs(pixel_values=images, input_ids=tokens, **seen).logits_per_image
    assert wanted.shape == (2, 3) and wanted.std() > 0.2
    return float((ours(images, tokens, mask) - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize(
    ("save", "layout", "changes"),
    [
        (save_clip, "hf-clip", {}),
        (save_clip, "hf-clip", {"eos": "old"}),
        (save_clip, "hf-clip", {"hidden_act": "gelu", "layer_norm_eps": 1e-3}),
        (save_siglip, "hf-siglip", {}),
        (save_siglip, "hf-siglip", {"hidden_act": "quick_gelu"}),
    ],
)
def test_logits_are_theirs_both_ways(save, layout, changes, tmp_path: Path) -> None:
    theirs = save(tmp_path / "theirs", **changes)
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.task, bundle.layout) == ("match", layout)
    config = bundle.config.text
    assert (config.causal, config.fixed_length) == (layout == "hf-clip", layout == "hf-siglip")
    assert config.pool == ("last" if layout == "hf-siglip" else "highest" if "eos" in changes else "end")
    ours, vocabulary = bundle.require(TwoTowers), bundle.vocabulary
    assert largest_difference(ours, theirs, vocabulary) <= 1e-5
    save_bundle(bundle, tmp_path / "back", layout=layout)
    again = type(theirs).from_pretrained(tmp_path / "back")
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key
    assert largest_difference(ours, again.eval(), vocabulary) <= 1e-5
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    for text in TEXTS:
        length = {"truncation": True, "max_length": 13}
        assert tuple(tokenizer(text, **length).input_ids) == config.framed(vocabulary.encode(text))
    loaded = load_bundle(tmp_path / "back")
    assert loaded.config == bundle.config and loaded.preprocessing == bundle.preprocessing


HARD = (
    "a photo of a cat",
    "  A  Photo\tof 2 DOGS!! ",
    "café naïve Ünïcode",
    "emoji 😀👍🏽 and 日本語テキスト",
    "don't we'll it's I'd THEY'RE",
    "e\u0301 combining",
    "x_y_z under-score 3.14",
    "\u00a0no-break\u2003em",
    "",
    "the " * 99,
)


@pytest.mark.parametrize("form", ["vocab.json and merges.txt", "tokenizer.json"])
def test_clips_ids_are_theirs(form: str, tmp_path: Path) -> None:
    save_clip_pieces(tmp_path)
    theirs = transformers.CLIPTokenizer.from_pretrained(tmp_path)
    if form == "tokenizer.json":
        theirs.save_pretrained(tmp_path / "whole")
        assert not (tmp_path / "whole" / "vocab.json").exists()
    ours = Tokenizer.load(tmp_path / "whole" if form == "tokenizer.json" else tmp_path)
    for text in HARD:
        ids = ours.encode(text)
        assert ids == theirs(text, add_special_tokens=False).input_ids, text
        assert ours.decode(ids) == theirs.decode(ids), text
    _, words = ours.encode_words("Two red foxes, don't")
    assert [word.text for word in words] == ["Two", "red", "foxes", ",", "don't"]


def test_siglips_ids_are_theirs(tmp_path: Path) -> None:
    """Of SigLIP 2, whose vocabulary is Gemma's, with a lower case before."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyz.,'"]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, "th", "the", "▁the", *map(byte, range(256))])}
    merges = [("t", "h"), ("th", "e"), ("▁", "the")]
    theirs = transformers.Siglip2Tokenizer(vocab=vocabulary, merges=merges)
    theirs.save_pretrained(tmp_path)
    files = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**files, "tokenizer_class": "GemmaTokenizer"}))
    from multiattn.weights.hf_siglip import read_tokenizer
    from multiattn.weights.model_files import ModelFiles

    ours = read_tokenizer(ModelFiles(tmp_path))
    for text in HARD:
        assert ours.encode(text) == theirs(text, add_special_tokens=False).input_ids, text


def byte(value: int) -> str:
    return f"<0x{value:02X}>"


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_is_refused(tmp_path: Path) -> None:
    save_siglip(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    change(tmp_path / "config.json", vision_config={**config["vision_config"], "vision_use_head": False})
    with pytest.raises(ModelError, match="`vision_use_head` must be true, but is False instead"):
        load_bundle(tmp_path)
    change(tmp_path / "config.json", model_type="siglip2")
    with pytest.raises(ModelError, match="SigLIP 2 NaFlex, for pictures of any aspect, is not supported"):
        load_bundle(tmp_path)


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    save_clip(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    change(tmp_path / "config.json", text_config={**config["text_config"], "eos_token_id": 5})
    with pytest.raises(ModelError, match=r"`eos_token_id` of the text_config must be 2, or the vocabulary's end token"):
        load_bundle(tmp_path)


def test_early_files_state_a_tower_beside(tmp_path: Path) -> None:
    theirs = save_clip(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    change(tmp_path / "config.json", text_config={"hidden_size": 5}, text_config_dict=config["text_config"])
    bundle = load_bundle(tmp_path)
    assert largest_difference(bundle.require(TwoTowers), theirs, bundle.vocabulary) <= 1e-5


def test_what_clip_cannot_say_is_refused(tmp_path: Path) -> None:
    save_siglip(tmp_path / "siglip")
    with pytest.raises(ModelError, match="the hf-clip layout needs `scores` to be 'softmax', but it is 'sigmoid'"):
        save_bundle(load_bundle(tmp_path / "siglip"), tmp_path / "clip", layout="hf-clip")


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (480, 640), (20, 300)], ids=str)
@pytest.mark.parametrize("cropped", [True, None], ids=["cropped", "null"])
def test_a_picture_is_cropped_as_theirs(size: tuple[int, int], cropped: bool | None, tmp_path: Path) -> None:
    side = {"height": 224, "width": 224}
    resized = {"shortest_edge": 224} if cropped else side
    stated = {"image_processor_type": "CLIPImageProcessor", "size": resized, "do_center_crop": cropped}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated | {"crop_size": side if cropped else 192}))
    values = np.random.default_rng(7).integers(0, 256, (*size, 3), dtype=np.uint8)
    picture = Image.fromarray(values)
    theirs = transformers.CLIPImageProcessorPil.from_pretrained(tmp_path)(picture, return_tensors="np")["pixel_values"]
    ours, _ = read_preprocessing(ModelFiles(tmp_path), "CLIPImageProcessor").array(picture)
    np.testing.assert_allclose(ours, theirs[0], atol=1e-5)
