"""The key tables of open_clip's layout of two towers: one for each way in which its files name the tensors."""

from typing import NamedTuple

import torch
from torch import Tensor

from .hf_towers import TABLE_OF_ONE, TOKEN, scalar
from .table import TRANSPOSE, Drop, KeyTable, Row, Transform
from .timm_tables import TABLES

NAME = "open-clip"

NUMBER = Transform("number", lambda theirs: scalar(theirs[0]), lambda ours, count: [ours])
"""Their tensor of one number, with or without an axis, against our scalar."""


class Names(NamedTuple):
    """How a file names its tensors."""

    text: str
    """What the names of the text tower begin with: `text.` or nothing."""

    is_linear: bool
    """Whether the projection of texts is a layer, and no parameter."""

    trunk: str = ""
    """How timm names the tensors of the picture tower (`timm_tables`); empty for open_clip's own."""

    head: str = ""
    """The layer after timm's model: `visual.head.proj`, its own head, or none."""

    @property
    def key(self) -> str:
        """The way in one word, for `Layout.variants`."""
        return " | ".join(map(str, self))


def _tower_rows(theirs: str, ours: str) -> tuple[Row, ...]:
    block, layer = f"{ours}blocks.{{i}}.", f"{theirs}transformer.resblocks.{{i}}."
    return (
        Row(f"{block}norm1.{{p}}", f"{layer}ln_1.{{p}}"),
        Row(f"{block}attention.qkv.{{p}}", f"{layer}attn.in_proj_{{p}}"),
        Row(f"{block}attention.out.{{p}}", f"{layer}attn.out_proj.{{p}}"),
        Row(f"{block}scale1.gamma", f"{layer}ls_1.gamma"),
        Row(f"{block}norm2.{{p}}", f"{layer}ln_2.{{p}}"),
        Row(f"{block}feedforward.fc1.{{p}}", f"{layer}mlp.c_fc.{{p}}"),
        Row(f"{block}feedforward.fc2.{{p}}", f"{layer}mlp.c_proj.{{p}}"),
        Row(f"{block}scale2.gamma", f"{layer}ls_2.gamma"),
    )


def _vision_rows(names: Names) -> tuple[Row | Drop, ...]:
    if not names.trunk:
        return (
            Row("vision.stem.proj.{p}", "visual.conv1.{p}"),
            Row("vision.class_token", "visual.class_embedding", TOKEN),
            Row("vision.positions.weight", "visual.positional_embedding", TABLE_OF_ONE),
            Row("vision.stem_norm.{p}", "visual.ln_pre.{p}"),
            *_tower_rows("visual.", "vision."),
            Row("vision.norm.{p}", "visual.ln_post.{p}"),
            Row("vision_projection.weight", "visual.proj", TRANSPOSE),
        )
    rows: list[Row | Drop] = []
    for row in TABLES[names.trunk].rows:
        if isinstance(row, Drop):
            rows.append(Drop(f"visual.trunk.{row.theirs}", row.why, row.equals))
        elif not row.ours.startswith("head."):
            theirs = (row.theirs,) if isinstance(row.theirs, str) else row.theirs
            rows.append(Row(f"vision.{row.ours}", tuple(f"visual.trunk.{one}" for one in theirs), row.transform))
    return (*rows, *([Row("vision_projection.{p}", f"visual.{names.head}.{{p}}")] if names.head else []))


def table_of(names: Names) -> KeyTable:
    """Return the key table of files that name their tensors so."""
    text = names.text
    projection = (
        Row("text_projection.{p}", f"{text}text_projection.{{p}}")
        if names.is_linear
        else Row("text_projection.weight", f"{text}text_projection", TRANSPOSE)
    )
    return KeyTable(
        NAME,
        (
            *_vision_rows(names),
            Row("text.embedding.weight", f"{text}token_embedding.weight"),
            Row("text.positions.weight", f"{text}positional_embedding"),
            *_tower_rows(text, "text."),
            Row("text.norm.{p}", f"{text}ln_final.{{p}}"),
            projection,
            Row("logit_scale", "logit_scale", NUMBER),
            Row("logit_bias", "logit_bias", NUMBER),
            Drop(f"{text}attn_mask", "the mask of a causal tower", _is_causal_bias),
        ),
    )


def _is_causal_bias(tensor: Tensor) -> bool:
    """Return whether a tensor is 0 up to and on the diagonal, and -inf above."""
    return torch.equal(tensor, torch.full_like(tensor, -torch.inf).triu(1))
