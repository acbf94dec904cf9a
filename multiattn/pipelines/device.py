"""Which device a pipeline computes on."""

import torch

from ..errors import ModelError


def find_device(name: str | torch.device) -> torch.device:
    """The device called `name`: "auto" is the first GPU where there is one, else the CPU.

    Raises:
        ModelError: There is no such device, or this machine has none.
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
            raise ModelError(f"`device` must be below cuda:{count}, as many as there are, but is {str(name)!r} instead")
    return device
