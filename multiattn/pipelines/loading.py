"""`multiattn.load`: from a task's name, a directory or a hub id to a pipeline that is ready to be called."""

from pathlib import Path

from ..weights import load_bundle
from .classify import Classifier
from .device import find_device


def load(name: str | Path, *, revision: str | None = None, device: str = "auto") -> Classifier:
    """Loads a model and makes the pipeline of its task.

    Args:
        name: A task's name ("classify": the small model shipped with the package), a model directory (ours or a
            published layout), or a hub id such as "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k".
        revision: Branch, tag or commit on the hub.
        device: "cpu", "cuda", "cuda:1", or "auto": the first GPU where there is one.

    Raises:
        ModelError: The model is unknown, damaged or of another task, or the device is not there.
    """
    place = find_device(device)  # before the weights: a device that is not there should not cost a download
    return Classifier(load_bundle(name, revision=revision), device=place)
