"""Vocabularies of one's own, those on disk, and the words that tokens make."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from time import process_time

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from multiattn.errors import InputError, ModelError
from multiattn.inputs import Tokenizer, Word

TEXTS = [
    "a brown dog runs over the grass",
    "two dogs play with a tri-colored ball",
    "the man's dog doesn't jump over the fence",
    "a dog, a cat, and a bird. they're playing!",
]
BERT = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "dog",
    "##s",
    "run",
    "##ning",
    ".",
    ",",
    "'",
    "s",
    "n",
    "t",
    "-",
]
BPE = Tokenizer.train(TEXTS, kind="bpe", vocab_size=97)
CHARACTERS = Tokenizer.train(TEXTS, kind="characters", vocab_size=97)


def byte_level() -> Tokenizer:
    """GPT-2's kind with a token for each byte, one merge, and an end token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*alphabet, "do", "<|endoftext|>"])}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[("d", "o")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>"])
    return Tokenizer(backend)


def word_piece(folder: Path, **config: object) -> Tokenizer:
    (folder / "vocab.txt").write_text("\n".join(BERT) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return Tokenizer.load(folder)


BYTES = byte_level()
OWN = {"bpe": BPE, "characters": CHARACTERS}
ALL = OWN | {"bytes": BYTES}


# one's own


def test_the_special_tokens_stand_first() -> None:
    for tokenizer in OWN.values():
        assert [tokenizer.id_of(name) for name in ("[PAD]", "[START]", "[END]", "[UNK]")] == [0, 1, 2, 3]
        assert tokenizer.special_ids == {0, 1, 2, 3}
        assert tokenizer.id_of("[CLS]") is None


def test_the_vocabulary_is_as_large_as_was_asked_for_or_as_its_letters() -> None:
    assert BPE.vocab_size == 97
    letters = set("".join(TEXTS)) - {" "}
    assert CHARACTERS.vocab_size == 4 + 1 + len(letters)
    assert all(id_ < CHARACTERS.vocab_size for id_ in CHARACTERS.encode(" ".join(letters)))


@pytest.mark.parametrize("kind", ["bpe", "characters"])
def test_rare_letters_give_way_and_ties_go_by_the_alphabet(kind) -> None:
    tokenizer = Tokenizer.train(["aaa bb ccc d e"], kind=kind, vocab_size=4 + 1 + 4)
    known = [letter for letter in "abcde" if 3 not in tokenizer.encode(letter)]
    assert known == ["a", "b", "c", "d"]
    assert tokenizer.decode(tokenizer.encode("ace")) == "ac"


@pytest.mark.parametrize("tokenizer", OWN.values(), ids=OWN.keys())
@settings(deadline=None, derandomize=True)
@given(words=st.lists(st.text(sorted(set("".join(TEXTS)) - {" "}), min_size=1), max_size=7))
def test_text_in_known_letters_decodes_to_itself(tokenizer, words) -> None:
    text = " ".join(words)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not tokenizer.special_ids.intersection(ids)
    assert tokenizer.decode([1, *ids, 2, 0, 0]) == text


def test_lower_case_is_a_choice() -> None:
    assert BPE.decode(BPE.encode("A Brown DOG")) == "a brown dog"
    as_it_is = Tokenizer.train(["A Dog"], kind="characters", vocab_size=31, lowercase=False)
    assert as_it_is.decode(as_it_is.encode("A Dog")) == "A Dog"
    assert 3 in as_it_is.encode("a")


@pytest.mark.parametrize("kind", ["bpe", "characters"])
def test_the_marks_around_words_can_be_left_out(kind) -> None:
    texts = ['What is "it", at 3.5?', "the man's tri-colored ball (a) …"]
    bare = Tokenizer.train(texts, kind=kind, vocab_size=61, marks=False)
    assert Tokenizer.from_json(bare.to_json()).encode(" what  IS it ") == bare.encode('What is "it"?!')
    assert bare.decode(bare.encode(texts[0])) == "what is it at 3.5"
    assert bare.decode(bare.encode(texts[1])) == "the man's tri-colored ball a"
    assert bare.encode("¿ ?") == []
    assert not set(bare.decode(range(bare.vocab_size))) & set('?",()…')
    kept = Tokenizer.train(texts, kind=kind, vocab_size=61)
    assert kept.decode(kept.encode(texts[0])) == texts[0].lower()
    cased = Tokenizer.train(texts, kind=kind, vocab_size=61, marks=False, lowercase=False)
    assert cased.decode(cased.encode("What is it?")) == "What is it"


def test_frequent_words_are_whole_and_punctuation_is_apart() -> None:
    assert len(BPE.encode("dog")) == 1
    assert BPE.encode("dog,") == [*BPE.encode("dog"), *BPE.encode(",")[1:]]  # of its own, a comma follows a space


def test_training_is_the_same_in_another_process() -> None:
    code = (
        f"from multiattn.inputs import Tokenizer; print(Tokenizer.train({TEXTS}, kind='bpe', vocab_size=97).to_json())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == BPE.to_json()


def test_text_that_spells_a_special_token_is_text() -> None:
    assert 2 not in BPE.encode("the [END]")
    assert BYTES.decode(BYTES.encode("a <|endoftext|> b")) == "a <|endoftext|> b"


def test_what_cannot_be_trained_is_said() -> None:
    with pytest.raises(ModelError, match="`kind` must be one of bpe, characters, but is 'words' instead"):
        Tokenizer.train(TEXTS, kind="words", vocab_size=97)
    with pytest.raises(ModelError, match="`vocab_size` must be at least 6, but is 5 instead"):
        Tokenizer.train(TEXTS, kind="bpe", vocab_size=5)
    with pytest.raises(InputError, match="`texts` must hold at least one letter"):
        Tokenizer.train(["", "  "], kind="bpe", vocab_size=97)


def test_half_a_character_is_said() -> None:
    with pytest.raises(InputError, match="`text` must be whole characters, but is 'a .udc80' instead"):
        BPE.encode("a \udc80")


# words


@pytest.mark.parametrize("tokenizer", ALL.values(), ids=ALL.keys())
@settings(deadline=None, derandomize=True)
@given(ids=st.data())
def test_words_cover_the_text_but_for_spaces(tokenizer, ids) -> None:
    ids = ids.draw(st.lists(st.integers(0, tokenizer.vocab_size + 2), max_size=13))
    text, words = tokenizer.decode(ids), tokenizer.words(ids)
    covered = [False] * len(text)
    for word in words:
        assert word.text == text[word.start : word.end] and word.text.strip() == word.text != ""
        for place in range(word.start, word.end):
            assert not covered[place]
            covered[place] = True
    assert all(covered[i] or text[i].isspace() for i in range(len(text)))
    assert [w.start for w in words] == sorted(w.start for w in words)
    used = [piece for word in words for piece in word.pieces]
    assert used == sorted(set(used))
    unused = [ids[i] for i in range(len(ids)) if i not in used]
    assert tokenizer.decode(unused).strip() == ""
    # without the tokens of a word the text lacks it, with the word's alone it is the word
    for word in words:
        assert tokenizer.decode([ids[piece] for piece in word.pieces]).strip() == word.text


@pytest.mark.parametrize("tokenizer", ALL.values(), ids=ALL.keys())
def test_words_are_what_a_reader_sees(tokenizer) -> None:
    text = "the man's tri-colored dog, 'over' there..."
    words = tokenizer.words(tokenizer.encode(text))
    assert [word.text for word in words] == [
        "the",
        "man's",
        "tri-colored",
        "dog",
        ",",
        "'",
        "over",
        "'",
        "there",
        "...",
    ]
    assert [(word.start, word.end) for word in words[:4]] == [(0, 3), (4, 9), (10, 21), (22, 25)]


def test_a_word_that_is_in_pieces_has_all_of_them(tmp_path) -> None:
    tokenizer = word_piece(tmp_path)
    ids = [2, *tokenizer.encode("Dogs, running."), 3]
    assert tokenizer.decode(ids) == "dogs, running."
    assert tokenizer.words(ids) == [
        Word("dogs", 0, 4, (1, 2)),
        Word(",", 4, 5, (3,)),
        Word("running", 6, 13, (4, 5)),
        Word(".", 13, 14, (6,)),
    ]


def test_characters_in_several_pieces_belong_to_one_word() -> None:
    end = BYTES.id_of("<|endoftext|>")
    ids = BYTES.encode("né 犬") + [end]
    assert len(ids) == 1 + 2 + 1 + 3 + 1
    assert BYTES.words(ids) == [Word("né", 0, 2, (0, 1, 2)), Word("犬", 3, 4, (3, 4, 5, 6))]


def test_half_a_character_at_the_end_is_a_character_of_its_own() -> None:
    ids = BYTES.encode("a 犬")[:-1]
    end = BYTES.id_of("<|endoftext|>")
    assert BYTES.words([*ids, end]) == [Word("a", 0, 1, (0,)), Word("\ufffd", 2, 3, (1, 2, 3))]


def test_a_space_belongs_to_the_word_after_it() -> None:
    ids = CHARACTERS.encode("a cat ")
    assert [word.pieces for word in CHARACTERS.words(ids)] == [(0, 1), (2, 3, 4, 5)]
    assert len(ids) == 7


def test_one_token_over_two_words_makes_them_one() -> None:
    backend = tokenizers.Tokenizer(models.BPE(vocab={"a": 0, " ": 1, "b": 2, "a ": 3, "a b": 4}, merges=[]))
    backend.decoder = decoders.Fuse()
    assert Tokenizer(backend).words([2, 4, 2]) == [Word("ba bb", 0, 5, (0, 1, 2))]


def test_nothing_has_no_words() -> None:
    assert BPE.words([]) == [] and BPE.decode([]) == "" and BPE.encode("") == []
    assert BPE.words([1, 2, 0]) == []


# files


def test_json_and_pickle_lead_back(tmp_path) -> None:
    BPE.save(tmp_path)
    ids = BPE.encode("the dog's [END]")
    for other in (Tokenizer.load(tmp_path), Tokenizer.from_json(BPE.to_json()), pickle.loads(pickle.dumps(BPE))):
        assert other.to_json() == BPE.to_json()
        assert other.encode("the dog's [END]") == ids
        assert (other.vocab_size, other.special_ids) == (BPE.vocab_size, BPE.special_ids)


def test_the_single_file_goes_before_the_others(tmp_path) -> None:
    word_piece(tmp_path)
    BPE.save(tmp_path)
    assert Tokenizer.load(tmp_path).vocab_size == 97


def test_a_file_that_cuts_and_fills_up_texts_does_so_no_longer(tmp_path) -> None:
    backend = tokenizers.Tokenizer.from_str(BPE.to_json())
    backend.enable_truncation(2)
    backend.enable_padding(length=11)
    backend.save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.load(tmp_path).encode("a brown dog runs") == BPE.encode("a brown dog runs")


def test_ids_that_the_vocabulary_lacks_stand_for_no_text(tmp_path) -> None:
    tokenizer = word_piece(tmp_path)
    assert tokenizer.vocab_size == len(BERT)
    assert tokenizer.decode([97, 5, 6, 101]) == "a dog"  # [DEC] of BLIP is no entry of its published vocabulary


def test_special_tokens_that_the_configuration_names_are_added(tmp_path) -> None:
    tokenizer = word_piece(tmp_path, bos_token={"content": "[DEC]"}, additional_special_tokens=["[ENC]"])
    assert (tokenizer.id_of("[DEC]"), tokenizer.id_of("[ENC]")) == (len(BERT), len(BERT) + 1)
    assert tokenizer.special_ids == {0, 1, 2, 3, 4, len(BERT), len(BERT) + 1}


BOMB = json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, "b": 10**9}, "merges": []}}).encode()
"""A token whose id takes gigabytes when the tokenizer is written."""


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no vocabulary. Put tokenizer.json, vocab.txt, or vocab.json with merges.txt into it"),
        (
            {"tokenizer.json": b"{}"},
            "tokenizer.json must be a tokenizer's description, but is damaged or unusual instead",
        ),
        ({"tokenizer.json": b"\xff{"}, "tokenizer.json must be text in UTF-8, but is damaged or unusual instead"),
        ({"vocab.txt": b"a\nb\n"}, r"vocab.txt: the vocabulary must have \[UNK\], but lacks it instead"),
        (
            {"vocab.txt": b"[UNK]", "tokenizer_config.json": b"{"},
            "tokenizer_config.json must be JSON, but is damaged or unusual instead",
        ),
        ({"vocab.txt": b"[UNK]", "tokenizer_config.json": b"[]"}, "must be a JSON object, but is list instead"),
        (
            {"vocab.json": b"\xff", "merges.txt": b""},
            r"^[^ ]*/vocab\.json must be JSON, but is damaged or unusual instead \([^:]*: [^:]*\)\. Fetch",
        ),
        ({"vocab.json": b'{"a": 0, "b": 1000000000}', "merges.txt": b""}, "the token 'b' has the id 1000000000, which"),
        ({"tokenizer.json": BOMB}, "the token 'b' has the id 1000000000, which must be below 1048576"),
        ({"tokenizer.json": b"[" * 100_000}, "tokenizer.json must be a tokenizer's description, but is damaged"),
        ({"vocab.json": b'{"a": 0, "a": 1}', "merges.txt": b""}, "vocab.json must be JSON, .* has the key 'a' twice"),
        ({"vocab.json": b'{"\\ud800": 0}', "merges.txt": b""}, "vocab.json must be JSON, .* has half of a character"),
        ({"vocab.json": b"{}"}, "vocab.json: there is no merges.txt beside it"),
        (
            {"vocab.json": b'{"a": 0}', "merges.txt": b"a b\n"},
            "merges.txt must be merges that fit vocab.json, but is damaged",
        ),
        (
            {"vocab.json": b'{"a": "x"}', "merges.txt": b""},
            "merges.txt must be merges that fit vocab.json, but is damaged",
        ),
        (
            {"vocab.json": b'{"a": 0}', "merges.txt": b"a a a\n"},
            "merges.txt must be merges that fit vocab.json, but is damaged",
        ),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, files, message) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        Tokenizer.load(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "vocab.txt").write_text("[UNK]")

    def refuse(*args: object, **options: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ModelError, match="vocab.txt must be a readable file, but opening it fails instead: Permission"):
        Tokenizer.load(tmp_path)


def test_json_that_is_no_tokenizer_is_said() -> None:
    with pytest.raises(
        ModelError, match="`text` must be the content of a tokenizer.json, but is damaged or unusual instead"
    ):
        Tokenizer.from_json("{}")


def test_words_of_what_is_encoded_stand_where_they_were_written() -> None:
    tokenizer = Tokenizer.train(["is the dog's ball red"], kind="characters", vocab_size=31)
    text = " Is  the 猫's\nball, RED"
    ids, words = tokenizer.encode_words(text)
    assert ids == tokenizer.encode(text)
    assert [word.text for word in words] == ["Is", "the", "猫's", "ball", ",", "RED"]  # the unknown ones too
    assert all(text[word.start : word.end] == word.text for word in words)
    assert sorted(piece for word in words for piece in word.pieces) == list(range(len(ids)))
    for word in words:
        spelt = tokenizer.decode([ids[piece] for piece in word.pieces]).strip()
        assert spelt == word.text.lower().replace("猫", "").replace(",", "")
    assert tokenizer.encode_words(" ") == (tokenizer.encode(" "), [])


def test_the_words_of_a_long_text_take_no_time() -> None:
    tokenizer = Tokenizer.train(["fox"], kind="characters", vocab_size=31)
    start = process_time()
    ids, words = tokenizer.encode_words("fox " * 10_000)
    assert process_time() - start < 5  # with a look at every word for every token: a minute
    assert (len(words), len(ids) >= 30_000) == (10_000, True)
