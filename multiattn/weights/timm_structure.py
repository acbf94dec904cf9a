"""Translate a transformer of timm to our configuration, and back.

The values are read from timm's own model, built without memory on the meta device, and not guessed from names or keys.
A part that our model does not have is refused by name. Each of timm's classes has a file: `timm_plain`, `timm_eva`,
`timm_beit`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import ModelError, reason_of
from ..models.vit import ViTConfig
from . import timm_beit, timm_eva, timm_plain
from .timm_parts import named
from .timm_tables import names_of

_READERS: dict[str, ModuleType] = {
    "VisionTransformer": timm_plain,
    "VisionTransformerDistilled": timm_plain,
    "Eva": timm_eva,
    "Beit": timm_beit,
}
"""What reads each of timm's classes."""

# timm's model arguments have no epsilon, and no class of a part: those are of the architecture that they vary
_ARCHITECTURES: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "plain": (
        ("vit_base_patch16_224", {}),
        ("vit_base_patch32_clip_224", {}),
        ("vit_base_patch16_224", {"norm_layer": "rmsnorm"}),
    ),
    "gated": (
        ("vit_giant_patch14_dinov2", {}),
        ("vit_giant_patch14_dinov2", {"init_values": 0.0}),
        ("aimv2_large_patch14_224", {}),
    ),
    "distilled": (("deit_tiny_distilled_patch16_224", {}),),
    "eva": (
        ("vit_small_patch16_rope_224", {}),
        ("eva02_tiny_patch14_224", {}),
        ("eva02_tiny_patch14_224", {"attn_type": "rope"}),
        ("vit_pe_core_tiny_patch16_384", {}),
        ("vit_base_patch16_sapiens2", {"attn_type": "eva", "qkv_fused": True, "num_kv_heads": None}),
        ("vit_base_patch16_sapiens2", {}),
    ),
    "beit": (("beit_base_patch16_224", {}),),
}
"""The architectures that can be varied, with arguments on top, by what they alone have."""

_EPSILONS = (1e-6, 1e-5)
"""Those of the norms of these architectures."""


_DRAWN = frozenset(
    ("uniform_", "normal_", "trunc_normal_", "erfinv_", "mul_", "div_", "add_", "clamp_", "fill_", "zero_", "copy_")
)
"""The operations by which timm draws initial weights."""


class _NoValues(TorchFunctionMode):
    """Skips what changes values that are not there: on the meta device, torch only checks it, and takes long."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        is_drawn = getattr(func, "__name__", "") in _DRAWN and args and isinstance(args[0], Tensor)
        return args[0] if is_drawn and args[0].is_meta else func(*args, **(kwargs or {}))


def on_meta(name: str, *, where: str, **arguments: Any) -> Any:
    """Build a model with timm, without memory for its weights.

    Raises:
        ModelError: timm cannot build it.
    """
    import timm  # seconds, which only this layout pays

    try:
        with torch.device("meta"), _NoValues():
            return timm.create_model(name, pretrained=False, **arguments)
    except Exception as error:  # timm has no errors of its own
        raise ModelError(f"{where}: timm cannot build this model ({reason_of(error)})") from error


def read_structure(model: Any, *, where: str) -> ViTConfig:
    """Return our configuration for a transformer of timm.

    Raises:
        ModelError: It has a part that our model does not have; the message names it.
    """
    kind = type(model)
    reader = _READERS.get(kind.__name__)
    if reader is None or not kind.__module__.startswith("timm."):
        known = ", ".join(_READERS)
        raise ModelError(f"{where}: timm's {kind.__name__} is not supported, only its {known}")
    if lacking := named(reader.refusals(model)):
        raise ModelError(f"{where}: this timm model has {', '.join(lacking)}, which is not supported")
    return ViTConfig(**reader.read(model))


def write_structure(config: ViTConfig, *, architecture: str = "", key_bias: bool = False) -> tuple[str, dict[str, Any]]:
    """Return the architecture and arguments from which timm builds this model, once timm has built it.

    Args:
        config: Our configuration.
        architecture: The one that it was read from, which is tried first.
        key_bias: Whether the model needs a bias of its keys.

    Raises:
        ModelError: timm cannot express a field.
    """
    if config.norm_eps not in _EPSILONS:
        known = " or ".join(f"{eps:g}" for eps in _EPSILONS)
        raise ModelError(f"the timm layout needs `norm_eps` to be {known}, but it is {config.norm_eps:g} instead")
    # no published layout states what only training uses
    wanted = replace(config, dropout=0.0, attention_dropout=0.0, stochastic_depth=0.0)
    missed: list[str] = []
    for name, arguments in _candidates(config, architecture):
        try:
            model = on_meta(name, where="saving", **arguments, num_classes=config.num_classes)
            built = read_structure(model, where="saving")
        except ModelError as error:
            missed.append(f"the timm layout cannot express this model ({error})")
            continue
        differing = [key for key, value in vars(wanted).items() if value != getattr(built, key)]
        if not differing and not (key_bias and names_of(model).projection.endswith("no key bias")):
            return name, arguments
        key = differing[0] if differing else "qkv_bias"
        theirs = repr(getattr(built, key)) if differing else "without a bias of the keys"
        missed.append(f"the timm layout needs `{key}` to be {theirs}, but it is {getattr(wanted, key)!r} instead")
    raise ModelError(missed[0])


def _candidates(config: ViTConfig, architecture: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return architectures and arguments that may build a model, the likely ones first."""
    import timm

    is_rotary = config.positions in ("rotary_2d", "learned_rotary_2d")
    if config.distilled:
        family = "distilled"
    elif config.relative_bias != "none":
        family = "beit"
    elif is_rotary or config.num_kv_heads or not config.scale_feedforward:
        family = "eva"
    else:
        family = "gated" if config.gated else "plain"
    bases = list(_ARCHITECTURES[family])
    if config.norm_eps == _EPSILONS[1]:  # what is reported of a model that fits none is about the first
        bases.sort(key=lambda base: "clip" not in base[0])
    if architecture and timm.is_model(architecture):
        bases.insert(0, (architecture, {}))
    for name, further in bases:
        module = timm.model_entrypoint(name).__module__.rpartition(".")[2]
        writer = {"eva": timm_eva, "beit": timm_beit}.get(module, timm_plain)
        arguments = writer.write(config)
        yield name, {**arguments, **further}
        if config.gated and writer is timm_plain:  # where one layer returns gate and value, both are its width
            yield name, {**arguments, **further, "mlp_ratio": (2 * config.mlp_dim + 0.5) / config.dim}
