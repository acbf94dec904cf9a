"""A model in int8: which of its weights are whole numbers, and how a model becomes one, from fp32 or from a file.

The weights of linear layers, convolutions, tables of embedded tokens and the product with the vocabulary are in int8.
Convolutions compute in fp32 with the rounded weights. Norms, biases, positions, the softmax and the scores of attention
stay in fp32, but for the keys and values of a decoder's context: those are kept in bf16 where the processor multiplies
in it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..blocks.int8 import Int8Weight, Kernels
from ..blocks.int8_layers import SCALE, Int8Embedding, Int8Linear, Int8Scores, round_convolution
from ..blocks.packed import has_bf16_products
from ..errors import ModelError
from .language_model import LanguageModel
from .text_decoder import TextDecoder
from .text_stack import TextStack


class _Part(NamedTuple):
    """A layer with a weight in int8, and where it stands."""

    parent: nn.Module
    name: str
    path: str
    layer: nn.Module

    @property
    def key(self) -> str:
        """The name of its weight in the model's state."""
        return f"{self.path}.weight"


def is_int8(model: nn.Module) -> bool:
    """Return whether a model computes in int8."""
    return any(isinstance(part, Int8Linear) for part in model.modules())


def quantize(model: nn.Module, kernels: Kernels) -> None:
    """Bring a model's weights into int8, in place; for a CPU. The float weights are let go.

    Args:
        model: In fp32 on the CPU; of one that is in int8 already nothing is changed.
        kernels: The machine's.
    """
    if not is_int8(model):
        _replace(model, kernels, lambda part: Int8Weight.of(part.layer.weight))  # type: ignore[arg-type]


def int8_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state that a model has in int8, without values: for the shapes and types of a file.

    Args:
        model: In fp32, on the meta device.
    """
    state: dict[str, Tensor] = dict(model.state_dict())
    for part in _parts(model):
        shape = state[part.key].shape
        state[part.key] = torch.empty(shape, dtype=torch.int8, device="meta")
        state[f"{part.key}{SCALE}"] = torch.empty(shape[:1], device="meta")
    return state


def load_int8(model: nn.Module, state: Mapping[str, Tensor], kernels: Kernels) -> None:
    """Load a state in int8 into a model, as it is: nothing is quantized.

    Args:
        model: In fp32, on the meta device; it is in int8 afterwards.
        state: Has the keys, shapes and types of `int8_state`.
        kernels: The machine's.
    """
    numbers = {part.key for part in _parts(model)}
    floats = {key: tensor for key, tensor in state.items() if key.removesuffix(SCALE) not in numbers}
    model.load_state_dict(floats, strict=False, assign=True)
    _replace(model, kernels, lambda part: Int8Weight(state[part.key], state[f"{part.key}{SCALE}"]))


def widened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state in int8 as one in fp32: each weight is its numbers times their scales.

    Raises:
        ModelError: The scales of a weight are missing, or are not one for each of its rows.
    """
    scales = {f"{key}{SCALE}": tensor for key, tensor in state.items() if tensor.dtype == torch.int8}
    for name, numbers in scales.items():
        count = tuple(state[name].shape) if name in state else "none"
        if count != (expected := tuple(numbers.shape[:1])):
            raise ModelError(f"`{name}` must have the shape {expected}, but has {count} instead")
    return {
        key: Int8Weight(tensor, state[f"{key}{SCALE}"]).widened() if f"{key}{SCALE}" in scales else tensor
        for key, tensor in state.items()
        if key not in scales
    }


def _parts(model: nn.Module) -> Iterator[_Part]:
    """Yield the layers whose weights are in int8, each once."""
    seen = set[int]()
    for path, parent in list(model.named_modules()):
        for name, child in list(parent.named_children()):
            is_table = isinstance(parent, TextStack) and name == "embedding"
            if id(child) not in seen and (is_table or isinstance(child, nn.Linear | nn.Conv1d | nn.Conv2d)):
                seen.add(id(child))
                yield _Part(parent, name, f"{path}.{name}" if path else name, child)


def _replace(model: nn.Module, kernels: Kernels, weight_of: Callable[[_Part], Int8Weight]) -> None:
    tables: dict[nn.Module, nn.Module] = {}
    for part in list(_parts(model)):
        weight, layer, parent = weight_of(part), part.layer, part.parent
        if isinstance(layer, nn.Conv1d | nn.Conv2d):
            round_convolution(layer, weight)
            continue
        if isinstance(layer, nn.Embedding):
            tables[layer] = Int8Embedding(weight)
        elif isinstance(parent, LanguageModel) and layer is parent.head:
            parent.head = Int8Scores(weight, parent.head_bias, kernels)  # type: ignore[assignment]
        else:
            assert isinstance(layer, nn.Linear)
            setattr(parent, part.name, Int8Linear(weight, layer.bias, kernels))
    for owner in list(model.modules()):
        table = getattr(owner, "embedding", None)
        if isinstance(owner, TextStack) and table in tables:  # two stacks may share one
            owner.embedding = tables[table]  # type: ignore[assignment]
        if isinstance(owner, LanguageModel):
            owner.project = _scores(owner, kernels)
        if isinstance(owner, TextDecoder) and has_bf16_products():
            owner.context_dtype = torch.bfloat16
    model.requires_grad_(False)


def _scores(model: LanguageModel, kernels: Kernels) -> Callable[[Tensor, Tensor | None, Tensor | None], Tensor]:
    """Return what takes the place of `F.linear` in the product of a language model with its vocabulary."""
    if isinstance(model.head, Int8Scores):
        return model.head.forward
    assert isinstance(model.embedding, Int8Embedding)
    weight = Int8Weight(model.embedding.numbers, model.embedding.scale)
    return Int8Scores(weight, model.head_bias, kernels).forward
