"""Recognizers in every layout, apart from the numbers, which tests/parity compares."""

import contextlib
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.inputs import AudioPreprocessing, Tokenizer
from multiattn.models import Captioner, SpeechRecognizer
from multiattn.models.speech import PRESETS
from multiattn.weights import VOCABULARY, ModelBundle, load_bundle, save_bundle
from multiattn.weights.whisper_common import published_heads
from tests.fixtures import (
    SPOKEN,
    save_tiny_captioner,
    save_tiny_model,
    save_tiny_whisper,
    tiny_caption_bundle,
    tiny_speech_bundle,
    tiny_whisper_bundle,
)

FOR_RECOGNIZERS = ("multiattn", "hf-whisper", "whisper", "ct2-whisper")


def change_config(directory: Path, change: Callable[[dict[str, Any]], Any], name: str = "config.json") -> None:
    path = directory / name
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def changed(**changes: Any) -> ModelBundle:
    """The tiny Whisper with other fields of its parts: `encoder`, `decoder`, or of the whole."""
    bundle = tiny_whisper_bundle()
    config = bundle.model.config
    parts = {name: replace(getattr(config, name), **changes.pop(name, {})) for name in ("encoder", "decoder")}
    return replace(bundle, model=SpeechRecognizer(replace(config, **parts, **changes)).eval())


@pytest.mark.parametrize("layout", FOR_RECOGNIZERS)
@pytest.mark.parametrize("english", [False, True])
def test_round_trip(layout: str, english: bool, tmp_path: Path) -> None:
    bundle = tiny_whisper_bundle(english=english)
    save_bundle(bundle, tmp_path, layout=layout)
    loaded = load_bundle(tmp_path)
    assert (loaded.task, loaded.layout, loaded.source) == ("transcribe", layout, str(tmp_path))
    assert loaded.model.config == bundle.model.config
    assert loaded.sound == bundle.sound
    assert loaded.decoding == bundle.decoding
    assert loaded.tokenizer.to_json() == bundle.tokenizer.to_json()
    assert not any(module.training for module in loaded.model.modules())
    again = tmp_path / "again"
    save_bundle(loaded, again, layout=layout)
    first, second = load_bundle(tmp_path).model.state_dict(), load_bundle(again).model.state_dict()
    assert first.keys() == bundle.model.state_dict().keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_one_of_our_own_kind(tmp_path: Path) -> None:
    bundle = tiny_speech_bundle()
    save_bundle(replace(bundle, card={"wer": 0.5}), tmp_path)
    loaded = load_bundle(tmp_path)
    assert (loaded.model.config, loaded.sound, loaded.decoding) == (
        bundle.model.config,
        bundle.sound,
        bundle.decoding,
    )
    assert loaded.card == {"wer": 0.5}
    ours, theirs = bundle.model.state_dict(), loaded.model.state_dict()
    assert ours.keys() == theirs.keys() and "ctc_head.weight" in ours
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("layout", FOR_RECOGNIZERS)
def test_half_precision_on_disk(layout: str, tmp_path: Path) -> None:
    bundle = tiny_whisper_bundle()
    save_bundle(bundle, tmp_path, layout=layout, dtype=torch.float16)
    weight = load_bundle(tmp_path).model.decoder.embedding.weight
    assert torch.equal(weight, bundle.model.decoder.embedding.weight.half().float())


def test_a_vocabulary_of_ones_own_in_the_published_layouts(tmp_path: Path) -> None:
    """As fine-tuning with a new one leaves it: no timestamps, no languages, other tokens at the ends."""
    tokenizer = Tokenizer.train(SPOKEN, kind="bpe", vocab_size=83)
    tokens = {"vocab_size": tokenizer.vocab_size, "start_token": 1, "end_token": 2, "pad_token": 0}
    bundle = replace(changed(decoder=tokens), tokenizer=tokenizer, decoding={"alignment_heads": ((2, 1),)})
    for layout in ("hf-whisper", "whisper"):
        save_bundle(bundle, tmp_path / layout, layout=layout)
        loaded = load_bundle(tmp_path / layout)
        assert loaded.model.config == bundle.model.config
        assert loaded.decoding == bundle.decoding
        assert loaded.tokenizer.to_json() == tokenizer.to_json()
    with pytest.raises(ModelError, match="the ct2-whisper layout needs the tokens <.startoftranscript.> and"):
        save_bundle(bundle, tmp_path / "ct2-whisper", layout="ct2-whisper")
    named = json.loads((tmp_path / "hf-whisper" / "tokenizer_config.json").read_text())
    assert named["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_the_model_is_of_the_kind_it_says(tmp_path: Path) -> None:
    speech, caption = tiny_speech_bundle(), tiny_caption_bundle()
    with pytest.raises(ModelError, match="tiny must be a model for caption, but is one for transcribe instead: give"):
        speech.require(Captioner)
    with pytest.raises(ModelError, match="tiny must be a model for transcribe, but is one for caption instead: give"):
        caption.require(SpeechRecognizer)
    with pytest.raises(ModelError, match="tiny must be a model that reads pictures, but reads recordings: give"):
        _ = speech.pictures
    with pytest.raises(ModelError, match="tiny must be a model that reads recordings, but reads pictures: give"):
        _ = caption.sound
    with pytest.raises(
        ModelError, match=r"`layout` must be one for transcribe \(multiattn, hf-whisper, whisper, ct2-whisper\), but"
    ):
        save_bundle(speech, tmp_path, layout="timm")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer": None}, "`tokenizer` must be given for a model that reads or writes text, but is None"),
        (
            {"preprocessing": AudioPreprocessing(mels=17)},
            r"`preprocessing.mels` must be the .* \(13\), but is 17 instead",
        ),
        (
            {"decoding": {"alignment_heads": ((2, 0),)}},
            r"pairs of one of 2 blocks and one of its 2 heads.* have \(2, 0\)",
        ),
        ({"decoding": {"alignment_heads": ((0, -1),)}}, r"from 0, but have \(0, -1\) instead"),
        ({"decoding": {"alignment_heads": ((0, 1, 1),)}}, r"from 0, but have \(0, 1, 1\) instead"),
        ({"decoding": {"alignment_heads": 3}}, "from 0, but have 3 instead"),
    ],
)
def test_parts_that_do_not_fit(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        save_bundle(replace(tiny_speech_bundle(), **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_heads_on_disk_that_are_none(tmp_path: Path) -> None:
    save_bundle(tiny_speech_bundle(), tmp_path)
    change_config(tmp_path, lambda config: config["decoding"].update(alignment_heads=[[0, 1], [1, 2]]))
    with pytest.raises(
        ModelError, match=r"`alignment_heads` must be pairs of one of 2 blocks .* have \(1, 2\) instead"
    ):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("layout", "changes", "message"),
    [
        ("hf-whisper", {"ctc": True}, "`ctc` to be False, but it is True instead, .*layout multiattn$"),
        ("whisper", {"context": "real"}, "`context` to be 'all', but it is 'real'"),
        (
            "hf-whisper",
            {"encoder": {"positions": "learned"}},
            "`positions` of the sound encoder to be 'sinusoidal', but",
        ),
        ("whisper", {"encoder": {"window": 7}}, "`window` of the sound encoder to be None, but it is 7"),
        ("hf-whisper", {"encoder": {"strides": (2, 1)}}, r"`strides` of the sound encoder to be \(1, 2\), but"),
        (
            "hf-whisper",
            {"decoder": {"positions": "sinusoidal"}},
            "`positions` of the text decoder to be 'learned', but",
        ),
        ("hf-whisper", {"decoder": {"dim": 30}}, "`dim` of the text decoder to be 26, but it is 30"),
        (
            "hf-whisper",
            {"decoder": {"activation": "gelu_tanh"}},
            "`activation` to be the same .* 'gelu' and 'gelu_tanh'",
        ),
        (
            "whisper",
            {"decoder": {"mlp_dim": 37}},
            "`mlp_dim` of the text decoder to be 104, .*layout hf-whisper or multi",
        ),
        ("whisper", {"encoder": {"dropout": 0.1}}, "`dropout` of the sound encoder to be 0.0, but it is 0.1"),
    ],
)
def test_what_theirs_is_not_is_not_saved(layout: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"the {layout} layout needs {message}"):
        save_bundle(changed(**changes), tmp_path / "out", layout=layout)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("layout", "sound", "message"),
    [
        ("hf-whisper", {"pad_to": None}, "`pad_to` of the preprocessing to be 2.0, but it is None instead"),
        ("whisper", {"scale": "normalized"}, "`scale` of the preprocessing to be 'whisper', but it is 'normalized'"),
        ("whisper", {"window": 512}, "`window` of the preprocessing to be 400, but it is 512 .*layout hf-whisper or"),
        (
            "whisper",
            {"max_seconds": 3.0, "pad_to": 3.0},
            "`max_seconds` of the preprocessing to make 200 frames, two for",
        ),
    ],
)
def test_sound_that_theirs_do_not_hear(layout: str, sound: dict[str, Any], message: str, tmp_path: Path) -> None:
    bundle = tiny_whisper_bundle()
    with pytest.raises(ModelError, match=f"the {layout} layout needs {message}"):
        save_bundle(replace(bundle, preprocessing=replace(bundle.sound, **sound)), tmp_path / "out", layout=layout)


def test_a_window_of_half_seconds(tmp_path: Path) -> None:
    """Only the layout of transformers has whole ones."""
    bundle = changed(encoder={"max_frames": 125})
    bundle = replace(bundle, preprocessing=AudioPreprocessing(pad_to=2.5, max_seconds=2.5))
    save_bundle(bundle, tmp_path, layout="whisper")
    assert load_bundle(tmp_path).sound == bundle.sound
    with pytest.raises(
        ModelError, match="`max_seconds` of the preprocessing to be whole, but it is 2.5 instead: choose"
    ):
        save_bundle(bundle, tmp_path / "out", layout="hf-whisper")


def test_a_decode_that_theirs_has_no_word_for(tmp_path: Path) -> None:
    bundle = replace(tiny_whisper_bundle(), decoding={"forced": ((0, 7),)})
    with pytest.raises(ModelError, match="the hf-whisper layout has no place for `forced` of the bundle's `decoding`"):
        save_bundle(bundle, tmp_path / "out", layout="hf-whisper")
    save_bundle(bundle, tmp_path, layout="whisper")
    assert load_bundle(tmp_path).decoding == bundle.decoding


# what is missing


def drop_tensor(directory: Path, key: str) -> None:
    state = load_file(directory / "model.safetensors")
    del state[key]
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})


def drop_from_pickle(directory: Path, key: str) -> None:
    data = torch.load(directory / "model.pt", weights_only=True)
    del data["model_state_dict"][key]
    torch.save(data, directory / "model.pt")


@pytest.mark.parametrize(
    ("layout", "drop", "key"),
    [
        ("hf-whisper", drop_tensor, "model.decoder.embed_tokens.weight"),
        ("whisper", drop_from_pickle, "decoder.token_embedding.weight"),
        ("multiattn", drop_tensor, "decoder.embedding.weight"),
    ],
)
def test_without_the_table_of_the_vocabulary(layout: str, drop: Any, key: str, tmp_path: Path) -> None:
    bundle = tiny_whisper_bundle()
    save_bundle(bundle, tmp_path, layout=layout)
    drop(tmp_path, key)
    (tmp_path / "tokenizer.json").unlink()
    if layout != "multiattn":
        with pytest.raises(ModelError) as caught:
            load_bundle(tmp_path)
        where = tmp_path / "model.pt" if layout == "whisper" else tmp_path
        assert str(caught.value) == (
            f"{where} lacks the tensor {key}, the table of the vocabulary, without which the model cannot write: "
            "take a copy that has it, or fine-tune it with a new vocabulary: "
            f"`model.init_args.pretrained: {where}` and `vocabulary: new`"
        )
    loaded = load_bundle(tmp_path, without=VOCABULARY)
    assert (loaded.tokenizer, loaded.decoding) == (None, {"alignment_heads": ((1, 0), (2, 1))})
    theirs, ours = loaded.model.state_dict(), bundle.model.state_dict()
    fresh = theirs.pop("decoder.embedding.weight")
    assert (
        fresh.shape == (382, 26)
        and 0.015 < fresh.std() < 0.025
        and not torch.equal(fresh, ours["decoder.embedding.weight"])
    )
    unseen = ("qkv.bias", "kv.bias")  # of which the keys' part is dropped
    assert all(torch.equal(tensor, ours[key]) for key, tensor in theirs.items() if not key.endswith(unseen))
    assert not any(module.training for module in loaded.model.modules())


def test_what_is_left_out_starts_anew_even_where_it_is_there(tmp_path: Path) -> None:
    bundle = tiny_speech_bundle()
    save_bundle(bundle, tmp_path)
    loaded = load_bundle(tmp_path, without=VOCABULARY)
    different = {
        key
        for key, tensor in loaded.model.state_dict().items()
        if not torch.equal(tensor, bundle.model.state_dict()[key])
    }
    assert different == {"decoder.embedding.weight", "ctc_head.weight", "ctc_head.bias"}
    assert loaded.decoding == {"max_tokens": 7}


def test_a_captioner_is_loaded_in_part_too_but_not_from_every_layout(tmp_path: Path) -> None:
    bundle = load_bundle(save_tiny_captioner(tmp_path / "caption"), without=VOCABULARY)
    assert bundle.tokenizer is None
    with pytest.raises(ModelError, match="must be a model for transcribe, but is one for caption instead: give"):
        bundle.require(SpeechRecognizer)
    save_bundle(load_bundle(save_tiny_model(tmp_path / "classify")), tmp_path / "timm", layout="timm")
    with pytest.raises(ModelError, match="`without` must be empty for the layout timm, but is a.b, c instead"):
        load_bundle(tmp_path / "timm", without=("a.b", "c"))


@pytest.mark.parametrize(
    ("layout", "drop", "key"),
    [
        ("hf-whisper", drop_tensor, "model.decoder.layers.1.encoder_attn.v_proj.bias"),
        ("hf-whisper", drop_tensor, "model.encoder.embed_positions.weight"),
        ("whisper", drop_from_pickle, "encoder.blocks.1.mlp.2.weight"),
    ],
)
def test_another_tensor_is_missing(layout: str, drop: Any, key: str, tmp_path: Path) -> None:
    save_bundle(tiny_whisper_bundle(), tmp_path, layout=layout)
    drop(tmp_path, key)
    with pytest.raises(ModelError) as caught:
        load_bundle(tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3 and lines[1].startswith(f"  - {key} [")
    assert lines[2] == "If what is needed is missing, download or save the weights again."


@pytest.mark.parametrize("layout", ["hf-whisper", "whisper"])
def test_without_a_vocabulary(layout: str, tmp_path: Path) -> None:
    save_bundle(tiny_whisper_bundle(), tmp_path, layout=layout)
    (tmp_path / "tokenizer.json").unlink()
    message = (
        r"there is no vocabulary\. Put one .* Or fine-tune it with a new vocabulary: `model\.init_args\.pretrained"
    )
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)
    assert load_bundle(tmp_path, without=VOCABULARY).model.config == tiny_whisper_bundle().model.config


def test_the_vocabulary_of_another_model(tmp_path: Path) -> None:
    save_bundle(tiny_whisper_bundle(), tmp_path, layout="hf-whisper")
    Tokenizer.train(SPOKEN, kind="bpe", vocab_size=83).save(tmp_path)
    with pytest.raises(ModelError, match="has a vocabulary of 83 entries, but its weights are made for 382: put"):
        load_bundle(tmp_path)


# files of theirs in other shapes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c.pop("encoder_attention_heads"),
            "`encoder_attention_heads` must be stated, but is missing: add it",
        ),
        (lambda c: c.pop("decoder_attention_heads"), "`decoder_attention_heads` must be stated, but is missing"),
        (lambda c: c.update(scale_embedding=True), "`scale_embedding` must be False, but is True instead"),
        (lambda c: c.update(tie_word_embeddings=False), r"  - proj_out\.weight \["),
        (lambda c: c.update(activation_function="tanh"), "`activation_function` must be one of gelu, .*, but is tanh"),
        (lambda c: c.update(num_mel_bins=128), r"- model\.encoder\.conv1\.weight \[26, 128, 3\]"),
        (lambda c: c.update(max_source_positions=125), r"- model\.encoder\.embed_positions\.weight \[125, 26\]"),
        (lambda c: c.update(decoder_start_token_id=999), "`start_token` must be from 0 to 381, but is 999 instead"),
    ],
)
def test_a_whisper_that_ours_is_not(change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    save_bundle(tiny_whisper_bundle(), tmp_path, layout="hf-whisper")
    change_config(tmp_path, change)
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(dither=0.1), "`dither` must be 0.0, but is 0.1 instead"),
        (lambda c: c.update(padding_value=1.0), "`padding_value` must be 0.0, but is 1.0 instead"),
        (lambda c: c.update(feature_size=128), r"`feature_size` must be .* of config.json \(80\), but is 128 instead"),
        (lambda c: c.update(hop_length=0), "`hop` must be a whole number from 1 to 65536, but is 0"),
    ],
)
def test_a_feature_extractor_that_ours_is_not(change: Any, message: str, tmp_path: Path) -> None:
    save_bundle(tiny_whisper_bundle(), tmp_path, layout="hf-whisper")
    change_config(tmp_path, change, "preprocessor_config.json")
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)


def test_where_a_feature_extractor_is_described(tmp_path: Path) -> None:
    bundle = tiny_whisper_bundle()
    save_bundle(bundle, tmp_path, layout="hf-whisper")
    alone = tmp_path / "preprocessor_config.json"
    nested = tmp_path / "processor_config.json"
    nested.write_text(json.dumps({"feature_extractor": json.loads(alone.read_text()) | {"n_fft": 512}}))
    assert load_bundle(tmp_path).sound == bundle.sound, "the older file is read where both are there"
    alone.unlink()
    assert load_bundle(tmp_path).sound == replace(bundle.sound, window=512)
    nested.write_text(json.dumps({"feature_extractor": 3}))
    with pytest.raises(ModelError, match=r"processor_config\.json must describe a `feature_extractor`, but does not"):
        load_bundle(tmp_path)
    nested.unlink()
    assert load_bundle(tmp_path).sound == bundle.sound, "all of Whisper's are the same, but for the sizes"


@pytest.mark.parametrize("layout", ["multiattn", "whisper"])
def test_decoding_names_of_before_november_2026(layout: str, tmp_path: Path) -> None:
    save_bundle(tiny_whisper_bundle(), tmp_path, layout=layout)
    change_config(tmp_path, lambda config: config.update(decoding={"beams": 3, "alignment_heads": [[1, 0]]}))
    assert load_bundle(tmp_path).decoding == {"num_beams": 3, "alignment_heads": ((1, 0),)}


def test_where_older_directories_state_the_suppressed_tokens(tmp_path: Path) -> None:
    save_bundle(tiny_whisper_bundle(), tmp_path, layout="hf-whisper")
    (tmp_path / "generation_config.json").unlink()
    old = {"suppress_tokens": [3, 5], "begin_suppress_tokens": [7]}
    change_config(tmp_path, lambda config: config.update(old))
    assert load_bundle(tmp_path).decoding == {"suppress": (3, 5), "suppress_first": (7,)}
    (tmp_path / "generation_config.json").write_text(json.dumps({"suppress_tokens": [11], "num_beams": 2}))
    # as transformers: with the file, it alone counts
    assert load_bundle(tmp_path).decoding == {"suppress": (11,), "num_beams": 2}


def test_several_ends(tmp_path: Path) -> None:
    save_bundle(tiny_whisper_bundle(), tmp_path, layout="hf-whisper")
    change_config(tmp_path, lambda config: config.update(eos_token_id=[270, 5], pad_token_id=None))
    text = load_bundle(tmp_path).model.config.decoder
    assert (text.end_token, text.pad_token) == (270, 270)


@pytest.mark.parametrize(
    "layout", ["multiattn", *(pytest.param(one, marks=pytest.mark.slow) for one in FOR_RECOGNIZERS[1:])]
)
def test_whatever_stands_in_the_place_of_a_value_is_no_crash(layout: str, tmp_path: Path) -> None:
    save_bundle(tiny_whisper_bundle(), tmp_path, layout=layout)
    for path in sorted(tmp_path.glob("*config.json")):
        written = json.loads(path.read_text())
        for name, other in itertools.product(written, ("x", None)):
            path.write_text(json.dumps({**written, name: other}))
            with contextlib.suppress(ModelError):
                load_bundle(tmp_path)
        path.write_text(json.dumps(written))


def test_published_heads_need_the_published_sizes() -> None:
    tiny = PRESETS["whisper_tiny"]
    assert published_heads(tiny)[:2] == ((2, 2), (3, 0))
    assert published_heads(replace(tiny, decoder=replace(tiny.decoder, vocab_size=51866))) == ()
    assert published_heads(replace(tiny, encoder=replace(tiny.encoder, depth=2))) == ()
    assert published_heads(replace(tiny, encoder=replace(tiny.encoder, max_frames=750))) == ()
    assert published_heads(tiny_whisper_bundle().model.config) == ()


# the original's file


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A file as openai-whisper has it: nothing beside it but a vocabulary."""
    save_bundle(tiny_whisper_bundle(), tmp_path / "written", layout="whisper")
    (tmp_path / "written" / "model.pt").rename(tmp_path / "tiny.pt")
    tiny_whisper_bundle().tokenizer.save(tmp_path)
    return tmp_path / "tiny.pt"


def test_an_original_file(original: Path) -> None:
    bundle = load_bundle(original)
    assert (bundle.layout, bundle.source) == ("whisper", str(original))
    assert bundle.model.config == tiny_whisper_bundle().model.config
    marks = {bundle.tokenizer.decode([token]) for token in bundle.decoding["suppress"]}
    assert {"(", " -"} <= marks and "." not in marks
    assert set(tiny_whisper_bundle().decoding["suppress"]) < set(bundle.decoding["suppress"])
    assert bundle.decoding["suppress_first"] == (*bundle.tokenizer.encode(" "), 270)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: data.pop("dims"),
            "must have n_mels, .* under `dims`, .*, but has None instead: is it a file of op",
        ),
        (lambda data: data["dims"].pop("n_mels"), "must have n_mels, .* under `dims`"),
        (lambda data: data["dims"].update(n_text_head="x"), "`num_heads` must be int, but is 'x' instead"),
        (lambda data: data["dims"].update(n_text_head=3), r"`dim` must be a multiple of `num_heads` \(3\), but is 26"),
        (lambda data: data["dims"].update(n_mels=128), r"  - encoder\.conv1\.weight \[26, 128, 3\]"),
        (
            lambda data: data.update(model_state_dict=3),
            "must hold tensors by name, alone or under `model_state_dict`, but",
        ),
    ],
)
def test_an_original_file_that_does_not_fit(change: Callable[[Any], Any], message: str, original: Path) -> None:
    data = torch.load(original, weights_only=True)
    change(data)
    torch.save(data, original)
    with pytest.raises(ModelError, match=message):
        load_bundle(original)


def test_the_ends_of_an_original_file_without_its_vocabulary(original: Path) -> None:
    """They are known for the published sizes only; this is none."""
    with pytest.raises(ModelError, match=r"<\|startoftranscript\|> cannot be told, for the vocabulary is not one of"):
        load_bundle(original, without=VOCABULARY)


class _Runs:
    """Would write a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_no_code_of_an_original_file_is_run(original: Path) -> None:
    torch.save({"dims": _Runs(original.parent / "ran"), "model_state_dict": {}}, original)
    with pytest.raises(ModelError, match="holds more than tensors, which is never unpickled because that can run any"):
        load_bundle(original)
    assert not (original.parent / "ran").exists()


def test_an_original_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.pt: there is no such file: check the path"):
        load_bundle(tmp_path / "gone.pt")


def test_an_output_matrix_of_its_own_is_kept_by_the_layout_that_can_say_so(tmp_path: Path) -> None:
    save_tiny_whisper(tmp_path / "tied")
    state = load_file(tmp_path / "tied" / "model.safetensors")
    table = state["model.decoder.embed_tokens.weight"]
    save_file({**state, "proj_out.weight": table.clone()}, tmp_path / "tied" / "model.safetensors")
    assert load_bundle(tmp_path / "tied").config.decoder.tied
    save_file({**state, "proj_out.weight": table + 1}, tmp_path / "tied" / "model.safetensors")
    bundle = load_bundle(tmp_path / "tied")
    assert torch.equal(bundle.model.state_dict()["decoder.head.weight"], table + 1)
    save_bundle(bundle, tmp_path / "own", layout="hf-whisper")
    assert torch.equal(load_bundle(tmp_path / "own").model.state_dict()["decoder.head.weight"], table + 1)
    with pytest.raises(ModelError, match="the whisper layout needs `tied` of the text decoder to be True, but it is"):
        save_bundle(bundle, tmp_path / "original", layout="whisper")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_extractor_type": "WhisperMelExtractor"}, "`feature_extractor_type` must be WhisperFeatureExtractor"),
        ({"gain": 2}, "`gain` must be left out, as WhisperFeatureExtractor does not have it, but is 2 instead"),
        ({"sampling_rate": 10**9}, "`sample_rate` must be a whole number from 1 to 768000, but is 1000000000"),
        ({"n_fft": 10**9}, "`window` must be a whole number from 1 to 65536, but is 1000000000 instead"),
        ({"chunk_length": 10**9}, "`max_seconds` must be at most 3600, but is 1000000000.0 instead"),
    ],
)
def test_a_key_of_a_feature_extractor_that_ours_has_not(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = save_tiny_whisper(tmp_path) / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_beam_groups": 2}, "`num_beam_groups` must be left out or 1, but is 2 instead"),
        ({"bad_words_ids": [[3]]}, r"`bad_words_ids` must be left out, but is \[\[3\]\] instead"),
        ({"do_sample": True, "typical_p": 0.5}, "`typical_p` must be left out or 1, but is 0.5 instead"),
        ({"suppress_tokens": [10**9]}, "`suppress` must be tokens below .*, but have 1000000000 instead"),
    ],
)
def test_a_decode_that_ours_is_not(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = save_tiny_whisper(tmp_path) / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)
