"""Low-rank adapters beside the linear layers of a trained model, which itself stays as it is, through the package peft.

A state holds the adapters beside the layers; `merged_state` adds them to the weights, so that the model's directory is
an ordinary one.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from multiattn.checks import require, require_each
from multiattn.errors import ModelError

from .freezing import named_weights

_ADAPTER = "default"  # peft's name of the only one
_TARGETS = (
    "*attention.qkv",
    "*attention.global_qkv",
    "*attention.qk_v",
    "*attention.q",
    "*attention.kv",
    "*attention.out",
)


@dataclass(frozen=True)
class LoRA:
    """How a trained model learns by adapters. Set in the YAML under `model.init_args.optimization.lora`."""

    rank: int = 8
    """Width of an adapter: its matrix is the product of two, with this many columns and rows."""

    alpha: int = 16
    """An adapter's product is multiplied by `alpha / rank`."""

    dropout: float = 0.0
    """Of an adapter's input, in training."""

    targets: list[str] | None = None
    """The linear layers that get an adapter, as `state_dict` names them, with `*` for any; by default the projections
    of all attention. A frozen encoder (`lr_share: 0`) gets none."""

    trained: list[str] | None = None
    """Parts that learn whole, beside the adapters; by default those that start anew, such as a head of new classes."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        require_each({"lora.rank": self.rank, "lora.alpha": self.alpha}, least=1)
        require(0 <= self.dropout < 1, "lora.dropout", must="at least 0 and below 1", value=self.dropout)


def attach(model: nn.Module, lora: LoRA, *, fresh: Sequence[str]) -> None:
    """Put adapters beside a model's layers, and freeze all else but the parts that learn whole.

    Args:
        model: Gets the adapters in place.
        lora: Their options.
        fresh: The parts that start anew.

    Raises:
        ModelError: A name names nothing, or peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ModelError(
            "`lora` needs the package peft, which is not installed: pip install 'multiattn[lora]'"
        ) from None
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and _learns(part)]
    wanted = _TARGETS if lora.targets is None else lora.targets
    targets = [name for name in linear if any(fnmatch(name, one) for one in wanted)]
    lacking = [one for one in lora.targets or () if not any(fnmatch(name, one) for name in linear)]
    if lacking or not targets:
        raise ModelError(
            f"`lora.targets` must name linear layers that learn, but {lacking[:1] or list(wanted)} names none. There "
            f"are {', '.join(linear[:4])} and {max(0, len(linear) - 4)} more."
        )
    whole = fresh if lora.trained is None else lora.trained
    learning = {id(weight) for weight in model.parameters() if weight.requires_grad}
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    inject_adapter_in_model(config, model)  # and freezes what is no adapter
    for weight in named_weights(model, whole, option="lora.trained"):
        weight.requires_grad_(id(weight) in learning)


def _learns(part: nn.Linear) -> bool:
    return part.weight.requires_grad


def rest_statistics(model: nn.Module) -> None:
    """Keep the statistics of a trained model's batch norms, which the adapters are to leave as they are."""
    for part in model.modules():
        if isinstance(part, _BatchNorm) and part.training:
            part.eval()


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model with its adapters added to them, under the keys that the model has without adapters."""
    state: dict[str, Tensor] = model.state_dict()
    for name, part in model.named_modules():
        if not hasattr(part, "base_layer"):
            continue
        own = {key: state.pop(key) for key in list(state) if key.startswith(f"{name}.")}
        for key, value in own.items():
            rest = key.removeprefix(f"{name}.base_layer.")
            if rest != key:
                state[f"{name}.{rest}"] = value + part.get_delta_weight(_ADAPTER) if rest == "weight" else value
    return state
