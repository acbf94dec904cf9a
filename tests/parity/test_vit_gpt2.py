"""Ours against transformers' VisionEncoderDecoder of ViT and GPT-2, through the real converter."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.generation import GenerationConfig, generate
from multiattn.weights import ModelBundle, load_bundle, save_bundle
from tests.parity.random_weights import randomize
from tests.parity.vocabularies import BYTE_PIECES, save_byte_pieces

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

START = 0


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()
    transformers.utils.logging.set_verbosity(verbosity)


def save_theirs(directory: Path, *, width: int = 26, **changes: object) -> torch.nn.Module:
    """A random model of theirs, saved with its processor and vocabulary as they save it."""
    encoder = transformers.ViTConfig(
        hidden_size=34, num_hidden_layers=2, num_attention_heads=2, intermediate_size=29, image_size=35, patch_size=5
    )
    fields = {"n_positions": 41, "n_layer": 3, "n_head": 2, "bos_token_id": START, "eos_token_id": START}
    decoder = transformers.GPT2Config(
        vocab_size=len(BYTE_PIECES), n_embd=width, add_cross_attention=True, is_decoder=True, **(fields | changes)
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id = config.pad_token_id = START
    model = transformers.VisionEncoderDecoderModel(config)
    model.generation_config.eos_token_id = config.decoder.eos_token_id
    randomize(model, seed=13)
    with torch.no_grad():  # randomize takes a linear map's width from its first row, which here is its results
        for name, parameter in model.named_parameters():
            if name.endswith("weight") and ".c_" in name or ".q_attn.weight" in name:
                parameter.mul_((parameter.shape[1] / parameter.shape[0]) ** 0.5)
    model.save_pretrained(directory)
    transformers.ViTImageProcessor(size={"height": 35, "width": 35}).save_pretrained(directory)
    save_byte_pieces(directory)
    return model


def pictures(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, 35, 35, generator=torch.Generator().manual_seed(7))


@torch.inference_mode()
def largest_difference(bundle: ModelBundle, theirs: torch.nn.Module) -> float:
    images = pictures()
    tokens = torch.randint(0, len(BYTE_PIECES), (3, 7), generator=torch.Generator().manual_seed(3))
    wanted = theirs(pixel_values=images, decoder_input_ids=tokens).logits
    assert 0.3 < wanted.std() < 3, "a comparison of logits says little unless they are of order 1"
    return float((bundle.model(images, tokens) - wanted).abs().max())


@pytest.mark.parametrize(
    ("width", "changes"),
    [
        (26, {}),
        (34, {}),
        (26, {"n_inner": 37, "activation_function": "gelu", "layer_norm_epsilon": 1e-3, "n_head": 13}),
    ],
    ids=["bridge", "no bridge", "options"],
)
def test_transformers_loads_and_saves_back(width: int, changes: dict, tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs", width=width, **changes)
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.task, bundle.layout, bundle.decoding) == ("caption", "vit-gpt2", {})
    assert (bundle.model.bridge is None) == (width == 34)
    assert largest_difference(bundle, theirs) <= 1e-5

    save_bundle(bundle, tmp_path / "ours", layout="vit-gpt2")
    again, report = transformers.VisionEncoderDecoderModel.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float32
    )
    # the pooler of the encoder is never run
    assert {key for key in report["missing_keys"] if ".pooler." not in key} == set()
    assert not any(report[key] for key in ("unexpected_keys", "mismatched_keys"))
    assert largest_difference(bundle, again.eval()) <= 1e-5
    assert largest_difference(load_bundle(tmp_path / "ours"), theirs) <= 1e-5
    assert transformers.AutoImageProcessor.from_pretrained(tmp_path / "ours").size["height"] == 35
    ids = bundle.tokenizer.encode("the red fox")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert tokenizer.decode(ids, skip_special_tokens=True) == bundle.tokenizer.decode(ids) == "the red fox"


def test_files_of_earlier_versions_have_more_in_them(tmp_path: Path) -> None:
    """Published files hold the tied table twice, and the causal masks."""
    theirs = save_theirs(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["decoder.lm_head.weight"] = state["decoder.transformer.wte.weight"].clone()
    for layer in range(3):
        for part in ("attn", "crossattention"):
            key = f"decoder.transformer.h.{layer}.{part}."
            state |= {f"{key}bias": torch.ones(1, 1, 41, 41).tril().bool(), f"{key}masked_bias": torch.tensor(-1e4)}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert largest_difference(load_bundle(tmp_path), theirs) <= 1e-5


@torch.no_grad()
def save_lively(directory: Path) -> torch.nn.Module:
    """A model whose captions differ and end: one that is drawn plainly says one word over and over."""
    theirs = save_theirs(directory, eos_token_id=16)
    factors = {"wpe.weight": 3.0, "crossattention.c_proj.weight": 3.0, "wte.weight": 0.3, "ln_f.bias": 0.0}
    for name, parameter in theirs.named_parameters():
        for end, factor in factors.items():
            if name.endswith(end):
                parameter.mul_(factor)
    theirs.save_pretrained(directory)
    return theirs


@pytest.mark.parametrize("num_beams", [1, 3])
@torch.inference_mode()
def test_captions_are_theirs_token_for_token(num_beams: int, tmp_path: Path) -> None:
    theirs = save_lively(tmp_path)
    model = load_bundle(tmp_path).model
    end = model.config.decoder.end_token
    images = pictures(5)
    wanted = theirs.generate(images, num_beams=num_beams, max_new_tokens=11, do_sample=False)
    captions = [[token for token in row[1:] if token not in (START, end)] for row in wanted.tolist()]
    assert len({tuple(caption) for caption in captions}) > 2, "captions that are all the same show little"
    assert len({len(caption) for caption in captions}) > 1, "some must end before they are cut"
    options = GenerationConfig(max_tokens=11, num_beams=num_beams)
    found = generate(model.decoder, model.encode(images), [[START]] * 5, options)
    assert [list(best.tokens) for best, *_ in found] == captions


@pytest.mark.parametrize(
    ("stated", "config"),
    [({"eos_token_id": 16}, {}), ({"decoder_start_token_id": 3, "pad_token_id": 5}, {}), ({}, {"eos_token_id": None})],
    ids=str,
)
def test_special_tokens_are_those_of_the_generation(
    stated: dict[str, int], config: dict[str, object], tmp_path: Path
) -> None:
    save_theirs(tmp_path, eos_token_id=9)
    for name, changes in (("generation_config.json", stated), ("config.json", config)):
        content = json.loads((tmp_path / name).read_text())
        (tmp_path / name).write_text(json.dumps(content | changes))
    wanted = transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path).generation_config
    found = load_bundle(tmp_path).model.config.decoder
    assert found.end_token == wanted.eos_token_id
    assert (found.start_token, found.pad_token) == (wanted.decoder_start_token_id, wanted.pad_token_id)
