"""timm's `Eva` (EVA, EVA-02, the RoPE ViTs, Perception Encoder, DINOv3, Sapiens 2) against our configuration."""

from typing import Any

from ..models.vit import ViTConfig
from .timm_parts import POOLS, Refusals, common_fields, is_there, of_mlp, of_norms, of_pool, of_stem

_ORDERS = {"ij": "rows", "xy": "columns"}


def read(model: Any) -> dict[str, Any]:
    """Return the fields of our configuration; the model has nothing that `refusals` names."""
    block: Any = model.blocks[0]
    attention, rope = block.attn, model.rope
    heads = [getattr(one.attn, "num_kv_heads", attention.num_heads) for one in model.blocks]
    biased = attention.q_proj.bias if attention.qkv is None else attention.qkv.bias
    if getattr(attention, "q_bias", None) is not None:
        biased = attention.q_bias
    positions = {
        (False, False): "none",
        (True, False): "learned",
        (False, True): "rotary_2d",
        (True, True): "learned_rotary_2d",
    }[model.pos_embed is not None, rope is not None]
    return {
        **common_fields(model),
        "stem_norm": is_there(model.norm_pre),
        "positions": positions,
        "position_prefix": not model.no_embed_class,
        "class_token": model.cls_token is not None,
        "num_registers": 0 if model.reg_token is None else model.reg_token.shape[1],
        # its learned query attends to all tokens
        "pool_prefix": model.attn_pool is not None and model.num_prefix_tokens > 0,
        "num_kv_heads": () if set(heads) == {attention.num_heads} else tuple(heads),
        "qkv_bias": biased is not None,
        "qk_norm": is_there(attention.q_norm),
        "layer_scale": None if block.gamma_1 is None else block.init_values,
        "scale_feedforward": block.gamma_1 is None or block.gamma_2 is not None,
        **({} if rope is None else _rotary(rope, attention)),
    }


def _rotary(rope: Any, attention: Any) -> dict[str, Any]:
    """Return the fields of the rotary positions."""
    form = {"RotaryEmbeddingCat": "axial", "RotaryEmbeddingDinoV3": "centered", "RotaryEmbeddingMixed": "mixed"}
    reference = getattr(rope, "ref_feat_shape", None)
    return {
        "rotary": form[type(rope).__name__],
        "rotary_period": float(rope.temperature),
        "rotary_offset": float(getattr(rope, "grid_offset", 0.0)),
        "rotary_grid": None if reference is None else tuple(reference),
        "rotary_order": _ORDERS[rope.grid_indexing],
        "rotary_pairs": "halves" if getattr(attention, "rotate_half", False) else "neighbors",
    }


def refusals(model: Any) -> Refusals:
    """Name what the model has that ours has not."""
    from timm.layers.attention import AttentionRope
    from timm.models.eva import EvaAttention, EvaBlock

    yield from of_stem(model)
    yield not len(model.blocks), "no blocks"
    for block in model.blocks:
        if type(block) is not EvaBlock:
            yield True, f"blocks of type {type(block).__name__}"
            return
        attention = block.attn
        yield type(attention) not in (EvaAttention, AttentionRope), f"attention of type {type(attention).__name__}"
        if type(attention) in (EvaAttention, AttentionRope):
            width = attention.head_dim * attention.num_heads
            yield width != model.embed_dim, "heads whose widths do not add up to the model's"
            yield getattr(attention, "gate", None) is not None, "gated attention"
        yield from of_mlp(block.mlp, attention.proj.bias is not None)
    yield from _of_rotary(model.rope)
    yield from of_pool(model)
    yield from of_norms(model)


def _of_rotary(rope: Any) -> Refusals:
    """Name what rotary positions have that ours have not."""
    from timm.layers.pos_embed_sincos import RotaryEmbeddingCat, RotaryEmbeddingDinoV3, RotaryEmbeddingMixed

    if rope is None:
        return
    known = (RotaryEmbeddingCat, RotaryEmbeddingDinoV3, RotaryEmbeddingMixed)
    yield type(rope) not in known, f"rotary positions of type {type(rope).__name__}"
    if type(rope) is RotaryEmbeddingCat:
        yield rope.grid_type != "index" or rope.in_pixels, "rotary positions counted in pixels"
    if type(rope) is RotaryEmbeddingDinoV3:
        yield rope.normalize_coords != "separate", "rotary positions that count both sides alike"
        yield rope.min_period is not None or rope.temperature is None, "rotary positions with a shortest period"


def write(config: ViTConfig) -> dict[str, Any]:
    """Return the arguments from which timm builds this model, where its class can express it."""
    is_rotary = config.positions in ("rotary_2d", "learned_rotary_2d")
    arguments = {
        "img_size": list(config.image_size),
        "patch_size": config.patch_size,
        "embed_dim": config.dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "num_kv_heads": list(config.num_kv_heads) or [config.num_heads] * config.depth,
        "mlp_ratio": (config.mlp_dim + 0.5) / config.dim,  # timm rounds the product down
        "swiglu_mlp": config.gated,
        "scale_mlp": config.mlp_norm,
        "scale_attn_inner": config.attention_norm,
        "global_pool": {ours: theirs for theirs, ours in POOLS.items()}.get(config.pool),
        "qkv_bias": config.qkv_bias,
        "qk_norm": config.qk_norm,
        "init_values": config.layer_scale,
        "attn_only_layer_scale": not config.scale_feedforward,
        "class_token": config.class_token,
        "no_embed_class": not config.position_prefix,
        "num_reg_tokens": config.num_registers,
        "use_abs_pos_emb": config.positions in ("learned", "learned_rotary_2d"),
        "use_rot_pos_emb": is_rotary,
        "use_pre_transformer_norm": config.stem_norm,
        "use_post_transformer_norm": config.final_norm,
        "use_fc_norm": config.pool_norm,
        "in_chans": None if config.in_channels == 3 else config.in_channels,
    }
    if config.num_kv_heads:
        arguments |= {"attn_type": "rope", "qkv_fused": False}
    if config.pool == "attention":
        pool_width = config.pool_mlp_dim or config.mlp_dim
        arguments |= {
            "attn_pool_num_heads": config.pool_heads or config.num_heads,
            "attn_pool_mlp_ratio": (pool_width + 0.5) / config.dim,
        }
    if is_rotary:
        reference = config.rotary_grid
        arguments |= {
            "rope_type": {"axial": "cat", "centered": "dinov3", "mixed": "mixed"}[config.rotary],
            "rope_temperature": config.rotary_period,
            "rope_grid_offset": config.rotary_offset,
            "rope_grid_indexing": {ours: theirs for theirs, ours in _ORDERS.items()}[config.rotary_order],
            "rope_rotate_half": config.rotary_pairs == "halves",
            "ref_feat_shape": None if reference is None else list(reference),
        }
    return {key: value for key, value in arguments.items() if value is not None}
