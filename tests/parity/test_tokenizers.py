"""Our tokenizers against those of transformers, on vocabularies made here."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from multiattn.inputs import Tokenizer

transformers = pytest.importorskip("transformers")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["a", "dog", "##s", "##ning", "run", "do", "n", "t", "m", "not", "é", "e", "##e", "Dog", "犬", "猫"]
MARKS = list(".,!?'-\"") + ["##'", "##."]
TEXTS = [
    "A dog's running, isn't it? Don't!",
    "  dogs   run ... 'a dog' ",
    "Café É Dog 犬猫 dog",
    "I'm a dog\tand we've run\n",
    "",
    "unheard words \u200d😀",
]


def bert(folder: Path, **config: object) -> tuple[Tokenizer, object]:
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + WORDS + MARKS) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"} | config))
    return Tokenizer.load(folder), transformers.BertTokenizer.from_pretrained(folder)


def gpt2(folder: Path, **config: object) -> tuple[Tokenizer, object]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("d", "o"), ("do", "g"), ("Ġ", "dog"), ("Ġ", "a"), ("'", "s"), ("Ã", "©")]
    tokens = [*alphabet, *("".join(pair) for pair in merges), "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"} | config))
    return Tokenizer.load(folder), transformers.GPT2Tokenizer.from_pretrained(folder)


CASES = [
    (bert, {}),
    (bert, {"do_lower_case": False}),
    (bert, {"strip_accents": False}),
    (bert, {"tokenize_chinese_chars": False}),
    (bert, {"clean_up_tokenization_spaces": True}),
    (bert, {"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]}),
    (gpt2, {}),
    (gpt2, {"add_prefix_space": True}),
]


@pytest.mark.parametrize(("make", "config"), CASES)
def test_encoding_is_the_same(make, config, tmp_path) -> None:
    ours, theirs = make(tmp_path, **config)
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False), text


@pytest.mark.parametrize(("make", "config"), CASES)
def test_decoding_is_the_same(make, config, tmp_path) -> None:
    ours, theirs = make(tmp_path, **config)

    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(st.lists(st.integers(0, ours.vocab_size + 3), max_size=17))
    def check(ids: list[int]) -> None:
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)

    check()


@pytest.mark.parametrize(("make", "config"), CASES)
def test_special_tokens_are_the_same(make, config, tmp_path) -> None:
    ours, theirs = make(tmp_path, **config)
    assert ours.special_ids == set(theirs.all_special_ids)
    assert all(ours.id_of(token) == theirs.convert_tokens_to_ids(token) for token in theirs.all_special_tokens)


@pytest.mark.parametrize(("make", "config"), CASES)
def test_what_they_save_is_read_the_same(make, config, tmp_path) -> None:
    (tmp_path / "saved").mkdir()
    _, theirs = make(tmp_path, **config)
    theirs.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "tokenizer.json").is_file()
    ours = Tokenizer.load(tmp_path / "saved")
    for text in TEXTS:
        ids = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text) == ids
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_what_we_save_they_read_the_same(tmp_path) -> None:
    ours = Tokenizer.train(["a dog runs", "two dogs, running"], kind="bpe", vocab_size=41)
    ours.save(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    for text in ("a dog, two dogs running", "run"):
        assert theirs.encode(text) == ours.encode(text)
        assert theirs.decode(ours.encode(text), skip_special_tokens=True) == ours.decode(ours.encode(text)) == text


def told(name: str, *, special: bool) -> dict[str, object]:
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": not special, "special": special}
    return {"content": name, **flags}


@pytest.mark.parametrize("make", [bert, gpt2], ids=["bert", "gpt2"])
@pytest.mark.parametrize("in_config", [True, False], ids=["in-the-configuration", "in-a-file"])
def test_tokens_that_were_added_to_a_vocabulary_are_found(make, in_config: bool, tmp_path: Path) -> None:
    first = make(tmp_path)[0].vocab_size
    names = {"covid": first, "<cat-toy>": first + 1}
    if not in_config:
        (tmp_path / "added_tokens.json").write_text(json.dumps(names))
    decoder = {str(number): told(name, special=False) for name, number in names.items()}
    ours, theirs = make(tmp_path, **({"added_tokens_decoder": decoder} if in_config else {}))
    assert ours.vocab_size == first + 2
    for text in ("a covid dog", "<cat-toy> and a dog", "Covid"):
        if in_config:  # transformers 5 reads the file no longer
            assert ours.encode(text) == theirs(text, add_special_tokens=False).input_ids
        assert {names[name] for name in names if name in text} <= set(ours.encode(text))
    assert "covid" in ours.decode(ours.encode("a covid dog"))


@pytest.mark.parametrize(
    ("make", "options"),
    [(bert, {"do_lower_case": False}), (bert, {"strip_accents": False}), (gpt2, {"add_prefix_space": True})],
    ids=["case", "accents", "prefix"],
)
def test_options_count_beside_a_whole_tokenizer(make, options: dict[str, bool], tmp_path: Path) -> None:
    plain, theirs = make(tmp_path)
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | options))
    ours, theirs = Tokenizer.load(tmp_path), type(theirs).from_pretrained(tmp_path)
    assert any(ours.encode(text) != plain.encode(text) for text in TEXTS)
    for text in TEXTS:
        assert ours.encode(text) == theirs(text, add_special_tokens=False).input_ids
