"""The layout of transformers' BLIP for captions and for questions, read and written without transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..inputs import ImagePreprocessing
from ..models.captioner import CaptionerConfig
from ..models.vit import ViTConfig
from ..models.vqa import VQAConfig
from .blip_text import (
    FIXED_QUESTION,
    FIXED_TEXT,
    FIXED_VISION,
    OUTPUT,
    QUESTION_ROWS,
    START,
    TEXT_ROWS,
    check_structure,
    name_roles,
    question_start,
    read_bert,
    settle_output,
    with_output_bias,
    write_bert,
)
from .bundle import CONFIG, TOKENIZER, Layout, ModelBundle, build_model
from .hf_common import (
    QUESTION,
    around_questions,
    check_fixed,
    describe_text,
    read_activation,
    read_decoding,
    read_kind,
    require,
    write_activation,
)
from .hf_encoders import class_of
from .hf_pictures import PREPROCESSOR, read_preprocessing, write_preprocessing
from .json_files import read_architecture, read_part, tuples
from .model_files import ModelFiles
from .state import write_tensors
from .table import KeyTable, Row

NAME = "hf-blip"
PROMPT = "a picture of "
"""The prompt that the published weights were trained with. Source: BLIP, configs/caption_coco.yaml."""

MATCHER = "BlipForImageTextRetrieval"
"""The class of a BLIP for matching."""

_TASKS = {"BlipForConditionalGeneration": "caption", "BlipForQuestionAnswering": "answer"}
_HEADS = "pointing_heads"  # a key of ours in their `config.json`
VOCABULARY_SIZE = 30524
"""Rows of the vocabulary, by default."""

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
PROCESSOR = "BlipImageProcessor"


def vision_rows(ours: str) -> tuple[Row, ...]:
    """Return the rows of the vision encoder, by the prefix of our keys."""
    layer, block = "vision_model.encoder.layers.{i}.", f"{ours}blocks.{{i}}."
    return (
        Row(f"{ours}stem.proj.{{p}}", "vision_model.embeddings.patch_embedding.{p}"),
        Row(f"{ours}class_token", "vision_model.embeddings.class_embedding"),
        Row(f"{ours}positions.weight", "vision_model.embeddings.position_embedding"),
        Row(f"{block}norm1.{{p}}", f"{layer}layer_norm1.{{p}}"),
        Row(f"{block}attention.qkv.{{p}}", f"{layer}self_attn.qkv.{{p}}"),
        Row(f"{block}attention.out.{{p}}", f"{layer}self_attn.projection.{{p}}"),
        Row(f"{block}norm2.{{p}}", f"{layer}layer_norm2.{{p}}"),
        Row(f"{block}feedforward.fc1.{{p}}", f"{layer}mlp.fc1.{{p}}"),
        Row(f"{block}feedforward.fc2.{{p}}", f"{layer}mlp.fc2.{{p}}"),
        Row(f"{ours}norm.{{p}}", "vision_model.post_layernorm.{p}"),
    )


TABLE = KeyTable(NAME, (*vision_rows("encoder."), *TEXT_ROWS, *QUESTION_ROWS))


def recognizes(config: Mapping[str, Any]) -> bool:
    """Return whether a `config.json` is of this layout; that of a BLIP for matching is `hf_blip_matcher`'s."""
    return config.get("model_type") == "blip" and class_of(config) != MATCHER


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: The BLIP neither captions nor answers, or something in the directory does not fit.
    """
    where = files.where(CONFIG)
    kind = read_kind(config, _TASKS, where=where)
    text = read_part(config, "text_config", where=where)
    tokenizer, is_answer = files.tokenizer(), _TASKS[kind] == "answer"
    if is_answer:
        tokenizer = name_roles(tokenizer, text.get("vocab_size", VOCABULARY_SIZE))
    start = question_start(tokenizer, config, "[CLS]", where=str(files)) if is_answer else None
    # either is enough for transformers
    stated = any(part.get("tie_word_embeddings", True) for part in (config, text))
    state, tied = settle_output(files.tensors(), stated=stated)
    architecture = _read_structure(config, start, tied=tied, where=where)
    decoding = read_decoding(files, config, prompt="" if is_answer else PROMPT)
    if is_answer and (heads := config.get(_HEADS)):
        decoding[_HEADS] = tuples(heads)
    return ModelBundle(
        task=_TASKS[kind],
        tokenizer=tokenizer,
        model=build_model(architecture, files, table=TABLE, state=state),
        preprocessing=read_preprocessing(files, PROCESSOR),
        decoding=decoding,
        card={"architecture": kind},
    )


def _read_structure(
    config: Mapping[str, Any], start: int | None, *, tied: bool, where: str
) -> CaptionerConfig | VQAConfig:
    """Return our configuration for theirs. A value that is not stated has transformers' default.

    The number of heads must be stated: transformers' default is not that of the published models.

    Args:
        config: The `config.json`.
        start: The token that questions begin with; None for a captioner.
        tied: Whether the output matrix is the embedding's table.
        where: The file, for messages.
    """
    text, encoder = read_part(config, "text_config", where=where), read_vision(config, where=where)
    both = {
        **FIXED_QUESTION,
        **read_bert(text, where=where, of="text_config"),
        "vocab_size": text.get("vocab_size", VOCABULARY_SIZE),
        "context_dim": encoder["dim"],  # transformers too overrides what the file states
        "end_token": text.get("sep_token_id", 102),
    }
    fields: dict[str, Any] = {
        "encoder": encoder,
        "decoder": {**both, **FIXED_TEXT, "tied": tied, "start_token": text.get("bos_token_id", 30522)},
    }
    if start is None:
        return read_architecture(fields, CaptionerConfig, where=where)
    return read_architecture({**fields, "question": {**both, "start_token": start}}, VQAConfig, where=where)


def read_vision(config: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return our fields of the vision encoder. The number of heads must be stated."""
    vision = read_part(config, "vision_config", where=where)
    size = vision.get("image_size", 384)
    return {
        **FIXED_VISION,
        "image_size": size if isinstance(size, list) else [size, size],
        "patch_size": vision.get("patch_size", 16),
        "num_classes": 0,
        "dim": vision.get("hidden_size", 768),
        "depth": vision.get("num_hidden_layers", 12),
        "num_heads": require(vision, "num_attention_heads", where=f"{where}, vision_config"),
        "mlp_dim": vision.get("intermediate_size", 3072),
        "activation": read_activation(vision.get("hidden_act", "gelu"), "hidden_act", where=where),
        "norm_eps": vision.get("layer_norm_eps", 1e-5),
        "attention_dropout": vision.get("attention_dropout", 0.0),
    }


def write_vision(encoder: ViTConfig) -> dict[str, Any]:
    """Return the keys that `read_vision` reads."""
    return {
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


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' BLIP cannot express the model.
    """
    architecture, decoder = check_structure(bundle, NAME)
    said: dict[str, Any] = {"prompt": bundle.decoding.get("prompt", "")}  # a key of ours
    files = describe_text(bundle, decoder, NAME, elsewhere=_HEADS if isinstance(architecture, VQAConfig) else "prompt")
    if isinstance(architecture, VQAConfig):
        question = architecture.question
        check_fixed(question, {"context_dim": decoder.context_dim}, NAME, of=QUESTION)
        said = {START: question.start_token}
        said |= {_HEADS: bundle.decoding[_HEADS]} if _HEADS in bundle.decoding else {}
        files[TOKENIZER] = around_questions(bundle.vocabulary, question.start_token, question.end_token, NAME)
    text = {
        "model_type": "blip_text_model",
        **write_bert(decoder),
        "encoder_hidden_size": decoder.context_dim,
        "bos_token_id": decoder.start_token,
        "eos_token_id": decoder.end_token,
        "sep_token_id": decoder.end_token,  # the one with which transformers' BLIP ends
        "is_decoder": True,
        "tie_word_embeddings": decoder.tied,
    }
    return {
        CONFIG: {
            "architectures": [kind for kind, task in _TASKS.items() if task == bundle.task],
            "model_type": "blip",
            "vision_config": write_vision(architecture.encoder),
            "text_config": text,
            "tie_word_embeddings": decoder.tied,
            **said,
        },
        PREPROCESSOR: {
            **write_preprocessing(bundle.pictures, PROCESSOR),
            "processor_class": "BlipProcessor",
        },
        **files,
    }


def published_preprocessing(side: int) -> ImagePreprocessing:
    """Return the preprocessing that the published weights expect, for images of `side` x `side` pixels."""
    return ImagePreprocessing(size=(side, side), resize_to=(side, side), interpolation="bicubic", mean=_MEAN, std=_STD)


def _write(bundle: ModelBundle, state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    """Write the weights; an untied output matrix comes with its bias, which nothing else tells."""
    write_tensors(with_output_bias(state) if OUTPUT in state else state, path, dtype)


LAYOUT = Layout(
    NAME,
    '"model_type": "blip"',
    recognizes,
    load,
    describe,
    TABLE,
    write=_write,
    states_dtype=True,
    tasks=_TASKS,
    models="BLIP",
    classes=tuple(_TASKS),
)
