"""The Transformer in its three forms, an encoder, a decoder and both, against transformers through the real converter.

Source: Vaswani et al. 2017; Devlin et al. 2019 (BERT); Radford et al. 2019 (GPT-2); Raffel et al. 2020 (T5).
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.generation import GenerationConfig, generate
from multiattn.models import MaskedLanguageModel, TextDecoder, TextEncoder
from multiattn.weights import load_text_model, save_text_model
from tests.parity.text_models import bert_difference, generated, gpt2_difference, save_bert, save_gpt2, transformers
from tests.parity.vocabularies import WORDPIECES

pytestmark = pytest.mark.usefixtures("quiet")

PROMPTS = [[3, 5, 7, 1, 11, 13], [2, 4], [1, 1, 2, 3, 5], [8], [30, 31, 32]]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("BertForMaskedLM", {}),
        ("BertForMaskedLM", {"tie_word_embeddings": False, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3}),
        ("BertForPreTraining", {"num_attention_heads": 13}),
        ("BertModel", {}),
    ],
    ids=["tied", "untied", "of pre-training", "without a head"],
)
def test_an_encoder_is_bert_and_goes_back(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    theirs = save_bert(tmp_path / "theirs", kind, **changes)
    if kind == "BertForPreTraining":
        theirs.forward = lambda *args, of=theirs, **rest: transformers.modeling_outputs.MaskedLMOutput(
            logits=of.cls.predictions(of.bert(*args, **rest).last_hidden_state)
        )
    ours, tokenizer = load_text_model(tmp_path / "theirs")
    assert type(ours) is (TextEncoder if kind == "BertModel" else MaskedLanguageModel)
    assert not ours.training
    assert bert_difference(ours, theirs) <= 1e-5

    save_text_model(ours, tokenizer, tmp_path / "ours")
    of = transformers.BertModel if kind == "BertModel" else transformers.BertForMaskedLM
    again, report = of.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert {key for key in report["missing_keys"] if not key.startswith("pooler.")} == set()
    assert not any(report[key] for key in ("unexpected_keys", "mismatched_keys"))
    assert bert_difference(ours, again.eval()) <= 1e-5
    assert bert_difference(load_text_model(tmp_path / "ours")[0], theirs) <= 1e-5


@torch.inference_mode()
def test_masked_words_are_filled_as_the_pipeline_does(tmp_path: Path) -> None:
    save_bert(tmp_path)
    ours, tokenizer = load_text_model(tmp_path)
    assert isinstance(ours, MaskedLanguageModel)
    mask = WORDPIECES.index("[MASK]")
    c = ours.config
    ids = [c.start_token, *tokenizer.encode("the red"), mask, *tokenizer.encode("on the wall"), c.end_token]
    scores = ours(torch.tensor([ids]))[0, ids.index(mask)].softmax(dim=-1).topk(5)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    fill = transformers.pipeline(
        "fill-mask", model=theirs, tokenizer=transformers.AutoTokenizer.from_pretrained(tmp_path)
    )
    wanted = fill("the red [MASK] on the wall")
    assert scores.indices.tolist() == [one["token"] for one in wanted]
    assert scores.values.tolist() == pytest.approx([one["score"] for one in wanted], rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"n_inner": 37, "activation_function": "gelu", "layer_norm_epsilon": 1e-3, "n_head": 13},
    ],
    ids=["tied", "untied", "options"],
)
def test_a_decoder_is_gpt2_and_goes_back(changes: dict[str, Any], tmp_path: Path) -> None:
    theirs = save_gpt2(tmp_path / "theirs", **changes)
    ours, tokenizer = load_text_model(tmp_path / "theirs")
    assert isinstance(ours, TextDecoder) and not ours.training
    assert gpt2_difference(ours, theirs) <= 1e-5

    save_text_model(ours, tokenizer, tmp_path / "ours")
    again, report = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert gpt2_difference(ours, again.eval()) <= 1e-5
    assert gpt2_difference(load_text_model(tmp_path / "ours")[0], theirs) <= 1e-5
    ids = tokenizer.encode("the red fox")
    written = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert written("the red fox")["input_ids"] == ids and written.decode(ids) == tokenizer.decode(ids)


def test_a_published_gpt2_has_masks_and_no_prefix(tmp_path: Path) -> None:
    theirs = save_gpt2(tmp_path)
    state = {key.removeprefix("transformer."): one for key, one in load_file(tmp_path / "model.safetensors").items()}
    state |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 41, 41).tril() for layer in range(3)}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert gpt2_difference(load_text_model(tmp_path)[0], theirs) <= 1e-5


@pytest.mark.parametrize(("tied", "seed"), [(True, 36), (False, 19)], ids=["tied", "untied"])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_decoder_says_what_gpt2_says(num_beams: int, tied: bool, seed: int, tmp_path: Path) -> None:
    theirs = save_gpt2(tmp_path, tie_word_embeddings=tied, seed=seed)
    ours, _ = load_text_model(tmp_path)
    assert isinstance(ours, TextDecoder)
    wanted = generated(theirs, PROMPTS, num_beams=num_beams, max_new_tokens=11)
    assert len({tuple(text) for text in wanted}) > 2, "texts that are all the same show little"
    assert len({len(text) for text in wanted}) > 1, "some must end before they are cut"
    options = GenerationConfig(max_tokens=11, num_beams=num_beams)
    found = generate(ours, ours.no_context(len(PROMPTS)), PROMPTS, options)
    assert [list(best.tokens) for best, *_ in found] == wanted


@pytest.mark.parametrize(
    ("save", "values", "message"),
    [
        (save_bert, {"model_type": "bart"}, "`model_type` must be one of bert, gpt2.*, but is 'bart' instead"),
        (save_bert, {"position_embedding_type": "relative_key"}, "`position_embedding_type` must be absolute"),
        (save_bert, {"vocab_size": 97}, "but its weights are made for 97"),
        (save_gpt2, {"add_cross_attention": True}, "`add_cross_attention` must be False, but is True instead"),
        (save_gpt2, {"scale_attn_by_inverse_layer_idx": True}, "`scale_attn_by_inverse_layer_idx` must be False"),
        (save_gpt2, {"n_head": None}, r"config\.json: `n_head` must be stated, but is missing"),
        (save_gpt2, {"n_layer": 2}, r"  \+ transformer\.h\.2\.attn\.c_attn\.bias \[78\]"),
    ],
)
def test_a_model_that_ours_is_not(save: Any, values: dict[str, Any], message: str, tmp_path: Path) -> None:
    save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **values}))
    with pytest.raises(ModelError, match=message):
        load_text_model(tmp_path)
