"""Captioners in every layout, apart from the numbers, which tests/parity compares."""

import contextlib
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing, Tokenizer
from multiattn.models import Captioner, CaptionerConfig, ViT
from multiattn.models.captioner import PRESETS
from multiattn.pipelines.options import caption_search
from multiattn.weights import ModelBundle, convert, load_bundle, save_bundle
from tests.fixtures import SENTENCES, save_tiny_captioner, save_tiny_model, tiny_bundle, tiny_caption_bundle
from tests.parity.vocabularies import WORDPIECES, save_byte_pieces, save_wordpieces

FOR_CAPTIONERS = ("multiattn", "hf-blip", "blip", "vit-gpt2", "trocr")
TROCR = {"pre_norm": False, "final_norm": False, "embed_norm": True, "scale_embedding": True, "activation": "relu"}
# two heads of 64, which is the width that all heads of the original BLIP have
_SIZES: dict[str, Any] = {"depth": 2, "num_heads": 2, "mlp_dim": 37}


def small(preset: str, *, vocab_size: int = 83, **decoder: Any) -> CaptionerConfig:
    config = PRESETS[preset]
    tokens = {"start_token": 1, "end_token": 2, "pad_token": 0}
    sizes = {**_SIZES, **tokens, "dim": 128, "context_dim": 128, "max_length": 41, "vocab_size": vocab_size}
    encoder = replace(config.encoder, image_size=(35, 35), patch_size=5, dim=128, **_SIZES)
    return CaptionerConfig(encoder, replace(config.decoder, **{**sizes, **decoder}))


@cache
def vocabulary(size: int) -> Tokenizer:
    return Tokenizer.train(SENTENCES, kind="bpe", vocab_size=size)


def bundle_of(config: CaptionerConfig, **changes: Any) -> ModelBundle:
    preprocessing = ImagePreprocessing(
        size=(35, 35), resize_to=(35, 35), interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    )
    fields = {"model": Captioner(config).eval(), "tokenizer": vocabulary(config.decoder.vocab_size)}
    return ModelBundle("caption", preprocessing=preprocessing, **{**fields, **changes})


def with_layout(layout: str, **changes: Any) -> ModelBundle:
    if layout == "trocr":
        return bundle_of(small("vit_gpt2", **TROCR), **changes)
    return bundle_of(small("vit_gpt2" if layout == "vit-gpt2" else "blip_base"), **changes)


def change_config(directory: Path, change: Callable[[dict[str, Any]], Any], name: str = "config.json") -> None:
    path = directory / name
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


DECODING = {"num_beams": 3, "max_tokens": 11, "length_penalty": 0.5, "early_stopping": True, "prompt": "a red "}


@pytest.mark.parametrize("layout", FOR_CAPTIONERS)
def test_round_trip(layout: str, tmp_path: Path) -> None:
    bundle = with_layout(layout, decoding=DECODING)
    save_bundle(bundle, tmp_path, layout=layout)
    loaded = load_bundle(tmp_path)
    assert (loaded.task, loaded.layout, loaded.source) == ("caption", layout, str(tmp_path))
    assert loaded.model.config == bundle.model.config
    assert loaded.preprocessing == bundle.preprocessing
    assert loaded.decoding == DECODING
    assert loaded.tokenizer.to_json() == bundle.tokenizer.to_json()
    assert not any(module.training for module in loaded.model.modules())
    assert loaded.labels == ()
    ours, theirs = bundle.model.state_dict(), loaded.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("layout", FOR_CAPTIONERS)
def test_half_precision_on_disk(layout: str, tmp_path: Path) -> None:
    bundle = with_layout(layout)
    save_bundle(bundle, tmp_path, layout=layout, dtype=torch.float16)
    weight = load_bundle(tmp_path).model.decoder.embedding.weight
    assert torch.equal(weight, bundle.model.decoder.embedding.weight.half().float())


def test_what_only_we_can_say_stays_in_our_own_layout(tmp_path: Path) -> None:
    decoding = {"suppress": (3, 5), "forced": ((0, 7), (2, 11)), "sample": True, "top_p": 0.9}
    save_bundle(replace(tiny_caption_bundle(), decoding=decoding, card={"cider": 0.5}), tmp_path)
    loaded = load_bundle(tmp_path)
    assert (loaded.decoding, loaded.card) == (decoding, {"cider": 0.5})
    for layout in ("hf-blip", "vit-gpt2", "trocr"):
        with pytest.raises(
            ModelError, match=f"the {layout} layout has no place for `forced` of the bundle's `decoding`"
        ):
            save_bundle(with_layout(layout, decoding=decoding), tmp_path / "out", layout=layout)
    save_bundle(with_layout("blip", decoding=decoding), tmp_path / "blip", layout="blip")
    assert load_bundle(tmp_path / "blip").decoding == decoding


@pytest.mark.parametrize("layout", ["hf-blip", "blip", "vit-gpt2", "trocr"])
def test_an_output_matrix_of_its_own_is_kept(layout: str, tmp_path: Path) -> None:
    config = with_layout(layout).model.config
    bundle = bundle_of(replace(config, decoder=replace(config.decoder, tied=False)))
    save_bundle(bundle, tmp_path, layout=layout)
    found = load_bundle(tmp_path).model.state_dict()
    assert found.keys() == bundle.model.state_dict().keys() and "decoder.head.weight" in found
    assert all(torch.equal(tensor, bundle.model.state_dict()[key]) for key, tensor in found.items())


HEADS = {"hf-blip": "text_decoder.cls.predictions.decoder.weight", "vit-gpt2": "decoder.lm_head.weight"}
TABLES = {
    "hf-blip": "text_decoder.bert.embeddings.word_embeddings.weight",
    "vit-gpt2": "decoder.transformer.wte.weight",
}


@pytest.mark.parametrize("layout", HEADS)
def test_an_output_matrix_is_compared_before_it_is_dropped(layout: str, tmp_path: Path) -> None:
    bundle, file = with_layout(layout), tmp_path / "model.safetensors"
    save_bundle(bundle, tmp_path, layout=layout)
    state = load_file(file)
    save_file({**state, HEADS[layout]: state[TABLES[layout]].clone()}, file)
    assert load_bundle(tmp_path).config.decoder.tied
    save_file({**state, HEADS[layout]: state[TABLES[layout]] + 1}, file)
    loaded = load_bundle(tmp_path)
    assert not loaded.config.decoder.tied
    assert torch.equal(loaded.model.decoder.head.weight, loaded.model.decoder.embedding.weight + 1)
    state[HEADS[layout]] = state.pop(TABLES[layout])  # transformers may save it under this name alone
    save_file(state, file)
    assert torch.equal(load_bundle(tmp_path).model.decoder.embedding.weight, bundle.model.decoder.embedding.weight)


@pytest.mark.parametrize(
    ("layout", "key", "value"),
    [
        ("hf-blip", "text_decoder.bert.embeddings.position_ids", torch.arange(41)[None].flip(1)),
        ("vit-gpt2", "decoder.transformer.h.0.attn.bias", torch.ones(1, 1, 41, 41).triu()),
        ("vit-gpt2", "decoder.transformer.h.0.attn.masked_bias", torch.tensor(0.0)),
    ],
)
def test_a_tensor_that_is_said_to_be_the_same_always_is(
    layout: str, key: str, value: torch.Tensor, tmp_path: Path
) -> None:
    save_bundle(with_layout(layout), tmp_path, layout=layout)
    save_file({**load_file(tmp_path / "model.safetensors"), key: value.contiguous()}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=rf"the tensor {key} must be as in every model .*, but has other values"):
        load_bundle(tmp_path)


def test_the_bias_of_the_output_matrix_itself_counts(tmp_path: Path) -> None:
    save_bundle(with_layout("hf-blip"), tmp_path, layout="hf-blip")
    state = load_file(tmp_path / "model.safetensors")
    bias = state["text_decoder.cls.predictions.bias"] + 1
    save_file({**state, "text_decoder.cls.predictions.decoder.bias": bias}, tmp_path / "model.safetensors")
    assert torch.equal(load_bundle(tmp_path).model.decoder.head_bias, bias)


def test_between_the_layouts_of_blip(tmp_path: Path) -> None:
    images = torch.randn(2, 3, 35, 35, generator=torch.Generator().manual_seed(3))
    tokens = torch.arange(10).view(2, 5)
    bundle = with_layout("blip", decoding={"prompt": "a picture of "})
    save_bundle(bundle, tmp_path / "blip", layout="blip")
    convert(tmp_path / "blip", tmp_path / "hf", to="hf-blip")
    convert(tmp_path / "hf", tmp_path / "back", to="blip")
    back = load_bundle(tmp_path / "back")
    assert back.preprocessing == bundle.preprocessing and back.decoding == bundle.decoding
    with torch.inference_mode():
        assert torch.equal(back.model(images, tokens), bundle.model(images, tokens))


def test_the_model_is_of_the_kind_that_is_asked_for(tmp_path: Path) -> None:
    captioner, classifier = tiny_caption_bundle(), tiny_bundle()
    assert captioner.require(Captioner) is captioner.model and classifier.require(ViT) is classifier.model
    save_tiny_captioner(tmp_path / "c")
    with pytest.raises(
        ModelError, match=f"^{tmp_path}/c must be a model for classify, but is one for caption instead: "
    ):
        load_bundle(tmp_path / "c").require(ViT)
    with pytest.raises(ModelError, match="^the model must be a model for caption, but is one for classify instead: "):
        replace(classifier, source="").require(Captioner)


def test_what_does_not_belong_together_is_not_saved(tmp_path: Path) -> None:
    bundle = tiny_caption_bundle()
    with pytest.raises(
        ModelError, match="`tokenizer` must be given for a model that reads or writes text, but is None"
    ):
        save_bundle(replace(bundle, tokenizer=None), tmp_path / "out")
    small = Tokenizer.train(SENTENCES, kind="characters", vocab_size=31)
    with pytest.raises(
        ModelError,
        match="the bundle has a vocabulary of 31 entries, but its weights are made for 83: put the model's own",
    ):
        save_bundle(replace(bundle, tokenizer=small), tmp_path / "out")
    with pytest.raises(ModelError, match=r"`layout` must be one for classify \(multiattn, timm, .*\), but hf-blip"):
        save_bundle(tiny_bundle(), tmp_path / "out", layout="hf-blip")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", FOR_CAPTIONERS)
def test_a_vocabulary_that_does_not_fit_the_weights(layout: str, tmp_path: Path) -> None:
    save_bundle(with_layout(layout), tmp_path, layout=layout)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=f"{tmp_path}: there is no vocabulary"):
        load_bundle(tmp_path)
    Tokenizer.train(SENTENCES, kind="bpe", vocab_size=97).save(tmp_path)
    with pytest.raises(ModelError, match=f"{tmp_path} has a vocabulary of 97 entries, but its weights are made for 83"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(decoding=[]), r"`decoding` must be an object, but is \[\] instead"),
        (lambda c: c.update(preprocessing="x"), "`preprocessing` must be an object, but is 'x' instead"),
        (lambda c: c.update(labels=[]), "must have the keys architecture, card, decoding, .*, but has .*labels"),
        (lambda c: c["architecture"].pop("encoder"), "`architecture` must have `encoder`, but lacks it instead"),
        (lambda c: c["architecture"].update(encoder=3), "`encoder` must be an object, but is 3 instead"),
        (
            lambda c: c["architecture"]["decoder"].update(deepth=3),
            "`decoder` has no field deepth; the fields are vocab",
        ),
        (lambda c: c["architecture"]["decoder"].update(dim="26"), "`dim` must be int, but is '26' instead"),
        (lambda c: c["architecture"]["decoder"].update(end_token=83), "`end_token` must be from 0 to 82, but is 83"),
        (lambda c: c["architecture"].update(bridge="yes"), "`bridge` must be bool, but is 'yes' instead"),
        (lambda c: c["architecture"]["encoder"].update(num_classes=7), "`encoder.num_classes` must be 0, but is 7"),
        (
            lambda c: c["architecture"]["decoder"].update(context_dim=23),
            "`decoder.context_dim` must be the encoder's `dim`",
        ),
    ],
)
def test_a_config_that_is_not_ours(change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    save_tiny_captioner(tmp_path)
    change_config(tmp_path, change)
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)


def test_a_classifier_is_not_a_captioner(tmp_path: Path) -> None:
    save_tiny_model(tmp_path)
    assert "tokenizer.json" not in {path.name for path in tmp_path.iterdir()}
    assert load_bundle(tmp_path).tokenizer is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["text_config"].pop("num_attention_heads"), "text_config: `num_attention_heads` must be stated"),
        (
            lambda c: c["vision_config"].pop("num_attention_heads"),
            "vision_config: `num_attention_heads` must be stated",
        ),
        (
            lambda c: (c.update(tie_word_embeddings=False), c["text_config"].update(tie_word_embeddings=False)),
            r"  - text_decoder\.cls\.predictions\.decoder\.weight \[83",
        ),
        (
            lambda c: c.update(architectures=["BlipModel"]),
            "must be BlipForConditionalGeneration or BlipForQuestionAnswering, but is BlipModel instead",
        ),
        (lambda c: c.update(text_config="x"), r"config\.json: `text_config` must be an object, but is 'x' instead"),
        (
            lambda c: c.update(vision_config=[3]),
            r"config\.json: `vision_config` must be an object, but is \[3\] instead",
        ),
        (lambda c: c["text_config"].update(hidden_act="mish"), "`hidden_act` must be one of gelu, .*, but is mish"),
        (lambda c: c["text_config"].update(num_attention_heads=3), "`dim` must be a multiple of `num_heads`"),
        (
            lambda c: c["text_config"].update(vocab_size=97),
            r"- text_decoder\.bert\.embeddings\.word_embedd.* \[97",
        ),
        (lambda c: c["text_config"].update(max_position_embeddings=43), r"- text_decoder\.bert\.embeddings\.position"),
    ],
)
def test_a_blip_that_ours_is_not(change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    save_bundle(with_layout("hf-blip"), tmp_path, layout="hf-blip")
    change_config(tmp_path, change)
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["decoder"].pop("n_head"), "decoder: `n_head` must be stated, but is missing: add it"),
        (lambda c: c["encoder"].pop("num_attention_heads"), "encoder: `num_attention_heads` must be stated"),
        (lambda c: c["decoder"].update(model_type="bert"), "`model_type` of the decoder must be gpt2 or trocr, but is"),
        (lambda c: c.pop("encoder"), "`model_type` of the encoder must be one of vit, .*, but is None"),
        (lambda c: c.update(encoder="x"), r"config\.json: `encoder` must be an object, but is 'x' instead"),
        (lambda c: c.update(decoder=3), r"config\.json: `decoder` must be an object, but is 3 instead"),
        (lambda c: c["decoder"].update(add_cross_attention=False), "`add_cross_attention` of the decoder must be True"),
        (lambda c: c["decoder"].update(scale_attn_by_inverse_layer_idx=True), "`scale_attn_by_.*` of the decoder must"),
        (lambda c: c["decoder"].update(activation_function="mish"), "`activation_function` must be one of gelu"),
        (lambda c: c["decoder"].update(n_inner=41), r"- decoder\.transformer\.h\.0\.mlp\.c_fc\.bias \[41\]"),
    ],
)
def test_a_vit_gpt2_that_ours_is_not(change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    save_bundle(with_layout("vit-gpt2"), tmp_path, layout="vit-gpt2")
    change_config(tmp_path, change)
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["decoder"].pop("decoder_attention_heads"), "`decoder_attention_heads` must be stated, but is"),
        (lambda c: c["decoder"].update(cross_attention_hidden_size=64), r"- enc_to_dec_proj\.bias \[64\]"),
        (lambda c: c["decoder"].update(layernorm_embedding=False), r"\+ decoder\.model\.decoder\.layernorm_embedding"),
        (
            lambda c: c["encoder"].update(model_type="swin"),
            "encoder: a model of the type swin is not supported",
        ),
        (
            lambda c: c["decoder"].update(use_learned_position_embeddings=False, d_model="x"),
            "`dim` must be int, but is 'x' instead",
        ),
    ],
)
def test_a_trocr_that_ours_is_not(change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    save_bundle(with_layout("trocr"), tmp_path, layout="trocr")
    change_config(tmp_path, change)
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["decoding", "preprocessing"])
def test_a_part_of_our_file_beside_an_original_that_is_none(name: str, tmp_path: Path) -> None:
    save_bundle(with_layout("blip"), tmp_path, layout="blip")
    change_config(tmp_path, lambda config: config.update({name: "x"}))
    with pytest.raises(ModelError, match=rf"config\.json: `{name}` must be an object, but is 'x' instead"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    "layout", ["multiattn", *(pytest.param(one, marks=pytest.mark.slow) for one in FOR_CAPTIONERS[1:])]
)
def test_whatever_stands_in_the_place_of_a_value_is_no_crash(layout: str, tmp_path: Path) -> None:
    save_bundle(with_layout(layout, decoding=DECODING), tmp_path, layout=layout)
    for path in sorted(tmp_path.glob("*config.json")):
        written = json.loads(path.read_text())
        for name, other in itertools.product(written, ("x", None)):
            path.write_text(json.dumps({**written, name: other}))
            with contextlib.suppress(ModelError):
                load_bundle(tmp_path)
        path.write_text(json.dumps(written))


@pytest.mark.parametrize("layout", ["hf-blip", "vit-gpt2"])
def test_a_diff_is_in_the_keys_of_the_file(layout: str, tmp_path: Path) -> None:
    save_bundle(with_layout(layout), tmp_path, layout=layout)
    state = load_file(tmp_path / "model.safetensors")
    key = max(key for key in state if "crossattention" in key and key.endswith("weight"))
    shape = list(state.pop(key).shape)
    save_file({**state, "added": torch.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError) as caught:
        load_bundle(tmp_path)
    assert str(caught.value).splitlines()[1:] == ["  + added [3]", f"  - {key} {shape}"]


@pytest.mark.parametrize(
    ("layout", "part", "changes", "message"),
    [
        (
            "hf-blip",
            "decoder",
            {"pre_norm": True},
            "`pre_norm` of the text decoder to be False, but it is True instead",
        ),
        ("hf-blip", "encoder", {"qkv_bias": False}, "`qkv_bias` of the vision encoder to be True, but"),
        ("hf-blip", "encoder", {"image_size": (35, 45)}, "a square `image_size`, but it is 35 x 45 instead: choose"),
        (
            "blip",
            "encoder",
            {"norm_eps": 1e-5},
            "`norm_eps` of the vision encoder to be 1e-06, but it is 1e-05 instead, which it has no way to say: "
            "choose the layout hf-blip or multiattn",
        ),
        (
            "blip",
            "encoder",
            {"num_heads": 4},
            "`num_heads` of the vision encoder to be 2, but it is 4 .*: choose .* hf-blip or",
        ),
        ("blip", "decoder", {"activation": "gelu_tanh"}, "`activation` of the text decoder to be 'gelu', .* hf-blip"),
        ("trocr", "decoder", {"pre_norm": True}, "`pre_norm` of the text decoder to be False, .*layout multiattn$"),
        ("trocr", "decoder", {"norm_eps": 1e-6}, "`norm_eps` of the text decoder to be 1e-05, but it is 1e-06"),
        ("vit-gpt2", "decoder", {"scale_embedding": True}, "`scale_embedding` of the text decoder to be False, but"),
        ("hf-blip", "decoder", {"scale_embedding": True}, "`scale_embedding` of the text decoder to be False, but"),
        *(
            (layout, "decoder", {"norm": "rms"}, "`norm` of the text decoder to be 'layer', but it is 'rms' instead")
            for layout in ("hf-blip", "blip", "vit-gpt2", "trocr")
        ),
        ("vit-gpt2", "decoder", {"scale_states": True}, "`scale_states` of the text decoder to be False, but it is"),
        ("hf-blip", "decoder", {"linear_bias": False}, "`linear_bias` of the text decoder to be True, but it is"),
        ("vit-gpt2", "decoder", {"head": "transform"}, "`head` of the text decoder to be 'plain', .*layout multiattn$"),
        ("vit-gpt2", "encoder", {"num_registers": 3}, "`num_registers` of the vision encoder to be 0, but it is 3"),
    ],
)
def test_what_theirs_is_not_is_not_saved(
    layout: str, part: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = with_layout(layout).model.config
    config = replace(config, **{part: replace(getattr(config, part), **changes)})
    with pytest.raises(ModelError, match=f"the {layout} layout needs {message}"):
        save_bundle(bundle_of(config), tmp_path / "out", layout=layout)
    assert not (tmp_path / "out").exists()


def test_how_transformers_says_a_decode(tmp_path: Path) -> None:
    save_bundle(with_layout("hf-blip"), tmp_path, layout="hf-blip")
    assert load_bundle(tmp_path).decoding == {}, "no prompt is not the published one"
    stated = {"num_beams": 4, "max_new_tokens": 13, "no_repeat_ngram_size": 2, "top_k": 50, "temperature": 0.7}
    (tmp_path / "generation_config.json").write_text(json.dumps({**stated, "do_sample": False, "length_penalty": None}))
    change_config(tmp_path, lambda config: config.pop("prompt"))
    beam = {"prompt": "a picture of ", "num_beams": 4, "max_tokens": 13, "no_repeat_ngram": 2}
    assert load_bundle(tmp_path).decoding == beam
    (tmp_path / "generation_config.json").write_text(json.dumps({**stated, "do_sample": True}))
    assert load_bundle(tmp_path).decoding == {**beam, "sample": True, "top_k": 50, "temperature": 0.7}


@pytest.mark.parametrize("layout", ["hf-blip", "vit-gpt2", "trocr"])
def test_a_decode_that_only_the_configuration_states(layout: str, tmp_path: Path) -> None:
    save_bundle(with_layout(layout), tmp_path, layout=layout)
    (tmp_path / "generation_config.json").unlink()
    part = "text_config" if layout == "hf-blip" else "decoder"

    def state(config: dict[str, Any]) -> None:
        config.update(num_beams=4, length_penalty=1.0, no_repeat_ngram_size=None, suppress_tokens=[3])
        config[part].update(num_beams=2, length_penalty=2.0, no_repeat_ngram_size=3, early_stopping=False)

    change_config(tmp_path, state)
    wanted = {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram": 3, "suppress": (3,), "early_stopping": False}
    found = load_bundle(tmp_path).decoding
    assert {name: value for name, value in found.items() if name != "prompt"} == wanted


def test_samples_are_drawn_among_as_many_tokens_as_transformers_draws_them(tmp_path: Path) -> None:
    save_bundle(with_layout("hf-blip", decoding={"sample": True}), tmp_path, layout="hf-blip")
    file = tmp_path / "generation_config.json"
    assert json.loads(file.read_text())["top_k"] == 0
    assert load_bundle(tmp_path).decoding == {"sample": True}  # among all
    for stated, found in (({}, 50), ({"top_k": None}, 50), ({"top_k": 7}, 7)):
        file.write_text(json.dumps({"do_sample": True, **stated}))
        assert load_bundle(tmp_path).decoding == {"sample": True, "top_k": found}


@pytest.mark.parametrize("layout", FOR_CAPTIONERS)
def test_a_search_that_is_stated_counts_at_its_default_too(layout: str, tmp_path: Path) -> None:
    save_bundle(with_layout(layout, decoding={"num_beams": 1}), tmp_path, layout=layout)
    stated = load_bundle(tmp_path).decoding
    assert stated == {"num_beams": 1}
    assert caption_search({}, stated, source="m").num_beams == 1
    assert caption_search({}, {}, source="m").num_beams > 1, "else the test shows nothing"


@pytest.mark.parametrize("layout", ["hf-blip", "vit-gpt2"])
def test_one_beam_as_transformers_says_it(layout: str, tmp_path: Path) -> None:
    save_bundle(with_layout(layout), tmp_path / "theirs", layout=layout)
    (tmp_path / "theirs" / "generation_config.json").write_text(json.dumps({"num_beams": 1, "do_sample": False}))
    convert(tmp_path / "theirs", tmp_path / "ours", to="multiattn")
    convert(tmp_path / "ours", tmp_path / "back", to=layout)
    assert [load_bundle(tmp_path / name).decoding for name in ("theirs", "ours", "back")] == [{"num_beams": 1}] * 3
    assert json.loads((tmp_path / "back" / "generation_config.json").read_text())["num_beams"] == 1


def test_vocabulary_files_of_the_published_kinds(tmp_path: Path) -> None:
    for layout, save in (("hf-blip", save_wordpieces), ("vit-gpt2", save_byte_pieces)):
        directory = tmp_path / layout
        directory.mkdir()
        save(directory)
        tokenizer = Tokenizer.load(directory)
        preset = "vit_gpt2" if layout == "vit-gpt2" else "blip_base"
        bundle = bundle_of(small(preset, vocab_size=tokenizer.vocab_size + 2), tokenizer=tokenizer)
        save_bundle(bundle, directory, layout=layout)
        (directory / "tokenizer.json").unlink()
        assert load_bundle(directory).tokenizer.decode([7, 9, 11]) == tokenizer.decode([7, 9, 11])


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A file as the original BLIP has it: no sizes beside it, more in it than captions need."""
    config = small("blip_base", vocab_size=len(WORDPIECES) + 2, mlp_dim=37)
    save_wordpieces(tmp_path)
    bundle = bundle_of(config, tokenizer=Tokenizer.load(tmp_path))
    save_bundle(bundle, tmp_path / "written", layout="blip")
    state = torch.load(tmp_path / "written" / "model.pth", weights_only=True)["model"]
    state |= {
        "text_encoder.encoder.layer.0.output.dense.weight": torch.ones(3),
        "text_encoder_m.encoder.layer.0.output.dense.weight": torch.ones(3),
        "visual_encoder_m.cls_token": torch.ones(3),
        "vision_proj.weight": torch.ones(3),
        "text_proj.bias": torch.ones(3),
        "itm_head.weight": torch.ones(3),
        "image_queue": torch.ones(3),
        "queue_ptr": torch.zeros(1, dtype=torch.int64),
        "temp": torch.tensor(0.07),
    }
    torch.save({"model": state, "epoch": 4}, tmp_path / "base.pth")
    return tmp_path / "base.pth"


def change_original(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    state = torch.load(path, weights_only=True)["model"]
    change(state)
    torch.save({"model": state}, path)


def test_an_original_file(original: Path) -> None:
    bundle = load_bundle(original)
    config = bundle.model.config
    assert (bundle.layout, bundle.source, bundle.decoding) == ("blip", str(original), {"prompt": "a picture of "})
    tokens = (config.decoder.start_token, config.decoder.end_token, config.decoder.pad_token)
    assert tokens == (len(WORDPIECES), 3, 0)
    assert (config.encoder.num_heads, config.decoder.num_heads) == (2, 2), "heads of 64"
    assert (config.encoder.image_size, config.encoder.norm_eps, config.decoder.norm_eps) == ((35, 35), 1e-6, 1e-12)
    assert bundle.preprocessing.size == (35, 35) and bundle.preprocessing.interpolation == "bicubic"
    written = load_bundle(original.parent / "written").model.state_dict()
    assert all(torch.equal(tensor, written[key]) for key, tensor in bundle.model.state_dict().items())


def test_an_original_file_is_not_written_over(original: Path) -> None:
    file = original.rename(original.parent / "model.pth")
    before = file.read_bytes()
    with pytest.raises(ModelError, match=f"must not be the source, but is that of {file}: give another"):
        convert(file, file.parent, to="blip")
    assert file.read_bytes() == before


def test_an_original_file_without_a_key_for_its_tensors(original: Path) -> None:
    torch.save(torch.load(original, weights_only=True)["model"], original)
    assert load_bundle(original).model.config.decoder.max_length == 41


def test_sizes_beside_an_original_file(original: Path) -> None:
    (original.parent / "med_config.json").write_text(json.dumps({"num_attention_heads": 4, "layer_norm_eps": 1e-7}))
    decoder = load_bundle(original).model.config.decoder
    assert (decoder.num_heads, decoder.norm_eps) == (4, 1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("visual_encoder.pos_embed"),
            r"must hold a BLIP that captions or answers, but lacks visual_encoder\.pos_embed instead: give",
        ),
        (
            lambda state: state.update({"visual_encoder.patch_embed.proj.weight": torch.ones(34, 3, 5, 5)}),
            "the number of heads cannot be told, for a width of 34 is no multiple of 64: put a med_config.json with",
        ),
        (
            lambda state: state.pop("text_decoder.bert.encoder.layer.1.intermediate.dense.bias"),
            r"  - text_decoder\.bert\.encoder\.layer\.1\.intermediate\.dense\.bias \[37\]$",
        ),
        (lambda state: state.update(odd=torch.ones(3)), r"  \+ odd \[3\]$"),
        (
            lambda state: state.update(odd="text"),
            "must hold tensors by name, alone or under `model`, but holds something",
        ),
    ],
)
def test_an_original_file_that_does_not_fit(change: Callable[[Any], Any], message: str, original: Path) -> None:
    change_original(original, change)
    with pytest.raises(ModelError, match=message):
        load_bundle(original)


def test_an_original_file_without_a_vocabulary(original: Path) -> None:
    (original.parent / "vocab.txt").unlink()
    with pytest.raises(ModelError, match="there is no vocabulary.* The original BLIP uses that of bert-base-uncased"):
        load_bundle(original)
    (original.parent / "vocab.txt").write_text("\n".join(word for word in WORDPIECES if word != "[SEP]"))
    with pytest.raises(ModelError, match=r"the vocabulary must have \[SEP\], but lacks it"):
        load_bundle(original)


class _Runs:
    """Would write a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_no_code_of_an_original_file_is_run(original: Path) -> None:
    torch.save({"model": {}, "config": _Runs(original.parent / "ran")}, original)
    with pytest.raises(
        ModelError, match="holds more than tensors, which is never unpickled because that can run any code"
    ):
        load_bundle(original)
    assert not (original.parent / "ran").exists()


@pytest.mark.parametrize(
    ("keep", "reason"),
    [
        (0, "it is empty"),
        (5, "PytorchStreamReader failed reading zip archive: not a ZIP archive"),
        (1000, "PytorchStreamReader failed reading zip archive: failed finding central directory"),
        (40_000, "[Errno 22] Invalid argument"),  # it seeks before the start
    ],
)
def test_an_original_file_that_was_cut_short(keep: int, reason: str, original: Path) -> None:
    original.write_bytes(original.read_bytes()[:keep])
    with pytest.raises(ModelError) as caught:
        load_bundle(original)
    said = str(caught.value)
    opening = f"{original} must be a file that torch saved, but is damaged or unusual instead ({reason}"
    assert said.startswith(opening) and said.endswith("). Download or save it again.") and "\n" not in said
