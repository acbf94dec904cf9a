"""The Transformer in its three forms, an encoder, a decoder and both, against transformers through the real converter.

Source: Vaswani et al. 2017; Devlin et al. 2019 (BERT); Radford et al. 2019 (GPT-2); Raffel et al. 2020 (T5).
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.attention import BucketBias, Tap
from multiattn.errors import ModelError
from multiattn.generation import GenerationConfig, generate
from multiattn.models import MaskedLanguageModel, TextDecoder, TextEncoder, TextToText
from multiattn.weights import load_text_model, save_text_model
from tests.parity.text_models import (
    bert_difference,
    generated,
    gpt2_difference,
    save_bert,
    save_gpt2,
    save_t5,
    t5_difference,
    texts,
    transformers,
    without_end,
)
from tests.parity.vocabularies import UNIGRAMS, WORDPIECES

T5Attention = transformers.models.t5.modeling_t5.T5Attention

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


# the first T5, T5 1.1, and what their options allow besides
T5S: dict[str, dict[str, Any]] = {
    "tied, scaled": {},
    "gated, untied": {"feed_forward_proj": "gated-gelu", "untied": True, "tie_word_embeddings": False},
    "other options": {
        **{"feed_forward_proj": "gated-silu", "tie_word_embeddings": False, "d_kv": 13, "layer_norm_epsilon": 1e-3},
        **{"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "num_decoder_layers": None},
    },
}


@pytest.mark.parametrize("options", T5S.values(), ids=T5S)
def test_an_encoder_decoder_is_t5_and_goes_back(options: dict[str, Any], tmp_path: Path) -> None:
    theirs = save_t5(tmp_path / "theirs", **options)
    ours, tokenizer = load_text_model(tmp_path / "theirs")
    assert isinstance(ours, TextToText) and not ours.training
    assert ours.decoder.embedding is ours.encoder.embedding
    assert t5_difference(ours, theirs) <= 1e-5

    save_text_model(ours, tokenizer, tmp_path / "ours")
    again, report = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert again.config.scale_decoder_outputs == theirs.config.scale_decoder_outputs
    assert t5_difference(ours, again.eval()) <= 1e-5
    assert t5_difference(load_text_model(tmp_path / "ours")[0], theirs) <= 1e-5
    ids = [*tokenizer.encode("the red fox"), ours.config.encoder.end_token]
    for directory in ("theirs", "ours"):
        written = transformers.AutoTokenizer.from_pretrained(tmp_path / directory)
        assert written("the red fox")["input_ids"] == ids
        assert written.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids) == "the red fox"


def test_a_published_t5_has_its_table_three_times_and_an_idle_bias(tmp_path: Path) -> None:
    theirs = save_t5(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state |= {f"{part}.embed_tokens.weight": state["shared.weight"].clone() for part in ("encoder", "decoder")}
    state["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.randn(8, 3)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert t5_difference(load_text_model(tmp_path)[0], theirs) <= 1e-5
    state["encoder.embed_tokens.weight"] += 1
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"the tensor encoder\.embed_tokens\.weight must be equal to shared\.weight"):
        load_text_model(tmp_path)


@pytest.mark.parametrize(("name", "seed"), [("tied, scaled", 52), ("gated, untied", 29)])
@pytest.mark.parametrize("num_beams", [1, 3])
@torch.inference_mode()
def test_an_encoder_decoder_writes_what_t5_writes(num_beams: int, name: str, seed: int, tmp_path: Path) -> None:
    """Texts of 14 tokens with padding, and 30 new tokens: beyond the distance from which on buckets are shared."""
    theirs = save_t5(tmp_path, seed=seed, **T5S[name])
    ours, _ = load_text_model(tmp_path)
    assert isinstance(ours, TextToText)
    tokens, mask = texts(5, 14, len(UNIGRAMS))
    made = theirs.generate(tokens, attention_mask=mask.long(), max_new_tokens=30, num_beams=num_beams, do_sample=False)
    wanted = [without_end(row[1:], end=1) for row in made.tolist()]
    assert len({tuple(text) for text in wanted}) == 5, "texts that are all the same show little"
    assert min(map(len, wanted)) < max(map(len, wanted)) == 30, "some must end before they are cut"
    options = GenerationConfig(max_tokens=30, num_beams=num_beams)
    found = generate(ours.decoder, ours.read(tokens, attention_mask=mask), [[0]] * 5, options)
    assert [list(best.tokens) for best, *_ in found] == wanted


@torch.inference_mode()
def test_a_tap_sees_the_weights_of_each_form(tmp_path: Path) -> None:
    """Against what transformers returns on its slow path."""
    saves = {"bert": save_bert, "gpt2": save_gpt2, "t5": save_t5}
    for name, save in saves.items():
        theirs = save(tmp_path / name)
        theirs.set_attn_implementation("eager")
        ours, _ = load_text_model(tmp_path / name)
        tokens, mask = texts(3, 23, 30)
        if isinstance(ours, TextToText):
            written = tokens[:, :17]
            tap = Tap(ours.attention_sites(tokens=23, written=17))
            ours(tokens, written, attention_mask=mask, tap=tap)
            found = theirs(
                input_ids=tokens, attention_mask=mask.long(), decoder_input_ids=written, output_attentions=True
            )
            sites = {"encoder.{}.self": found.encoder_attentions, "decoder.{}.self": found.decoder_attentions}
            sites["decoder.{}.cross"] = found.cross_attentions
        else:
            tap = Tap(ours.attention_sites(tokens=23, context_tokens=0))
            ours(tokens, attention_mask=mask, tap=tap)
            sites = {"{}.self": theirs(tokens, attention_mask=mask.long(), output_attentions=True).attentions}
        wanted = {
            pattern.format(f"blocks.{layer}"): weights
            for pattern, layers in sites.items()
            for layer, weights in enumerate(layers)
        }
        assert tap.weights.keys() == wanted.keys()
        for site, weights in tap.weights.items():
            real = mask[:, :, None] if weights.shape[2] == 23 else torch.ones(3, 17, 1, dtype=torch.bool)
            difference = (weights - wanted[site]).masked_fill(~real[:, None], 0)
            assert difference.abs().max() <= 1e-5, (name, site)


def test_each_bucket_of_distances_is_t5s() -> None:
    for causal in (False, True):
        for num_buckets, max_distance in [(32, 128), (8, 20), (4, 3), (12, 100), (34, 1000), (9, 40)]:
            config = transformers.T5Config(
                relative_attention_num_buckets=num_buckets,
                relative_attention_max_distance=max_distance,
                num_heads=1,
                is_decoder=causal,
            )
            theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
            theirs.relative_attention_bias.weight.data.copy_(torch.arange(num_buckets)[:, None])
            ours = BucketBias(1, num_buckets=num_buckets, max_distance=max_distance, causal=causal)
            ours.weight.data.copy_(theirs.relative_attention_bias.weight)
            assert torch.equal(ours(1100, 1100), theirs.compute_bias(1100, 1100))
            assert torch.equal(ours(3, 1100), theirs.compute_bias(3, 1100, past_seen_tokens=1097))


@pytest.mark.parametrize(
    ("save", "values", "message"),
    [
        (save_bert, {"model_type": "bart"}, "`model_type` must be one of bert, gpt2, .*t5, but is 'bart' instead"),
        (save_bert, {"position_embedding_type": "relative_key"}, "`position_embedding_type` must be absolute"),
        (save_bert, {"vocab_size": 97}, "but its weights are made for 97"),
        (save_gpt2, {"add_cross_attention": True}, "`add_cross_attention` must be False, but is True instead"),
        (save_gpt2, {"scale_attn_by_inverse_layer_idx": True}, "`scale_attn_by_inverse_layer_idx` must be False"),
        (save_gpt2, {"n_head": None}, r"config\.json: `n_head` must be stated, but is missing"),
        (save_gpt2, {"n_layer": 2}, r"  \+ transformer\.h\.2\.attn\.c_attn\.bias \[78\]"),
        (
            save_t5,
            {"feed_forward_proj": "gated-tanh"},
            "`feed_forward_proj` must be one of relu, .*, but is gated-tanh",
        ),
        (save_t5, {"num_heads": None}, r"config\.json: `num_heads` must be stated, but is missing"),
        (
            save_t5,
            {"relative_attention_num_buckets": 16},
            r"  - encoder\.block\.0.*relative_attention_bias.* \[16, 3\]",
        ),
        (save_t5, {"relative_attention_max_distance": 4}, r"`max_distance` must be above half of `num_buckets` \(8\)"),
        (save_t5, {"d_model": 10**9}, "`dim` must be at most"),
    ],
)
def test_a_model_that_ours_is_not(save: Any, values: dict[str, Any], message: str, tmp_path: Path) -> None:
    save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **values}))
    with pytest.raises(ModelError, match=message):
        load_text_model(tmp_path)
