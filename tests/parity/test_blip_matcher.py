"""Ours against transformers' BlipForImageTextRetrieval, both of its heads, through the real converter."""

from pathlib import Path
from typing import Any

import pytest
import torch

from multiattn.weights import ModelBundle, load_bundle, save_bundle
from tests.parity.random_weights import randomize
from tests.parity.vocabularies import WORDPIECES, save_wordpieces

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")

TEXTS = ("the red fox", "a dog jumping over the small wall, near a tree")


def save_theirs(directory: Path, **text: Any) -> torch.nn.Module:
    """A random model of theirs, saved with its processor and vocabulary as they save it."""
    sizes = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 37}
    config = transformers.BlipConfig(
        vision_config={**sizes, "hidden_size": 26, "image_size": 35, "patch_size": 5, "layer_norm_eps": 1e-6},
        text_config={
            **sizes,
            "hidden_size": 34,
            "encoder_hidden_size": 26,
            "vocab_size": len(WORDPIECES),
            "max_position_embeddings": 29,
            "bos_token_id": 2,
            "pad_token_id": 0,
            "sep_token_id": 3,
            **text,
        },
        image_text_hidden_size=19,
    )
    model = randomize(transformers.BlipForImageTextRetrieval(config), seed=13)
    model.save_pretrained(directory)
    transformers.BlipImageProcessor(size={"height": 35, "width": 35}).save_pretrained(directory)
    save_wordpieces(directory)
    return model


def batch(bundle: ModelBundle) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three pictures, and two texts of different lengths with their mask."""
    text = bundle.config.text
    tokens, mask = text.padded([text.framed(bundle.vocabulary.encode(one)) for one in TEXTS])
    assert not mask.all()
    return torch.randn(3, 3, 35, 35, generator=torch.Generator().manual_seed(7)), tokens, mask


@torch.inference_mode()
def relative_difference(bundle: ModelBundle, theirs: torch.nn.Module) -> float:
    """The largest difference of the logits and of the cosines, each against the largest."""
    images, tokens, mask = batch(bundle)
    model = bundle.model
    cosines = theirs(tokens, images, attention_mask=mask.long(), use_itm_head=False).itm_score  # (3, 2)
    pairs = [(model.encode_pictures(images) @ model.encode_texts(tokens, mask).T, cosines)]
    logits = model(images, tokens, mask)  # (3, 2)
    for column in range(len(TEXTS)):  # theirs takes a text for each picture
        rows = (part[column].expand(len(images), -1) for part in (tokens, mask.long()))
        ids, of_ids = rows
        scores = theirs(ids, images, attention_mask=of_ids, use_itm_head=True).itm_score
        pairs.append((logits[:, column], scores[:, 1] - scores[:, 0]))
    assert all(wanted.std() > 0.01 for _, wanted in pairs), "pairs that are all alike show little"
    return max(float((found - wanted).abs().max() / wanted.abs().max()) for found, wanted in pairs)


def test_transformers_loads_and_saves_back(tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs")
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.task, bundle.layout) == ("match", "hf-blip-itm")
    assert relative_difference(bundle, theirs) <= 1e-5
    save_bundle(bundle, tmp_path / "ours", layout="hf-blip-itm")
    again, report = transformers.BlipForImageTextRetrieval.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float32
    )
    assert {name: set(report[name]) for name in ("missing_keys", "unexpected_keys", "mismatched_keys")} == {
        "missing_keys": set(),
        "unexpected_keys": set(),
        "mismatched_keys": set(),
    }
    assert relative_difference(bundle, again.eval()) <= 1e-5
    assert relative_difference(load_bundle(tmp_path / "ours"), theirs) <= 1e-5
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")(TEXTS[1])["input_ids"]
    assert tuple(words) == bundle.config.text.framed(bundle.vocabulary.encode(TEXTS[1]))
