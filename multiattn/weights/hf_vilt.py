"""The layout of transformers' ViLT for questions, both ways. Its files are read as they are, without transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from ..inputs import Fit, ImagePreprocessing
from ..models.single_stream import SingleStream, SingleStreamConfig
from .blip_text import read_bert, write_bert
from .bundle import CONFIG, TOKENIZER, Layout, ModelBundle, build_model
from .checks import check_answers
from .hf_common import around_questions, check_fixed, describe_roles, read_roles, read_tokenizer
from .hf_pictures import PREPROCESSOR, as_preprocessing, read_processor, write_processor
from .hf_vit import block_rows, read_labels, write_labels
from .own import read_architecture
from .table import FIRST_ADDED, Drop, KeyTable, Row

NAME = "hf-vilt"
_KIND = "ViltForQuestionAnswering"
_PROCESSOR = "ViltImageProcessor"
_PROCESSOR_DEFAULTS = {"size": 384, "size_divisor": 32, "resample": 3, "image_mean": 0.5, "image_std": 0.5}

_EMBEDDINGS, _WORDS = "vilt.embeddings.", "vilt.embeddings.text_embeddings."

TABLE = KeyTable(
    NAME,
    (
        Row("stem.proj.{p}", f"{_EMBEDDINGS}patch_embeddings.projection.{{p}}"),
        Row("class_token", f"{_EMBEDDINGS}cls_token"),
        Row("positions.weight", f"{_EMBEDDINGS}position_embeddings"),
        Row("types.weight", f"{_EMBEDDINGS}token_type_embeddings.weight"),
        Row("stack.embedding.weight", f"{_WORDS}word_embeddings.weight"),
        Row(
            "stack.positions.weight",
            (f"{_WORDS}position_embeddings.weight", f"{_WORDS}token_type_embeddings.weight"),
            FIRST_ADDED,
        ),
        Row("stack.embed_norm.{p}", f"{_WORDS}LayerNorm.{{p}}"),
        *block_rows("vilt.", "stack."),
        Row("pooler.{p}", "vilt.pooler.dense.{p}"),
        Row("head.{i}.{p}", "classifier.{i}.{p}"),
        Drop(f"{_WORDS}position_ids", "counts from 0"),
    ),
)

# the fields of ours that this layout has no word for, and what they are in all its models
FIXED = {"context_dim": None, "positions": "learned", "pre_norm": True, "embed_norm": True, "final_norm": True}

# what their ViLT can do that ours cannot
_UNUSUAL = {
    "num_channels": 3,
    "qkv_bias": True,
    "type_vocab_size": 2,
    "modality_type_vocab_size": 2,
    "max_image_length": -1,
}


def recognizes(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of this layout."""
    return config.get("model_type") == "vilt"


def load(directory: Path, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: It is another ViLT than one that answers questions, or something in it does not fit.
    """
    where = str(directory / CONFIG)
    kinds = config.get("architectures") or [_KIND]
    if kinds[0] != _KIND:
        raise ModelError(f"{where}: `architectures` must be {_KIND}, but is {kinds[0]} instead")
    labels = read_labels(config, where=where)
    tokenizer = read_tokenizer(directory, config.get("vocab_size", 30522))
    architecture = _read_structure(config, len(labels), read_roles(directory, tokenizer), where=where)
    return ModelBundle(
        task="answer",
        model=build_model(architecture, directory, table=TABLE),
        preprocessing=_read_preprocessing(directory),
        labels=check_answers(labels, architecture.answers, where=where),
        tokenizer=tokenizer,
        card={"architecture": kinds[0]},
    )


def _read_structure(
    config: Mapping[str, Any], answers: int, roles: Mapping[str, int], *, where: str
) -> SingleStreamConfig:
    """A value that is not stated has the default of transformers' ViltConfig, but for the heads."""
    for name, wanted in _UNUSUAL.items():
        if config.get(name, wanted) != wanted:
            raise ModelError(f"{where}: `{name}` must be {wanted!r}, but is {config[name]!r} instead")
    question = {
        **FIXED,
        **read_bert({"max_position_embeddings": 40, **config}, where=where),
        **roles,
        "vocab_size": config.get("vocab_size", 30522),
    }
    size = config.get("image_size", 384)
    fields = {
        "question": question,
        "answers": answers,
        "head_dim": 2 * question["dim"],
        "image_size": [size, size],
        "patch_size": config.get("patch_size", 32),
    }
    return read_architecture(fields, SingleStreamConfig, where=where)


def _read_preprocessing(directory: Path) -> ImagePreprocessing:
    """What ViLT's picture processor does to one picture; it pads those of a batch, and has nothing read the padding."""
    path, data = read_processor(directory, _PROCESSOR_DEFAULTS)
    size = data["size"]
    lengths = {
        "size": size.get("shortest_edge") if isinstance(size, Mapping) else size,  # the older form is one number
        "size_divisor": data["size_divisor"],
    }
    for name, length in lengths.items():
        if type(length) is not int:
            raise ModelError(f"{path}: `{name}` must be a length in pixels, but is {data[name]} instead")
    fit = Fit(lengths["size"], _longer(lengths["size"]), lengths["size_divisor"])
    return as_preprocessing(data, size=fit.size((1, 1)), resize_to=fit, where=str(path))


def _longer(shorter: int) -> int:
    """The most that ViLT's processor allows the longer side, which no file says. Source: transformers, its `resize`."""
    return int(1333 / 800 * shorter)


def describe(bundle: ModelBundle, dtype: torch.dtype) -> dict[str, dict[str, Any]]:
    """The JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' ViLT cannot be this model.
    """
    if not isinstance(bundle.model, SingleStream):
        raise ModelError(f"the {NAME} layout needs a single stream, but the model is another: choose another layout")
    if bundle.decoding:
        raise ModelError(f"the {NAME} layout has no place for `{min(bundle.decoding)}` of the bundle's `decoding`")
    architecture = bundle.model.config
    question = architecture.question
    check_fixed(question, FIXED, NAME, of="question")
    check_fixed(architecture, {"head_dim": 2 * question.dim}, NAME)
    height, width = architecture.image_size
    if height != width:
        raise ModelError(
            f"the {NAME} layout needs a square `image_size`, but it is {height} x {width} instead: "
            "choose the layout multiattn"
        )
    return {
        CONFIG: {
            "architectures": [_KIND],
            "model_type": "vilt",
            **_UNUSUAL,
            **write_bert(question),
            "image_size": height,
            "patch_size": architecture.patch_size,
            **write_labels(bundle.labels),
            "dtype": str(dtype).removeprefix("torch."),
        },
        PREPROCESSOR: _write_preprocessing(bundle.pictures),
        # with it transformers too puts the start and the end around a question
        TOKENIZER: around_questions(bundle, question.start_token, question.end_token, NAME),
        **describe_roles(bundle, question, NAME),
    }


def _write_preprocessing(preprocessing: ImagePreprocessing) -> dict[str, Any]:
    fit = preprocessing.resize_to
    if not isinstance(fit, Fit) or fit.longer != _longer(fit.shorter):
        raise ModelError(f"a {_PROCESSOR} has no way to say a resize to {fit}: choose the layout multiattn")
    sizes = {"size": {"shortest_edge": fit.shorter}, "size_divisor": fit.multiple, "do_pad": True}
    return {**write_processor(preprocessing, _PROCESSOR, sizes), "processor_class": "ViltProcessor"}


LAYOUT = Layout(NAME, '"model_type": "vilt"', recognizes, load, describe, TABLE, tasks=("answer",))
