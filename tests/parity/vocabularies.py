"""Small vocabulary files in the forms that published models have."""

import json
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from multiattn.inputs import Tokenizer
from multiattn.inputs.whisper_vocabulary import byte_alphabet

WORDPIECES = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("a", "the", "red", "blue", "fox", "dog", "picture", "of", "jump", "##ing", "##s", "over", "on", "in", "two"),
    *(".", ",", "'", "-", "s", "t", "n", "##t", "##ed", "##er", "##est"),
    *(f"##{letter}" for letter in "bcdfghijklmopquvwxyz"),
    *("sky", "tree", "ring", "near", "square", "disc", "wall", "small"),
)

BYTE_PIECES = ("<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "Ġa", "th", "the", "Ġthe", "re", "red", "Ġred")
MERGES = ("Ġ a", "t h", "th e", "Ġ the", "r e", "re d", "Ġ red")


def save_wordpieces(directory: Path) -> None:
    """A `vocab.txt` as BERT has it."""
    (directory / "vocab.txt").write_text("\n".join(WORDPIECES) + "\n", encoding="utf-8")


def save_byte_pieces(directory: Path) -> None:
    """A `vocab.json` and `merges.txt` as GPT-2 has them."""
    vocabulary = {token: index for index, token in enumerate(BYTE_PIECES)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n", encoding="utf-8")


ROBERTA_PIECES = ("<s>", "<pad>", "</s>", "<unk>", *BYTE_PIECES[1:], "<mask>")


def save_roberta_pieces(directory: Path) -> None:
    """The same in RoBERTa's numbering, with its special tokens, as TrOCR has them."""
    vocabulary = {token: index for index, token in enumerate(ROBERTA_PIECES)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n", encoding="utf-8")
    names = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
    config = {"tokenizer_class": "RobertaTokenizer", **{f"{role}_token": name for role, name in names.items()}}
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


CLIP_MERGES = ("t h", "th e</w>", "r e", "re d</w>", "f o", "fo x</w>", "i n", "in g</w>", "o n</w>", "a n")


def save_clip_pieces(directory: Path) -> Tokenizer:
    """A `vocab.json` and `merges.txt` as CLIP has them, with all bytes; returns the tokenizer of this package."""
    directory.mkdir(parents=True, exist_ok=True)
    letters = byte_alphabet()
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in CLIP_MERGES)]
    vocabulary = {token: index for index, token in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *CLIP_MERGES]) + "\n", encoding="utf-8")
    roles = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", **roles}))
    return Tokenizer.load(directory)


UNIGRAMS = (
    *("<pad>", "</s>", "<unk>", "▁", "▁the", "▁a", "▁red", "▁blue", "▁fox", "▁dog", "▁jump", "s", "ed", "ing"),
    *"abcdefghijklmnopqrstuvwxyz",
)


def save_unigrams(directory: Path) -> None:
    """A `tokenizer.json` as T5 has it: SentencePiece's unigrams, an end after each text."""
    backend = tokenizers.Tokenizer(
        models.Unigram([(piece, -float(index)) for index, piece in enumerate(UNIGRAMS)], unk_id=2)
    )
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    backend.add_special_tokens(["<pad>", "</s>", "<unk>"])
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    backend.save(str(directory / "tokenizer.json"))
    roles = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **roles}
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
