"""The layout of transformers' BEiT, as a classifier or headless: read and written.

Positions are a learned bias of the scores, in each block or one for all, beside learned positions or without. For a
picture of another size the bias is resampled as timm and the original do, and not as transformers does.
"""

from collections.abc import Mapping
from typing import Any

from ..models.vit import ViTConfig
from .hf_common import check_fixed
from .hf_encoders import SIZES, Family, Keys, class_of
from .hf_vit import stem_rows
from .json_files import check_value, short
from .table import CONCAT, NO_KEY_BIAS, Drop, KeyTable, Row

NAME = "hf-beit"

KEYS = Keys(
    {
        **SIZES,
        "mlp_dim": ("intermediate_size", 3072),
        "norm_eps": ("layer_norm_eps", 1e-12),
        "dropout": ("hidden_dropout_prob", 0.0),
        "attention_dropout": ("attention_probs_dropout_prob", 0.0),
        "stochastic_depth": ("drop_path_rate", 0.1),
    },
    derived=("pool", "pool_norm", "final_norm", "positions", "relative_bias", "layer_scale"),
    values={"resampling": "bicubic_aliased"},
)

_SHARED = " shared"
VARIANTS = ("", _SHARED)

# theirs, and the value that a file means which states none
_FLAGS = {
    "use_mean_pooling": True,
    "use_absolute_position_embeddings": False,
    "use_relative_position_bias": False,
    "use_shared_relative_position_bias": False,
}


def rows(theirs: str, ours: str = "", variant: str = "") -> tuple[Row | Drop, ...]:
    """Return the rows for a BEiT without a head.

    Args:
        theirs: Prefix of their keys.
        ours: Prefix of ours.
        variant: What `variant_of` returns.
    """
    layer, block = f"{theirs}encoder.layer.{{i}}.", f"{ours}blocks.{{i}}."
    attention, bias = f"{layer}attention.attention.", "relative_position_bias.relative_position_bias_"
    shared = variant == _SHARED
    return (
        *stem_rows(theirs, ours),
        Row(
            f"{ours}relative_bias.0.weight" if shared else f"{ours}relative_bias.{{i}}.weight",
            f"{theirs}encoder.{bias}table" if shared else f"{attention}{bias}table",
        ),
        Row(f"{block}norm1.{{p}}", f"{layer}layernorm_before.{{p}}"),
        Row(
            f"{block}attention.qkv.weight",
            tuple(f"{attention}{name}.weight" for name in ("query", "key", "value")),
            CONCAT,
        ),
        Row(f"{block}attention.qkv.bias", tuple(f"{attention}{name}.bias" for name in ("query", "value")), NO_KEY_BIAS),
        Row(f"{block}attention.out.{{p}}", f"{layer}attention.output.dense.{{p}}"),
        Row(f"{block}scale1.gamma", f"{layer}lambda_1"),
        Row(f"{block}norm2.{{p}}", f"{layer}layernorm_after.{{p}}"),
        Row(f"{block}feedforward.fc1.{{p}}", f"{layer}intermediate.dense.{{p}}"),
        Row(f"{block}feedforward.fc2.{{p}}", f"{layer}output.dense.{{p}}"),
        Row(f"{block}scale2.gamma", f"{layer}lambda_2"),
        Row(f"{ours}norm.{{p}}", f"{theirs}layernorm.{{p}}"),
        Row(f"{ours}pool_norm.{{p}}", f"{theirs}pooler.layernorm.{{p}}"),
        *(
            Drop(f"{before}relative_position_bias.relative_position_index", "follows from the grid")
            for before in (attention, f"{theirs}encoder.")
        ),
    )


def variant_of(config: Mapping[str, Any]) -> str:
    """Return which rows a model of this configuration has."""
    return _SHARED * bool(config.get("use_shared_relative_position_bias"))


def read_structure(config: Mapping[str, Any], num_classes: int, *, where: str) -> ViTConfig:
    """Return our configuration for theirs. A value that is not stated has the default of transformers."""
    found = {name: config.get(name, default) for name, default in _FLAGS.items()}
    for name, value in found.items():
        check_value(isinstance(value, bool), name, must="true or false", value=short(value), where=where)
    by_mean, absolute, by_block, shared = found.values()
    must = "false where `use_shared_relative_position_bias` is true"
    check_value(not (by_block and shared), "use_relative_position_bias", must=must, value=by_block, where=where)
    scale = config.get("layer_scale_init_value", 0.1)
    check_value(type(scale) in (int, float), "layer_scale_init_value", must="a number", value=short(scale), where=where)
    return KEYS.read(
        config,
        where=where,
        num_classes=num_classes,
        pool="mean" if by_mean else "class",
        pool_norm=by_mean,
        final_norm=not by_mean,
        positions="learned" if absolute else "none",
        relative_bias="shared" if shared else "block" if by_block else "none",
        layer_scale=scale if scale > 0 else None,
    )


def write_structure(architecture: ViTConfig, layout: str, *, of: str = "") -> dict[str, Any]:
    """Return the keys that `read_structure` reads; arguments and errors as for `Keys.write`."""
    by_mean = architecture.pool == "mean"
    absolute = architecture.positions == "learned"
    needed = {"pool": "mean" if by_mean else "class", "pool_norm": by_mean, "final_norm": not by_mean}
    check_fixed(architecture, {**needed, "positions": "learned" if absolute else "none"}, layout, of=of)
    flags = (by_mean, absolute, architecture.relative_bias == "block", architecture.relative_bias == "shared")
    return {
        "model_type": "beit",
        **KEYS.write(architecture, layout, of=of),
        **dict(zip(_FLAGS, flags, strict=True)),
        "layer_scale_init_value": architecture.layer_scale or 0.0,
    }


_CLASSIFIER, _HEADLESS = "BeitForImageClassification", "BeitModel"


def _read(config: Mapping[str, Any], *, kind: str, num_classes: int, where: str) -> ViTConfig:
    return read_structure(config, num_classes, where=where)


def _write(architecture: ViTConfig) -> dict[str, Any]:
    kind = _CLASSIFIER if architecture.num_classes else _HEADLESS
    return {"architectures": [kind], **write_structure(architecture, NAME)}


LAYOUT = Family(
    NAME,
    models="BEiT",
    model_types=("beit",),
    classifiers=[_CLASSIFIER],
    headless=[_HEADLESS],
    tables={
        kind + variant: KeyTable(NAME, table)
        for variant in VARIANTS
        for kind, table in {
            _CLASSIFIER: (*rows("beit.", variant=variant), Row("head.{p}", "classifier.{p}")),
            _HEADLESS: rows("", variant=variant),
        }.items()
    },
    read=_read,
    write=_write,
    processor="BeitImageProcessor",
    variant=lambda config: class_of(config) + variant_of(config),
).layout()
