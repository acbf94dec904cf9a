"""The layout of transformers' Whisper, both ways. Its files are read as they are, without transformers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from ..inputs import AudioPreprocessing
from ..models.speech import SpeechConfig
from .bundle import CONFIG, Layout, ModelBundle
from .hf_common import GENERATION, describe_text, read_activation, read_decoding, require, write_activation
from .hf_pictures import PREPROCESSOR
from .hf_whisper_keys import NAME, TABLE
from .json_files import read_json
from .own import read_architecture, tuples
from .state import read_tensors
from .whisper_common import (
    FIXED_SOUND,
    FIXED_TEXT,
    check_embedding,
    check_structure,
    published_heads,
    read_tokenizer,
    tokens_of,
    whisper_model,
    whisper_sound,
)

# what their Whisper can do that ours cannot, and what their feature extractor can
_UNUSUAL = {"scale_embedding": False, "tie_word_embeddings": True}
_UNUSUAL_SOUND = {"dither": 0.0, "padding_value": 0.0}

_MAX_INITIAL_TIMESTAMP = 1.0  # seconds, in all published models


def recognizes(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of this layout."""
    return config.get("model_type") == "whisper"


def load(directory: Path, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: Something in it does not fit, or there is no vocabulary.
    """
    return load_without(directory, config, ())


def load_without(directory: Path, config: Mapping[str, Any], without: Sequence[str]) -> ModelBundle:
    """As `load`, but for these tensors of ours, if any, and then without the vocabulary."""
    architecture = _read_structure(config, where=str(directory / CONFIG))
    state = read_tensors(directory)
    if not without:
        check_embedding(state, TABLE, where=directory)
    model = whisper_model(architecture, directory, table=TABLE, state=state, without=without)
    vocab_size = architecture.decoder.vocab_size
    return ModelBundle(
        task="transcribe",
        model=model,
        preprocessing=_read_sound(directory, architecture),
        tokenizer=None if without else read_tokenizer(directory, vocab_size),
        decoding=_read_decoding(directory, config, architecture),
        card={"architecture": "WhisperForConditionalGeneration"},
    )


def _read_structure(config: Mapping[str, Any], *, where: str) -> SpeechConfig:
    """A value that is not stated has transformers' default, but for the heads, which must be stated."""
    for name, wanted in _UNUSUAL.items():
        if config.get(name, wanted) is not wanted:
            raise ModelError(f"{where}: `{name}` must be {wanted}, but is {config[name]} instead")
    width = config.get("d_model", 384)
    shared = {
        "dim": width,
        "activation": read_activation(config.get("activation_function", "gelu"), "activation_function", where=where),
        "dropout": config.get("dropout", 0.0),
        "attention_dropout": config.get("attention_dropout", 0.0),
    }
    encoder = {
        **FIXED_SOUND,
        **shared,
        "mels": config.get("num_mel_bins", 80),
        "depth": config.get("encoder_layers", 4),
        "num_heads": require(config, "encoder_attention_heads", where=where),
        "mlp_dim": config.get("encoder_ffn_dim", 1536),
        "max_frames": config.get("max_source_positions", 1500),
    }
    end = config.get("eos_token_id", 50256)
    end = end[0] if isinstance(end, list) else end
    pad = config.get("pad_token_id")
    decoder = {
        **FIXED_TEXT,
        **shared,
        "vocab_size": config.get("vocab_size", 51865),
        "depth": config.get("decoder_layers", 4),
        "num_heads": require(config, "decoder_attention_heads", where=where),
        "mlp_dim": config.get("decoder_ffn_dim", 1536),
        "max_length": config.get("max_target_positions", 448),
        "context_dim": width,
        "start_token": config.get("decoder_start_token_id", 50257),
        "end_token": end,
        "pad_token": end if pad is None else pad,
    }
    return read_architecture({"encoder": encoder, "decoder": decoder}, SpeechConfig, where=where)


def _read_sound(directory: Path, architecture: SpeechConfig) -> AudioPreprocessing:
    """What the feature extractor does, from the file it reads; without one, what every Whisper's does."""
    path, data = directory / PREPROCESSOR, None
    if path.is_file():
        data = read_json(path)
    elif (path := directory / "processor_config.json").is_file():
        data = read_json(path).get("feature_extractor")
        if not isinstance(data, dict):
            raise ModelError(f"{path} must describe a `feature_extractor`, but does not")
    if data is None:
        return whisper_sound(architecture)
    for name, wanted in _UNUSUAL_SOUND.items():
        if data.get(name, wanted) != wanted:
            raise ModelError(f"{path}: `{name}` must be {wanted}, but is {data[name]} instead")
    seconds = data.get("chunk_length", 30)
    sound = AudioPreprocessing(
        sample_rate=data.get("sampling_rate", 16_000),
        window=data.get("n_fft", 400),
        hop=data.get("hop_length", 160),
        mels=data.get("feature_size", 80),
        pad_to=float(seconds),
        max_seconds=float(seconds),
    )
    if sound.mels != architecture.encoder.mels:
        raise ModelError(
            f"{path}: `feature_size` must be the `num_mel_bins` of {CONFIG} ({architecture.encoder.mels}), but is "
            f"{sound.mels} instead"
        )
    return sound


def _read_decoding(directory: Path, config: Mapping[str, Any], architecture: SpeechConfig) -> dict[str, Any]:
    """How the model is to write. Older directories have it in `config.json`."""
    path = directory / GENERATION
    stated = read_json(path) if path.is_file() else {}
    old = {"suppress": config.get("suppress_tokens"), "suppress_first": config.get("begin_suppress_tokens")}
    decoding = {name: tuple(tokens) for name, tokens in old.items() if tokens}
    decoding |= read_decoding(directory, {})
    heads = tuples(stated.get("alignment_heads") or published_heads(architecture))
    if heads:
        decoding["alignment_heads"] = heads
    return decoding


def describe(bundle: ModelBundle, dtype: torch.dtype) -> dict[str, dict[str, Any]]:
    """The JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' Whisper cannot be this model.
    """
    check_structure(bundle, NAME)
    architecture, sound = bundle.speech.config, bundle.sound
    encoder, decoder = architecture.encoder, architecture.decoder
    if sound.max_seconds != int(sound.max_seconds):
        raise ModelError(
            f"the {NAME} layout needs `max_seconds` of the preprocessing to be whole, but it is {sound.max_seconds} "
            "instead: choose the layout whisper or multiattn"
        )
    for field in ("activation", "dropout", "attention_dropout"):
        if getattr(encoder, field) != getattr(decoder, field):
            raise ModelError(
                f"the {NAME} layout needs `{field}` to be the same in encoder and decoder, but it is "
                f"{getattr(encoder, field)!r} and {getattr(decoder, field)!r} instead: choose the layout multiattn"
            )
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "is_encoder_decoder": True,
        "vocab_size": decoder.vocab_size,
        "num_mel_bins": encoder.mels,
        "d_model": encoder.dim,
        "encoder_layers": encoder.depth,
        "encoder_attention_heads": encoder.num_heads,
        "encoder_ffn_dim": encoder.mlp_dim,
        "decoder_layers": decoder.depth,
        "decoder_attention_heads": decoder.num_heads,
        "decoder_ffn_dim": decoder.mlp_dim,
        "max_source_positions": encoder.max_frames,
        "max_target_positions": decoder.max_length,
        "activation_function": write_activation(encoder.activation),
        "dropout": encoder.dropout,
        "attention_dropout": encoder.attention_dropout,
        "activation_dropout": 0.0,
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "decoder_start_token_id": decoder.start_token,
        "bos_token_id": decoder.end_token,
        "eos_token_id": decoder.end_token,
        "pad_token_id": decoder.pad_token,
        "begin_suppress_tokens": None,  # their default is that of the published vocabulary
        "dtype": str(dtype).removeprefix("torch."),
    }
    extractor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": sound.mels,
        "sampling_rate": sound.sample_rate,
        "hop_length": sound.hop,
        "n_fft": sound.window,
        "chunk_length": int(sound.max_seconds),
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
    files = describe_text(bundle, decoder, NAME, elsewhere="alignment_heads")
    files[GENERATION] |= _generation(bundle)
    _name_tokenizer(files)
    return {CONFIG: config, PREPROCESSOR: extractor, **files}


def _generation(bundle: ModelBundle) -> dict[str, Any]:
    """What transformers' own decoding asks for, of what the vocabulary has."""
    assert bundle.tokenizer is not None  # `save_bundle` has made sure
    tokens = tokens_of(bundle.tokenizer, bundle.speech.config)
    tasks = {"transcribe": tokens.transcribe, "translate": tokens.translate}
    multilingual: dict[str, Any] = {}
    if tokens.languages:
        multilingual = {
            "lang_to_id": {f"<|{code}|>": token for code, token in tokens.languages.items()},
            "task_to_id": {task: token for task, token in tasks.items() if token is not None},
        }
    others = {
        "alignment_heads": [list(pair) for pair in bundle.decoding.get("alignment_heads", ())] or None,
        "no_timestamps_token_id": tokens.no_timestamps,
        "prev_sot_token_id": tokens.previous,
    }
    return {
        "is_multilingual": bool(tokens.languages),
        "max_initial_timestamp_index": round(_MAX_INITIAL_TIMESTAMP / tokens.timestamp_step),
        "max_length": bundle.speech.config.decoder.max_length,
        "return_timestamps": False,
        **multilingual,
        **{name: value for name, value in others.items() if value is not None},
    }


def _name_tokenizer(files: dict[str, dict[str, Any]]) -> None:
    """Say which of their classes reads the vocabulary: their Whisper's takes byte-level ones and counts times apart."""
    vocabulary, config = files["tokenizer.json"], files["tokenizer_config.json"]
    if (vocabulary.get("decoder") or {}).get("type") != "ByteLevel":
        return
    config |= {"tokenizer_class": "WhisperTokenizer", "processor_class": "WhisperProcessor"}
    config["unk_token"] = config.get("eos_token")
    config["bos_token"] = config.get("eos_token")
    times = [token for token in vocabulary["added_tokens"] if _is_time(token["content"])]
    for token in times:
        token["special"] = False


def _is_time(name: str) -> bool:
    """Whether a token's name is that of a timestamp."""
    number = name.removeprefix("<|").removesuffix("|>")
    return name == f"<|{number}|>" and number.replace(".", "", 1).isdigit() and "." in number


LAYOUT = Layout(
    NAME,
    '"model_type": "whisper"',
    recognizes,
    load,
    describe,
    TABLE,
    tasks=("transcribe",),
    load_without=load_without,
)
