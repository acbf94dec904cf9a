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
