"""The parts that timm's transformers share: what ours has of them, and what is refused by name."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

POOLS = {"token": "class", "avg": "mean", "map": "attention"}
"""timm's words for what the head reads, and ours."""

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_tanh",
    "gelu_quick": "quick_gelu",
    "silu": "silu",
    "relu": "relu",
}
"""Our words for the activations, and timm's."""

Refusals = Iterator[tuple[bool, str]]
"""Whether a part is there, and its name."""


def is_there(module: Any) -> bool:
    """Return whether an optional part is there: timm has None or an identity in its place."""
    return module is not None and not isinstance(module, nn.Identity)


def named(refusals: Iterable[tuple[bool, str]]) -> list[str]:
    """Return the names of the parts that are there, each once."""
    return list(dict.fromkeys(what for found, what in refusals if found))


def common_fields(model: Any) -> dict[str, Any]:
    """Return the fields of our configuration that all of timm's transformers state in the same way."""
    block: Any = model.blocks[0]
    fields = {
        "image_size": tuple(model.patch_embed.img_size),
        "patch_size": model.patch_embed.patch_size[0],
        "in_channels": model.in_chans,
        "num_classes": model.num_classes,
        "dim": model.embed_dim,
        "depth": len(model.blocks),
        "num_heads": block.attn.num_heads,
        "mlp_dim": block.mlp.fc2.in_features,
        "stem_bias": model.patch_embed.proj.bias is not None,
        "patch_norm": is_there(model.patch_embed.norm),
        "pool": POOLS[model.global_pool],
        "final_norm": is_there(model.norm),
        "pool_norm": is_there(model.fc_norm),
        "gated": _is_gated(block.mlp),
        "branch_bias": block.attn.proj.bias is not None,
        "attention_norm": is_there(getattr(block.attn, "norm", None)),
        "mlp_norm": is_there(block.mlp.norm),
        "activation": activation_of(block.mlp.act),
        "norm": "layer" if isinstance(block.norm1, nn.LayerNorm) else "rms",
        "norm_eps": block.norm1.eps,
    }
    pool = getattr(model, "attn_pool", None)
    if pool is not None:
        heads, width = pool.num_heads, pool.mlp.fc1.out_features
        fields["pool_heads"] = None if heads == fields["num_heads"] else heads
        fields["pool_mlp_dim"] = None if width == fields["mlp_dim"] else width
    return fields


def activation_of(module: nn.Module) -> str:
    """Return our word for an activation; empty where ours has none."""
    from timm.layers.activations import GELU, GELUTanh, QuickGELU

    if isinstance(module, nn.GELU):
        return "gelu" if module.approximate == "none" else "gelu_tanh"
    known: dict[type, str] = {
        GELU: "gelu",
        GELUTanh: "gelu_tanh",
        QuickGELU: "gelu_quick",
        nn.SiLU: "silu",
        nn.ReLU: "relu",
    }
    return known.get(type(module), "")


def _is_gated(mlp: Any) -> bool:
    from timm.layers.mlp import GluMlp, SwiGLU

    return type(mlp) in (GluMlp, SwiGLU)


def of_stem(model: Any) -> Refusals:
    """Name what the stem has that ours has not."""
    from timm.layers.patch_embed import PatchEmbed

    stem = model.patch_embed
    yield type(stem) is not PatchEmbed, f"a {type(stem).__name__} stem"
    if type(stem) is PatchEmbed:
        yield len(set(stem.patch_size)) != 1, "patches that are not square"
        yield bool(stem.dynamic_img_pad), "padding to whole patches"
        yield any(side % stem.patch_size[0] for side in stem.img_size), "a picture size of no whole patches"


def of_pool(model: Any) -> Refusals:
    """Name what is read after the blocks that ours cannot read."""
    from timm.layers.attention_pool import AttentionPoolLatent

    pool = getattr(model, "attn_pool", None)
    yield pool is None and model.global_pool not in POOLS, f"{model.global_pool or 'no'} pooling"
    if pool is None:
        return
    yield type(pool) is not AttentionPoolLatent, f"attention pooling of type {type(pool).__name__}"
    if type(pool) is AttentionPoolLatent:
        yield pool.latent_len != 1, "attention pooling with several queries"
        yield pool.pos_embed is not None, "attention pooling with positions"
        yield pool.mlp is None, "attention pooling without a feedforward"
        yield not isinstance(pool.q, nn.Linear), "attention pooling without a projection of its query"
        yield is_there(pool.q_norm), "attention pooling with q/k norm"
        if pool.mlp is not None and len(model.blocks):
            same = activation_of(pool.mlp.act) == activation_of(model.blocks[0].mlp.act)
            yield not same, "attention pooling with another activation than the blocks'"


def of_mlp(mlp: Any, branch_bias: bool) -> Refusals:
    """Name what a feedforward has that ours has not.

    Args:
        mlp: timm's.
        branch_bias: Whether the attention of the same block has a bias in its last projection.
    """
    from timm.layers.mlp import GluMlp, Mlp, SwiGLU

    yield type(mlp) not in (Mlp, GluMlp, SwiGLU), f"a feedforward of type {type(mlp).__name__}"
    if type(mlp) in (Mlp, GluMlp, SwiGLU):
        yield not activation_of(mlp.act), f"the activation {type(mlp.act).__name__}"
        yield bool(getattr(mlp, "gate_last", False)), "a feedforward whose second half is the gate"
        layers = (mlp.fc1_g, mlp.fc1_x, mlp.fc2) if type(mlp) is SwiGLU else (mlp.fc1, mlp.fc2)
        biases = {branch_bias, *(layer.bias is not None for layer in layers)}
        yield len(biases) > 1, "biases in some layers of a block and not in others"


def of_norms(model: Any) -> Refusals:
    """Name norms that ours has not, or that differ within a model."""
    from timm.layers.norm import RmsNorm

    norms = [module for name, module in model.named_modules() if "norm" in name.rpartition(".")[2]]
    norms = [module for module in norms if is_there(module)]
    known = (nn.LayerNorm, RmsNorm)
    for norm in norms:
        yield not isinstance(norm, known), f"norms of type {type(norm).__name__}"
    norms = [norm for norm in norms if isinstance(norm, known)]
    yield len({isinstance(norm, nn.LayerNorm) for norm in norms}) > 1, "norms of different types"
    epsilons = sorted({float(norm.eps) for norm in norms})
    yield len(epsilons) > 1, f"norms of different epsilon ({', '.join(map(str, epsilons))})"
