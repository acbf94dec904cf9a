"""The precision in which a pipeline computes: one option of all pipelines, applied in one place."""

from typing import Literal, TypeVar, get_args

import torch
from torch import nn

from ..blocks.int8 import Kernels
from ..checks import require
from ..errors import ModelError
from ..generation.packing import lay_out_in_int8

Precision = Literal["fp32", "bf16", "fp16", "int8"]
"""What a model computes in. `int8` is for a CPU: linear layers, their inputs quantized as they come, and the product
with the vocabulary. `bf16` and `fp16` are for a GPU: weights and activations; norms, softmax and scores are computed in
fp32."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}

_Model = TypeVar("_Model", bound=nn.Module)


def check_precision(precision: str, device: torch.device) -> None:
    """Check that a device can compute in a precision.

    Raises:
        ModelError: There is no such precision, or the device does not go with it.
    """
    require(precision in PRECISIONS, "precision", must=f"one of {', '.join(PRECISIONS)}", value=precision)
    is_cpu = device.type == "cpu"
    if precision == "int8" and not is_cpu:
        raise ModelError(
            "`precision` must be fp32, bf16 or fp16 on a GPU, but is 'int8' instead: use it with device cpu"
        )
    if precision in _HALF and is_cpu:
        raise ModelError(
            f"`precision` must be fp32 or int8 on a CPU, but is {precision!r} instead: half precision is for a GPU"
        )
    if precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise ModelError("`precision` must be fp32 or fp16 on this GPU, but is 'bf16' instead, which it does not have")
    if precision == "int8" and Kernels.find() is None:
        raise ModelError(
            f"`precision` must be fp32 here, but is 'int8' instead, for which torch {torch.__version__} has no kernels "
            "on this machine"
        )


def converted(model: _Model, precision: str) -> _Model:
    """Return a model in a precision, on its device and ready for inference; the given model itself is changed.

    In fp32 the model stays as it is.
    """
    if precision == "int8":
        kernels = Kernels.find()
        assert kernels is not None  # checked before
        lay_out_in_int8(model, kernels)
    return model.to(_HALF[precision]) if precision in _HALF else model
