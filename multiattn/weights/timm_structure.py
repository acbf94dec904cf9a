"""Translate a vision transformer of timm to our configuration, and back.

The values are read from timm's own model, built without memory on the meta device, and not guessed from names or keys.
A part that our model does not have is refused by name.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..errors import ModelError, reason_of
from ..models.vit import ViTConfig

_POOLS = {"token": "class", "avg": "mean"}  # theirs to ours
_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_tanh", "gelu_quick": "quick_gelu"}  # ours to theirs
# timm's model arguments have no epsilon: it is that of the architecture they vary
_ARCHITECTURES = {1e-6: "vit_base_patch16_224", 1e-5: "vit_base_patch32_clip_224"}


def on_meta(name: str, *, where: str, **arguments: Any) -> Any:
    """Build a model with timm, without memory for its weights.

    Raises:
        ModelError: timm cannot build it.
    """
    import timm  # seconds, which only this layout pays

    try:
        with torch.device("meta"):
            return timm.create_model(name, pretrained=False, **arguments)
    except Exception as error:  # timm has no errors of its own
        raise ModelError(f"{where}: timm cannot build this model ({reason_of(error)})") from error


def read_structure(model: Any, *, where: str) -> ViTConfig:
    """Return our configuration for a vision transformer of timm.

    Raises:
        ModelError: It has a part that our model does not have; the message names it.
    """
    from timm.models.vision_transformer import VisionTransformer

    if type(model) is not VisionTransformer:
        raise ModelError(f"{where}: timm's {type(model).__name__} is not supported, only its VisionTransformer")
    if lacking := _unsupported(model):
        raise ModelError(f"{where}: this timm model has {', '.join(lacking)}, which is not supported")
    block: Any = model.blocks[0]
    return ViTConfig(
        image_size=tuple(model.patch_embed.img_size),
        patch_size=model.patch_embed.patch_size[0],
        in_channels=model.in_chans,
        num_classes=model.num_classes,
        dim=model.embed_dim,
        depth=len(model.blocks),
        num_heads=block.attn.num_heads,
        mlp_dim=block.mlp.fc1.out_features,
        stem_bias=model.patch_embed.proj.bias is not None,
        stem_norm=isinstance(model.norm_pre, nn.LayerNorm),
        position_prefix=not model.no_embed_class,
        class_token=model.has_class_token,
        num_registers=model.num_reg_tokens,
        pool=_POOLS[model.global_pool],  # type: ignore[arg-type]
        final_norm=isinstance(model.norm, nn.LayerNorm),
        pool_norm=isinstance(model.fc_norm, nn.LayerNorm),
        qkv_bias=block.attn.qkv.bias is not None,
        qk_norm=isinstance(block.attn.q_norm, nn.LayerNorm),
        # the start value is irrelevant once the factors are trained
        layer_scale=None if isinstance(block.ls1, nn.Identity) else 1e-5,
        activation=_activation(block.mlp.act),  # type: ignore[arg-type]
        norm_eps=block.norm1.eps,
    )


def _activation(module: nn.Module) -> str:
    from timm.layers.activations import GELU, GELUTanh, QuickGELU

    if isinstance(module, nn.GELU):
        return "gelu" if module.approximate == "none" else "gelu_tanh"
    return {GELU: "gelu", GELUTanh: "gelu_tanh", QuickGELU: "gelu_quick"}.get(type(module), "")


def _unsupported(model: Any) -> list[str]:
    """Return the parts of timm's model that ours does not have, in words."""
    from timm.layers.attention import Attention
    from timm.layers.mlp import Mlp
    from timm.layers.patch_embed import PatchEmbed
    from timm.models.vision_transformer import Block

    found: list[str] = []

    def refuse(*parts: tuple[bool, str]) -> None:
        found.extend(what for is_there, what in parts if is_there)

    stem = model.patch_embed
    if type(stem) is PatchEmbed:
        refuse(
            (not isinstance(stem.norm, nn.Identity), "a norm inside the stem"),
            (len(set(stem.patch_size)) != 1, "patches that are not square"),
            (bool(stem.dynamic_img_pad), "padding to whole patches"),
            (any(side % stem.patch_size[0] for side in stem.img_size), "a picture size of no whole patches"),
        )
    refuse(
        (type(stem) is not PatchEmbed, f"a {type(stem).__name__} stem"),
        (not len(model.blocks), "no blocks"),
        (model.pos_embed is None, "no positions"),
        (model.attn_pool is not None, "attention pooling"),
        (model.attn_pool is None and model.global_pool not in _POOLS, f"{model.global_pool or 'no'} pooling"),
        (model.pool_include_prefix, "pooling over prefix tokens"),
    )
    for block in model.blocks:
        if type(block) is not Block:
            refuse((True, f"blocks of type {type(block).__name__}"))
            continue
        attention, mlp = block.attn, block.mlp
        refuse(
            (type(attention) is not Attention, f"attention of type {type(attention).__name__}"),
            (type(mlp) is not Mlp, f"a feedforward of type {type(mlp).__name__}"),
        )
        if type(attention) is Attention:
            refuse(
                (attention.attn_dim != model.embed_dim, "heads whose widths do not add up to the model's"),
                (not isinstance(attention.norm, nn.Identity), "a norm after attention"),
                (getattr(attention, "gate", None) is not None, "gated attention"),
                (attention.proj.bias is None, "an attention projection without bias"),
            )
        if type(mlp) is Mlp:
            refuse(
                (not _activation(mlp.act), f"the activation {type(mlp.act).__name__}"),
                (not isinstance(mlp.norm, nn.Identity), "a norm inside the feedforward"),
                (mlp.fc1.bias is None, "a feedforward without bias"),
            )
    norms = [module for name, module in model.named_modules() if "norm" in name.rpartition(".")[2]]
    norms = [module for module in norms if not isinstance(module, nn.Identity)]
    epsilons = {norm.eps for norm in norms if isinstance(norm, nn.LayerNorm)}
    refuse(
        *((not isinstance(norm, nn.LayerNorm), f"norms of type {type(norm).__name__}") for norm in norms),
        (len(epsilons) > 1, f"norms of different epsilon ({', '.join(map(str, sorted(epsilons)))})"),
    )
    return list(dict.fromkeys(found))


def write_structure(config: ViTConfig) -> tuple[str, dict[str, Any]]:
    """Return the architecture and arguments from which timm builds this model, once timm has built it.

    Raises:
        ModelError: timm cannot express a field.
    """
    if config.norm_eps not in _ARCHITECTURES:
        known = " or ".join(f"{eps:g}" for eps in _ARCHITECTURES)
        raise ModelError(f"the timm layout needs `norm_eps` to be {known}, but it is {config.norm_eps:g} instead")
    name = _ARCHITECTURES[config.norm_eps]
    arguments: dict[str, Any] = {
        "img_size": list(config.image_size),
        "patch_size": config.patch_size,
        "embed_dim": config.dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": (config.mlp_dim + 0.5) / config.dim,  # timm rounds the product down
        "global_pool": {ours: theirs for theirs, ours in _POOLS.items()}.get(config.pool, "token"),
        "qkv_bias": config.qkv_bias,
        "qk_norm": config.qk_norm,
        "init_values": config.layer_scale,
        "class_token": config.class_token,
        "no_embed_class": not config.position_prefix,
        "reg_tokens": config.num_registers,
        "pre_norm": config.stem_norm,
        "final_norm": config.final_norm or config.pool_norm,
        "fc_norm": config.pool_norm,
        "act_layer": _ACTIVATIONS.get(config.activation, "gelu"),
        "in_chans": None if config.in_channels == 3 else config.in_channels,
    }
    arguments = {key: value for key, value in arguments.items() if value is not None}
    built = read_structure(on_meta(name, where="saving", **arguments, num_classes=config.num_classes), where="saving")
    # no published layout states what only training uses
    wanted = replace(
        config,
        dropout=0.0,
        attention_dropout=0.0,
        stochastic_depth=0.0,
        layer_scale=None if config.layer_scale is None else built.layer_scale,
    )
    if differing := [key for key, value in vars(wanted).items() if value != getattr(built, key)]:
        key = differing[0]
        raise ModelError(
            f"the timm layout needs `{key}` to be {getattr(built, key)!r}, but it is {getattr(wanted, key)!r} instead"
        )
    return name, arguments
