"""`multiattn.load`: from a task's name, a directory or a hub id to a pipeline that is ready to be called."""

from pathlib import Path
from typing import Literal, overload

from ..errors import ModelError
from ..weights import load_bundle
from .answer import AnswerPipeline
from .caption import CaptionPipeline
from .classify import ClassifyPipeline
from .device import find_device
from .transcribe.pipeline import TranscribePipeline

Pipeline = ClassifyPipeline | CaptionPipeline | TranscribePipeline | AnswerPipeline
"""What there is for each task."""

_PIPELINES: dict[
    str, type[ClassifyPipeline] | type[CaptionPipeline] | type[TranscribePipeline] | type[AnswerPipeline]
] = {
    "classify": ClassifyPipeline,
    "caption": CaptionPipeline,
    "transcribe": TranscribePipeline,
    "answer": AnswerPipeline,
}


@overload
def load(
    name: str | Path, *, task: Literal["classify"], revision: str | None = ..., device: str = ...
) -> ClassifyPipeline: ...


@overload
def load(
    name: str | Path, *, task: Literal["caption"], revision: str | None = ..., device: str = ...
) -> CaptionPipeline: ...


@overload
def load(
    name: str | Path, *, task: Literal["transcribe"], revision: str | None = ..., device: str = ...
) -> TranscribePipeline: ...


@overload
def load(
    name: str | Path, *, task: Literal["answer"], revision: str | None = ..., device: str = ...
) -> AnswerPipeline: ...


@overload
def load(
    name: Literal["classify"], *, task: None = ..., revision: str | None = ..., device: str = ...
) -> ClassifyPipeline: ...


@overload
def load(
    name: Literal["caption"], *, task: None = ..., revision: str | None = ..., device: str = ...
) -> CaptionPipeline: ...


@overload
def load(
    name: Literal["transcribe"], *, task: None = ..., revision: str | None = ..., device: str = ...
) -> TranscribePipeline: ...


@overload
def load(
    name: Literal["answer"], *, task: None = ..., revision: str | None = ..., device: str = ...
) -> AnswerPipeline: ...


@overload
def load(name: str | Path, *, task: str | None = ..., revision: str | None = ..., device: str = ...) -> Pipeline: ...


def load(name: str | Path, *, task: str | None = None, revision: str | None = None, device: str = "auto") -> Pipeline:
    """Loads a model and makes the pipeline of its task.

    Args:
        name: A task's name ("classify", "caption", "transcribe", "answer": the small model shipped with the
            package), a model
            directory (ours or a published layout), or a hub id such as
            "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k".
        task: What the model must be for; where None, what it is for decides which pipeline this is.
        revision: Branch, tag or commit on the hub.
        device: "cpu", "cuda", "cuda:1", or "auto": the first GPU where there is one.

    Raises:
        ModelError: The model is unknown, damaged or of another task, or the device is not there.
    """
    if task is not None and task not in _PIPELINES:
        raise ModelError(f"`task` must be of {', '.join(_PIPELINES)}, but is {task!r} instead.")
    place = find_device(device)  # before the weights: a device that is not there should not cost a download
    bundle = load_bundle(name, revision=revision)
    return _PIPELINES[task or bundle.task](bundle, device=place)
