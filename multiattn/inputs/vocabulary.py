"""Reading the vocabulary files of published models into a tokenizer of `tokenizers`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from ..errors import ModelError, reading
from ..text_files import parse_json, read_bytes, read_json_file

FILE = "tokenizer.json"
"""The file that holds a whole tokenizer."""

_WORD_PIECE, _BPE = "vocab.txt", "vocab.json"
_CONFIG = "tokenizer_config.json"
_ADDED = "added_tokens.json"  # in older directories: tokens added to a vocabulary, and their ids
_OPTIONS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
    "add_prefix_space": "add_prefix_space",
}
_WITHOUT_OPTIONS = ("PreTrainedTokenizerFast", "TokenizersBackend")  # classes that leave `tokenizer.json` as it is
_FLAGS = ("lstrip", "rstrip", "normalized", "single_word", "special")
_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")
_GPT2 = ("<|endoftext|>",)
_CLIP = ("<|startoftext|>", "<|endoftext|>")
_END_OF_WORD = "</w>"

# The replacements in a decoded text where `clean_up_tokenization_spaces` is set, in order.
# Source: transformers, `TokenizersBackend.clean_up_tokenization`.
_CLEAN_UP = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def has_vocabulary(directory: Path) -> bool:
    """Return whether a directory has a file that `read_vocabulary` reads."""
    return any((directory / name).is_file() for name in (FILE, _WORD_PIECE, _BPE))


def read_vocabulary(directory: Path) -> tokenizers.Tokenizer:
    """Read the tokenizer of a model directory; it decodes as transformers does for that directory.

    Raises:
        ModelError: The directory has no vocabulary, or a file of it cannot be used.
    """
    config = _json(directory / _CONFIG) if (directory / _CONFIG).is_file() else {}
    for name, read in {FILE: _single, _WORD_PIECE: _word_piece, _BPE: _byte_level}.items():
        if (directory / name).is_file():
            return read(directory / name, config)
    raise ModelError(
        f"{directory}: there is no vocabulary. Put {FILE}, {_WORD_PIECE}, or {_BPE} with merges.txt into it."
    )


def _single(file: Path, config: dict[str, Any]) -> tokenizers.Tokenizer:
    with reading(str(file), "a tokenizer's description", error=ModelError):
        return from_description(_text(file), config)


def from_description(text: str, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """Build the tokenizer that the content of a `tokenizer.json` describes.

    Args:
        text: The content.
        config: That of the `tokenizer_config.json` beside it.
    """
    found = tokenizers.Tokenizer.from_str(_with_options(text, config))
    if isinstance(found.model, models.WordPiece):
        _clean_up(found, config)
    _end_words(found)
    return found


def _with_options(text: str, config: Mapping[str, Any]) -> str:
    """Return a `tokenizer.json` with the options that a tokenizer's class sets anew: BERT's, and byte-level BPE's.

    Source: transformers 4, `BertTokenizerFast`, `GPT2TokenizerFast`, `RobertaTokenizerFast`.
    """
    is_stated = any(config.get(name) is not None for name in _OPTIONS)
    if config.get("tokenizer_class") in _WITHOUT_OPTIONS or not is_stated:
        return text
    description = parse_json(text)
    for key, kind in (("normalizer", "BertNormalizer"), ("pre_tokenizer", "ByteLevel"), ("post_processor", "Roberta")):
        part = description.get(key) if isinstance(description, dict) else None
        if isinstance(part, dict) and str(part.get("type")).startswith(kind):
            stated = {ours: config.get(theirs) for theirs, ours in _OPTIONS.items() if ours in part}
            part.update({name: value for name, value in stated.items() if isinstance(value, bool)})
    return json.dumps(description)


def _word_piece(file: Path, config: dict[str, Any]) -> tokenizers.Tokenizer:
    """Build a WordPiece tokenizer, as for BERT. Source: transformers, models/bert/tokenization_bert.py."""
    vocabulary = {token: i for i, token in enumerate(_text(file).removesuffix("\n").split("\n"))}
    unknown = _content(config.get("unk_token")) or "[UNK]"
    if unknown not in vocabulary:
        raise ModelError(f"{file}: the vocabulary must have {unknown}, but lacks it instead. Is it a WordPiece one?")
    with reading(f"{file} with {_CONFIG}", "a WordPiece vocabulary", error=ModelError):
        found = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
        found.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=config.get("tokenize_chinese_chars", True),
            strip_accents=config.get("strip_accents"),
            lowercase=config.get("do_lower_case", True),
        )
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.decoder = decoders.WordPiece(prefix="##")
    _clean_up(found, config)
    _add_tokens(found, file, _BERT, config)
    return found


def _byte_level(file: Path, config: dict[str, Any]) -> tokenizers.Tokenizer:
    """Build a byte-level BPE tokenizer, as for GPT-2. Source: transformers, models/gpt2/tokenization_gpt2.py."""
    merges_file = file.parent / "merges.txt"
    if not merges_file.is_file():
        raise ModelError(f"{file}: there is no merges.txt beside it. Put it there.")
    vocabulary = _json(file)
    if any(token.endswith(_END_OF_WORD) for token in vocabulary):
        return _clip(file, vocabulary, _merges(merges_file), config)
    # merges of three tokens or of unknown ones, or ids that are no numbers
    with reading(str(merges_file), f"merges that fit {file.name}", error=ModelError):
        found = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=_merges(merges_file)))
        found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=config.get("add_prefix_space", False))
    found.decoder = decoders.ByteLevel()
    _add_tokens(found, file, _GPT2, config)
    return found


def _merges(file: Path) -> list[tuple[str, str]]:
    lines = [line for line in _text(file).split("\n") if line and not line.startswith("#version")]
    return [tuple(line.split(" ")) for line in lines]  # type: ignore[misc]  # of another number it is refused later


def _clip(
    file: Path, vocabulary: dict[str, Any], merges: list[tuple[str, str]], config: dict[str, Any]
) -> tokenizers.Tokenizer:
    """Build CLIP's byte-level BPE, whose last piece of a word ends in `</w>`.

    Source: transformers, models/clip/tokenization_clip.py.
    """
    with reading(f"{file} with merges.txt", "a vocabulary of CLIP with its merges", error=ModelError):
        unknown = _content(config.get("unk_token")) or _CLIP[1]
        found = tokenizers.Tokenizer(
            models.BPE(
                vocab=vocabulary,
                merges=merges,
                unk_token=unknown,
                continuing_subword_prefix="",
                end_of_word_suffix=_END_OF_WORD,
            )
        )
    found.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(tokenizers.Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    found.decoder = decoders.ByteLevel()
    _end_words(found)
    _add_tokens(found, file, _CLIP, config)
    return found


def _end_words(found: tokenizers.Tokenizer) -> None:
    """Have the decoder turn the ends of words into spaces, where the vocabulary marks them and the decoder does not."""
    if isinstance(found.model, models.BPE) and isinstance(found.decoder, decoders.ByteLevel):
        if end := found.model.end_of_word_suffix:
            last = decoders.Replace(tokenizers.Regex(f"{re.escape(end)}$"), "")
            found.decoder = decoders.Sequence([found.decoder, decoders.Fuse(), last, decoders.Replace(end, " ")])


def _add_tokens(found: tokenizers.Tokenizer, file: Path, known: tuple[str, ...], config: dict[str, Any]) -> None:
    """Mark the special tokens, and add those that were added to the vocabulary of a file, at the ids that are stated.

    They stand in `added_tokens.json`, or in `added_tokens_decoder` of the configuration with their properties.

    Source: transformers 4, `PreTrainedTokenizerBase._from_pretrained`.
    """
    named = [_content(config.get(role)) for role in _ROLES]
    named += [_content(token) for token in config.get("additional_special_tokens") or []]
    specials = {*known, *named}
    ids, tokens = _in_file(file.parent / _ADDED), dict[str, AddedToken]()
    for number, token in (config.get("added_tokens_decoder") or {}).items():
        if (name := _content(token)) is not None and str(number).isdecimal():
            ids[name] = int(number)
            flags = {flag: bool(token[flag]) for flag in _FLAGS if flag in token} if isinstance(token, dict) else {}
            tokens[name] = AddedToken(name, **flags)
    later = sorted((name for name in ids if found.token_to_id(name) is None), key=ids.__getitem__)
    found.add_special_tokens([token for token in known if found.token_to_id(token) is not None])
    for name in later:
        # Whisper names few of its own
        is_special = name in specials or (name.startswith("<|") and name.endswith("|>"))
        tokens.setdefault(name, AddedToken(name, normalized=not is_special, special=is_special))
    found.add_tokens([tokens[name] for name in later])  # at once: each call goes through all that were added
    for name in later:
        if found.token_to_id(name) != ids[name]:
            raise ModelError(
                f"{file.parent}: the added token {name[:60]!r} must be {ids[name]}, but would be "
                f"{found.token_to_id(name)}: the numbers must go on from those in {file.name}."
            )
    found.add_special_tokens(list(dict.fromkeys(token for token in named if token)))


def _in_file(file: Path) -> dict[str, int]:
    """The names of a file of added tokens, and their ids."""
    added = _json(file) if file.is_file() else {}
    if unnumbered := [name for name, token in added.items() if type(token) is not int]:
        raise ModelError(f"{file}: each name must have a number, but {unnumbered[0][:60]!r} has not.")
    return added


def _clean_up(found: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
    """Add the clean-up of spaces to the decoder, so that `tokenizer.json` alone describes the tokenizer."""
    if found.decoder is None or not config.get("clean_up_tokenization_spaces", False):
        return
    steps = [decoders.Replace(before, after) for before, after in _CLEAN_UP]
    found.decoder = decoders.Sequence([found.decoder, decoders.Fuse(), *steps])


def _content(token: Any) -> str | None:
    """Return the text of a token in a configuration, which is a string or an object; None for anything else."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _json(file: Path) -> dict[str, Any]:
    found = read_json_file(file, strict=True, error=ModelError)
    if not isinstance(found, dict):
        raise ModelError(f"{file}: this must be a JSON object, but is {type(found).__name__} instead.")
    return found


def _text(file: Path) -> str:
    with reading(str(file), "text in UTF-8", error=ModelError):
        return read_bytes(file).decode("utf-8-sig").replace("\r\n", "\n")
