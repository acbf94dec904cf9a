"""timm's `Beit` against our configuration, both ways."""

from typing import Any

from ..models.vit import ViTConfig
from .timm_parts import POOLS, Refusals, common_fields, of_mlp, of_norms, of_pool, of_stem


def read(model: Any) -> dict[str, Any]:
    """Return the fields of our configuration; the model has nothing that `refusals` names."""
    block: Any = model.blocks[0]
    of_blocks = block.attn.relative_position_bias_table is not None
    return {
        **common_fields(model),
        "positions": "none" if model.pos_embed is None else "learned",
        "relative_bias": "shared" if model.rel_pos_bias is not None else "block" if of_blocks else "none",
        "qkv_bias": block.attn.q_bias is not None,
        "layer_scale": None if block.gamma_1 is None else block.init_values,
    }


def refusals(model: Any) -> Refusals:
    """Name what the model has that ours has not."""
    yield from of_stem(model)
    yield not len(model.blocks), "no blocks"
    for block in model.blocks:
        attention = block.attn
        yield attention.qkv.out_features != 3 * model.embed_dim, "heads whose widths do not add up to the model's"
        both = model.rel_pos_bias is not None and attention.relative_position_bias_table is not None
        yield both, "relative positions of the blocks beside those of all"
        yield from of_mlp(block.mlp, attention.proj.bias is not None)
    yield from of_pool(model)
    yield from of_norms(model)


def write(config: ViTConfig) -> dict[str, Any]:
    """Return the arguments from which timm builds this model, where its class can express it."""
    arguments = {
        "img_size": list(config.image_size),
        "patch_size": config.patch_size,
        "embed_dim": config.dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": (config.mlp_dim + 0.5) / config.dim,  # timm rounds the product down
        "swiglu_mlp": config.gated,
        "scale_mlp": config.mlp_norm,
        "global_pool": {ours: theirs for theirs, ours in POOLS.items()}.get(config.pool),
        "qkv_bias": config.qkv_bias,
        "init_values": config.layer_scale or 0.0,  # stated, because the architecture has some
        "use_abs_pos_emb": config.positions == "learned",
        "use_rel_pos_bias": config.relative_bias == "block",
        "use_shared_rel_pos_bias": config.relative_bias == "shared",
        "use_fc_norm": config.pool_norm,
        "in_chans": None if config.in_channels == 3 else config.in_channels,
    }
    return {key: value for key, value in arguments.items() if value is not None}
