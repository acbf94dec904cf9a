"""The layout of transformers' ViT, read and written without transformers."""

from collections.abc import Mapping
from typing import Any

from ..models.vit import ViTConfig
from .hf_encoders import SIZES, Family, Keys
from .hf_pictures import VIT
from .table import CONCAT, Drop, KeyTable, Row

NAME = "hf-vit"

KEYS = Keys(
    {
        **SIZES,
        "mlp_dim": ("intermediate_size", 3072),
        "qkv_bias": ("qkv_bias", True),
        "norm_eps": ("layer_norm_eps", 1e-12),
        "dropout": ("hidden_dropout_prob", 0.0),
        "attention_dropout": ("attention_probs_dropout_prob", 0.0),
    }
)


def rows(theirs: str, ours: str = "") -> tuple[Row | Drop, ...]:
    """Return the rows for a ViT without a head, whose keys have these prefixes."""
    return (
        *stem_rows(theirs, ours),
        *block_rows(theirs, ours),
        Drop(f"{theirs}pooler.dense.{{p}}", "only the tokens are used, not the pooled first one"),
    )


def stem_rows(theirs: str, ours: str = "") -> tuple[Row | Drop, ...]:
    """Return the rows for the tokens before the first block, which most of transformers' picture encoders share."""
    return (
        Row(f"{ours}stem.proj.{{p}}", f"{theirs}embeddings.patch_embeddings.projection.{{p}}"),
        Row(f"{ours}class_token", f"{theirs}embeddings.cls_token"),
        Row(f"{ours}positions.weight", f"{theirs}embeddings.position_embeddings"),
        Drop(f"{theirs}embeddings.mask_token", "stands for hidden patches, which only pre-training has"),
    )


def block_rows(theirs: str, ours: str) -> tuple[Row, ...]:
    """Return the rows for the blocks and the norm after them, which ViLT has too."""
    layer, block = f"{theirs}encoder.layer.{{i}}.", f"{ours}blocks.{{i}}."
    return (
        Row(f"{block}norm1.{{p}}", f"{layer}layernorm_before.{{p}}"),
        *attention_rows(layer, block),
        Row(f"{block}norm2.{{p}}", f"{layer}layernorm_after.{{p}}"),
        Row(f"{block}feedforward.fc1.{{p}}", f"{layer}intermediate.dense.{{p}}"),
        Row(f"{block}feedforward.fc2.{{p}}", f"{layer}output.dense.{{p}}"),
        Row(f"{ours}norm.{{p}}", f"{theirs}layernorm.{{p}}"),
    )


def attention_rows(layer: str, block: str) -> tuple[Row, ...]:
    """Return the rows for a block's attention, by the prefix of their block and of ours."""
    return (
        Row(
            f"{block}attention.qkv.{{p}}",
            tuple(f"{layer}attention.attention.{name}.{{p}}" for name in ("query", "key", "value")),
            CONCAT,
        ),
        Row(f"{block}attention.out.{{p}}", f"{layer}attention.output.dense.{{p}}"),
    )


TABLE = KeyTable(NAME, (*rows("vit."), Row("head.{p}", "classifier.{p}")))
BACKBONE_TABLE = KeyTable(NAME, rows(""))
"""For a `ViTModel`, which has no head and no prefix: a start for fine-tuning."""


def read_structure(config: Mapping[str, Any], num_classes: int, *, where: str) -> ViTConfig:
    """Return our configuration for theirs. A value that is not stated has the default of transformers' ViTConfig."""
    return KEYS.read(config, where=where, num_classes=num_classes)


def write_structure(architecture: ViTConfig, layout: str, *, of: str = "") -> dict[str, Any]:
    """Return the keys that `read_structure` reads; arguments and errors as for `Keys.write`."""
    return {"model_type": "vit", **KEYS.write(architecture, layout, of=of)}


def _read(config: Mapping[str, Any], *, kind: str, num_classes: int, where: str) -> ViTConfig:
    return read_structure(config, num_classes, where=where)


def _write(architecture: ViTConfig) -> dict[str, Any]:
    kind = "ViTForImageClassification" if architecture.num_classes else "ViTModel"
    return {"architectures": [kind], **write_structure(architecture, NAME)}


LAYOUT = Family(
    NAME,
    models="ViT",
    model_types=("vit",),
    classifiers=["ViTForImageClassification"],
    headless=["ViTModel"],
    tables={"ViTForImageClassification": TABLE, "ViTModel": BACKBONE_TABLE},
    read=_read,
    write=_write,
    processor=VIT,
).layout()
