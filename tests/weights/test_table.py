from dataclasses import replace

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.models.captioner import PRESETS as CAPTIONERS
from multiattn.models.captioner import Captioner, CaptionerConfig
from multiattn.models.vit import PRESETS, ViT, ViTConfig
from multiattn.weights import CONCAT, TRANSPOSE, Drop, KeyTable, Row, blip, hf_blip, vit_gpt2
from multiattn.weights.hf_vit import BACKBONE_TABLE
from multiattn.weights.hf_vit import TABLE as HF_TABLE
from multiattn.weights.timm_vit import TABLE as TIMM_TABLE

TABLE = KeyTable(
    "toy",
    (
        Row("blocks.{i}.qkv.{p}", ("layer.{i}.q.{p}", "layer.{i}.k.{p}", "layer.{i}.v.{p}"), CONCAT),
        Row("out.{p}", "proj.{p}"),
        Row("turned.weight", "conv1d.weight", TRANSPOSE),
        Drop("layer.{i}.position_ids", "a counter"),
        Drop("other_part.{rest}", "of another model"),
    ),
)


def test_rows_rename_and_split_and_come_back() -> None:
    ours = {"blocks.11.qkv.weight": torch.arange(6 * 5.0).view(6, 5), "out.bias": torch.arange(7.0)}
    theirs = TABLE.to_theirs(ours)
    assert list(theirs) == ["layer.11.q.weight", "layer.11.k.weight", "layer.11.v.weight", "proj.bias"]
    assert theirs["layer.11.k.weight"].tolist() == ours["blocks.11.qkv.weight"][2:4].tolist()
    back = TABLE.to_ours(theirs, ours)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[key], ours[key]) for key in ours)


def test_parts_share_no_memory() -> None:
    theirs = TABLE.to_theirs({"blocks.0.qkv.bias": torch.ones(6)})
    assert len({tensor.untyped_storage().data_ptr() for tensor in theirs.values()}) == 3


def test_transposed_rows_are_copies_that_lie_in_one_piece() -> None:
    ours = {"turned.weight": torch.arange(6.0).view(2, 3)}
    theirs = TABLE.to_theirs(ours)
    assert theirs["conv1d.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert theirs["conv1d.weight"].is_contiguous()
    assert torch.equal(TABLE.to_ours(theirs, ours)["turned.weight"], ours["turned.weight"])


def test_drops_are_those_in_the_table_alone() -> None:
    assert TABLE.drops("layer.3.position_ids")
    assert not TABLE.drops("layer.x.position_ids")
    assert not TABLE.drops("proj.bias")
    assert TABLE.drops("other_part.deep.down.weight")
    assert not TABLE.drops("another_part.weight")


@pytest.mark.parametrize("key", ["blocks.x.qkv.weight", "blocks.1.qkv.scale", "blocks.1.qkv.weight.extra", "outXbias"])
def test_a_key_without_a_row_is_named(key: str) -> None:
    with pytest.raises(ModelError, match="the toy layout has no place for the tensor " + key):
        TABLE.to_theirs({key: torch.ones(3)})


EVERYTHING = ViTConfig(
    image_size=(15, 35),
    patch_size=5,
    num_classes=7,
    dim=22,
    depth=3,
    num_heads=2,
    mlp_dim=13,
    stem_norm=True,
    num_registers=5,
    pool_norm=True,
    qk_norm=True,
    layer_scale=0.1,
)


@pytest.mark.parametrize(
    ("table", "config"),
    [
        (TIMM_TABLE, EVERYTHING),
        (HF_TABLE, PRESETS["tiny"]),
        (BACKBONE_TABLE, replace(PRESETS["tiny"], num_classes=0)),
        (hf_blip.TABLE, CAPTIONERS["blip_large"]),
        (blip.TABLE, CAPTIONERS["blip_large"]),
        (vit_gpt2.TABLE, replace(CAPTIONERS["vit_gpt2"], bridge=True)),
    ],
    ids=["timm", "hf-vit", "hf-vit backbone", "hf-blip", "blip", "vit-gpt2"],
)
def test_published_tables_are_one_to_one(table: KeyTable, config: ViTConfig | CaptionerConfig) -> None:
    with torch.device("meta"):
        state = (ViT(config) if isinstance(config, ViTConfig) else Captioner(config)).state_dict()
    theirs = table.to_theirs(state)
    assert sum(tensor.numel() for tensor in theirs.values()) == sum(tensor.numel() for tensor in state.values())
    back = table.to_ours(theirs, state)
    assert {key: tensor.shape for key, tensor in back.items()} == {key: tensor.shape for key, tensor in state.items()}
