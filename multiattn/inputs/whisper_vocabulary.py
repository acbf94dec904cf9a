"""Reading the vocabularies of Whisper, in their published forms, into a `Tokenizer`.

Source: openai-whisper, tokenizer.py (`get_encoding`); the byte alphabet: Radford et al. 2019 (GPT-2).
"""

import base64
import json
from collections.abc import Iterable
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from ..errors import ModelError, reading
from ..text_files import read_bytes
from .speech_tokens import TIMESTAMPS, timestamp_name
from .text import Tokenizer
from .vocabulary import has_vocabulary

# language codes in the order of their tokens, from the most to the least training data; the last came with version 3
_LANGUAGES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml "
    "cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am "
    "yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
).split()
_ROLES = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
_FIXED = 2 + len(_ROLES) + TIMESTAMPS  # the special tokens except languages: end, start and these
_PUBLISHED = {51864: 50256, 51865: 50257, 51866: 50257}  # size of a vocabulary -> its tokens that are text

VOCABULARY_LIST = "vocabulary.json"
"""The file with the names of all tokens in CTranslate2's layout; older directories have vocabulary.txt."""

_END = "<|endoftext|>"  # the first of the special tokens, which follow those of text

_WHERE = (
    "Whisper's own is in openai/whisper-tiny.en and its sisters on the Hugging Face Hub (tokenizer.json), and in the "
    "package openai-whisper (whisper/assets/gpt2.tiktoken for English-only models, multilingual.tiktoken for others)"
)


def read_speech_vocabulary(directory: Path, *, vocab_size: int) -> Tokenizer:
    """Read the vocabulary in the directory of a recognizer.

    Args:
        directory: Has the files that `Tokenizer.load` reads, the list of CTranslate2, or a `.tiktoken` file of
            openai-whisper.
        vocab_size: Size of the model's vocabulary; timestamps that older files leave out are added up to it.

    Raises:
        ModelError: There is no vocabulary, or it cannot be used, or belongs to another model.
    """
    if has_vocabulary(directory):
        return with_timestamps(Tokenizer.load(directory), vocab_size=vocab_size)
    for name in (VOCABULARY_LIST, "vocabulary.txt"):
        if (directory / name).is_file():
            return _from_list(directory / name, vocab_size)
    files = sorted(directory.glob("*.tiktoken"))
    if not files:
        raise ModelError(f"{directory}: there is no vocabulary. Put one beside the weights: {_WHERE}.")
    found = {file: _pieces(file) for file in files}
    for file, pieces in found.items():
        if _fits(len(pieces), vocab_size):
            languages = _LANGUAGES[: vocab_size - len(pieces) - _FIXED]
            named = ("endoftext", "startoftranscript", *languages, *_ROLES)
            special = [*(f"<|{name}|>" for name in named), *map(timestamp_name, range(TIMESTAMPS))]
            return Tokenizer(_tokenizer(pieces, special, file))
    sizes = ", ".join(f"{len(pieces)} in {file.name}" for file, pieces in found.items())
    raise ModelError(
        f"{directory}: the pieces of text ({sizes}) must fit weights for {vocab_size} tokens, but do not: put the "
        f"model's own vocabulary there instead. {_WHERE}."
    )


def with_timestamps(tokenizer: Tokenizer, *, vocab_size: int) -> Tokenizer:
    """Return a copy of a tokenizer of Whisper whose timestamps are special tokens; another tokenizer unchanged.

    Older files leave timestamps out, and others have them as text.

    Args:
        tokenizer: It is not changed.
        vocab_size: Size of the model's vocabulary. Missing timestamps are added where they fill it up.
    """
    after = tokenizer.id_of("<|notimestamps|>")
    first = tokenizer.id_of(timestamp_name(0))
    if after is None:
        return tokenizer
    if first is None:
        if tokenizer.vocab_size != after + 1 or vocab_size <= after + 1:
            return tokenizer
        count = vocab_size - tokenizer.vocab_size
    else:
        count = 0
        while tokenizer.id_of(timestamp_name(count)) == first + count:
            count += 1
    backend = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    backend.add_special_tokens(_special(map(timestamp_name, range(count))))
    return Tokenizer(backend)


def byte_alphabet() -> list[str]:
    """Return the character for each byte in a byte-level vocabulary: the byte's own where it is visible."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(others)) for byte in range(256)]


def _pieces(file: Path) -> list[bytes]:
    """Read the tokens of a `.tiktoken` file, in the order of their ids."""
    with reading(str(file), "lines of a piece in base64 and its number", error=ModelError):
        lines = [line.split() for line in read_bytes(file).decode("ascii").splitlines() if line]
        # the multilingual vocabulary has a piece of no bytes, written as "="
        ranks = {int(rank): base64.b64decode(piece.removeprefix("="), validate=True) for piece, rank in lines}
    if ranks.keys() != set(range(len(lines))):
        raise ModelError(f"{file} must have a piece for each number from 0, but some are missing or there twice")
    pieces = [ranks[rank] for rank in range(len(lines))]
    if missing := {bytes([byte]) for byte in range(256)} - set(pieces):
        raise ModelError(f"{file} must have a piece for each byte, but lacks {min(missing)!r}: is it all there?")
    return pieces


def _from_list(file: Path, vocab_size: int) -> Tokenizer:
    """Read the names of all tokens: those of text in the byte alphabet, then those of the special ones."""
    with reading(f"`{file}`", "a list of tokens", mend="Download or convert it again.", error=ModelError):
        text = file.read_text(encoding="utf-8")
        names = json.loads(text) if file.suffix == ".json" else text.split("\n")[: text.count("\n")]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("it is no list of names")
        byte_of = {letter: byte for byte, letter in enumerate(byte_alphabet())}
        pieces = [bytes(byte_of[letter] for letter in name) for name in names[: names.index(_END)]]
    if len(names) != vocab_size:
        raise ModelError(f"{file} must name {vocab_size} tokens, as the weights have, but names {len(names)} instead.")
    return Tokenizer(_tokenizer(pieces, names[len(pieces) :], file))


def _fits(pieces: int, vocab_size: int) -> bool:
    if vocab_size in _PUBLISHED:
        return pieces == _PUBLISHED[vocab_size]
    return 0 <= vocab_size - pieces - _FIXED <= len(_LANGUAGES)


def _tokenizer(pieces: list[bytes], special: list[str], file: Path) -> tokenizers.Tokenizer:
    alphabet = byte_alphabet()
    ranks = {piece: rank for rank, piece in enumerate(pieces)}
    spelt = ["".join(alphabet[byte] for byte in piece) for piece in pieces]
    pairs = (_halves(piece, ranks) for piece in pieces if len(piece) > 1)
    merges = [tuple("".join(alphabet[byte] for byte in half) for half in pair) for pair in pairs if pair]
    with reading(str(file), "pieces that merge from each other", error=ModelError):
        model = models.BPE(vocab={text: rank for rank, text in enumerate(spelt)}, merges=merges)  # type: ignore[arg-type]
    found = tokenizers.Tokenizer(model)
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    found.add_special_tokens(_special(special))
    return found


def _halves(piece: bytes, ranks: dict[bytes, int]) -> list[bytes] | None:
    """Return the two tokens whose merge makes `piece`: what remains of its bytes after all merges of lower rank."""
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while len(parts) > 2:
        found = [(ranks.get(parts[i] + parts[i + 1], len(ranks)), i) for i in range(len(parts) - 1)]
        rank, i = min(found)
        if rank >= ranks[piece]:
            return None
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def _special(names: Iterable[str]) -> list[AddedToken]:
    return [AddedToken(name, normalized=False, special=True) for name in names]
