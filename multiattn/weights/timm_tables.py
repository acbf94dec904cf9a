"""The key tables of timm's transformers: one for each way in which the names of their tensors differ.

timm has three classes, which name the same parts differently, and one class may name them in several ways, by its
arguments. `Names` says which way a model has.
"""

from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Literal, get_args

from torch import nn

from .table import CONCAT, HALF_EACH, HALVES, NO_KEY_BIAS, SAME, Drop, KeyTable, Row

NAME = "timm"

_BLOCK = "blocks.{i}."


@dataclass(frozen=True)
class Names:
    """How a model of timm names its tensors."""

    projection: Literal["fused", "no key bias", "separate", "separate, no key bias"] = "fused"
    """Of q, k and v: one layer; one whose key bias is 0 and has no name; three layers; three, the key's without a
    bias."""

    scale: Literal["ls", "gamma"] = "ls"
    """Of the factors of a branch."""

    gate: Literal["fused", "separate"] = "fused"
    """Of a feedforward with a gate: one layer or two. Without a gate it is one."""

    head: Literal["one", "two"] = "one"
    """A distilled model has a second head."""

    bias: Literal["block", "shared"] = "block"
    """Of relative positions: a table in each block, or one for all."""

    @property
    def key(self) -> str:
        """The way in one word, for `Layout.variants`."""
        return " / ".join(getattr(self, field.name) for field in fields(self))


def names_of(model: Any) -> Names:
    """Return how a model of timm names its tensors; it has none of the parts that are refused."""
    block = model.blocks[0]
    attention, mlp = block.attn, block.mlp
    projection: Literal["fused", "no key bias", "separate", "separate, no key bias"] = "fused"
    if getattr(attention, "q_proj", None) is not None:
        projection = "separate, no key bias" if attention.k_proj.bias is None else "separate"
    elif getattr(attention, "q_bias", None) is not None:
        projection = "no key bias"
    return Names(
        projection,
        "gamma" if hasattr(block, "gamma_1") else "ls",
        "separate" if hasattr(mlp, "fc1_g") else "fused",
        "two" if isinstance(getattr(model, "head_dist", None), nn.Linear) else "one",
        "shared" if getattr(model, "rel_pos_bias", None) is not None else "block",
    )


def _projection_rows(projection: str) -> tuple[Row, ...]:
    """Return the rows of q, k and v."""
    ours, theirs = f"{_BLOCK}attention.qkv.", f"{_BLOCK}attn."
    if projection == "fused":
        return (Row(f"{ours}{{p}}", f"{theirs}qkv.{{p}}"),)
    if projection == "no key bias":
        biases = (f"{theirs}q_bias", f"{theirs}v_bias")
        return Row(f"{ours}weight", f"{theirs}qkv.weight"), Row(f"{ours}bias", biases, NO_KEY_BIAS)
    names = tuple(f"{theirs}{part}_proj." for part in "qkv")
    if projection == "separate, no key bias":
        biases = (f"{names[0]}bias", f"{names[2]}bias")
        return (
            Row(f"{ours}weight", tuple(f"{name}weight" for name in names), CONCAT),
            Row(f"{ours}bias", biases, NO_KEY_BIAS),
        )
    return (
        Row(f"{ours}{{p}}", tuple(f"{name}{{p}}" for name in names), CONCAT),
        # where k and v have fewer heads
        Row(f"{_BLOCK}attention.q.{{p}}", f"{names[0]}{{p}}"),
        Row(f"{_BLOCK}attention.kv.{{p}}", (f"{names[1]}{{p}}", f"{names[2]}{{p}}"), CONCAT),
    )


def _rows(names: Names) -> tuple[Row | Drop, ...]:
    """Return all rows of a table."""
    fc1 = ("mlp.fc1_g.{p}", "mlp.fc1_x.{p}") if names.gate == "separate" else ("mlp.fc1.{p}",)
    scale = "ls{}.gamma" if names.scale == "ls" else "gamma_{}"
    shared = names.bias == "shared"
    heads: tuple[Row, ...] = (Row("head.{p}", "head.{p}"),)
    if names.head == "two":
        heads = (
            Row("head.weight", ("head.weight", "head_dist.weight"), HALVES),
            Row("head.bias", ("head.bias", "head_dist.bias"), HALF_EACH),
        )
    return (
        Row("stem.proj.{p}", "patch_embed.proj.{p}"),
        Row("patch_norm.{p}", "patch_embed.norm.{p}"),
        Row("class_token", "cls_token"),
        Row("distilled_token", "dist_token"),
        Row("registers", "reg_token"),
        Row("positions.weight", "pos_embed"),
        Row("rotary_frequencies", "rope.freqs"),
        Row(
            "relative_bias.0.weight" if shared else "relative_bias.{i}.weight",
            f"{'rel_pos_bias.' if shared else f'{_BLOCK}attn.'}relative_position_bias_table",
        ),
        Row("stem_norm.{p}", "norm_pre.{p}"),
        Row(f"{_BLOCK}norm1.{{p}}", f"{_BLOCK}norm1.{{p}}"),
        *_projection_rows(names.projection),
        Row(f"{_BLOCK}attention.q_norm.{{p}}", f"{_BLOCK}attn.q_norm.{{p}}"),
        Row(f"{_BLOCK}attention.k_norm.{{p}}", f"{_BLOCK}attn.k_norm.{{p}}"),
        Row(f"{_BLOCK}attention.norm.{{p}}", f"{_BLOCK}attn.norm.{{p}}"),
        Row(f"{_BLOCK}attention.out.{{p}}", f"{_BLOCK}attn.proj.{{p}}"),
        Row(f"{_BLOCK}scale1.gamma", _BLOCK + scale.format(1)),
        Row(f"{_BLOCK}norm2.{{p}}", f"{_BLOCK}norm2.{{p}}"),
        Row(f"{_BLOCK}feedforward.fc1.{{p}}", tuple(_BLOCK + name for name in fc1), CONCAT if len(fc1) > 1 else SAME),
        Row(f"{_BLOCK}feedforward.norm.{{p}}", f"{_BLOCK}mlp.norm.{{p}}"),
        Row(f"{_BLOCK}feedforward.fc2.{{p}}", f"{_BLOCK}mlp.fc2.{{p}}"),
        Row(f"{_BLOCK}scale2.gamma", _BLOCK + scale.format(2)),
        Row("norm.{p}", "norm.{p}"),
        Row("pool.query", "attn_pool.latent"),
        Row("pool.attention.q.{p}", "attn_pool.q.{p}"),
        Row("pool.attention.kv.{p}", "attn_pool.kv.{p}"),
        Row("pool.attention.out.{p}", "attn_pool.proj.{p}"),
        Row("pool.norm.{p}", "attn_pool.norm.{p}"),
        Row("pool.feedforward.fc1.{p}", "attn_pool.mlp.fc1.{p}"),
        Row("pool.feedforward.fc2.{p}", "attn_pool.mlp.fc2.{p}"),
        Row("pool_norm.{p}", "fc_norm.{p}"),
        *heads,
        Drop(f"{_BLOCK}attn.relative_position_index", "follows from the grid; older files have it"),
    )


def _all_names() -> list[Names]:
    """Return every way."""
    ways = (get_args(kind) for kind in (_hint(field.name) for field in fields(Names)))
    return [Names(*way) for way in product(*ways)]


def _hint(name: str) -> Any:
    return Names.__annotations__[name]


TABLES = {names.key: KeyTable(NAME, _rows(names)) for names in _all_names()}
"""All tables, by `Names.key`."""

TABLE = TABLES[Names().key]
"""The table of the plain vision transformer."""
