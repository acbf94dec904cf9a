"""The layout of transformers' ViLT for questions, read and written without transformers."""

from collections.abc import Mapping
from typing import Any

from ..errors import ModelError
from ..inputs import Fit, ImagePreprocessing
from ..inputs.preprocess import LARGEST_RESIZE
from ..models.single_stream import SingleStream, SingleStreamConfig
from .blip_text import read_bert, write_bert
from .bundle import CONFIG, TOKENIZER, Layout, ModelBundle, build_model, states
from .hf_common import (
    PLAIN_BLOCKS,
    around_questions,
    check_fixed,
    check_stated,
    describe_roles,
    read_kind,
    read_roles,
    square_side,
)
from .hf_labels import read_labels, write_labels
from .hf_pictures import PREPROCESSOR, as_preprocessing, read_processor, write_processor
from .hf_vit import block_rows
from .json_files import check_value, read_architecture, short
from .model_files import ModelFiles
from .table import FIRST_ADDED, Drop, KeyTable, Row, counts

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
        Drop(f"{_WORDS}position_ids", "counts from 0", equals=counts),
    ),
)

# fields of ours that this layout cannot express, and their values in all its models
FIXED = {
    **PLAIN_BLOCKS,
    "context_dim": None,
    "positions": "learned",
    "pre_norm": True,
    "scale_embedding": False,
    "embed_norm": True,
    "final_norm": True,
}

# keys of theirs, and the only values that ours can have
_UNUSUAL = {
    "num_channels": 3,
    "qkv_bias": True,
    "type_vocab_size": 2,
    "modality_type_vocab_size": 2,
    "max_image_length": -1,
}


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: The ViLT does not answer questions, or something in the directory does not fit.
    """
    where = files.where(CONFIG)
    kind = read_kind(config, [_KIND], where=where)
    labels = read_labels(config, where=where)
    tokenizer = files.tokenizer()
    architecture = _read_structure(config, len(labels), read_roles(files, tokenizer), where=where)
    return ModelBundle(
        task="answer",
        model=build_model(architecture, files, table=TABLE),
        preprocessing=_read_preprocessing(files),
        labels=labels,
        tokenizer=tokenizer,
        card={"architecture": kind},
    )


def _read_structure(
    config: Mapping[str, Any], answers: int, roles: Mapping[str, int], *, where: str
) -> SingleStreamConfig:
    """Return our configuration. All but the number of heads have the defaults of transformers' ViltConfig."""
    check_stated(config, _UNUSUAL, where=where)
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


def _read_preprocessing(files: ModelFiles) -> ImagePreprocessing:
    """Return what ViLT's image processor does to one image. It pads those of a batch, and masks the padding."""
    if isinstance(files.preprocessing, ImagePreprocessing):
        return files.preprocessing
    path, data = read_processor(files, {_PROCESSOR: _PROCESSOR_DEFAULTS}, _PROCESSOR, honored=("size_divisor",))
    size = data["size"]
    lengths = {
        "size": size.get("shortest_edge") if isinstance(size, Mapping) else size,  # the older form is one number
        "size_divisor": data["size_divisor"],
    }
    for name, length in lengths.items():
        known = type(length) is int and 1 <= length <= LARGEST_RESIZE
        check_value(known, name, must="a length in pixels", value=short(data[name]), where=path)
    fit = Fit(lengths["size"], _longer(lengths["size"]), lengths["size_divisor"])
    return as_preprocessing(data, size=fit.size((1, 1)), resize_to=fit, where=path)


def _longer(shorter: int) -> int:
    """Return ViLT's limit of the longer side, which no file states. Source: transformers, ViltImageProcessor.resize."""
    return int(1333 / 800 * shorter)


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' ViLT cannot express the model.
    """
    if not isinstance(bundle.model, SingleStream):
        raise ModelError(f"the {NAME} layout needs a single stream, but the model is another: choose another layout")
    if bundle.decoding:
        raise ModelError(f"the {NAME} layout has no place for `{min(bundle.decoding)}` of the bundle's `decoding`")
    architecture = bundle.model.config
    question = architecture.question
    check_fixed(question, FIXED, NAME, of="question")
    check_fixed(architecture, {"head_dim": 2 * question.dim}, NAME)
    return {
        CONFIG: {
            "architectures": [_KIND],
            "model_type": "vilt",
            **_UNUSUAL,
            **write_bert(question),
            "image_size": square_side(architecture.image_size, NAME),
            "patch_size": architecture.patch_size,
            **write_labels(bundle.labels),
        },
        PREPROCESSOR: _write_preprocessing(bundle.pictures),
        # transformers puts the start and the end token around a question with it
        TOKENIZER: around_questions(bundle.vocabulary, question.start_token, question.end_token, NAME),
        **describe_roles(bundle.vocabulary, question, NAME),
    }


def _write_preprocessing(preprocessing: ImagePreprocessing) -> dict[str, Any]:
    fit = preprocessing.resize_to
    if not isinstance(fit, Fit) or fit.longer != _longer(fit.shorter):
        raise ModelError(f"a {_PROCESSOR} has no way to say a resize to {fit}: choose the layout multiattn")
    sizes = {"size": {"shortest_edge": fit.shorter}, "size_divisor": fit.multiple, "do_pad": True}
    return {**write_processor(preprocessing, _PROCESSOR, sizes), "processor_class": "ViltProcessor"}


LAYOUT = Layout(
    NAME,
    '"model_type": "vilt"',
    states("model_type", "vilt"),
    load,
    describe,
    TABLE,
    states_dtype=True,
    models="ViLT",
    classes=("ViltForQuestionAnswering",),
)
