"""The layout of transformers' ViT, read and written without transformers."""

from collections.abc import Mapping
from typing import Any

from ..errors import ModelError
from ..models.scores import ScoreFunction
from ..models.vit import ViT, ViTConfig
from .bundle import CONFIG, Layout, ModelBundle, build_model, states
from .hf_common import check_fixed, read_activation, read_kind, write_activation
from .hf_pictures import PREPROCESSOR, read_preprocessing, write_preprocessing
from .json_files import check_value, read_architecture, read_part, short
from .model_files import ModelFiles
from .sizes import check_count
from .table import CONCAT, Drop, KeyTable, Row

NAME = "hf-vit"


def rows(theirs: str, ours: str = "") -> tuple[Row | Drop, ...]:
    """Return the rows for a ViT without a head, whose keys have these prefixes."""
    return (
        Row(f"{ours}stem.proj.{{p}}", f"{theirs}embeddings.patch_embeddings.projection.{{p}}"),
        Row(f"{ours}class_token", f"{theirs}embeddings.cls_token"),
        Row(f"{ours}positions.weight", f"{theirs}embeddings.position_embeddings"),
        *block_rows(theirs, ours),
        Drop(f"{theirs}pooler.dense.{{p}}", "only the tokens are used, not the pooled first one"),
        Drop(f"{theirs}embeddings.mask_token", "stands for hidden patches, which only pre-training has"),
    )


def block_rows(theirs: str, ours: str) -> tuple[Row, ...]:
    """Return the rows for the blocks and the norm after them, which ViLT has too."""
    layer, block = f"{theirs}encoder.layer.{{i}}.", f"{ours}blocks.{{i}}."
    return (
        Row(f"{block}norm1.{{p}}", f"{layer}layernorm_before.{{p}}"),
        Row(
            f"{block}attention.qkv.{{p}}",
            tuple(f"{layer}attention.attention.{name}.{{p}}" for name in ("query", "key", "value")),
            CONCAT,
        ),
        Row(f"{block}attention.out.{{p}}", f"{layer}attention.output.dense.{{p}}"),
        Row(f"{block}norm2.{{p}}", f"{layer}layernorm_after.{{p}}"),
        Row(f"{block}feedforward.fc1.{{p}}", f"{layer}intermediate.dense.{{p}}"),
        Row(f"{block}feedforward.fc2.{{p}}", f"{layer}output.dense.{{p}}"),
        Row(f"{ours}norm.{{p}}", f"{theirs}layernorm.{{p}}"),
    )


TABLE = KeyTable(NAME, (*rows("vit."), Row("head.{p}", "classifier.{p}")))
BACKBONE_TABLE = KeyTable(NAME, rows(""))
"""For a `ViTModel`, which has no head and no prefix: a start for fine-tuning."""

_TABLES = {"ViTForImageClassification": TABLE, "ViTModel": BACKBONE_TABLE}

PROBLEMS: dict[str, ScoreFunction] = {
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
    "regression": "identity",
}
"""transformers' `problem_type`, and how the outputs become scores there, in `ImageClassificationPipeline`."""

"""A `num_labels` is checked before names are made up for so many labels."""

# fields of ours that this layout cannot express, and their values in all its models
FIXED = {
    "stem": "patch",
    "stem_bias": True,
    "stem_norm": False,
    "positions": "learned",
    "position_prefix": True,
    "class_token": True,
    "num_registers": 0,
    "pool": "class",
    "final_norm": True,
    "pool_norm": False,
    "qk_norm": False,
    "layer_scale": None,
}


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: The ViT is neither a classifier nor a backbone, or something in the directory does not fit.
    """
    where = files.where(CONFIG)
    kind = read_kind(config, _TABLES, where=where)
    table = _TABLES[kind]
    labels = read_labels(config, where=where) if table is TABLE else ()
    architecture = read_structure(config, len(labels), where=where)
    return ModelBundle(
        task="classify",
        model=build_model(architecture, files, table=table),
        preprocessing=read_preprocessing(files, channels=architecture.in_channels),
        labels=labels,
        score_function=read_score_function(config, len(labels), where=where) if table is TABLE else "softmax",
        card={"architecture": kind},
    )


def read_structure(config: Mapping[str, Any], num_classes: int, *, where: str) -> ViTConfig:
    """Return our configuration for theirs. A value that is not stated has the default of transformers' ViTConfig."""
    image_size, patch_size = config.get("image_size", 224), config.get("patch_size", 16)
    if isinstance(patch_size, list):
        check_value(len(set(patch_size)) == 1, "patch_size", must="square", value=patch_size, where=where)
        patch_size = patch_size[0]
    fields = {
        "image_size": image_size if isinstance(image_size, list) else [image_size, image_size],
        "patch_size": patch_size,
        "in_channels": config.get("num_channels", 3),
        "num_classes": num_classes,
        "dim": config.get("hidden_size", 768),
        "depth": config.get("num_hidden_layers", 12),
        "num_heads": config.get("num_attention_heads", 12),
        "mlp_dim": config.get("intermediate_size", 3072),
        "qkv_bias": config.get("qkv_bias", True),
        "activation": read_activation(config.get("hidden_act", "gelu"), "hidden_act", where=where),
        "norm_eps": config.get("layer_norm_eps", 1e-12),
        "dropout": config.get("hidden_dropout_prob", 0.0),
        "attention_dropout": config.get("attention_probs_dropout_prob", 0.0),
    }
    return read_architecture({**FIXED, **fields}, ViTConfig, where=where)


def read_labels(config: Mapping[str, Any], *, where: str) -> tuple[str, ...]:
    """Return the labels of a classifier, in the order of its scores."""
    if config.get("id2label") is None:
        return tuple(
            f"LABEL_{index}" for index in range(check_count(config.get("num_labels", 2), "num_labels", where=where))
        )  # transformers' own defaults
    names = read_part(config, "id2label", where=where)
    try:
        return tuple(str(names[str(index)]) for index in range(len(names)))
    except KeyError as error:
        raise ModelError(
            f"{where}: `id2label` must have all of 0 to {len(names) - 1}, but lacks {error} instead"
        ) from error


def read_score_function(config: Mapping[str, Any], num_labels: int, *, where: str) -> ScoreFunction:
    """Return how the outputs become scores, by the `problem_type`.

    Raises:
        ModelError: It is unknown, or states one label out of one, which transformers refuses too.
    """
    problem = config.get("problem_type") or "single_label_classification"
    check_value(
        problem in PROBLEMS, "problem_type", must=f"one of {', '.join(PROBLEMS)}", value=short(problem), where=where
    )
    if config.get("problem_type") and PROBLEMS[problem] == "softmax" and num_labels == 1:
        raise ModelError(
            f"{where}: `problem_type` must be multi_label_classification or regression for one label, but is "
            f"{problem} instead"
        )
    return PROBLEMS[problem]


def write_score_function(score_function: ScoreFunction) -> dict[str, Any]:
    """Return the key that `read_score_function` reads; nothing for a softmax."""
    words = {ours: theirs for theirs, ours in PROBLEMS.items()}
    return {} if score_function == "softmax" else {"problem_type": words[score_function]}


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' ViT cannot express the model.
    """
    architecture = bundle.require(ViT).config
    if not architecture.num_classes:
        raise ModelError(f"the {NAME} layout needs a head, but `num_classes` is 0 instead")
    return {
        CONFIG: {
            "architectures": ["ViTForImageClassification"],
            **write_structure(architecture, NAME),
            **write_labels(bundle.labels),
            **write_score_function(bundle.score_function),
        },
        PREPROCESSOR: write_preprocessing(bundle.pictures, "ViTImageProcessor"),
    }


def write_labels(labels: tuple[str, ...]) -> dict[str, Any]:
    """Return the keys that `read_labels` reads."""
    return {
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def write_structure(architecture: ViTConfig, layout: str, *, of: str = "") -> dict[str, Any]:
    """Return the keys that `read_structure` reads.

    Args:
        architecture: Our configuration.
        layout: The layout's name, for messages.
        of: The part of the model that the ViT is, if it is not the whole.

    Raises:
        ModelError: transformers' ViT cannot express the model.
    """
    check_fixed(architecture, FIXED, layout, of=of)
    height, width = architecture.image_size
    return {
        "model_type": "vit",
        "image_size": height if height == width else [height, width],
        "patch_size": architecture.patch_size,
        "num_channels": architecture.in_channels,
        "hidden_size": architecture.dim,
        "num_hidden_layers": architecture.depth,
        "num_attention_heads": architecture.num_heads,
        "intermediate_size": architecture.mlp_dim,
        "qkv_bias": architecture.qkv_bias,
        "hidden_act": write_activation(architecture.activation),
        "layer_norm_eps": architecture.norm_eps,
        "hidden_dropout_prob": architecture.dropout,
        "attention_probs_dropout_prob": architecture.attention_dropout,
    }


LAYOUT = Layout(NAME, '"model_type": "vit"', states("model_type", "vit"), load, describe, TABLE, states_dtype=True)
