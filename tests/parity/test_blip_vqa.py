"""Ours against transformers' BlipForQuestionAnswering, through the real converter."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from multiattn.generation import GenerationConfig, generate
from multiattn.models import VQA
from multiattn.weights import ModelBundle, load_bundle, save_bundle
from tests.parity import blip_models
from tests.parity.blip_models import END, START, TEXT, pictures, save_original
from tests.parity.random_weights import randomize
from tests.parity.vocabularies import WORDPIECES, save_wordpieces

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")

CLS, ENC = 2, START + 1
KIND = "BlipForQuestionAnswering"
# transformers' answer decoder attends to the question's states as if they were as wide as the picture's
ONE_WIDTH = {"hidden_size": 34}


def save_theirs(directory: Path, *, text: dict[str, Any] | None = None, **vision: Any) -> torch.nn.Module:
    return blip_models.save_theirs(directory, KIND, text=ONE_WIDTH | (text or {}), vision=vision)


def questions(start: int, rows: int = 3, length: int = 7) -> tuple[Tensor, Tensor]:
    """Drawn ones, of which all but the first end earlier, and where they are real."""
    tokens = torch.randint(5, len(WORDPIECES), (rows, length), generator=torch.Generator().manual_seed(3))
    tokens[:, 0] = start
    attention_mask = torch.ones_like(tokens, dtype=torch.bool)
    for row, end in enumerate(torch.arange(length, length - rows, -1)):
        tokens[row, end - 1], tokens[row, end:], attention_mask[row, end:] = END, 0, False
    return tokens, attention_mask


def vqa(bundle: ModelBundle) -> VQA:
    assert isinstance(bundle.model, VQA)
    return bundle.model


@torch.inference_mode()
def largest_difference(bundle: ModelBundle, theirs: torch.nn.Module) -> float:
    """Of the states of padded questions about several pictures, and of the answers' logits.

    The answers of theirs are scored question by question: in transformers' cross-attention no mask arrives, so that an
    answer attends to padding too.
    """
    model = vqa(bundle)
    images = pictures(model.config.encoder.image_size[0])
    tokens, attention_mask = questions(model.config.question.start_token)
    answers = torch.randint(5, len(WORDPIECES), (3, 5), generator=torch.Generator().manual_seed(5))
    seen = theirs.vision_model(pixel_values=images).last_hidden_state
    states = theirs.text_encoder(
        tokens, attention_mask=attention_mask.long(), encoder_hidden_states=seen
    ).last_hidden_state
    one_by_one = [
        theirs.text_decoder(answer[None], encoder_hidden_states=state[None, is_real]).logits
        for answer, state, is_real in zip(answers, states, attention_mask, strict=True)
    ]
    logits = torch.cat(one_by_one)
    assert 0.3 < logits.std() < 3, "a comparison of logits says little unless they are of order 1"
    ours = model.read(tokens, model.encode(images), attention_mask=attention_mask)
    found = model(images, tokens, answers, attention_mask=attention_mask)
    return max(float((ours - states)[attention_mask].abs().max()), float((found - logits).abs().max()))


@pytest.mark.parametrize(
    ("text", "vision"),
    [
        ({}, {}),
        ({"hidden_act": "gelu_new", "layer_norm_eps": 1e-6}, {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-3}),
        ({"num_attention_heads": 17}, {"num_attention_heads": 1}),
    ],
    ids=["plain", "activations and epsilons", "heads"],
)
def test_transformers_loads_and_saves_back(text: dict[str, Any], vision: dict[str, Any], tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs", text=text, **vision)
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.task, bundle.layout, bundle.labels, bundle.decoding) == ("answer", "hf-blip", (), {})
    assert vqa(bundle).config.question.start_token == CLS
    assert largest_difference(bundle, theirs) <= 1e-5

    save_bundle(bundle, tmp_path / "ours", layout="hf-blip")
    again, report = transformers.BlipForQuestionAnswering.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float32
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert largest_difference(bundle, again.eval()) <= 1e-5
    assert largest_difference(load_bundle(tmp_path / "ours"), theirs) <= 1e-5


@pytest.mark.parametrize("start", [CLS, ENC])
def test_transformers_puts_around_a_question_what_ours_does(start: int, tmp_path: Path) -> None:
    save_theirs(tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    (tmp_path / "theirs" / "config.json").write_text(json.dumps({**config, "question_start_token": start}))
    bundle = load_bundle(tmp_path / "theirs")
    assert vqa(bundle).config.question.start_token == start
    save_bundle(bundle, tmp_path / "ours", layout="hf-blip")
    assert vqa(load_bundle(tmp_path / "ours")).config == vqa(bundle).config
    processor = transformers.BlipProcessor.from_pretrained(tmp_path / "ours")
    text = "two red dogs on the wall"
    assert processor(text=text).input_ids == [start, *bundle.tokenizer.encode(text), END]
    if start == CLS:  # and so does the vocabulary that they saved
        plain = transformers.BertTokenizerFast.from_pretrained(tmp_path / "theirs")
        assert plain(text).input_ids == processor(text=text).input_ids


@torch.inference_mode()
def test_questions_about_one_picture_are_read_as_one_by_one(tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path)
    model, images = vqa(load_bundle(tmp_path)), pictures(35, count=1)
    tokens, attention_mask = questions(CLS)
    answers = torch.tensor([[START, 7, 11]]).repeat(3, 1)
    together = model(images, tokens, answers, attention_mask=attention_mask)
    for row, (question, is_real) in enumerate(zip(tokens, attention_mask, strict=True)):
        wanted = theirs_whole(theirs, images, question[None, is_real], answers[:1])
        assert torch.allclose(together[row], wanted[0], atol=1e-5)


def theirs_whole(theirs: torch.nn.Module, images: Tensor, question: Tensor, answer: Tensor) -> Tensor:
    """The answer's logits out of their own `forward`, which gives but the loss, if a hook did not look in."""
    caught: list[Tensor] = []
    hook = theirs.text_decoder.register_forward_hook(lambda module, args, result: caught.append(result.logits))
    theirs(input_ids=question, pixel_values=images, decoder_input_ids=answer)
    hook.remove()
    return caught[0]


@torch.no_grad()
def save_lively(directory: Path) -> torch.nn.Module:
    """A model whose answers differ and end: one that is drawn plainly says one word over and over."""
    theirs = save_theirs(directory, text={"sep_token_id": 29})
    lively = ("text_decoder.bert.embeddings.position_embeddings.weight", "crossattention.output.dense.weight")
    for name, parameter in theirs.named_parameters():
        if name.endswith(lively):
            parameter.mul_(2)
    theirs.save_pretrained(directory)
    return theirs


@pytest.mark.parametrize("num_beams", [1, 3])
@torch.inference_mode()
def test_answers_are_theirs_token_for_token(num_beams: int, tmp_path: Path) -> None:
    theirs = save_lively(tmp_path)
    model = vqa(load_bundle(tmp_path))
    end = model.config.decoder.end_token
    images = pictures(35, count=7)
    tokens, _ = questions(CLS, rows=7)  # of one length: their `generate` lets an answer attend to padding
    wanted = theirs.generate(tokens, images, num_beams=num_beams, max_new_tokens=11, do_sample=False)
    answers = [[token for token in row if token not in (0, end)] for row in wanted[:, 1:].tolist()]
    assert len({tuple(answer) for answer in answers}) > 3, "answers that are all the same show little"
    assert len({len(answer) for answer in answers}) > 1, "some must end before they are cut"
    context = model.decoder.project_context(model.read(tokens, model.encode(images)))
    found = generate(model.decoder, context, [[START]] * 7, GenerationConfig(max_tokens=11, num_beams=num_beams))
    assert [list(best.tokens) for best, *_ in found] == answers


@pytest.mark.parametrize("width", [128, 192])
def test_original_file(width: int, tmp_path: Path) -> None:
    """Through the original layout and back; transformers computes what the original does."""
    heads = {"hidden_size": width, "num_attention_heads": width // 64}
    theirs = save_theirs(tmp_path / "theirs", text=heads, **heads, layer_norm_eps=1e-6)
    save_wordpieces(tmp_path)
    save_original(tmp_path / "vqa.pth", theirs)
    bundle = load_bundle(tmp_path / "vqa.pth")
    assert (bundle.task, bundle.layout) == ("answer", "blip")
    assert bundle.decoding == {"num_beams": 3, "max_tokens": 9}
    config = vqa(bundle).config
    assert (config.question.start_token, config.decoder.start_token) == (ENC, START)
    assert (bundle.tokenizer.name_of(ENC), bundle.tokenizer.name_of(START)) == ("[ENC]", "[DEC]")
    assert bundle.preprocessing == load_bundle(tmp_path / "theirs").preprocessing
    assert largest_difference(bundle, theirs) <= 1e-5

    save_bundle(bundle, tmp_path / "ours", layout="blip")
    written = torch.load(tmp_path / "ours" / "model.pth", weights_only=True)["model"]
    original = torch.load(tmp_path / "vqa.pth", weights_only=True)["model"]
    assert written.keys() == original.keys(), "the original loads no file in which a key is missing"
    assert all(torch.equal(written[key], original[key]) for key in written)
    again = load_bundle(tmp_path / "ours")
    assert (vqa(again).config, again.decoding) == (config, bundle.decoding)
    save_bundle(bundle, tmp_path / "hf", layout="hf-blip")
    assert vqa(load_bundle(tmp_path / "hf")).config == config, "the first token too"
    again = transformers.BlipForQuestionAnswering.from_pretrained(tmp_path / "hf", dtype=torch.float32)
    assert largest_difference(bundle, again.eval()) <= 1e-5


def test_original_file_of_two_widths(tmp_path: Path) -> None:
    """As the large variant has: the question's cross-attention is as wide as the picture, the answer's as the text."""
    narrow = {"hidden_size": 64, "num_attention_heads": 1}
    wide = {"hidden_size": 128, "num_attention_heads": 2, "layer_norm_eps": 1e-6}
    theirs = save_theirs(tmp_path / "theirs", text=narrow, **wide)
    save_wordpieces(tmp_path)
    decoder = transformers.BlipTextConfig(**{**TEXT, **narrow, "encoder_hidden_size": 64})
    theirs.text_decoder = randomize(type(theirs.text_decoder)(decoder), seed=17)
    save_original(tmp_path / "vqa.pth", theirs)
    bundle = load_bundle(tmp_path / "vqa.pth")
    config = vqa(bundle).config
    assert (config.question.context_dim, config.decoder.context_dim) == (128, 64)
    assert largest_difference(bundle, theirs) <= 1e-5


def test_base_size(tmp_path: Path) -> None:
    """BLIP-base with two of its blocks in each part: the widths that people use, at another picture size."""
    base = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "num_hidden_layers": 2}
    theirs = save_theirs(tmp_path, text=base, **base, image_size=96, patch_size=16)
    assert largest_difference(load_bundle(tmp_path), theirs) <= 1e-5
