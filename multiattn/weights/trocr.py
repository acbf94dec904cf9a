"""The layout of transformers' TrOCR: a picture encoder and a decoder that writes the line of text in the picture.

The decoder is BART's: post-norm, the first two rows of its position table unused. A decoder with sinusoidal positions
is read with the table of them, and written with that table as learned positions.
Source: Li et al. 2021, "TrOCR"; transformers, `TrOCRForCausalLM`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..attention import sinusoidal
from ..models.captioner import Captioner, CaptionerConfig
from .bundle import CONFIG, Layout, ModelBundle, build_model
from .hf_common import (
    PLAIN_BLOCKS,
    PLAIN_HEAD,
    TEXT,
    check_fixed,
    describe_text,
    first_stated,
    read_activation,
    read_decoding,
    read_generation,
    require,
    settle_tied,
    write_activation,
)
from .hf_pictures import PREPROCESSOR, VIT, read_preprocessing, write_preprocessing
from .json_files import read_architecture, read_part
from .model_files import ModelFiles
from .sizes import check_count
from .table import CONCAT, Drop, Row, Transform
from .vision_encoders import kind_of, read_encoder, tables, write_encoder

NAME = "trocr"

_OFFSET = 2
SHIFTED = Transform(
    "shifted",
    lambda theirs: theirs[0][_OFFSET:],
    lambda ours, count: [torch.cat([ours.new_zeros(_OFFSET, ours.shape[1]), ours])],
)
"""Their table of positions begins with two rows that no position uses."""

_DECODER = "decoder.model.decoder."
_EMBEDDING, _OUTPUT = f"{_DECODER}embed_tokens.weight", "decoder.output_projection.weight"
_POSITIONS = f"{_DECODER}embed_positions.weight"
_LAYER, _BLOCK = f"{_DECODER}layers.{{i}}.", "decoder.blocks.{i}."
_NAMES = {
    "norm1": "self_attn_layer_norm",
    "attention.out": "self_attn.out_proj",
    "cross_norm": "encoder_attn_layer_norm",
    "cross_attention.q": "encoder_attn.q_proj",
    "cross_attention.out": "encoder_attn.out_proj",
    "norm2": "final_layer_norm",
    "feedforward.fc1": "fc1",
    "feedforward.fc2": "fc2",
}
_FUSED = {"attention.qkv": ("self_attn", "qkv"), "cross_attention.kv": ("encoder_attn", "kv")}

TABLES = tables(
    NAME,
    (
        Row("bridge.{p}", "enc_to_dec_proj.{p}"),
        Row("decoder.embedding.weight", _EMBEDDING),
        Row("decoder.positions.weight", _POSITIONS, SHIFTED),
        Row("decoder.embed_norm.{p}", f"{_DECODER}layernorm_embedding.{{p}}"),
        *(Row(f"{_BLOCK}{ours}.{{p}}", f"{_LAYER}{theirs}.{{p}}") for ours, theirs in _NAMES.items()),
        *(
            Row(f"{_BLOCK}{ours}.{{p}}", tuple(f"{_LAYER}{part}.{letter}_proj.{{p}}" for letter in letters), CONCAT)
            for ours, (part, letters) in _FUSED.items()
        ),
        Row("decoder.head.weight", _OUTPUT),  # of an untied model
        Drop(_OUTPUT, "the embedding's table once more, to which it is tied", equals=_EMBEDDING),
        Drop(f"{_DECODER}embed_positions._float_tensor", "the type of sinusoidal positions, which are computed"),
        Drop(f"{_DECODER}version", "the version of the original's code"),
    ),
)
"""By the `model_type` of the encoder."""

FIXED: dict[str, Any] = {
    **PLAIN_BLOCKS,
    **PLAIN_HEAD,
    "positions": "learned",
    "pre_norm": False,
    "norm_eps": 1e-5,
    "final_norm": False,
}
"""Fields of ours that the decoder cannot express, and their values in all its models."""

_TOKENS = {
    "start_token": ("decoder_start_token_id", 2),
    "end_token": ("eos_token_id", 2),
    "pad_token": ("pad_token_id", 1),
}


def recognizes(config: Mapping[str, Any]) -> bool:
    """Return whether a `config.json` is of this layout."""
    decoder = config.get("decoder")
    is_theirs = isinstance(decoder, Mapping) and decoder.get("model_type") == "trocr"
    return config.get("model_type") == "vision-encoder-decoder" and is_theirs


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: The encoder is none that is read, or something in the directory does not fit.
    """
    where = files.where(CONFIG)
    encoder = read_encoder(config, where=where)
    text = read_part(config, "decoder", where=where)
    tied = bool(text.get("tie_word_embeddings", True))
    state, tied = settle_tied(files.tensors(), _EMBEDDING, _OUTPUT, stated=tied)
    stated = (read_generation(files), config, text)
    width = text.get("d_model", 1024)
    # transformers has a bridge exactly where the widths differ and the cross-attention is not made for the encoder's
    context = text.get("cross_attention_hidden_size") or width
    decoder = {
        **FIXED,
        "vocab_size": text.get("vocab_size", 50265),
        "dim": width,
        "depth": text.get("decoder_layers", 12),
        "num_heads": require(text, "decoder_attention_heads", where=f"{where}, decoder"),
        "mlp_dim": text.get("decoder_ffn_dim", 4096),
        "max_length": text.get("max_position_embeddings", 512),
        "context_dim": context,
        "scale_embedding": text.get("scale_embedding", False),
        "embed_norm": text.get("layernorm_embedding", True),
        "activation": read_activation(text.get("activation_function", "gelu"), "activation_function", where=where),
        "dropout": text.get("dropout", 0.1),
        "attention_dropout": text.get("attention_dropout", 0.0),
        "tied": tied,
        **{ours: first_stated(stated, theirs, default=default) for ours, (theirs, default) in _TOKENS.items()},
    }
    fields = {"encoder": vars(encoder), "decoder": decoder, "bridge": encoder.dim != context}
    architecture = read_architecture(fields, CaptionerConfig, where=where)
    if not text.get("use_learned_position_embeddings", True):
        state = {**state, _POSITIONS: _sinusoids(architecture.decoder.max_length, text, where=where)}
    return ModelBundle(
        task="caption",
        tokenizer=files.tokenizer(),
        model=build_model(architecture, files, table=TABLES[kind_of(config)], state=state),
        preprocessing=read_preprocessing(files, channels=architecture.encoder.in_channels),
        decoding=read_decoding(files, config),
        card={"architecture": "VisionEncoderDecoderModel"},
    )


def _sinusoids(length: int, text: Mapping[str, Any], *, where: str) -> Tensor:
    """Return the table of sinusoidal positions in the form of a learned one, which the model is without."""
    width = check_count(text.get("d_model", 1024), "d_model", where=where)
    # the position of a text's first token
    first = check_count(text.get("pad_token_id", 1), "pad_token_id", where=where) + 1
    return torch.cat([torch.zeros(_OFFSET, width), sinusoidal(first + length, width, inclusive=True)[first:]])


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' TrOCR cannot express the model.
    """
    architecture = bundle.require(Captioner).config
    encoder, decoder = architecture.encoder, architecture.decoder
    check_fixed(decoder, FIXED, NAME, of=TEXT)
    check_fixed(decoder, {"context_dim": decoder.dim if architecture.bridge else encoder.dim}, NAME, of=TEXT)
    if architecture.bridge:
        check_fixed(architecture, {"bridge": encoder.dim != decoder.dim}, NAME)
    text = {
        "model_type": "trocr",
        "vocab_size": decoder.vocab_size,
        "d_model": decoder.dim,
        "decoder_layers": decoder.depth,
        "decoder_attention_heads": decoder.num_heads,
        "decoder_ffn_dim": decoder.mlp_dim,
        "max_position_embeddings": decoder.max_length,
        "cross_attention_hidden_size": None if architecture.bridge else encoder.dim,
        "use_learned_position_embeddings": True,
        "scale_embedding": decoder.scale_embedding,
        "layernorm_embedding": decoder.embed_norm,
        "activation_function": write_activation(decoder.activation),
        "dropout": decoder.dropout,
        "attention_dropout": decoder.attention_dropout,
        "bos_token_id": decoder.start_token,
        **{theirs: getattr(decoder, ours) for ours, (theirs, _) in _TOKENS.items()},
        "is_decoder": True,
        "add_cross_attention": True,
        "tie_word_embeddings": decoder.tied,
    }
    return {
        CONFIG: {
            "architectures": ["VisionEncoderDecoderModel"],
            "model_type": "vision-encoder-decoder",
            "is_encoder_decoder": True,
            "encoder": write_encoder(encoder, NAME),
            "decoder": text,
            **{theirs: getattr(decoder, ours) for ours, (theirs, _) in _TOKENS.items()},
            "tie_word_embeddings": False,  # between encoder and decoder, of which the encoder has none
            "prompt": bundle.decoding.get("prompt", ""),  # a key of ours: transformers leaves it to the caller
        },
        PREPROCESSOR: write_preprocessing(bundle.pictures, VIT),
        **describe_text(bundle, decoder, NAME),
    }


LAYOUT = Layout(
    NAME,
    '"model_type": "vision-encoder-decoder" with a "trocr" decoder',
    recognizes,
    load,
    describe,
    TABLES["vit"],
    variants=TABLES,
    variant=kind_of,
    states_dtype=True,
    models="TrOCR",
    classes=("VisionEncoderDecoderModel",),
)
