"""The layout of transformers' DINOv3 (its vision transformers, which have no head): read and written.

Positions rotate q and k, counted from the center of the picture, whatever its size.
"""

from collections.abc import Mapping
from typing import Any

from ..errors import ModelError
from ..models.vit import ViTConfig
from .hf_encoders import SIZES, Family, Keys, class_of
from .json_files import check_value, short
from .table import CONCAT, NO_KEY_BIAS, Drop, KeyTable, Row

NAME = "hf-dinov3"

KEYS = Keys(
    {
        **SIZES,
        "mlp_dim": ("intermediate_size", 3072),
        "num_registers": ("num_register_tokens", 0),
        "rotary_period": ("rope_theta", 100.0),
        "layer_scale": ("layerscale_value", 1.0),
        "gated": ("use_gated_mlp", False),
        "norm_eps": ("layer_norm_eps", 1e-5),
        "attention_dropout": ("attention_dropout", 0.0),
        "stochastic_depth": ("drop_path_rate", 0.0),
    },
    derived=("qkv_bias", "branch_bias"),
    values={"positions": "rotary_2d", "rotary": "centered"},
)

_KEY_BIAS, _GATED = " with a key bias", " gated"
VARIANTS = ("", _KEY_BIAS, _GATED, _KEY_BIAS + _GATED)

# theirs, and the value that a file means which states none
_BIASES = {"query_bias": True, "key_bias": False, "value_bias": True, "proj_bias": True, "mlp_bias": True}


def rows(theirs: str, ours: str = "", variant: str = "") -> tuple[Row | Drop, ...]:
    """Return the rows of the model.

    Args:
        theirs: Prefix of their keys.
        ours: Prefix of ours.
        variant: What `variant_of` returns.
    """
    layer, block = f"{theirs}layer.{{i}}.", f"{ours}blocks.{{i}}."
    embeddings, attention = f"{theirs}embeddings.", f"{layer}attention."
    biases = "qkv" if _KEY_BIAS in variant else "qv"
    first = ("gate_proj", "up_proj") if _GATED in variant else ("up_proj",)
    return (
        Row(f"{ours}stem.proj.{{p}}", f"{embeddings}patch_embeddings.{{p}}"),
        Row(f"{ours}class_token", f"{embeddings}cls_token"),
        Row(f"{ours}registers", f"{embeddings}register_tokens"),
        Row(f"{block}norm1.{{p}}", f"{layer}norm1.{{p}}"),
        Row(f"{block}attention.qkv.weight", tuple(f"{attention}{name}_proj.weight" for name in "qkv"), CONCAT),
        Row(
            f"{block}attention.qkv.bias",
            tuple(f"{attention}{name}_proj.bias" for name in biases),
            CONCAT if biases == "qkv" else NO_KEY_BIAS,
        ),
        Row(f"{block}attention.out.{{p}}", f"{attention}o_proj.{{p}}"),
        Row(f"{block}scale1.gamma", f"{layer}layer_scale1.lambda1"),
        Row(f"{block}norm2.{{p}}", f"{layer}norm2.{{p}}"),
        Row(f"{block}feedforward.fc1.{{p}}", tuple(f"{layer}mlp.{name}.{{p}}" for name in first), CONCAT),
        Row(f"{block}feedforward.fc2.{{p}}", f"{layer}mlp.down_proj.{{p}}"),
        Row(f"{block}scale2.gamma", f"{layer}layer_scale2.lambda1"),
        Row(f"{ours}norm.{{p}}", f"{theirs}norm.{{p}}"),
        Drop(f"{embeddings}mask_token", "stands for hidden patches, which only pre-training has"),
        # of a model without registers
        Drop(f"{embeddings}register_tokens", "is empty", equals=lambda value: not value.numel()),
    )


def variant_of(config: Mapping[str, Any]) -> str:
    """Return which rows a model of this configuration has."""
    return _KEY_BIAS * bool(config.get("key_bias")) + _GATED * bool(config.get("use_gated_mlp"))


def read_structure(config: Mapping[str, Any], num_classes: int, *, where: str) -> ViTConfig:
    """Return our configuration for theirs. A value that is not stated has the default of transformers."""
    found = {name: config.get(name, default) for name, default in _BIASES.items()}
    for name, value in found.items():
        check_value(isinstance(value, bool), name, must="true or false", value=short(value), where=where)
    query, key, value, projection, mlp = found.values()
    check_value(value == query, "value_bias", must=f"`query_bias` ({query})", value=value, where=where)
    check_value(query or not key, "key_bias", must="false without a `query_bias`", value=key, where=where)
    check_value(mlp == projection, "mlp_bias", must=f"`proj_bias` ({projection})", value=mlp, where=where)
    return KEYS.read(config, where=where, num_classes=num_classes, qkv_bias=query, branch_bias=projection)


def write_structure(architecture: ViTConfig, layout: str, *, of: str = "") -> dict[str, Any]:
    """Return the keys that `read_structure` reads; arguments and errors as for `Keys.write`."""
    if architecture.num_classes:
        raise ModelError(f"the {layout} layout needs a model without a head, but it has one: choose another")
    # always with a key bias: where it is not 0 it counts, because q and k are rotated after it is added
    flags = (*[architecture.qkv_bias] * 3, *[architecture.branch_bias] * 2)
    return {
        "model_type": "dinov3_vit",
        **KEYS.write(architecture, layout, of=of),
        **dict(zip(_BIASES, flags, strict=True)),
    }


_HEADLESS = "DINOv3ViTModel"


def _read(config: Mapping[str, Any], *, kind: str, num_classes: int, where: str) -> ViTConfig:
    return read_structure(config, num_classes, where=where)


def _write(architecture: ViTConfig) -> dict[str, Any]:
    return {"architectures": [_HEADLESS], **write_structure(architecture, NAME)}


LAYOUT = Family(
    NAME,
    models="DINOv3",
    model_types=("dinov3_vit",),
    classifiers=[],
    headless=[_HEADLESS],
    tables={_HEADLESS + variant: KeyTable(NAME, rows("", variant=variant)) for variant in VARIANTS},
    read=_read,
    write=_write,
    processor="DINOv3ViTImageProcessor",
    variant=lambda config: class_of(config) + variant_of(config),
).layout()
