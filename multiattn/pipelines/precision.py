"""The precision in which a pipeline computes: one option of all pipelines, applied in one place."""

from typing import Literal, TypeVar, get_args

import torch
from torch import nn

from ..blocks.int8 import Kernels
from ..blocks.packed import has_bf16_products
from ..checks import require
from ..errors import ModelError
from ..models.int8 import is_int8, quantize

Precision = Literal["fp32", "bf16", "fp16", "int8"]
"""What a model computes in; norms, the softmax and the scores of attention are always computed in fp32. `int8` is for a
CPU: weights, and the inputs of each product as they come. `bf16` is for a GPU, or a CPU that multiplies in it, and
`fp16` for a GPU: weights and activations."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}

_Model = TypeVar("_Model", bound=nn.Module)


def check_precision(precision: str | None, device: torch.device) -> None:
    """Check that a device can compute in a precision; None, which stands for that of the model, it always can.

    Raises:
        ModelError: There is no such precision, or the device does not go with it.
    """
    if precision is None:
        return
    require(precision in PRECISIONS, "precision", must=f"one of {', '.join(PRECISIONS)}", value=precision)
    is_cpu = device.type == "cpu"
    if precision == "int8" and not is_cpu:
        raise ModelError(
            "`precision` must be fp32, bf16 or fp16 on a GPU, but is 'int8' instead: use it with device cpu"
        )
    if precision == "fp16" and is_cpu:
        raise ModelError(
            "`precision` must be fp32, bf16 or int8 on a CPU, but is 'fp16' instead: use bf16, which is as small, or a "
            "GPU"
        )
    if precision == "bf16" and not is_cpu and not torch.cuda.is_bf16_supported():
        raise ModelError("`precision` must be fp32 or fp16 on this GPU, but is 'bf16' instead, which it does not have")
    if precision == "int8" and Kernels.find() is None:
        raise ModelError(
            f"`precision` must be fp32 here, but is 'int8' instead, for which torch {torch.__version__} has no kernels "
            "on this machine"
        )


def slow_precision(precision: str | None, device: torch.device) -> str | None:
    """Return the remark that a precision saves memory here, but no time; None where it is not so."""
    if precision != "bf16" or device.type != "cpu" or has_bf16_products():
        return None
    return (
        "bf16 is slower than fp32 on this processor, which has neither AVX-512 BF16 nor AMX: it saves memory alone; "
        "int8 is smaller and faster"
    )


def converted(model: _Model, precision: str | None) -> _Model:
    """Return a model in a precision, on its device and ready for inference; the given model itself is changed.

    In fp32, and where `precision` is None, the model stays as it is.

    Raises:
        ModelError: The model is in int8 and is asked for in another precision.
    """
    if is_int8(model):
        if precision not in (None, "int8"):
            raise ModelError(
                f"`precision` must be int8 for a model whose weights are, but is {precision!r} instead: load the model "
                "with that precision"
            )
        return model
    if precision == "int8":
        kernels = Kernels.find()
        assert kernels is not None  # checked before
        quantize(model, kernels)
    return model.to(_HALF[precision]) if precision in _HALF else model
