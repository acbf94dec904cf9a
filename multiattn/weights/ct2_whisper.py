"""The layout of CTranslate2's Whisper, which faster-whisper uses, read and written without CTranslate2."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..inputs.whisper_vocabulary import VOCABULARY_LIST
from ..models.speech import SpeechConfig, SpeechRecognizer
from .bundle import CONFIG, TOKENIZER, Layout, ModelBundle
from .ct2_file import WEIGHTS, Variables, read_variables, weight_files, write_variables
from .hf_common import TEXT, check_fixed
from .hf_pictures import PREPROCESSOR
from .json_files import check_value, read_architecture, tuples
from .model_files import ModelFiles
from .state import as_dtype
from .table import KeyTable, Row
from .whisper_common import (
    FIXED_SOUND,
    FIXED_TEXT,
    SOUND,
    TOKEN_NAMES,
    check_structure,
    read_tokenizer,
    special_tokens,
    tokens_of,
    whisper_model,
    whisper_sound,
)

NAME = "ct2-whisper"
_SPEC, _REVISION = "WhisperSpec", 3
_ACTIVATIONS = {1: "gelu_tanh", 3: "gelu", 4: "gelu_quick"}  # by their numbers there
_FIXED = {"dropout": 0.0, "attention_dropout": 0.0}  # only training uses them
_KEYS = ("suppress_ids", "suppress_ids_begin", "alignment_heads")  # of config.json, which names neither kind nor size


def _block_rows(part: str, *, cross: bool = False) -> tuple[Row, ...]:
    ours, theirs = f"{part}.blocks.{{i}}.", f"{part}/layer_{{i}}/"
    norms = {"norm1": "self_attention", "norm2": "ffn"} | ({"cross_norm": "attention"} if cross else {})
    linears = {
        "attention.qkv": "self_attention/linear_0",
        "attention.out": "self_attention/linear_1",
        "feedforward.fc1": "ffn/linear_0",
        "feedforward.fc2": "ffn/linear_1",
    }
    if cross:
        linears |= {f"cross_attention.{name}": f"attention/linear_{i}" for i, name in enumerate(("q", "kv", "out"))}
    return (
        *(row for our, their in norms.items() for row in _norm_rows(f"{ours}{our}", f"{theirs}{their}/layer_norm")),
        *(Row(f"{ours}{our}.{{p}}", f"{theirs}{their}/{{p}}") for our, their in linears.items()),
    )


def _norm_rows(ours: str, theirs: str) -> tuple[Row, Row]:
    return Row(f"{ours}.weight", f"{theirs}/gamma"), Row(f"{ours}.bias", f"{theirs}/beta")


# the projections of q, k and v, and of k and v, are fused there as they are here; the biases of k are 0
TABLE = KeyTable(
    NAME,
    (
        Row("encoder.stem.convs.0.{p}", "encoder/conv1/{p}"),
        Row("encoder.stem.convs.1.{p}", "encoder/conv2/{p}"),
        Row("encoder.positions", "encoder/position_encodings/encodings"),
        *_block_rows("encoder"),
        *_norm_rows("encoder.norm", "encoder/layer_norm"),
        Row("decoder.embedding.weight", "decoder/embeddings/weight"),
        Row("decoder.positions.weight", "decoder/position_encodings/encodings"),
        *_block_rows("decoder", cross=True),
        *_norm_rows("decoder.norm", "decoder/layer_norm"),
    ),
)

_PROJECTION = "decoder/projection/weight"
_EMBEDDING = "decoder/embeddings/weight"
# what the file states beside the tensors, and the only values that ours can have; absent ones have them
_STATED = {
    "decoder/alibi": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
_READ = ("decoder/activation", "encoder/num_heads", "decoder/num_heads")
_UNUSED = (
    "decoder/alibi_use_positive_positions",
    "decoder/scale_alibi",
    "decoder/alignment_heads",  # numbers for a caller that asks for averages; `config.json` lists the heads
    "decoder/alignment_layer",
)


def _recognizes(config: Mapping[str, Any]) -> bool:
    return "model_type" not in config and "format" not in config and all(key in config for key in _KEYS)


def load(files: ModelFiles, config: Mapping[str, Any], without: Sequence[str] = ()) -> ModelBundle:
    """Read a directory that CTranslate2's converter wrote, such as one of faster-whisper's cache.

    Args:
        files: The directory's files. Weights in 8 or 16 bits are dequantized.
        config: Its `config.json`.
        without: Tensors of ours that start as in a new model; the vocabulary is then not read.

    Raises:
        ModelError: Something in it does not fit, or the vocabulary is missing.
    """
    directory = files.directory
    file, parts = directory / WEIGHTS, weight_files(directory)
    if not parts:
        raise ModelError(f"{directory} must have {WEIGHTS}, but has none instead: download it again.")
    variables = read_variables(parts)
    must = f"{_SPEC}, revision {_REVISION}"
    found = f"{variables.spec}, revision {variables.revision}"
    check_value(found == must, "spec", must=must, value=found, where=str(file))
    state = dict(variables.arrays)
    untied = state.pop(_PROJECTION, None)
    if untied is not None and not (untied.shape == state[_EMBEDDING].shape and torch.equal(untied, state[_EMBEDDING])):
        raise ModelError(f"{file}: {_PROJECTION} must be {_EMBEDDING} once more, but is another matrix instead.")
    stated = {name: int(state.pop(name)) for name in list(state) if state[name].ndim == 0}
    for name, value in stated.items():
        if name not in _READ and name not in _UNUSED:
            check_value(_STATED.get(name) == value, name, must=str(_STATED.get(name)), value=value, where=str(file))
    vocab_size = len(_tensor(state, _EMBEDDING, file))
    tokenizer = None if without else read_tokenizer(files, vocab_size)
    tokens = special_tokens(tokenizer, vocab_size, where=str(file))
    architecture = _read_structure(state, stated, tokens, file)
    model = whisper_model(architecture, ModelFiles(file), table=TABLE, state=state, without=without)
    return ModelBundle(
        task="transcribe",
        model=model,
        preprocessing=whisper_sound(architecture),
        tokenizer=tokenizer,
        decoding=_read_decoding(config, str(directory / CONFIG)),
        card={"architecture": "WhisperForConditionalGeneration"},
    )


def _tensor(state: Mapping[str, Tensor], name: str, file: Path) -> Tensor:
    if name not in state:
        raise ModelError(f"{file} must have the tensor {name}, but lacks it instead: download or convert it again.")
    return state[name]


def _read_structure(
    state: Mapping[str, Tensor], stated: Mapping[str, int], tokens: Mapping[str, int], file: Path
) -> SpeechConfig:
    """Return our configuration; the sizes are those of the tensors."""
    for name in ("decoder/num_heads", "encoder/num_heads"):
        check_value(stated.get(name, 0) > 0, name, must="at least 1", value=stated.get(name), where=str(file))
    activation = stated.get("decoder/activation", 3)
    known = ", ".join(map(str, _ACTIVATIONS))
    check_value(activation in _ACTIVATIONS, "decoder/activation", must=f"of {known}", value=activation, where=str(file))
    width, mels, _ = _tensor(state, "encoder/conv1/weight", file).shape
    parts: dict[str, dict[str, Any]] = {}
    for part, fixed, length in (("encoder", FIXED_SOUND, "max_frames"), ("decoder", FIXED_TEXT, "max_length")):
        depth = 0
        while f"{part}/layer_{depth}/ffn/linear_0/weight" in state:
            depth += 1
        parts[part] = {
            **fixed,
            **_FIXED,
            "dim": width,
            "activation": _ACTIVATIONS[activation],
            "depth": depth,
            "num_heads": stated[f"{part}/num_heads"],
            "mlp_dim": len(_tensor(state, f"{part}/layer_0/ffn/linear_0/weight", file)),
            length: len(_tensor(state, f"{part}/position_encodings/encodings", file)),
        }
    parts["encoder"]["mels"] = mels
    parts["decoder"] |= {"vocab_size": len(state[_EMBEDDING]), "context_dim": width, **tokens}
    return read_architecture(parts, SpeechConfig, where=str(file))


def _read_decoding(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the suppressed tokens and the alignment heads."""
    names = ("suppress", "suppress_first", "alignment_heads")
    decoding = {}
    for name, key in zip(names, _KEYS, strict=True):
        value = config[key]
        check_value(value is None or isinstance(value, list), key, must="a list", value=value, where=where)
        if value:
            decoding[name] = tuples(value)
    return decoding


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: CTranslate2's Whisper cannot express the model.
    """
    check_structure(bundle, NAME)
    architecture, instead = bundle.require(SpeechRecognizer).config, "hf-whisper or multiattn"
    encoder, decoder = architecture.encoder, architecture.decoder
    check_fixed(encoder, {"activation": decoder.activation}, NAME, of=SOUND, instead=instead)
    for part, of in ((encoder, SOUND), (decoder, TEXT)):
        check_fixed(part, _FIXED, NAME, of=of, instead=instead)
    named = {field: bundle.vocabulary.id_of(name) for field, name in TOKEN_NAMES.items()}
    # no text depends on the padding, which the third version states as another token than the end
    if named != {field: getattr(decoder, field) for field in TOKEN_NAMES}:
        raise ModelError(
            f"the {NAME} layout needs the tokens {' and '.join(TOKEN_NAMES.values())} in the vocabulary, by which it "
            f"knows start and end, but they are others instead: choose the layout {instead}"
        )
    vocabulary = json.loads(bundle.vocabulary.to_json())
    tokens = tokens_of(bundle.vocabulary, architecture)
    half = range(decoder.depth // 2, decoder.depth)
    heads = bundle.decoding.get("alignment_heads") or [(i, head) for i in half for head in range(decoder.num_heads)]
    config = {
        "alignment_heads": [list(pair) for pair in heads],
        "lang_ids": list(tokens.languages.values()),
        "suppress_ids": list(bundle.decoding.get("suppress", ())),
        "suppress_ids_begin": list(bundle.decoding.get("suppress_first", ())),
    }
    names = [bundle.vocabulary.name_of(token) for token in range(decoder.vocab_size)]
    return {
        CONFIG: config,
        TOKENIZER: vocabulary,
        VOCABULARY_LIST: [f"<|unused {i}|>" if name is None else name for i, name in enumerate(names)],
        PREPROCESSOR: {"feature_size": encoder.mels, "sampling_rate": 16_000, "hop_length": 160, "n_fft": 400},
    }


def _write(bundle: ModelBundle, state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    architecture = bundle.require(SpeechRecognizer).config
    numbers = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
    bytes_ = {**_STATED, "decoder/activation": numbers[architecture.decoder.activation], "decoder/scale_alibi": 0}
    shorts = {
        "decoder/alignment_heads": 1,
        "decoder/alignment_layer": -1,
        **{f"{part}/num_heads": getattr(architecture, part).num_heads for part in ("encoder", "decoder")},
    }
    scalars = {name: torch.tensor(value, dtype=torch.int8) for name, value in bytes_.items()}
    scalars |= {name: torch.tensor(value, dtype=torch.int16) for name, value in shorts.items()}
    arrays = dict(sorted({**as_dtype(state, dtype), **scalars}.items()))
    write_variables(path, Variables(_SPEC, _REVISION, arrays, {_PROJECTION: _EMBEDDING}))


LAYOUT = Layout(
    NAME,
    "no `model_type`, but " + ", ".join(f"`{key}`" for key in _KEYS),
    _recognizes,
    load,
    describe,
    TABLE,
    weights=WEIGHTS,
    write=_write,
    renews=True,
    models="Whisper of CTranslate2",
)
