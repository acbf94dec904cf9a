"""The layout of transformers' ViT, both ways. Its files are read as they are: transformers itself is not needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from ..inputs import ImagePreprocessing
from ..models.vit import ViTConfig
from .bundle import CONFIG, Layout, ModelBundle, build_vit, read_json
from .own import read_architecture
from .table import CONCAT, Drop, KeyTable, Row

NAME = "hf-vit"
PREPROCESSOR = "preprocessor_config.json"


def _table(prefix: str) -> KeyTable:
    layer = f"{prefix}encoder.layer.{{i}}."
    return KeyTable(
        NAME,
        (
            Row("stem.proj.{p}", f"{prefix}embeddings.patch_embeddings.projection.{{p}}"),
            Row("class_token", f"{prefix}embeddings.cls_token"),
            Row("positions.weight", f"{prefix}embeddings.position_embeddings"),
            Row("blocks.{i}.norm1.{p}", f"{layer}layernorm_before.{{p}}"),
            Row(
                "blocks.{i}.attention.qkv.{p}",
                (
                    f"{layer}attention.attention.query.{{p}}",
                    f"{layer}attention.attention.key.{{p}}",
                    f"{layer}attention.attention.value.{{p}}",
                ),
                CONCAT,
            ),
            Row("blocks.{i}.attention.out.{p}", f"{layer}attention.output.dense.{{p}}"),
            Row("blocks.{i}.norm2.{p}", f"{layer}layernorm_after.{{p}}"),
            Row("blocks.{i}.feedforward.fc1.{p}", f"{layer}intermediate.dense.{{p}}"),
            Row("blocks.{i}.feedforward.fc2.{p}", f"{layer}output.dense.{{p}}"),
            Row("norm.{p}", f"{prefix}layernorm.{{p}}"),
            Row("head.{p}", "classifier.{p}"),
            Drop(
                f"{prefix}pooler.dense.{{p}}", "the classifier reads the class token, not what the pooler makes of it"
            ),
            Drop(f"{prefix}embeddings.mask_token", "stands for patches that are hidden in pre-training only"),
        ),
    )


TABLE = _table("vit.")
BACKBONE_TABLE = _table("")
"""For a `ViTModel`, which has no classifier and so no prefix: a start for fine-tuning."""

_TABLES = {"ViTForImageClassification": TABLE, "ViTModel": BACKBONE_TABLE}

# theirs to ours; where two of theirs mean one of ours, the first is written
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "quick_gelu": "gelu_quick",
}

# the fields of ours that this layout has no word for, and what they are in all its models
_FIXED = {
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
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers


def recognises(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of this layout."""
    return config.get("model_type") == "vit"


def load(directory: Path, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: It is another ViT than a classifier or a backbone, or something in it does not fit.
    """
    path = directory / CONFIG
    kinds = config.get("architectures") or ["ViTForImageClassification"]
    if kinds[0] not in _TABLES:
        raise ModelError(f"{path}: `architectures` must be one of {', '.join(_TABLES)}, but is {kinds[0]} instead")
    table = _TABLES[kinds[0]]
    labels = _read_labels(config, where=str(path)) if table is TABLE else ()
    architecture = _read_structure(config, len(labels), where=str(path))
    return ModelBundle(
        task="classify",
        model=build_vit(architecture, directory, table=table),
        preprocessing=_read_preprocessing(directory),
        labels=labels,
        card={"architecture": kinds[0]},
    )


def _read_structure(config: Mapping[str, Any], num_classes: int, *, where: str) -> ViTConfig:
    # a value that is not stated has the default of transformers' ViTConfig
    activation = config.get("hidden_act", "gelu")
    if activation not in _ACTIVATIONS:
        raise ModelError(f"{where}: `hidden_act` must be one of {', '.join(_ACTIVATIONS)}, but is {activation} instead")
    image_size, patch_size = config.get("image_size", 224), config.get("patch_size", 16)
    if isinstance(patch_size, list):
        if len(set(patch_size)) != 1:
            raise ModelError(f"{where}: `patch_size` must be square, but is {patch_size} instead")
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
        "activation": _ACTIVATIONS[activation],
        "norm_eps": config.get("layer_norm_eps", 1e-12),
        "dropout": config.get("hidden_dropout_prob", 0.0),
        "attention_dropout": config.get("attention_probs_dropout_prob", 0.0),
    }
    return read_architecture({**_FIXED, **fields}, where=where)


def _read_labels(config: Mapping[str, Any], *, where: str) -> tuple[str, ...]:
    names = config.get("id2label")
    if names is None:
        return tuple(f"LABEL_{index}" for index in range(config.get("num_labels", 2)))  # transformers' own defaults
    try:
        return tuple(str(names[str(index)]) for index in range(len(names)))
    except KeyError as error:
        raise ModelError(
            f"{where}: `id2label` must have all of 0 to {len(names) - 1}, but lacks {error} instead"
        ) from error


def _read_preprocessing(directory: Path) -> ImagePreprocessing:
    """What transformers' ViTImageProcessor does, from the file it reads, in its older and its current form."""
    nested = directory / "processor_config.json"
    if not (directory / PREPROCESSOR).is_file() and nested.is_file():
        path, data = nested, read_json(nested).get("image_processor")
        if not isinstance(data, dict):
            raise ModelError(f"{path} must describe an `image_processor`, but does not")
    else:
        path = directory / PREPROCESSOR
        data = read_json(path)
    for key, wanted in (("do_resize", True), ("do_pad", False)):
        if data.get(key, wanted) not in (wanted, None):
            raise ModelError(f"{path}: `{key}` must be {wanted}, but is {data[key]} instead")
    resize_to = _read_size(data.get("size", 224), where=f"{path}: `size`")
    size = resize_to
    if data.get("do_center_crop"):
        size = _read_size(data.get("crop_size", 224), where=f"{path}: `crop_size`")
    if isinstance(size, int):
        raise ModelError(f"{path}: `size` must have a height and a width where nothing is cropped, but has not")
    resample = data.get("resample", 2)
    if resample not in _RESAMPLING:
        raise ModelError(f"{path}: `resample` must be one of {_RESAMPLING}, but is {resample!r} instead")
    normalises, rescales = data.get("do_normalize") is not False, data.get("do_rescale") is not False
    return ImagePreprocessing(
        size=size,
        resize_to=resize_to,
        interpolation=_RESAMPLING[resample],  # type: ignore[arg-type]
        mean=_three(data.get("image_mean", 0.5) if normalises else 0.0),
        std=_three(data.get("image_std", 0.5) if normalises else 1.0),
        rescale=data.get("rescale_factor", 1 / 255) if rescales else 1.0,
    )


def _read_size(size: Any, *, where: str) -> tuple[int, int] | int:
    """Height and width, or the length of the shorter side. The older form, one number, is a square."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping) and size.get("height") and size.get("width"):
        return int(size["height"]), int(size["width"])
    if isinstance(size, Mapping) and size.get("shortest_edge") and not size.get("longest_edge"):
        return int(size["shortest_edge"])
    raise ModelError(f"{where} must be a height and width or a shortest_edge, but is {size} instead")


def _three(value: Any) -> tuple[float, float, float]:
    red, green, blue = value if isinstance(value, list) else (value,) * 3
    return float(red), float(green), float(blue)


def describe(bundle: ModelBundle, dtype: torch.dtype) -> dict[str, dict[str, Any]]:
    """The JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' ViT cannot be this model.
    """
    architecture = bundle.model.config
    for field, wanted in _FIXED.items():
        value = getattr(architecture, field)
        if value != wanted:
            raise ModelError(f"the {NAME} layout needs `{field}` to be {wanted!r}, but it is {value!r} instead")
    if not architecture.num_classes:
        raise ModelError(f"the {NAME} layout needs a head, but `num_classes` is 0 instead")
    height, width = architecture.image_size
    activations = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
    return {
        CONFIG: {
            "architectures": ["ViTForImageClassification"],
            "model_type": "vit",
            "image_size": height if height == width else [height, width],
            "patch_size": architecture.patch_size,
            "num_channels": architecture.in_channels,
            "hidden_size": architecture.dim,
            "num_hidden_layers": architecture.depth,
            "num_attention_heads": architecture.num_heads,
            "intermediate_size": architecture.mlp_dim,
            "qkv_bias": architecture.qkv_bias,
            "hidden_act": activations[architecture.activation],
            "layer_norm_eps": architecture.norm_eps,
            "hidden_dropout_prob": architecture.dropout,
            "attention_probs_dropout_prob": architecture.attention_dropout,
            "id2label": {str(index): label for index, label in enumerate(bundle.labels)},
            "label2id": {label: index for index, label in enumerate(bundle.labels)},
            "dtype": str(dtype).removeprefix("torch."),
        },
        PREPROCESSOR: _write_preprocessing(bundle.preprocessing),
    }


def _write_preprocessing(preprocessing: ImagePreprocessing) -> dict[str, Any]:
    def as_size(size: tuple[int, int] | int) -> dict[str, int]:
        return {"shortest_edge": size} if isinstance(size, int) else {"height": size[0], "width": size[1]}

    result: dict[str, Any] = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": as_size(preprocessing.resize_to),
        "resample": {name: number for number, name in _RESAMPLING.items()}[preprocessing.interpolation],
        "do_rescale": True,
        "rescale_factor": preprocessing.rescale,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
    }
    if preprocessing.resize_to != preprocessing.size:
        result |= {"do_center_crop": True, "crop_size": as_size(preprocessing.size)}
    return result


LAYOUT = Layout(NAME, '"model_type": "vit"', recognises, load, describe, TABLE)
