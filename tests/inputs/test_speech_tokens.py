"""The tokens with a meaning of their own, and Whisper's vocabularies in small; tests/parity has the published ones."""

import base64
import json
from pathlib import Path

import pytest
import tokenizers

from multiattn.errors import InputError, ModelError
from multiattn.inputs import SpeechTokens, Tokenizer
from multiattn.inputs.speech_tokens import ENGLISH_ONLY, TIMESTAMPS, not_speech
from multiattn.inputs.whisper_vocabulary import byte_alphabet, read_speech_vocabulary, with_timestamps
from tests.fixtures import SPOKEN, whisper_vocabulary

WHISPER = whisper_vocabulary()
END = 270
START = END + 1


def tokens_of(tokenizer: Tokenizer, *, vocab_size: int | None = None) -> SpeechTokens:
    end = tokenizer.id_of("<|endoftext|>")
    return SpeechTokens.of(tokenizer, start=end + 1, end=end, vocab_size=vocab_size or tokenizer.vocab_size)


TOKENS = tokens_of(WHISPER)
OWN = SpeechTokens.of(Tokenizer.train(SPOKEN, kind="bpe", vocab_size=83), start=1, end=2, vocab_size=83)
ENGLISH = tokens_of(whisper_vocabulary(languages=()))


def test_they_are_found_by_their_names() -> None:
    found = {code: WHISPER.name_of(token) for code, token in TOKENS.languages.items()}
    assert found == {"en": "<|en|>", "zh": "<|zh|>", "de": "<|de|>"}
    named = {
        "transcribe": "<|transcribe|>",
        "translate": "<|translate|>",
        "no_timestamps": "<|notimestamps|>",
        "no_speech": "<|nospeech|>",
        "previous": "<|startofprev|>",
        "before": "<|startoflm|>",
        "first_timestamp": "<|0.00|>",
        "last_timestamp": "<|2.00|>",
    }
    assert {name: WHISPER.name_of(getattr(TOKENS, name)) for name in named} == named


def test_a_vocabulary_of_ones_own_has_none() -> None:
    assert OWN == SpeechTokens(1, 2)
    assert (OWN.prompt(), OWN.is_timestamp(5), OWN.never_written()) == ([1], False, (1,))


def test_the_earlier_name_for_silence() -> None:
    renamed = Tokenizer.from_json(WHISPER.to_json().replace("<|nospeech|>", "<|nocaptions|>"))
    assert tokens_of(renamed) == TOKENS


def test_the_published_english_vocabulary_has_languages_and_uses_none() -> None:
    assert tokens_of(WHISPER, vocab_size=ENGLISH_ONLY).languages == {}


def test_prompts() -> None:
    zh, transcribe, translate = TOKENS.languages["zh"], TOKENS.transcribe, TOKENS.translate
    assert TOKENS.prompt(language="zh") == [START, zh, transcribe, TOKENS.no_timestamps]
    assert TOKENS.prompt(language="zh", task="translate", timestamps=True) == [START, zh, translate]
    assert ENGLISH.prompt(timestamps=True) == [ENGLISH.start]
    before = list(range(100, 130))
    long = ENGLISH.prompt(timestamps=True, previous=before, max_length=53)
    assert long == [ENGLISH.previous, *before[-25:], ENGLISH.start]
    assert ENGLISH.prompt(timestamps=True, previous=before[:25], max_length=53)[1:-1] == before[:25]
    assert ENGLISH.prompt(timestamps=True, previous=before, max_length=2) == [ENGLISH.previous, ENGLISH.start]


@pytest.mark.parametrize(
    ("tokens", "asked", "message"),
    [
        (TOKENS, {}, "`language` must be one of de, en, zh, but is None instead"),
        (TOKENS, {"language": "xx"}, "`language` must be one of de, en, zh, but is 'xx' instead"),
        (TOKENS, {"language": "de", "task": "sing"}, "`task` must be transcribe or translate, but is 'sing' instead"),
        (
            ENGLISH,
            {"language": "en"},
            "`language` must be None for a model of one language, but is 'en' instead: leave",
        ),
        (ENGLISH, {"task": "translate"}, "`task` must be transcribe for a model of one language, .*: take a multi"),
        (OWN, {"timestamps": True}, "`timestamps` must be False for a model without timestamp tokens, but is True"),
        (OWN, {"previous": [5]}, r"`previous` must be empty for a model without <\|startofprev\|>, but is not: leave"),
        (
            SpeechTokens(1, 2, {"en": 3}, transcribe=4),
            {"language": "en", "task": "translate"},
            "`task` must be one that the model has a token for, but is 'translate' instead",
        ),
    ],
)
def test_a_prompt_that_cannot_be(tokens: SpeechTokens, asked: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokens.prompt(**asked)


def test_times() -> None:
    first, last = TOKENS.first_timestamp, TOKENS.last_timestamp
    assert [TOKENS.is_timestamp(token) for token in (first - 1, first, last, last + 1)] == [False, True, True, False]
    assert [TOKENS.seconds(first + i) for i in (0, 1, 7, 100)] == [0.0, 0.02, 0.14, 2.0]
    for token in (first - 1, last + 1):
        with pytest.raises(InputError, match=f"`token` must be a timestamp, but is {token} instead"):
            TOKENS.seconds(token)


def test_a_token_beyond_the_weights() -> None:
    with pytest.raises(ModelError, match=r"`last_timestamp` must be .* `vocab_size` \(300\), but is 381 instead: put"):
        tokens_of(WHISPER, vocab_size=300)


def test_marks_that_nobody_speaks() -> None:
    found = not_speech(WHISPER)
    spelt = {WHISPER.decode([token]) for token in found}
    assert {"(", "[", "*", "((", " -", " '"} <= spelt
    assert not {"-", "'", ",", ".", "!", "?", "a", "the"} & spelt


def test_special_tokens_stand_for_no_text() -> None:
    ids = [START, TOKENS.first_timestamp, *WHISPER.encode(" the red"), TOKENS.last_timestamp, END]
    assert WHISPER.decode(ids) == " the red"
    assert [word.text for word in WHISPER.words(ids)] == ["the", "red"]
    spelt = "a <|0.02|> and <|de|>"
    assert WHISPER.decode(WHISPER.encode(spelt)) == spelt, "a text that spells a token is text"


def without(tokenizer: Tokenizer, *, times: bool) -> dict:
    """The content of its file, without timestamps or with such that count as text."""
    data = json.loads(tokenizer.to_json())
    data["added_tokens"] = [token for token in data["added_tokens"] if times or "." not in token["content"]]
    for token in data["added_tokens"]:
        token["special"] = "." not in token["content"]
    return data


@pytest.mark.parametrize("times", [False, True], ids=["left out", "as text"])
def test_timestamps_as_published_files_have_them(times: bool) -> None:
    published = Tokenizer.from_json(json.dumps(without(WHISPER, times=times)))
    before = published.to_json()
    found = with_timestamps(published, vocab_size=WHISPER.vocab_size)
    assert found.to_json() == WHISPER.to_json()
    assert tokens_of(found) == TOKENS
    assert published.to_json() == before, "what is given stays as it is"


def test_nothing_is_added_where_it_would_not_be_timestamps() -> None:
    bare = Tokenizer.from_json(json.dumps(without(WHISPER, times=False)))
    assert with_timestamps(bare, vocab_size=bare.vocab_size) is bare
    other = Tokenizer.train(SPOKEN, kind="bpe", vocab_size=83)
    assert with_timestamps(other, vocab_size=97) is other


def test_the_byte_alphabet_is_that_of_the_library() -> None:
    assert set(byte_alphabet()) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    split = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("\x00 \t~", "¡¬\xad®ÿ", "日本🎈"):
        spelt = "".join(byte_alphabet()[byte] for byte in text.encode())
        assert split.pre_tokenize_str(text)[0][0] == spelt


# bytes, then merges; the last cannot come of earlier ones, as some of the published cannot
PIECES = [*(bytes([i]) for i in range(256)), b"th", b"the", b" the", b"re", b"red", "é".encode(), b"xyzzy"]
FIXED = 8 + TIMESTAMPS


def save_pieces(path: Path, pieces: list[bytes] = PIECES) -> Path:
    path.write_text("".join(f"{base64.b64encode(piece).decode()} {i}\n" for i, piece in enumerate(pieces)))
    return path.parent


@pytest.mark.parametrize("languages", [0, 2, 100])
def test_a_tiktoken_file(languages: int, tmp_path: Path) -> None:
    vocab_size = len(PIECES) + FIXED + languages
    found = read_speech_vocabulary(save_pieces(tmp_path / "small.tiktoken"), vocab_size=vocab_size)
    assert found.vocab_size == vocab_size
    assert found.encode("the red the") == [257, 32, 260, 258]
    assert found.decode(found.encode("thé é\n 日本")) == "thé é\n 日本"
    tokens = tokens_of(found)
    assert (tokens.start, tokens.end, tokens.last_timestamp) == (264, 263, vocab_size - 1)
    assert list(tokens.languages)[:2] == ["en", "zh"][:languages] and len(tokens.languages) == languages
    assert tokens.seconds(vocab_size - 1) == 30.0


def test_the_file_that_fits_is_taken(tmp_path: Path) -> None:
    save_pieces(tmp_path / "a.tiktoken", PIECES[:257])
    save_pieces(tmp_path / "b.tiktoken")
    assert read_speech_vocabulary(tmp_path, vocab_size=len(PIECES) + FIXED + 100).encode("xred") == [120, 260]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("YQ== 0\nYg==\n", r"a\.tiktoken must be lines of a piece in base64 and its number, but is damaged"),
        ("YQ== 0\n! 1\n", "a piece in base64 and its number"),
        ("é 0\n", "a piece in base64 and its number"),
        ("YQ== 0\nYg== 0\n", "must have a piece for each number from 0, but some are missing or there twice"),
        ("YQ== 0\nYg== 1\n", r"must have a piece for each byte, but lacks b'\\x00': is it all there\?"),
    ],
)
def test_a_tiktoken_file_that_is_none(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.tiktoken").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        read_speech_vocabulary(tmp_path, vocab_size=1800)


@pytest.mark.parametrize("vocab_size", [len(PIECES) + FIXED - 1, len(PIECES) + FIXED + 101, 51865])
def test_a_tiktoken_file_of_another_model(vocab_size: int, tmp_path: Path) -> None:
    save_pieces(tmp_path / "a.tiktoken")
    message = rf"the pieces of text \(263 in a\.tiktoken\) must fit weights for {vocab_size} tokens, but do not: put"
    with pytest.raises(ModelError, match=message):
        read_speech_vocabulary(tmp_path, vocab_size=vocab_size)


def test_no_vocabulary_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no vocabulary\. Put one .*whisper-tiny\.en.*gpt2\.tiktoken"):
        read_speech_vocabulary(tmp_path, vocab_size=51864)


def save_three_files(directory: Path, added: dict[str, object]) -> Path:
    data = json.loads(WHISPER.to_json())
    (directory / "vocab.json").write_text(json.dumps(data["model"]["vocab"]))
    merges = "".join(f"{' '.join(pair)}\n" for pair in data["model"]["merges"])
    (directory / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    (directory / "added_tokens.json").write_text(json.dumps(added))
    return directory


def test_added_tokens_in_a_file_of_their_own(tmp_path: Path) -> None:
    names = {"<|startoftranscript|>": 271, "<|endoftext|>": 270, "<|notimestamps|>": 272}
    found = read_speech_vocabulary(save_three_files(tmp_path, names), vocab_size=280)
    assert {name: found.id_of(name) for name in names} == names
    assert found.id_of("<|0.12|>") == 280 - 1
    assert found.decode([271, 270]) == ""


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            {"<|a|>": 271},
            r"'<\|a\|>' must be 271, but would be 270: the numbers must go on from those in vocab",
        ),
        ({"<|a|>": "x"}, "added_tokens.json: each name must have a number, but"),
    ],
)
def test_added_tokens_that_cannot_be(added: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        Tokenizer.load(save_three_files(tmp_path, added))
