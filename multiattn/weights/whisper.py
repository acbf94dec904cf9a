"""The layout of the original Whisper: a pickled file of sizes and tensors, a vocabulary beside it.

Pickled code is not run: only tensors and plain values are read.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..inputs import Tokenizer
from ..inputs.speech_tokens import not_speech
from ..models.speech import SpeechConfig, SpeechRecognizer
from .bundle import CONFIG, TOKENIZER, Layout, ModelBundle, states
from .hf_common import TEXT, check_fixed
from .json_files import check_value, read_architecture, read_part, short
from .model_files import ModelFiles
from .own import read_decoding
from .state import write_pickled
from .table import KeyTable, Row
from .tensor_files import read_pickled
from .whisper_common import (
    FIXED_SOUND,
    FIXED_TEXT,
    SOUND,
    TOKEN_FIELDS,
    block_rows,
    check_embedding,
    check_structure,
    published_heads,
    read_tokenizer,
    special_tokens,
    tokens_of,
    whisper_model,
    whisper_sound,
)

NAME = "whisper"
WEIGHTS = "model.pt"
_TENSORS, _SIZES = "model_state_dict", "dims"  # the keys of the file
# stated in their code, or nowhere because only training uses it
_FIXED = {"activation": "gelu", "dropout": 0.0, "attention_dropout": 0.0}
_FIXED_HEARING = {"sample_rate": 16_000, "window": 400, "hop": 160}
# sizes by their names in the file: the part of our configuration, and its field
_FIELDS = {
    "n_mels": ("encoder", "mels"),
    "n_audio_ctx": ("encoder", "max_frames"),
    "n_audio_state": ("encoder", "dim"),
    "n_audio_head": ("encoder", "num_heads"),
    "n_audio_layer": ("encoder", "depth"),
    "n_vocab": ("decoder", "vocab_size"),
    "n_text_ctx": ("decoder", "max_length"),
    "n_text_state": ("decoder", "dim"),
    "n_text_head": ("decoder", "num_heads"),
    "n_text_layer": ("decoder", "depth"),
}


_NAMES = {
    "norm1": "attn_ln",
    "attention": "attn",
    "cross_norm": "cross_attn_ln",
    "cross_attention": "cross_attn",
    "norm2": "mlp_ln",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "q": "query",
    "k": "key",
    "v": "value",
    "out": "out",
}

TABLE = KeyTable(
    NAME,
    (
        Row("encoder.stem.convs.0.{p}", "encoder.conv1.{p}"),
        Row("encoder.stem.convs.1.{p}", "encoder.conv2.{p}"),
        Row("encoder.positions", "encoder.positional_embedding"),
        *block_rows("encoder.blocks.{i}.", "encoder.blocks.{i}.", _NAMES),
        Row("encoder.norm.{p}", "encoder.ln_post.{p}"),
        Row("decoder.embedding.weight", "decoder.token_embedding.weight"),
        Row("decoder.positions.weight", "decoder.positional_embedding"),
        *block_rows("decoder.blocks.{i}.", "decoder.blocks.{i}.", _NAMES, cross=True),
        Row("decoder.norm.{p}", "decoder.ln.{p}"),
    ),
)


def load(files: ModelFiles, config: Mapping[str, Any], without: Sequence[str] = ()) -> ModelBundle:
    """Read an original file, or a directory that we wrote.

    Args:
        files: The file, or the directory that holds it as `model.pt`.
        config: The directory's `config.json`; for a file, only its `format`.
        without: Tensors of ours that start as in a new model; the vocabulary is then not read.

    Raises:
        ModelError: It holds no recognizer, something in it does not fit, or the vocabulary is missing.
    """
    path = files.directory
    file = path / WEIGHTS if path.is_dir() else path
    where = str(path / CONFIG)
    state, beside = read_pickled(file, under=_TENSORS)
    sizes = _read_sizes(beside.get(_SIZES), where=str(file))
    vocab_size = sizes["decoder"]["vocab_size"]
    if not without:
        rows = check_embedding(state, TABLE, where=str(file))
        check_value(
            vocab_size == rows,
            "n_vocab",
            must=f"{rows}, as the embedding has",
            value=short(vocab_size),
            where=str(file),
        )
    tokenizer = None if without else read_tokenizer(ModelFiles(file), vocab_size)
    tokens = dict(read_part(config, "tokens", where=where)) or special_tokens(tokenizer, vocab_size, where=str(file))
    width = sizes["encoder"]["dim"]
    shared = {"mlp_dim": 4 * width, **_FIXED}
    architecture = read_architecture(
        {
            "encoder": {**FIXED_SOUND, **shared, **sizes["encoder"]},
            "decoder": {**FIXED_TEXT, "tied": True, **shared, **sizes["decoder"], **tokens, "context_dim": width},
        },
        SpeechConfig,
        where=str(file),
    )
    model = whisper_model(architecture, ModelFiles(file), table=TABLE, state=state, without=without)
    decoding = read_part({"decoding": _published_decoding(tokenizer, architecture), **config}, "decoding", where=where)
    return ModelBundle(
        task="transcribe",
        model=model,
        preprocessing=whisper_sound(architecture),
        tokenizer=tokenizer,
        decoding=read_decoding(decoding),
        card={"architecture": "Whisper"},
    )


def _read_sizes(dims: Any, *, where: str) -> dict[str, dict[str, int]]:
    if not isinstance(dims, dict) or dims.keys() != _FIELDS.keys():
        raise ModelError(
            f"{where} must have {', '.join(_FIELDS)} under `{_SIZES}`, beside the tensors under `{_TENSORS}`, but has "
            f"{short(dims)} instead: is it a file of openai-whisper?"
        )
    return {
        part: {field: dims[name] for name, (its_part, field) in _FIELDS.items() if its_part == part}
        for part in ("encoder", "decoder")
    }


def _published_decoding(tokenizer: Tokenizer | None, architecture: SpeechConfig) -> dict[str, Any]:
    """Return the options of openai-whisper. Source: its decoding.py (`DecodingOptions`)."""
    heads = published_heads(architecture)
    decoding: dict[str, Any] = {"alignment_heads": heads} if heads else {}
    if tokenizer is not None:
        tokens = tokens_of(tokenizer, architecture)
        decoding["suppress"] = tuple(sorted({*not_speech(tokenizer), *tokens.never_written()}))
        decoding["suppress_first"] = (*tokenizer.encode(" "), tokens.end)
    return decoding


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: The original Whisper cannot express the model.
    """
    check_structure(bundle, NAME)
    architecture, instead = bundle.require(SpeechRecognizer).config, "hf-whisper or multiattn"
    for part, of in ((architecture.encoder, SOUND), (architecture.decoder, TEXT)):
        check_fixed(part, {**_FIXED, "mlp_dim": 4 * part.dim}, NAME, of=of, instead=instead)
    check_fixed(architecture.decoder, {"tied": True}, NAME, of=TEXT, instead=instead)
    check_fixed(bundle.sound, _FIXED_HEARING, NAME, of="preprocessing", instead=instead)
    return {
        CONFIG: {  # keys of ours: the original states these in its code
            "format": NAME,
            "decoding": bundle.decoding,
            "tokens": {field: getattr(architecture.decoder, field) for field in TOKEN_FIELDS},
        },
        TOKENIZER: json.loads(bundle.vocabulary.to_json()),
    }


def _write(bundle: ModelBundle, state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    architecture = bundle.require(SpeechRecognizer).config
    sizes = {name: getattr(getattr(architecture, part), field) for name, (part, field) in _FIELDS.items()}
    write_pickled(state, path, dtype, under=_TENSORS, beside={_SIZES: sizes})


LAYOUT = Layout(
    NAME,
    f'"format": "{NAME}", or a .pt file',
    states("format", NAME),  # in a directory that we wrote, as the originals have no `config.json`
    load,
    describe,
    TABLE,
    weights=WEIGHTS,
    write=_write,
    renews=True,
    models="Whisper, as first published",
)
