"""The layout of transformers' BLIP for captions, both ways. Its files are read as they are, without transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from ..inputs import ImagePreprocessing
from ..models.captioner import CaptionerConfig
from .bundle import CONFIG, Layout, ModelBundle, build_model
from .hf_common import (
    PREPROCESSOR,
    TEXT,
    VISION,
    check_fixed,
    describe_text,
    read_activation,
    read_decoding,
    read_preprocessing,
    read_tokenizer,
    require,
    write_activation,
    write_preprocessing,
)
from .hf_vit import FIXED
from .json_files import read_part
from .own import read_architecture
from .table import CONCAT, Drop, KeyTable, Row

NAME = "hf-blip"
PROMPT = "a picture of "
"""What the published weights were trained to go on from. Source: BLIP, configs/caption_coco.yaml."""

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
_DEFAULTS = {"size": 384, "resample": 3, "image_mean": list(_MEAN), "image_std": list(_STD)}  # of BlipImageProcessor

_LAYER, _BLOCK = "text_decoder.bert.encoder.layer.{i}.", "decoder.blocks.{i}."
_EMBEDDINGS, _HEAD = "text_decoder.bert.embeddings.", "text_decoder.cls.predictions."

TEXT_ROWS = (
    Row("decoder.embedding.weight", f"{_EMBEDDINGS}word_embeddings.weight"),
    Row("decoder.positions.weight", f"{_EMBEDDINGS}position_embeddings.weight"),
    Row("decoder.embed_norm.{p}", f"{_EMBEDDINGS}LayerNorm.{{p}}"),
    Row(
        f"{_BLOCK}attention.qkv.{{p}}",
        tuple(f"{_LAYER}attention.self.{name}.{{p}}" for name in ("query", "key", "value")),
        CONCAT,
    ),
    Row(f"{_BLOCK}attention.out.{{p}}", f"{_LAYER}attention.output.dense.{{p}}"),
    Row(f"{_BLOCK}norm1.{{p}}", f"{_LAYER}attention.output.LayerNorm.{{p}}"),
    Row(f"{_BLOCK}cross_attention.q.{{p}}", f"{_LAYER}crossattention.self.query.{{p}}"),
    Row(
        f"{_BLOCK}cross_attention.kv.{{p}}",
        tuple(f"{_LAYER}crossattention.self.{name}.{{p}}" for name in ("key", "value")),
        CONCAT,
    ),
    Row(f"{_BLOCK}cross_attention.out.{{p}}", f"{_LAYER}crossattention.output.dense.{{p}}"),
    Row(f"{_BLOCK}cross_norm.{{p}}", f"{_LAYER}crossattention.output.LayerNorm.{{p}}"),
    Row(f"{_BLOCK}feedforward.fc1.{{p}}", f"{_LAYER}intermediate.dense.{{p}}"),
    Row(f"{_BLOCK}feedforward.fc2.{{p}}", f"{_LAYER}output.dense.{{p}}"),
    Row(f"{_BLOCK}norm2.{{p}}", f"{_LAYER}output.LayerNorm.{{p}}"),
    Row("decoder.head_dense.{p}", f"{_HEAD}transform.dense.{{p}}"),
    Row("decoder.head_norm.{p}", f"{_HEAD}transform.LayerNorm.{{p}}"),
    Row("decoder.head_bias", f"{_HEAD}bias"),
    Drop(f"{_HEAD}decoder.weight", "the embedding's table once more, to which it is tied"),
    Drop(f"{_HEAD}decoder.bias", "the bias once more"),
    Drop(f"{_EMBEDDINGS}position_ids", "counts from 0"),
)
"""The text decoder's, which the original files and transformers' have in common."""

_THEIRS, _OURS = "vision_model.encoder.layers.{i}.", "encoder.blocks.{i}."

TABLE = KeyTable(
    NAME,
    (
        Row("encoder.stem.proj.{p}", "vision_model.embeddings.patch_embedding.{p}"),
        Row("encoder.class_token", "vision_model.embeddings.class_embedding"),
        Row("encoder.positions.weight", "vision_model.embeddings.position_embedding"),
        Row(f"{_OURS}norm1.{{p}}", f"{_THEIRS}layer_norm1.{{p}}"),
        Row(f"{_OURS}attention.qkv.{{p}}", f"{_THEIRS}self_attn.qkv.{{p}}"),
        Row(f"{_OURS}attention.out.{{p}}", f"{_THEIRS}self_attn.projection.{{p}}"),
        Row(f"{_OURS}norm2.{{p}}", f"{_THEIRS}layer_norm2.{{p}}"),
        Row(f"{_OURS}feedforward.fc1.{{p}}", f"{_THEIRS}mlp.fc1.{{p}}"),
        Row(f"{_OURS}feedforward.fc2.{{p}}", f"{_THEIRS}mlp.fc2.{{p}}"),
        Row("encoder.norm.{p}", "vision_model.post_layernorm.{p}"),
        *TEXT_ROWS,
    ),
)

# the fields of ours that this layout has no word for, and what they are in all its models
FIXED_VISION = {**FIXED, "in_channels": 3, "qkv_bias": True}
FIXED_TEXT = {
    "positions": "learned",
    "pre_norm": False,
    "embed_norm": True,
    "final_norm": False,
    "head": "transform",
    "head_bias": True,
    "tied": True,
}


def recognises(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of this layout."""
    return config.get("model_type") == "blip"


def load(directory: Path, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: It is another BLIP than one that captions, or something in it does not fit.
    """
    path = directory / CONFIG
    kinds = config.get("architectures") or ["BlipForConditionalGeneration"]
    if kinds[0] != "BlipForConditionalGeneration":
        raise ModelError(f"{path}: `architectures` must be BlipForConditionalGeneration, but is {kinds[0]} instead")
    architecture = _read_structure(config, where=str(path))
    return ModelBundle(
        task="caption",
        tokenizer=read_tokenizer(directory, architecture.decoder.vocab_size),
        model=build_model(architecture, directory, table=TABLE),
        preprocessing=read_preprocessing(directory, _DEFAULTS),
        decoding=read_decoding(directory, config, prompt=PROMPT),
        card={"architecture": kinds[0]},
    )


def _read_structure(config: Mapping[str, Any], *, where: str) -> CaptionerConfig:
    """A value that is not stated has transformers' default, but for the heads: theirs are not the published models'."""
    text, vision = (read_part(config, name, where=where) for name in ("text_config", "vision_config"))
    for part in (config, text):
        if not part.get("tie_word_embeddings", True):
            raise ModelError(f"{where}: `tie_word_embeddings` must be true, but is false instead")
    size = vision.get("image_size", 384)
    width = vision.get("hidden_size", 768)
    encoder = {
        **FIXED_VISION,
        "image_size": size if isinstance(size, list) else [size, size],
        "patch_size": vision.get("patch_size", 16),
        "num_classes": 0,
        "dim": width,
        "depth": vision.get("num_hidden_layers", 12),
        "num_heads": require(vision, "num_attention_heads", where=f"{where}, vision_config"),
        "mlp_dim": vision.get("intermediate_size", 3072),
        "activation": read_activation(vision.get("hidden_act", "gelu"), "hidden_act", where=where),
        "norm_eps": vision.get("layer_norm_eps", 1e-5),
        "attention_dropout": vision.get("attention_dropout", 0.0),
    }
    decoder = {
        **FIXED_TEXT,
        "vocab_size": text.get("vocab_size", 30524),
        "dim": text.get("hidden_size", 768),
        "depth": text.get("num_hidden_layers", 12),
        "num_heads": require(text, "num_attention_heads", where=f"{where}, text_config"),
        "mlp_dim": text.get("intermediate_size", 3072),
        "max_length": text.get("max_position_embeddings", 512),
        "context_dim": width,  # transformers too puts this over what the file says
        "start_token": text.get("bos_token_id", 30522),
        "end_token": text.get("sep_token_id", 102),
        "pad_token": text.get("pad_token_id", 0),
        "activation": read_activation(text.get("hidden_act", "gelu"), "hidden_act", where=where),
        "norm_eps": text.get("layer_norm_eps", 1e-12),
        "dropout": text.get("hidden_dropout_prob", 0.0),
        "attention_dropout": text.get("attention_probs_dropout_prob", 0.0),
    }
    return read_architecture({"encoder": encoder, "decoder": decoder}, CaptionerConfig, where=where)


def check_structure(architecture: CaptionerConfig, layout: str) -> None:
    """Make sure that BLIP can be this model, in either of its layouts.

    Raises:
        ModelError: It cannot; the message names the field.
    """
    check_fixed(architecture.encoder, FIXED_VISION, layout, of=VISION)
    check_fixed(architecture.decoder, FIXED_TEXT, layout, of=TEXT)
    check_fixed(architecture, {"bridge": False}, layout)
    height, width = architecture.encoder.image_size
    if height != width:
        raise ModelError(
            f"the {layout} layout needs a square `image_size`, but it is {height} x {width} instead: "
            "choose the layout multiattn"
        )


def describe(bundle: ModelBundle, dtype: torch.dtype) -> dict[str, dict[str, Any]]:
    """The JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' BLIP cannot be this model.
    """
    architecture = bundle.captioner.config
    check_structure(architecture, NAME)
    encoder, decoder = architecture.encoder, architecture.decoder
    vision = {
        "model_type": "blip_vision_model",
        "image_size": encoder.image_size[0],
        "patch_size": encoder.patch_size,
        "hidden_size": encoder.dim,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.num_heads,
        "intermediate_size": encoder.mlp_dim,
        "hidden_act": write_activation(encoder.activation),
        "layer_norm_eps": encoder.norm_eps,
        "attention_dropout": encoder.attention_dropout,
    }
    text = {
        "model_type": "blip_text_model",
        "vocab_size": decoder.vocab_size,
        "hidden_size": decoder.dim,
        "encoder_hidden_size": decoder.context_dim,
        "num_hidden_layers": decoder.depth,
        "num_attention_heads": decoder.num_heads,
        "intermediate_size": decoder.mlp_dim,
        "max_position_embeddings": decoder.max_length,
        "bos_token_id": decoder.start_token,
        "eos_token_id": decoder.end_token,
        "sep_token_id": decoder.end_token,  # the one that transformers' BLIP ends with
        "pad_token_id": decoder.pad_token,
        "hidden_act": write_activation(decoder.activation),
        "layer_norm_eps": decoder.norm_eps,
        "hidden_dropout_prob": decoder.dropout,
        "attention_probs_dropout_prob": decoder.attention_dropout,
        "is_decoder": True,
    }
    return {
        CONFIG: {
            "architectures": ["BlipForConditionalGeneration"],
            "model_type": "blip",
            "vision_config": vision,
            "text_config": text,
            "prompt": bundle.decoding.get("prompt", ""),  # ours: transformers leaves it to the caller
            "dtype": str(dtype).removeprefix("torch."),
        },
        PREPROCESSOR: {
            **write_preprocessing(bundle.pictures, "BlipImageProcessor"),
            "processor_class": "BlipProcessor",
        },
        **describe_text(bundle, decoder, NAME),
    }


def published_preprocessing(side: int) -> ImagePreprocessing:
    """What the published weights expect, for square pictures of this many pixels a side."""
    return ImagePreprocessing(size=(side, side), resize_to=(side, side), interpolation="bicubic", mean=_MEAN, std=_STD)


LAYOUT = Layout(NAME, '"model_type": "blip"', recognises, load, describe, TABLE, tasks=("caption",))
