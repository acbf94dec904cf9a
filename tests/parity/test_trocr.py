"""Ours against transformers' TrOCR, a VisionEncoderDecoder that reads a line of text, through the real converter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from multiattn.generation import GenerationConfig, generate
from multiattn.weights import ModelBundle, load_bundle, save_bundle
from tests.parity.picture_encoders import SIZES, WIDTH
from tests.parity.random_weights import randomize
from tests.parity.vocabularies import ROBERTA_PIECES, save_roberta_pieces

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")

START, PAD, END = 2, 1, 2
ENCODERS: dict[str, Any] = {
    "vit": lambda: transformers.ViTConfig(**SIZES, **WIDTH, qkv_bias=False),
    "deit": lambda: transformers.DeiTConfig(**SIZES, **WIDTH),
    "beit": lambda: transformers.BeitConfig(**SIZES, **WIDTH, use_shared_relative_position_bias=True),
    "dinov2": lambda: transformers.Dinov2Config(**SIZES, mlp_ratio=2),
}


def save_theirs(directory: Path, *, encoder: str = "vit", end: int = END, **changes: Any) -> torch.nn.Module:
    """A random model of theirs, saved with its processor and vocabulary as they save it."""
    fields = {
        "vocab_size": len(ROBERTA_PIECES),
        "d_model": 34,
        "decoder_layers": 3,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 29,
        "max_position_embeddings": 41,
        "cross_attention_hidden_size": SIZES["hidden_size"],
    }
    decoder = transformers.TrOCRConfig(**(fields | changes))
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(ENCODERS[encoder](), decoder)
    model = randomize(transformers.VisionEncoderDecoderModel(config), seed=13)
    model.generation_config.update(decoder_start_token_id=START, eos_token_id=end, pad_token_id=PAD, bos_token_id=0)
    model.save_pretrained(directory)
    transformers.ViTImageProcessor(size={"height": 35, "width": 35}).save_pretrained(directory)
    save_roberta_pieces(directory)
    return model


def pictures(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, 35, 35, generator=torch.Generator().manual_seed(7))


@torch.inference_mode()
def relative_difference(bundle: ModelBundle, theirs: torch.nn.Module) -> float:
    images = pictures()
    tokens = torch.randint(3, len(ROBERTA_PIECES), (3, 7), generator=torch.Generator().manual_seed(3))
    wanted = theirs(pixel_values=images, decoder_input_ids=tokens).logits
    assert 0.3 < wanted.std() < 3, "a comparison of logits says little unless they are of order 1"
    return float((bundle.model(images, tokens) - wanted).abs().max() / wanted.abs().max())


CASES: Mapping[str, dict[str, Any]] = {
    "base": {},
    "small": {"scale_embedding": True, "activation_function": "relu"},
    "large": {
        "use_learned_position_embeddings": False,
        "layernorm_embedding": False,
        "scale_embedding": True,
        "activation_function": "relu",
    },
    "bridge": {"cross_attention_hidden_size": None},
    "untied": {"tie_word_embeddings": False},
    "of one width": {"d_model": 26, "cross_attention_hidden_size": None},
    "deit": {"encoder": "deit"},
    "beit": {"encoder": "beit"},
    "dinov2": {"encoder": "dinov2"},
}


@pytest.mark.parametrize(
    "changes",
    [pytest.param(one, id=name, marks=[pytest.mark.slow] * (name != "base")) for name, one in CASES.items()],
)
def test_transformers_loads_and_saves_back(changes: dict[str, Any], tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs", **changes)
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.task, bundle.layout, bundle.decoding) == ("caption", "trocr", {})
    decoder = bundle.model.config.decoder
    assert (decoder.start_token, decoder.end_token, decoder.pad_token) == (START, END, PAD)
    assert relative_difference(bundle, theirs) <= 1e-5

    save_bundle(bundle, tmp_path / "ours", layout="trocr")
    again, report = transformers.VisionEncoderDecoderModel.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float32
    )
    # the pooler of the encoder is never run, nor is the token of hidden patches
    unused = {key for key in report["missing_keys"] if ".pooler." in key or key.endswith("mask_token")}
    assert report["missing_keys"] == unused
    assert not any(report[key] for key in ("unexpected_keys", "mismatched_keys"))
    assert relative_difference(bundle, again.eval()) <= 1e-5
    assert relative_difference(load_bundle(tmp_path / "ours"), theirs) <= 1e-5
    ids = bundle.tokenizer.encode("the red fox")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert tokenizer.decode(ids, skip_special_tokens=True) == bundle.tokenizer.decode(ids) == "the red fox"


@pytest.mark.parametrize("num_beams", [1, 3])
@torch.inference_mode()
def test_lines_are_theirs_token_for_token(num_beams: int, tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path, scale_embedding=True, end=8)
    factors = {"embed_positions.weight": 6.0, "embed_tokens.weight": 0.3}
    for name, parameter in theirs.named_parameters():  # drawn plainly it says one word over and over
        parameter.mul_(next((factor for end, factor in factors.items() if name.endswith(end)), 1.0))
    theirs.save_pretrained(tmp_path)
    model = load_bundle(tmp_path).model
    wanted = theirs.generate(pictures(5), num_beams=num_beams, max_new_tokens=11, do_sample=False)
    lines = [[token for token in row[1:] if token not in (8, PAD)] for row in wanted.tolist()]
    assert len({tuple(line) for line in lines}) > 2, "lines that are all the same show little"
    assert len({len(line) for line in lines}) > 1, "some must end before they are cut"
    found = generate(
        model.decoder, model.encode(pictures(5)), [[START]] * 5, GenerationConfig(max_tokens=11, num_beams=num_beams)
    )
    assert [[token for token in best.tokens if token not in (8, PAD)] for best, *_ in found] == lines
