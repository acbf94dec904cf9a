"""The layout of transformers' DINOv2, with registers or without, as a classifier or headless: read and written.

Its classifier reads the class token beside the mean of the patches; its positions are resampled to every picture that
is not as large as those of the training.
"""

from collections.abc import Mapping
from typing import Any

from ..models.vit import ViTConfig
from .hf_common import check_fixed, check_stated
from .hf_encoders import SIZES, Family, Keys
from .hf_vit import attention_rows, stem_rows
from .sizes import check_count
from .table import Drop, KeyTable, Row

NAME = "hf-dinov2"

_PLAIN, _REGISTERS = "dinov2", "dinov2_with_registers"  # their `model_type`, and the prefix of a classifier's keys
_CLASS = {_PLAIN: "Dinov2", _REGISTERS: "Dinov2WithRegisters"}

KEYS = Keys(
    {
        **SIZES,
        "qkv_bias": ("qkv_bias", True),
        "layer_scale": ("layerscale_value", 1.0),
        "norm_eps": ("layer_norm_eps", 1e-6),
        "dropout": ("hidden_dropout_prob", 0.0),
        "attention_dropout": ("attention_probs_dropout_prob", 0.0),
        "stochastic_depth": ("drop_path_rate", 0.0),
    },
    derived=("mlp_dim", "pool", "num_registers", "position_prefix", "resampling"),
    patch_size=14,
)


def rows(theirs: str, ours: str = "") -> tuple[Row | Drop, ...]:
    """Return the rows for a DINOv2 without a head, whose keys have these prefixes."""
    layer, block = f"{theirs}encoder.layer.{{i}}.", f"{ours}blocks.{{i}}."
    return (
        *stem_rows(theirs, ours),
        Row(f"{ours}registers", f"{theirs}embeddings.register_tokens"),
        Row(f"{block}norm1.{{p}}", f"{layer}norm1.{{p}}"),
        *attention_rows(layer, block),
        Row(f"{block}scale1.gamma", f"{layer}layer_scale1.lambda1"),
        Row(f"{block}norm2.{{p}}", f"{layer}norm2.{{p}}"),
        Row(f"{block}feedforward.fc1.{{p}}", f"{layer}mlp.fc1.{{p}}"),
        Row(f"{block}feedforward.fc2.{{p}}", f"{layer}mlp.fc2.{{p}}"),
        Row(f"{block}scale2.gamma", f"{layer}layer_scale2.lambda1"),
        Row(f"{ours}norm.{{p}}", f"{theirs}layernorm.{{p}}"),
    )


def _tables(kind: str) -> tuple[KeyTable, KeyTable]:
    """Return the tables of the classifier, and of the model without a head, of a `model_type`."""
    return KeyTable(NAME, (*rows(f"{kind}."), Row("head.{p}", "classifier.{p}"))), KeyTable(NAME, rows(""))


def read_structure(config: Mapping[str, Any], num_classes: int, *, where: str) -> ViTConfig:
    """Return our configuration for theirs. A value that is not stated has the default of transformers."""
    check_stated(config, {"use_swiglu_ffn": False}, where=where)
    has_registers = config.get("model_type") == _REGISTERS
    registers = config.get("num_register_tokens", 4) if has_registers else 0
    return KEYS.read(
        config,
        where=where,
        num_classes=num_classes,
        mlp_dim=config.get("hidden_size", 768) * check_count(config.get("mlp_ratio", 4), "mlp_ratio", where=where),
        pool="class_mean" if num_classes else "class",
        num_registers=registers,
        position_prefix="class" if registers else True,
        resampling="bicubic" if has_registers else "bicubic_aliased",
    )


def write_structure(architecture: ViTConfig, layout: str, *, of: str = "") -> dict[str, Any]:
    """Return the keys that `read_structure` reads; arguments and errors as for `Keys.write`."""
    has_registers = architecture.resampling == "bicubic"
    theirs = _REGISTERS if has_registers else _PLAIN
    needed = {
        **({} if has_registers else {"num_registers": 0, "resampling": "bicubic_aliased"}),
        "pool": "class_mean" if architecture.num_classes else "class",
        "position_prefix": "class" if architecture.num_registers else True,
    }
    check_fixed(architecture, needed, layout, of=of)
    ratio = max(1, round(architecture.mlp_dim / architecture.dim))
    check_fixed(architecture, {"mlp_dim": ratio * architecture.dim}, layout, of=of)  # theirs is a whole multiple
    return {
        "model_type": theirs,
        **KEYS.write(architecture, layout, of=of),
        "mlp_ratio": ratio,
        **({"num_register_tokens": architecture.num_registers} if has_registers else {}),
    }


def _read(config: Mapping[str, Any], *, kind: str, num_classes: int, where: str) -> ViTConfig:
    return read_structure(config, num_classes, where=where)


def _write(architecture: ViTConfig) -> dict[str, Any]:
    stated = write_structure(architecture, NAME)
    head = "ForImageClassification" if architecture.num_classes else "Model"
    return {"architectures": [_CLASS[stated["model_type"]] + head], **stated}


_TABLES = {kind: _tables(kind) for kind in _CLASS}

LAYOUT = Family(
    NAME,
    model_types=(_PLAIN, _REGISTERS),
    classifiers={f"{name}ForImageClassification": _TABLES[kind][0] for kind, name in _CLASS.items()},
    headless={f"{name}Model": _TABLES[kind][1] for kind, name in _CLASS.items()},
    read=_read,
    write=_write,
    processor="BitImageProcessor",
).layout()
