"""Models that answer questions, in every layout, apart from the numbers, which tests/parity compares."""

import contextlib
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing, Tokenizer
from multiattn.models import VQA, Captioner, SingleStream
from multiattn.models.vqa import PRESETS
from multiattn.weights import ModelBundle, convert, load_bundle, save_bundle
from tests.fixtures import ANSWERS, SENTENCES, save_tiny_answerer, tiny_answer_bundle, tiny_caption_bundle
from tests.parity.vocabularies import WORDPIECES, save_wordpieces

BLIPS = ("hf-blip", "blip")
CLS, DEC, ENC = 2, len(WORDPIECES), len(WORDPIECES) + 1


def blip_bundle(directory: Path, **question: Any) -> ModelBundle:
    """A small BLIP, with heads of 64 as all originals have, and as published without names for its two last tokens."""
    directory.mkdir(exist_ok=True)
    save_wordpieces(directory)
    preset = PRESETS["blip_base"]
    sizes: dict[str, Any] = {"dim": 128, "depth": 2, "num_heads": 2, "mlp_dim": 37}
    text = {**sizes, "vocab_size": ENC + 1, "context_dim": 128, "max_length": 41, "end_token": 3}
    config = replace(
        preset,
        encoder=replace(preset.encoder, image_size=(35, 35), patch_size=5, **sizes),
        question=replace(preset.question, **{**text, "start_token": ENC, **question}),
        decoder=replace(preset.decoder, **text, start_token=DEC),
    )
    preprocessing = ImagePreprocessing(
        size=(35, 35), resize_to=(35, 35), interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    )
    vocabulary = json.loads(Tokenizer.load(directory).to_json())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    vocabulary["added_tokens"] += [
        {"id": token, "content": name, **flags, "special": True} for name, token in (("[DEC]", DEC), ("[ENC]", ENC))
    ]
    tokenizer = Tokenizer.from_json(json.dumps(vocabulary))
    return ModelBundle("answer", VQA(config).eval(), preprocessing, tokenizer=tokenizer)


def change_config(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = directory / "config.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def same_weights(one: ModelBundle, other: ModelBundle) -> bool:
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("answers", ["closed", "decoder"])
def test_round_trip_in_our_layout(answers: Any, tmp_path: Path) -> None:
    decoding = {"pointing_heads": ((0, 1), (2, 0)), "num_beams": 1}
    bundle = replace(tiny_answer_bundle(answers), decoding=decoding, card={"accuracy": 0.5})
    save_bundle(bundle, tmp_path)
    loaded = load_bundle(tmp_path)
    assert (loaded.task, loaded.layout, loaded.decoding, loaded.card) == ("answer", "multiattn", decoding, bundle.card)
    assert loaded.labels == (ANSWERS if answers == "closed" else ())
    assert loaded.require(VQA, SingleStream) is loaded.model and loaded.model.config == bundle.model.config
    assert loaded.preprocessing == bundle.preprocessing
    assert loaded.tokenizer.to_json() == bundle.tokenizer.to_json()
    assert not any(module.training for module in loaded.model.modules())
    assert same_weights(loaded, bundle)


@pytest.mark.parametrize("layout", BLIPS)
@pytest.mark.parametrize("start", [CLS, ENC])
def test_round_trip_as_blip(layout: str, start: int, tmp_path: Path) -> None:
    decoding = {"num_beams": 3, "max_tokens": 7, "pointing_heads": ((1, 0),)}
    bundle = replace(blip_bundle(tmp_path / "vocabulary", start_token=start), decoding=decoding)
    save_bundle(bundle, tmp_path / "out", layout=layout)
    loaded = load_bundle(tmp_path / "out")
    assert (loaded.task, loaded.layout, loaded.labels) == ("answer", layout, ())
    assert loaded.decoding == decoding
    assert loaded.model.config == bundle.model.config, "the first token of a question too"
    assert loaded.preprocessing == bundle.preprocessing
    assert same_weights(loaded, bundle)
    other = next(name for name in BLIPS if name != layout)
    convert(tmp_path / "out", tmp_path / "other", to=other)
    converted = load_bundle(tmp_path / "other")
    assert (converted.decoding, converted.model.config) == (decoding, bundle.model.config)
    assert same_weights(converted, bundle)


def test_a_kind_that_is_not_stated_is_the_first(tmp_path: Path) -> None:
    """As in directories of a task that had one kind when they were written."""
    save_tiny_answerer(tmp_path)
    change_config(tmp_path, lambda config: config.pop("kind"))
    assert isinstance(load_bundle(tmp_path).model, VQA)


def test_which_token_a_question_begins_with(tmp_path: Path) -> None:
    """Where no file states it: as in transformers for its layout, and as in the original for its own."""
    bundle = blip_bundle(tmp_path / "vocabulary")
    for layout, start in (("hf-blip", CLS), ("blip", ENC)):
        save_bundle(bundle, tmp_path / layout, layout=layout)
        change_config(tmp_path / layout, lambda config: config.pop("question_start_token"))
        (tmp_path / layout / "tokenizer.json").unlink()
        save_wordpieces(tmp_path / layout)
        loaded = load_bundle(tmp_path / layout)
        assert loaded.model.config.question.start_token == start
        assert [loaded.tokenizer.id_of(name) for name in ("[CLS]", "[DEC]", "[ENC]")] == [CLS, DEC, ENC]
        assert loaded.tokenizer.encode("[ENC]") != [ENC], "what is spelt is text"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("labels"), "must have the keys .*labels.*, but has"),
        (lambda c: c.update(kind="vilt"), "`kind` must be one of vqa, single_stream, but is 'vilt' instead"),
        (
            lambda c: c.update(kind=["vqa"]),
            "must be a model in the layout multiattn, but is damaged or unusual instead",
        ),
        (lambda c: c.update(labels="yes"), "`labels` must be a list of names, but is 'yes' instead"),
        (lambda c: c["labels"].append("no"), "must have a label for each of 5 answers of the closed list, but has 6"),
        (
            lambda c: c["labels"].__setitem__(2, "no"),
            "must have each answer of the closed list once, but has 'no' twice",
        ),
        (lambda c: c["architecture"].update(answers=0), "there must be either a `decoder` or `answers`"),
        (lambda c: c["architecture"].update(decoder=3), "`decoder` must be an object, but is 3 instead"),
        (lambda c: c["architecture"].update(question=None), "`question` must be an object, but is None instead"),
        (
            lambda c: c["architecture"]["question"].update(context_dim="x"),
            "`context_dim` must be int | None, but is 'x'",
        ),
        (lambda c: c["decoding"].update(pointing_heads=[[3, 0]]), "`pointing_heads` must be pairs of one of 3 blocks"),
        (
            lambda c: c["decoding"].update(pointing_heads=[1, 0]),
            "`pointing_heads` must be pairs .*, but have 1 instead",
        ),
    ],
)
def test_a_config_that_is_not_ours(change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    save_tiny_answerer(tmp_path)
    change_config(tmp_path, change)
    with pytest.raises(ModelError, match=message.replace("| None", r"\| None")):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer": None}, "`tokenizer` must be given for a model that reads or writes text, but is None instead"),
        ({"labels": ANSWERS[1:]}, "the bundle must have a label for each of 5 answers of the closed list, but has 4"),
        ({"labels": ("no",) * 5}, "the bundle must have each answer of the closed list once, but has 'no' twice"),
        (
            {"decoding": {"pointing_heads": ((0, 2),)}},
            "the bundle: `pointing_heads` must be pairs of one of 3 blocks and",
        ),
        (
            {"tokenizer": Tokenizer.train(SENTENCES, kind="characters", vocab_size=31)},
            "the bundle has a vocabulary of 31 entries, but its weights are made for 97",
        ),
    ],
)
def test_what_does_not_belong_together_is_not_saved(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        save_bundle(replace(tiny_answer_bundle(), **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_list_beside_a_model_that_writes(tmp_path: Path) -> None:
    bundle = replace(tiny_answer_bundle("decoder"), labels=ANSWERS)
    with pytest.raises(ModelError, match="a label for each of 0 answers of the closed list, but has 5 instead"):
        save_bundle(bundle, tmp_path / "out")


def test_the_model_is_of_the_kind_that_is_asked_for() -> None:
    bundle = tiny_answer_bundle()
    with pytest.raises(ModelError, match="^tiny must be a model for caption, but is one for answer instead: "):
        bundle.require(Captioner)
    with pytest.raises(ModelError, match="^tiny must be a model for answer, but is one for caption instead: "):
        tiny_caption_bundle().require(VQA, SingleStream)


@pytest.mark.parametrize("layout", BLIPS)
def test_a_closed_list_is_not_saved_as_blip(layout: str, tmp_path: Path) -> None:
    model = blip_bundle(tmp_path).model.config
    closed = replace(model, decoder=None, answers=5)
    bundle = replace(blip_bundle(tmp_path), model=VQA(closed), labels=ANSWERS)
    with pytest.raises(
        ModelError, match=f"the {layout} layout needs a `decoder`, but the model answers out of a closed"
    ):
        save_bundle(bundle, tmp_path / "out", layout=layout)
    with pytest.raises(ModelError, match=r"`layout` must be one for answer \(multiattn, hf-blip, blip, hf-vilt\), but"):
        save_bundle(bundle, tmp_path / "out", layout="vit-gpt2")


@pytest.mark.parametrize(
    ("layout", "changes", "message"),
    [
        ("hf-blip", {"depth": 3}, "needs `depth` of the question encoder to be 2, but it is 3 instead"),
        ("blip", {"end_token": 7}, "needs `end_token` of the question encoder to be 3, but it is 7 instead"),
        ("blip", {"pre_norm": True}, "needs `pre_norm` of the question encoder to be False, but it is True instead"),
    ],
)
def test_what_theirs_is_not_is_not_saved(layout: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"the {layout} layout {message}"):
        save_bundle(blip_bundle(tmp_path, **changes), tmp_path / "out", layout=layout)
    assert not (tmp_path / "out").exists()


def test_a_question_must_begin_with_a_token_that_has_a_name_for_transformers(tmp_path: Path) -> None:
    bundle = blip_bundle(tmp_path)
    with pytest.raises(
        ModelError, match=rf"hf-blip layout needs a name for `start_token` \({ENC}\), but the vocabulary"
    ):
        save_bundle(replace(bundle, tokenizer=Tokenizer.load(tmp_path)), tmp_path / "out", layout="hf-blip")


@pytest.mark.parametrize("layout", BLIPS)
def test_a_vocabulary_without_the_token_that_questions_begin_with(layout: str, tmp_path: Path) -> None:
    save_bundle(blip_bundle(tmp_path), tmp_path / "out", layout=layout)
    change_config(tmp_path / "out", lambda config: config.pop("question_start_token"))
    (tmp_path / "out" / "tokenizer.json").unlink()
    # one more word, and so no room for both that BLIP adds
    words = [*("x" if word == "[CLS]" else word for word in WORDPIECES), "more"]
    (tmp_path / "out" / "vocab.txt").write_text("\n".join(words))
    name = r"\[CLS\]" if layout == "hf-blip" else r"\[ENC\]"
    with pytest.raises(
        ModelError, match=f"must have {name}, which questions begin with, but lacks it: put bert-base-unc"
    ):
        load_bundle(tmp_path / "out")


@pytest.mark.parametrize("named", [True, False])
def test_an_original_file_that_lacks_its_question_encoders_table(named: bool, tmp_path: Path) -> None:
    """Which is said, and nothing of the vocabulary, also where that has no names for BLIP's tokens, as published."""
    save_bundle(blip_bundle(tmp_path), tmp_path / "out", layout="blip")
    if not named:
        change_config(tmp_path / "out", lambda config: config.pop("question_start_token"))
        (tmp_path / "out" / "tokenizer.json").unlink()
        save_wordpieces(tmp_path / "out")
    file = tmp_path / "out" / "model.pth"
    state = torch.load(file, weights_only=True)["model"]
    state.pop("text_encoder.embeddings.word_embeddings.weight")
    torch.save({"model": state}, file)
    with pytest.raises(
        ModelError, match=r"lacks text_encoder\.embeddings\.word_embeddings\.weight instead: give another"
    ):
        load_bundle(tmp_path / "out")


@pytest.mark.parametrize("layout", ["multiattn", *(pytest.param(one, marks=pytest.mark.slow) for one in BLIPS)])
def test_whatever_stands_in_the_place_of_a_value_is_no_crash(layout: str, tmp_path: Path) -> None:
    decoding = {"num_beams": 3, "pointing_heads": ((1, 0),)}
    save_bundle(replace(blip_bundle(tmp_path), decoding=decoding), tmp_path / "out", layout=layout)
    for path in sorted((tmp_path / "out").glob("*config.json")):
        written = json.loads(path.read_text())
        for name, other in itertools.product(written, ("x", None)):
            path.write_text(json.dumps({**written, name: other}))
            with contextlib.suppress(ModelError):
                load_bundle(tmp_path / "out")
        path.write_text(json.dumps(written))
