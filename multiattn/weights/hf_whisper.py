"""The layout of transformers' Whisper, read and written without transformers."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..errors import ModelError
from ..inputs import AudioPreprocessing
from ..models.speech import SpeechConfig, SpeechRecognizer
from .bundle import CONFIG, Layout, ModelBundle, states
from .hf_common import (
    GENERATION,
    check_stated,
    describe_text,
    read_activation,
    read_decoding,
    read_generation,
    require,
    settle_tied,
    write_activation,
)
from .hf_pictures import PREPROCESSOR, find_processor
from .json_files import check_value, read_architecture, short, tuples
from .model_files import ModelFiles
from .table import Drop, KeyTable, Row
from .whisper_common import (
    FIXED_SOUND,
    FIXED_TEXT,
    block_rows,
    check_embedding,
    check_structure,
    published_heads,
    read_tokenizer,
    tokens_of,
    whisper_model,
    whisper_sound,
)

NAME = "hf-whisper"

_ENCODER, _DECODER = "model.encoder.", "model.decoder."
_TABLE, _OUTPUT = f"{_DECODER}embed_tokens.weight", "proj_out.weight"
_NAMES = {
    "norm1": "self_attn_layer_norm",
    "attention": "self_attn",
    "cross_norm": "encoder_attn_layer_norm",
    "cross_attention": "encoder_attn",
    "norm2": "final_layer_norm",
    "fc1": "fc1",
    "fc2": "fc2",
    "q": "q_proj",
    "k": "k_proj",
    "v": "v_proj",
    "out": "out_proj",
}

TABLE = KeyTable(
    NAME,
    (
        Row("encoder.stem.convs.0.{p}", f"{_ENCODER}conv1.{{p}}"),
        Row("encoder.stem.convs.1.{p}", f"{_ENCODER}conv2.{{p}}"),
        Row("encoder.positions", f"{_ENCODER}embed_positions.weight"),
        *block_rows("encoder.blocks.{i}.", f"{_ENCODER}layers.{{i}}.", _NAMES),
        Row("encoder.norm.{p}", f"{_ENCODER}layer_norm.{{p}}"),
        Row("decoder.embedding.weight", _TABLE),
        Row("decoder.positions.weight", f"{_DECODER}embed_positions.weight"),
        *block_rows("decoder.blocks.{i}.", f"{_DECODER}layers.{{i}}.", _NAMES, cross=True),
        Row("decoder.norm.{p}", f"{_DECODER}layer_norm.{{p}}"),
        Row("decoder.head.weight", _OUTPUT),  # of an untied model
        Drop(_OUTPUT, "the embedding once more, to which it is tied", equals=_TABLE),
    ),
)

# keys of their configuration and of their feature extractor, and the only values that ours can have
_UNUSUAL = {"scale_embedding": False}
_UNUSUAL_SOUND = {"feature_extractor_type": "WhisperFeatureExtractor", "dither": 0.0, "padding_value": 0.0}
# keys of the feature extractor that count; that follow from those; and that say nothing about the numbers
_SOUND = {
    *("feature_size", "sampling_rate", "hop_length", "n_fft", "chunk_length"),
    *("mel_filters", "n_samples", "nb_max_frames"),
    *("padding_side", "return_attention_mask", "processor_class", "_processor_class", "do_normalize"),
}

_MAX_INITIAL_TIMESTAMP = 1.0  # seconds, in all published models


def load(files: ModelFiles, config: Mapping[str, Any], without: Sequence[str] = ()) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Args:
        files: The directory's files.
        config: Its `config.json`.
        without: Tensors of ours that start as in a new model; the vocabulary is then not read.

    Raises:
        ModelError: Something in it does not fit, or the vocabulary is missing.
    """
    stated = config.get("tie_word_embeddings", True)
    state, tied = settle_tied(_prefixed(files.tensors()), _TABLE, _OUTPUT, stated=bool(stated))
    architecture = read_structure(config, tied=tied, where=files.where(CONFIG))
    if not without:
        check_embedding(state, TABLE, where=str(files))
    model = whisper_model(architecture, files, table=TABLE, state=state, without=without)
    return ModelBundle(
        task="transcribe",
        model=model,
        preprocessing=read_sound(files, architecture),
        tokenizer=None if without else read_tokenizer(files, architecture.decoder.vocab_size),
        decoding=_read_decoding(files, config, architecture),
        card={"architecture": "WhisperForConditionalGeneration"},
    )


def _prefixed(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return tensors under the names that a model with an output has; a `WhisperModel` has none, and no prefix."""
    parts = ("encoder.", "decoder.")
    return {f"model.{key}" if key.startswith(parts) else key: tensor for key, tensor in state.items()}


def read_structure(config: Mapping[str, Any], *, tied: bool, where: str) -> SpeechConfig:
    """Return our configuration. All but the numbers of heads have transformers' defaults."""
    check_stated(config, _UNUSUAL, where=where)
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
        "tied": tied,
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


def read_sound(files: ModelFiles, architecture: SpeechConfig) -> AudioPreprocessing:
    """Return the preprocessing that the feature extractor's file states; without one, that of every Whisper."""
    if isinstance(files.preprocessing, AudioPreprocessing):
        return files.preprocessing
    path, data = find_processor(files, "a `feature_extractor`")
    if data is None:
        return whisper_sound(architecture)
    check_stated(data, _UNUSUAL_SOUND, where=path)
    for name, value in data.items():
        known = name in _SOUND or name in _UNUSUAL_SOUND or value is None or value is False
        must = f"left out, as {_UNUSUAL_SOUND['feature_extractor_type']} does not have it"
        check_value(known, name, must=must, value=short(value), where=path)
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


def _read_decoding(files: ModelFiles, config: Mapping[str, Any], architecture: SpeechConfig) -> dict[str, Any]:
    """Return the decoding options. Older directories have the suppressed tokens in `config.json`."""
    decoding = read_decoding(files, config)
    heads = tuples(read_generation(files).get("alignment_heads") or published_heads(architecture))
    return decoding | ({"alignment_heads": heads} if heads else {})


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' Whisper cannot express the model.
    """
    check_structure(bundle, NAME)
    architecture, sound = bundle.require(SpeechRecognizer).config, bundle.sound
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
        "tie_word_embeddings": decoder.tied,
        "decoder_start_token_id": decoder.start_token,
        "bos_token_id": decoder.end_token,
        "eos_token_id": decoder.end_token,
        "pad_token_id": decoder.pad_token,
        "begin_suppress_tokens": None,  # their default is that of the published vocabulary
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
    """Return what transformers' decoding needs to know of the vocabulary."""
    architecture = bundle.require(SpeechRecognizer).config
    tokens = tokens_of(bundle.vocabulary, architecture)
    tasks = {"transcribe": tokens.transcribe, "translate": tokens.translate}
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
        "max_length": architecture.decoder.max_length,
        "return_timestamps": False,
        **(multilingual if tokens.languages else {}),
        **{name: value for name, value in others.items() if value is not None},
    }


def _name_tokenizer(files: dict[str, dict[str, Any]]) -> None:
    """State the class that reads the vocabulary: WhisperTokenizer for byte-level ones, where times are not special."""
    vocabulary, config = files["tokenizer.json"], files["tokenizer_config.json"]
    if (vocabulary.get("decoder") or {}).get("type") != "ByteLevel":
        return
    config |= {"tokenizer_class": "WhisperTokenizer", "processor_class": "WhisperProcessor"}
    config |= dict.fromkeys(("unk_token", "bos_token"), config.get("eos_token"))
    for token in vocabulary["added_tokens"]:
        token["special"] = token["special"] and not _is_time(token["content"])


def _is_time(name: str) -> bool:
    """Return whether a token's name is that of a timestamp."""
    number = name.removeprefix("<|").removesuffix("|>")
    return name == f"<|{number}|>" and number.replace(".", "", 1).isdigit() and "." in number


LAYOUT = Layout(
    NAME,
    '"model_type": "whisper"',
    states("model_type", "whisper"),
    load,
    describe,
    TABLE,
    states_dtype=True,
    renews=True,
    models="Whisper",
    classes=("WhisperForConditionalGeneration",),
)
