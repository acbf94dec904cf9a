"""timm's `VisionTransformer`, and DeiT's distilled one, against our configuration, both ways."""

from typing import Any

from ..models.vit import ViTConfig
from .timm_parts import ACTIVATIONS, POOLS, Refusals, common_fields, is_there, of_mlp, of_norms, of_pool, of_stem


def read(model: Any) -> dict[str, Any]:
    """Return the fields of our configuration; the model has nothing that `refusals` names."""
    block: Any = model.blocks[0]
    return {
        **common_fields(model),
        "stem_norm": is_there(model.norm_pre),
        "positions": "none" if model.pos_embed is None else "learned",
        "position_prefix": not model.no_embed_class,
        "class_token": model.has_class_token,
        "distilled": hasattr(model, "dist_token"),
        "num_registers": model.num_reg_tokens,
        "pool_prefix": model.pool_include_prefix and model.global_pool != "token",
        "qkv_bias": block.attn.qkv.bias is not None,
        "qk_norm": is_there(block.attn.q_norm),
        "layer_scale": block.ls1.init_values if is_there(block.ls1) else None,
    }


def refusals(model: Any) -> Refusals:
    """Name what the model has that ours has not."""
    from timm.layers.attention import Attention
    from timm.models.vision_transformer import Block

    yield from of_stem(model)
    yield not len(model.blocks), "no blocks"
    for block in model.blocks:
        if type(block) is not Block:
            yield True, f"blocks of type {type(block).__name__}"
            return
        attention: Any = block.attn
        yield type(attention) is not Attention, f"attention of type {type(attention).__name__}"
        if type(attention) is Attention:
            yield attention.attn_dim != model.embed_dim, "heads whose widths do not add up to the model's"
            yield getattr(attention, "gate", None) is not None, "gated attention"
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
        # timm rounds the product down; a packed gate counts as width
        "mlp_ratio": (config.mlp_dim + 0.5) / config.dim,
        "global_pool": {ours: theirs for theirs, ours in POOLS.items()}.get(config.pool),
        "qkv_bias": config.qkv_bias,
        "qk_norm": config.qk_norm,
        "init_values": config.layer_scale,
        "class_token": config.class_token,
        "no_embed_class": not config.position_prefix,
        "reg_tokens": config.num_registers,
        "pre_norm": config.stem_norm,
        "final_norm": config.final_norm or config.pool_norm,
        "fc_norm": config.pool_norm,
        "act_layer": ACTIVATIONS[config.activation],
        "in_chans": None if config.in_channels == 3 else config.in_channels,
        # what few models have is stated only by those
        "pos_embed": "none" if config.positions == "none" else None,
        "pool_include_prefix": config.pool_prefix or None,
        "scale_attn_norm": config.attention_norm or None,
        "scale_mlp_norm": config.mlp_norm or None,
        "proj_bias": None if config.branch_bias else False,
    }
    return {key: value for key, value in arguments.items() if value is not None}
