"""The layout of the original Whisper, both ways: a pickled file of sizes and tensors, a vocabulary beside it.

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
from ..models.speech import SpeechConfig
from .bundle import CONFIG, TOKENIZER, Layout, ModelBundle
from .hf_common import TEXT, check_fixed
from .json_files import read_part, short
from .own import read_architecture, tuples
from .state import read_pickled, write_pickled
from .table import CONCAT, KeyTable, Row
from .whisper_common import (
    FIXED_SOUND,
    FIXED_TEXT,
    NO_KEY_BIAS,
    ONLY_VALUE_BIAS,
    SOUND,
    check_embedding,
    check_structure,
    published_heads,
    read_tokenizer,
    tokens_of,
    whisper_model,
    whisper_sound,
)

NAME = "whisper"
WEIGHTS = "model.pt"
_TENSORS, _SIZES = "model_state_dict", "dims"  # what stands in the file
# in code, or nowhere because it is for training
_FIXED = {"activation": "gelu", "dropout": 0.0, "attention_dropout": 0.0}
_FIXED_HEARING = {"sample_rate": 16_000, "window": 400, "hop": 160}
_ROLES = {"start_token": "<|startoftranscript|>", "end_token": "<|endoftext|>"}
_ENDS = {51864: 50256, 51865: 50257, 51866: 50257}  # rows of the published vocabularies, and their end tokens
# sizes as the file names them: of which part, and which field
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


def _block_rows(ours: str, theirs: str) -> tuple[Row, ...]:
    """A block's self-attention and feedforward; those of encoder and decoder have the same names."""
    return (
        Row(f"{ours}norm1.{{p}}", f"{theirs}attn_ln.{{p}}"),
        Row(
            f"{ours}attention.qkv.weight",
            tuple(f"{theirs}attn.{name}.weight" for name in ("query", "key", "value")),
            CONCAT,
        ),
        Row(
            f"{ours}attention.qkv.bias", tuple(f"{theirs}attn.{name}.bias" for name in ("query", "value")), NO_KEY_BIAS
        ),
        Row(f"{ours}attention.out.{{p}}", f"{theirs}attn.out.{{p}}"),
        Row(f"{ours}norm2.{{p}}", f"{theirs}mlp_ln.{{p}}"),
        Row(f"{ours}feedforward.fc1.{{p}}", f"{theirs}mlp.0.{{p}}"),
        Row(f"{ours}feedforward.fc2.{{p}}", f"{theirs}mlp.2.{{p}}"),
    )


_CROSS, _BLOCK = "decoder.blocks.{i}.cross_attention.", "decoder.blocks.{i}."

TABLE = KeyTable(
    NAME,
    (
        Row("encoder.stem.convs.0.{p}", "encoder.conv1.{p}"),
        Row("encoder.stem.convs.1.{p}", "encoder.conv2.{p}"),
        Row("encoder.positions", "encoder.positional_embedding"),
        *_block_rows("encoder.blocks.{i}.", "encoder.blocks.{i}."),
        Row("encoder.norm.{p}", "encoder.ln_post.{p}"),
        Row("decoder.embedding.weight", "decoder.token_embedding.weight"),
        Row("decoder.positions.weight", "decoder.positional_embedding"),
        *_block_rows(_BLOCK, _BLOCK),
        Row(f"{_BLOCK}cross_norm.{{p}}", f"{_BLOCK}cross_attn_ln.{{p}}"),
        Row(f"{_CROSS}q.{{p}}", f"{_BLOCK}cross_attn.query.{{p}}"),
        Row(f"{_CROSS}kv.weight", tuple(f"{_BLOCK}cross_attn.{name}.weight" for name in ("key", "value")), CONCAT),
        Row(f"{_CROSS}kv.bias", f"{_BLOCK}cross_attn.value.bias", ONLY_VALUE_BIAS),
        Row(f"{_CROSS}out.{{p}}", f"{_BLOCK}cross_attn.out.{{p}}"),
        Row("decoder.norm.{p}", "decoder.ln.{p}"),
    ),
)


def recognizes(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of this layout: one that we have written, for the originals have none."""
    return config.get("format") == NAME


def load(path: Path, config: Mapping[str, Any]) -> ModelBundle:
    """Read an original file, or a directory that we wrote.

    Args:
        path: The file, or the directory that holds it as `model.pt`.
        config: The directory's `config.json`; of a file, only what makes it this layout.

    Raises:
        ModelError: It holds no recognizer, something in it does not fit, or there is no vocabulary beside it.
    """
    return load_without(path, config, ())


def load_without(path: Path, config: Mapping[str, Any], without: Sequence[str]) -> ModelBundle:
    """As `load`, but for these tensors of ours, if any, and then without the vocabulary."""
    file = path / WEIGHTS if path.is_dir() else path
    where = str(path / CONFIG)
    state, beside = read_pickled(file, under=_TENSORS)
    sizes = _read_sizes(beside.get(_SIZES), where=str(file))
    vocab_size = sizes["decoder"]["vocab_size"]
    if not without:
        check_embedding(state, TABLE, where=file)
    tokenizer = None if without else read_tokenizer(file, vocab_size)
    tokens = dict(read_part(config, "tokens", where=where)) or _read_tokens(tokenizer, vocab_size, where=str(file))
    width = sizes["encoder"]["dim"]
    shared = {"mlp_dim": 4 * width, **_FIXED}
    architecture = read_architecture(
        {
            "encoder": {**FIXED_SOUND, **shared, **sizes["encoder"]},
            "decoder": {**FIXED_TEXT, **shared, **sizes["decoder"], **tokens, "context_dim": width},
        },
        SpeechConfig,
        where=str(file),
    )
    model = whisper_model(architecture, file, table=TABLE, state=state, without=without)
    if "decoding" in config:
        decoding = {name: tuples(value) for name, value in read_part(config, "decoding", where=where).items()}
    else:
        decoding = _published_decoding(tokenizer, architecture)
    return ModelBundle(
        task="transcribe",
        model=model,
        preprocessing=whisper_sound(architecture),
        tokenizer=tokenizer,
        decoding=decoding,
        card={"architecture": "Whisper"},
    )


def _read_sizes(dims: Any, *, where: str) -> dict[str, dict[str, int]]:
    if not isinstance(dims, dict) or dims.keys() != _FIELDS.keys():
        raise ModelError(
            f"{where} must have {', '.join(_FIELDS)} under `{_SIZES}`, beside the tensors under `{_TENSORS}`, but has "
            f"{short(dims)} instead: is it a file of openai-whisper?"
        )
    sizes: dict[str, dict[str, int]] = {"encoder": {}, "decoder": {}}
    for name, (part, field) in _FIELDS.items():
        sizes[part][field] = dims[name]
    return sizes


def _read_tokens(tokenizer: Tokenizer | None, vocab_size: int, *, where: str) -> dict[str, int]:
    """The tokens with a role: by name, or where the vocabulary was not read as those of the published ones."""
    if tokenizer is not None:
        found = {field: tokenizer.id_of(name) for field, name in _ROLES.items()}
    else:
        end = _ENDS.get(vocab_size)
        found = {"start_token": None if end is None else end + 1, "end_token": end}
    tokens = {field: token for field, token in found.items() if token is not None}
    for field, name in _ROLES.items():
        if field not in tokens:
            raise ModelError(f"{where}: {name} cannot be told, for the vocabulary is not one of Whisper's")
    return {**tokens, "pad_token": tokens["end_token"]}


def _published_decoding(tokenizer: Tokenizer | None, architecture: SpeechConfig) -> dict[str, Any]:
    """What openai-whisper does of itself. Source: its decoding.py (`GenerationConfig`)."""
    heads = published_heads(architecture)
    decoding: dict[str, Any] = {"alignment_heads": heads} if heads else {}
    if tokenizer is not None:
        tokens = tokens_of(tokenizer, architecture)
        decoding["suppress"] = tuple(sorted({*not_speech(tokenizer), *tokens.never_written()}))
        decoding["suppress_first"] = (*tokenizer.encode(" "), tokens.end)
    return decoding


def describe(bundle: ModelBundle, dtype: torch.dtype) -> dict[str, dict[str, Any]]:
    """The JSON files of a bundle in this layout.

    Raises:
        ModelError: The original Whisper cannot be this model.
    """
    del dtype  # the weights say it themselves
    assert bundle.tokenizer is not None  # `save_bundle` has made sure
    check_structure(bundle, NAME)
    architecture, instead = bundle.speech.config, "hf-whisper or multiattn"
    for part, of in ((architecture.encoder, SOUND), (architecture.decoder, TEXT)):
        check_fixed(part, {**_FIXED, "mlp_dim": 4 * part.dim}, NAME, of=of, instead=instead)
    check_fixed(bundle.sound, _FIXED_HEARING, NAME, of="preprocessing", instead=instead)
    return {
        CONFIG: {  # ours: the original has what stands here in its code
            "format": NAME,
            "decoding": bundle.decoding,
            "tokens": {field: getattr(architecture.decoder, field) for field in (*_ROLES, "pad_token")},
        },
        TOKENIZER: json.loads(bundle.tokenizer.to_json()),
    }


def _write(bundle: ModelBundle, state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    architecture = bundle.speech.config
    sizes = {name: getattr(getattr(architecture, part), field) for name, (part, field) in _FIELDS.items()}
    write_pickled(state, path, dtype, under=_TENSORS, beside={_SIZES: sizes})


LAYOUT = Layout(
    NAME,
    f'"format": "{NAME}", or a .pt file',
    recognizes,
    load,
    describe,
    TABLE,
    tasks=("transcribe",),
    weights=WEIGHTS,
    write=_write,
    load_without=load_without,
)
