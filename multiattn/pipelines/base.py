"""What the pipelines share: the device, and the checks of a model. `pictures` has how images are read.

A pipeline is made from a `ModelBundle` and is called with one input or a list. `stream` is the same for any number of
inputs: results come in the order of the inputs, and an input that cannot be used gives a `Failure` and does not keep
the others from being done. `stream` checks its options when it is called, not when the first result is taken.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..inputs import ImagePreprocessing, Tokenizer, channels
from ..models import ViTConfig
from ..weights import ModelBundle
from .pictures import Prepared
from .precision import Precision, check_precision, converted
from .results import Failure, Result

_Model = TypeVar("_Model", bound=nn.Module, covariant=True)


class Pipeline(Generic[_Model]):
    """A model on a device, ready for files. It has no state besides the model: safe to call from several threads.

    Args:
        bundle: The model with everything that it needs.
        model: `bundle.model`, checked to be of the pipeline's kind. It is moved to `device` and put into eval mode.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the bundle's model itself is changed.

    Raises:
        ModelError: The device does not exist, or does not compute in that precision.
    """

    __call__: Callable[..., Any]
    """The result for one input, or the list of results for a list."""

    stream: Callable[..., Iterator[Result | Failure]]
    """The results for any number of inputs, in order, each as soon as it is ready."""

    def __init__(
        self,
        bundle: ModelBundle,
        model: _Model,
        *,
        device: str | torch.device = "auto",
        precision: Precision | None = None,
    ) -> None:
        self.device = find_device(device)
        check_precision(precision, self.device)
        self.bundle = bundle
        self._model = converted(model.to(self.device).eval(), precision)
        self._domain = None if bundle.domain is None else bundle.domain.to(self.device)


def find_device(name: str | torch.device) -> torch.device:
    """Return the device called `name`; "auto" is the first GPU if there is one, else the CPU.

    Raises:
        ModelError: `name` is no device, or this machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ModelError(f"`device` must be auto, cpu or cuda (or cuda:1, ...), but is {str(name)!r} instead")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ModelError(
                f"`device` is {str(name)!r}, but torch {torch.__version__} finds no CUDA device here; "
                "use cpu or auto, or install a driver and a torch built for CUDA"
            )
        count = torch.cuda.device_count()
        if device.index is not None and device.index >= count:
            raise ModelError(f"`device` must be one of cuda:0 to cuda:{count - 1}, but is {str(name)!r} instead")
    return device


# --- checks ---


def tokenizer_of(bundle: ModelBundle) -> Tokenizer:
    """Return the tokenizer of a model that reads or writes text.

    Raises:
        ModelError: The bundle has none.
    """
    if bundle.tokenizer is None:
        raise ModelError(f"{bundle.source} must have a tokenizer, but has none instead: put its vocabulary into it.")
    return bundle.tokenizer


def check_channels(encoder: ViTConfig, preprocessing: ImagePreprocessing, *, source: str) -> None:
    """Check that the preprocessing gives the channels that a model reads, and that an image has these.

    Raises:
        ModelError: It does not.
    """
    channels.check_channels(encoder.in_channels, where=source)
    if preprocessing.channels != encoder.in_channels:
        raise ModelError(
            f"{source}: `preprocessing.mean` must have a number for each of the model's channels "
            f"({encoder.in_channels}), but has {preprocessing.channels} instead: correct it in the model's files"
        )


def stacked(batch: Sequence[Prepared], device: torch.device) -> Tensor:
    """Return the pixels of images of one size as a batch (b, c, h, w) on the device."""
    return torch.from_numpy(np.stack([item.pixels for item in batch])).to(device)
