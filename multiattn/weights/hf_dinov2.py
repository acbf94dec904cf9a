"""The layout of transformers' DINOv2, with registers or without, as a classifier or headless: read and written.

Its classifier reads the class token beside the mean of the patches; its positions are resampled to every picture that
is not as large as those of the training.
"""

from collections.abc import Mapping
from typing import Any

from ..models.vit import ViTConfig
from .hf_common import check_fixed
from .hf_encoders import SIZES, Family, Keys, class_of
from .hf_vit import attention_rows, stem_rows
from .json_files import check_value
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
    derived=("mlp_dim", "gated", "pool", "num_registers", "position_prefix", "resampling"),
    patch_size=14,
)


_GATED = " gated"
VARIANTS = ("", _GATED)


def rows(theirs: str, ours: str = "", variant: str = "") -> tuple[Row | Drop, ...]:
    """Return the rows for a DINOv2 without a head.

    Args:
        theirs: Prefix of their keys.
        ours: Prefix of ours.
        variant: What `variant_of` returns.
    """
    layer, block = f"{theirs}encoder.layer.{{i}}.", f"{ours}blocks.{{i}}."
    fc1, fc2 = ("weights_in", "weights_out") if variant == _GATED else ("fc1", "fc2")
    return (
        *stem_rows(theirs, ours),
        Row(f"{ours}registers", f"{theirs}embeddings.register_tokens"),
        Row(f"{block}norm1.{{p}}", f"{layer}norm1.{{p}}"),
        *attention_rows(layer, block),
        Row(f"{block}scale1.gamma", f"{layer}layer_scale1.lambda1"),
        Row(f"{block}norm2.{{p}}", f"{layer}norm2.{{p}}"),
        Row(f"{block}feedforward.fc1.{{p}}", f"{layer}mlp.{fc1}.{{p}}"),
        Row(f"{block}feedforward.fc2.{{p}}", f"{layer}mlp.{fc2}.{{p}}"),
        Row(f"{block}scale2.gamma", f"{layer}layer_scale2.lambda1"),
        Row(f"{ours}norm.{{p}}", f"{theirs}layernorm.{{p}}"),
    )


def variant_of(config: Mapping[str, Any]) -> str:
    """Return which rows a model of this configuration has."""
    return _GATED * bool(config.get("use_swiglu_ffn"))


def read_structure(config: Mapping[str, Any], num_classes: int, *, where: str) -> ViTConfig:
    """Return our configuration for theirs. A value that is not stated has the default of transformers."""
    sizes = tuple(
        check_count(config.get(name, default), name, where=where)
        for name, default in (("hidden_size", 768), ("mlp_ratio", 4))
    )
    gated = config.get("use_swiglu_ffn", False)
    check_value(isinstance(gated, bool), "use_swiglu_ffn", must="true or false", value=gated, where=where)
    has_registers = config.get("model_type") == _REGISTERS
    registers = config.get("num_register_tokens", 4) if has_registers else 0
    return KEYS.read(
        config,
        where=where,
        num_classes=num_classes,
        mlp_dim=_mlp_dim(*sizes, gated=gated),
        gated=gated,
        **({"activation": "silu"} if gated else {}),
        pool="class_mean" if num_classes else "class",
        num_registers=registers,
        position_prefix="class" if registers else True,
        resampling="bicubic" if has_registers else "bicubic_aliased",
    )


def _mlp_dim(dim: int, ratio: int, *, gated: bool) -> int:
    """Return the width inside the feedforward; of one with a gate, about two thirds of it."""
    return (dim * ratio * 2 // 3 + 7) // 8 * 8 if gated else dim * ratio


def write_structure(architecture: ViTConfig, layout: str, *, of: str = "") -> dict[str, Any]:
    """Return the keys that `read_structure` reads; arguments and errors as for `Keys.write`."""
    has_registers = architecture.resampling == "bicubic"
    theirs = _REGISTERS if has_registers else _PLAIN
    needed = {
        **({} if has_registers else {"num_registers": 0, "resampling": "bicubic_aliased"}),
        "pool": "class_mean" if architecture.num_classes else "class",
        "position_prefix": "class" if architecture.num_registers else True,
        **({"activation": "silu"} if architecture.gated else {}),
    }
    check_fixed(architecture, needed, layout, of=of)
    gated = architecture.gated
    ratio = max(1, round(architecture.mlp_dim / architecture.dim * (1.5 if gated else 1)))  # theirs is a whole number
    check_fixed(architecture, {"mlp_dim": _mlp_dim(architecture.dim, ratio, gated=gated)}, layout, of=of)
    return {
        "model_type": theirs,
        **KEYS.write(architecture, layout, of=of),
        "mlp_ratio": ratio,
        "use_swiglu_ffn": gated,
        **({"num_register_tokens": architecture.num_registers} if has_registers else {}),
    }


def _read(config: Mapping[str, Any], *, kind: str, num_classes: int, where: str) -> ViTConfig:
    return read_structure(config, num_classes, where=where)


def _write(architecture: ViTConfig) -> dict[str, Any]:
    stated = write_structure(architecture, NAME)
    head = "ForImageClassification" if architecture.num_classes else "Model"
    return {"architectures": [_CLASS[stated["model_type"]] + head], **stated}


_CLASSIFIERS = {f"{name}ForImageClassification": prefix for prefix, name in _CLASS.items()}
_HEADLESS = [f"{name}Model" for name in _CLASS.values()]
_TABLES = {
    kind + variant: KeyTable(NAME, table)
    for variant in VARIANTS
    for kind, table in {
        **{
            kind: (*rows(f"{prefix}.", variant=variant), Row("head.{p}", "classifier.{p}"))
            for kind, prefix in _CLASSIFIERS.items()
        },
        **dict.fromkeys(_HEADLESS, rows("", variant=variant)),
    }.items()
}

LAYOUT = Family(
    NAME,
    models="DINOv2, with registers or without",
    model_types=(_PLAIN, _REGISTERS),
    classifiers=_CLASSIFIERS,
    headless=_HEADLESS,
    tables=_TABLES,
    read=_read,
    write=_write,
    processor="BitImageProcessor",
    variant=lambda config: class_of(config) + variant_of(config),
).layout()
