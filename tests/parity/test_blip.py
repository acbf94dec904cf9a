"""Ours against transformers' BlipForConditionalGeneration, through the real converter."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.generation import GenerationConfig, generate
from multiattn.inputs import load_image
from multiattn.pipelines import CaptionPipeline
from multiattn.weights import ModelBundle, load_bundle, save_bundle
from tests.parity import blip_models
from tests.parity.blip_models import START, pictures, save_original
from tests.parity.vocabularies import save_wordpieces

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")


def save_theirs(directory: Path, *, text: dict | None = None, vision: dict | None = None) -> torch.nn.Module:
    return blip_models.save_theirs(directory, "BlipForConditionalGeneration", text=text, vision=vision)


@torch.inference_mode()
def largest_difference(bundle: ModelBundle, theirs: torch.nn.Module) -> float:
    config = bundle.model.config
    images = pictures(config.encoder.image_size[0])
    tokens = torch.randint(0, config.decoder.vocab_size, (3, 7), generator=torch.Generator().manual_seed(3))
    wanted = theirs(pixel_values=images, input_ids=tokens).logits
    assert 0.3 < wanted.std() < 3, "a comparison of logits says little unless they are of order 1"
    return float((bundle.model(images, tokens) - wanted).abs().max())


@pytest.mark.parametrize(
    ("text", "vision"),
    [
        ({}, {}),
        ({"hidden_size": 34}, {}),
        ({"hidden_act": "gelu_new", "layer_norm_eps": 1e-6}, {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-3}),
        ({"num_attention_heads": 13}, {"num_attention_heads": 17}),
    ],
    ids=["two widths", "one width", "activations and epsilons", "heads"],
)
def test_transformers_loads_and_saves_back(text: dict, vision: dict, tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs", text=text, vision=vision)
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.task, bundle.layout) == ("caption", "hf-blip")
    assert bundle.decoding == {"prompt": "a picture of "}
    assert largest_difference(bundle, theirs) <= 1e-5

    save_bundle(bundle, tmp_path / "ours", layout="hf-blip")
    again, report = transformers.BlipForConditionalGeneration.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float32
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert largest_difference(bundle, again.eval()) <= 1e-5
    assert largest_difference(load_bundle(tmp_path / "ours"), theirs) <= 1e-5
    processor = transformers.BlipProcessor.from_pretrained(tmp_path / "ours")
    assert processor.image_processor.size["height"] == 35
    ids = bundle.tokenizer.encode("a red fox, jumping")
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == bundle.tokenizer.decode(ids)


def test_files_of_earlier_versions_have_more_in_them(tmp_path: Path) -> None:
    """Published files hold the tied tensors twice and count the positions."""
    theirs = save_theirs(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    head = "text_decoder.cls.predictions."
    state |= {
        f"{head}decoder.weight": state["text_decoder.bert.embeddings.word_embeddings.weight"].clone(),
        f"{head}decoder.bias": state[f"{head}bias"].clone(),
        "text_decoder.bert.embeddings.position_ids": torch.arange(41)[None],
    }
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert largest_difference(load_bundle(tmp_path), theirs) <= 1e-5


@torch.no_grad()
def save_lively(directory: Path) -> torch.nn.Module:
    """A model whose captions differ and end: one that is drawn plainly says one word over and over."""
    theirs = save_theirs(directory, text={"sep_token_id": 27})
    for name, parameter in theirs.named_parameters():
        if name.endswith(
            ("text_decoder.bert.embeddings.position_embeddings.weight", "crossattention.output.dense.weight")
        ):
            parameter.mul_(2)
    theirs.save_pretrained(directory)
    return theirs


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("prompt", [(), (7, 11, 5)], ids=["no prompt", "prompt"])
@torch.inference_mode()
def test_captions_are_theirs_token_for_token(num_beams: int, prompt: tuple[int, ...], tmp_path: Path) -> None:
    theirs = save_lively(tmp_path)
    model = load_bundle(tmp_path).model
    end = model.config.decoder.end_token
    images = pictures(35, count=5)
    # they drop the last token, which their tokenizer would have put there
    ids = torch.tensor([[START, *prompt, end]]).repeat(5, 1)
    wanted = theirs.generate(images, input_ids=ids, num_beams=num_beams, max_new_tokens=11, do_sample=False)
    captions = [[token for token in row if token not in (0, end)] for row in wanted[:, 1 + len(prompt) :].tolist()]
    assert len({tuple(caption) for caption in captions}) > 3, "captions that are all the same show little"
    assert len({len(caption) for caption in captions}) > 1, "some must end before they are cut"
    options = GenerationConfig(max_tokens=11, num_beams=num_beams)
    found = generate(model.decoder, model.encode(images), [[START, *prompt]] * 5, options)
    assert [list(best.tokens) for best, *_ in found] == captions


RULES = {
    "plain": ({}, {}),
    "min_tokens": ({"min_tokens": 10}, {"min_new_tokens": 10}),
    "no_repeat_ngram": ({"no_repeat_ngram": 1}, {"no_repeat_ngram_size": 1}),
    "repetition_penalty": ({"repetition_penalty": 3.0}, {"repetition_penalty": 3.0}),
}


@torch.inference_mode()
def test_options_of_the_pipeline_without_a_prompt(tmp_path: Path) -> None:
    """Their unconditional captioning, `generate` with pictures alone, and the options that captions have."""
    theirs = save_lively(tmp_path)
    caption = CaptionPipeline(load_bundle(tmp_path), device="cpu")
    end, tokenizer = caption.bundle.config.decoder.end_token, caption.bundle.vocabulary
    noise = torch.randint(0, 256, (12, 3, 35, 35), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    sources = list(noise[2:6])  # two of them have short captions
    images = torch.stack([caption.bundle.pictures(load_image(source))[0] for source in sources])
    found: dict[str, list[str]] = {name: [] for name in RULES}
    for name, (ours, of_them) in RULES.items():
        for num_beams in (1, 3):
            rows = theirs.generate(images, num_beams=num_beams, max_new_tokens=11, do_sample=False, **of_them)
            kept = [[token for token in row if token not in (0, end)] for row in rows[:, 1:].tolist()]
            options = {"num_beams": num_beams, "max_tokens": 11, "prompt": "", **ours}
            texts = [result.text for result in caption(sources, **options)]
            assert texts == [tokenizer.decode(row).strip() for row in kept], (name, num_beams)
            found[name] += texts
    assert [name for name in RULES if found[name] == found["plain"]] == ["plain"], "a rule made no difference"


def test_base_size(tmp_path: Path) -> None:
    """BLIP-base with two of its blocks in each part: the widths that people use, at another picture size."""
    text = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "num_hidden_layers": 2}
    vision = {**text, "image_size": 96, "patch_size": 16}
    theirs = save_theirs(tmp_path, text=text, vision=vision)
    assert largest_difference(load_bundle(tmp_path), theirs) <= 1e-5


@pytest.mark.parametrize(("width", "text_width"), [(128, 128), (192, 128)], ids=["base", "large"])
def test_original_file(width: int, text_width: int, tmp_path: Path) -> None:
    """Through the original layout and back; transformers computes what the original does."""
    text = {"hidden_size": text_width, "num_attention_heads": text_width // 64}
    vision = {"hidden_size": width, "num_attention_heads": width // 64, "layer_norm_eps": 1e-6}
    theirs = save_theirs(tmp_path / "theirs", text=text, vision=vision)
    save_wordpieces(tmp_path)
    save_original(tmp_path / "base.pth", theirs)
    bundle = load_bundle(tmp_path / "base.pth")
    assert (bundle.task, bundle.layout, bundle.decoding) == ("caption", "blip", {"prompt": "a picture of "})
    assert bundle.model.config == load_bundle(tmp_path / "theirs").model.config
    assert bundle.preprocessing == load_bundle(tmp_path / "theirs").preprocessing
    assert largest_difference(bundle, theirs) <= 1e-5

    save_bundle(bundle, tmp_path / "ours", layout="blip")
    written = torch.load(tmp_path / "ours" / "model.pth", weights_only=True)["model"]
    original = torch.load(tmp_path / "base.pth", weights_only=True)["model"]
    assert written.keys() == original.keys(), "the original loads no file in which a key is missing"
    assert all(torch.equal(written[key], original[key]) for key in written)
    again = load_bundle(tmp_path / "ours")
    assert again.model.config == bundle.model.config
    assert largest_difference(again, theirs) <= 1e-5
    save_bundle(bundle, tmp_path / "hf", layout="hf-blip")
    again = transformers.BlipForConditionalGeneration.from_pretrained(tmp_path / "hf", dtype=torch.float32)
    assert largest_difference(bundle, again.eval()) <= 1e-5
