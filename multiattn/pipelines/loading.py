"""`multiattn.load`: from a task's name, a directory or a hub id to a pipeline that is ready to be called."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from torch import nn

from ..errors import MultiattnWarning
from ..registry import load_part, model_kind, task_spec
from ..weights import load_bundle
from .base import Pipeline, find_device
from .precision import Precision, check_precision, slow_precision

if TYPE_CHECKING:
    from .answer import AnswerPipeline
    from .caption import CaptionPipeline
    from .classify import ClassifyPipeline
    from .match import MatchPipeline
    from .transcribe import TranscribePipeline


@overload
def load(
    name: str | Path,
    *,
    task: Literal["classify"],
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> "ClassifyPipeline": ...


@overload
def load(
    name: str | Path,
    *,
    task: Literal["caption"],
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> "CaptionPipeline": ...


@overload
def load(
    name: str | Path,
    *,
    task: Literal["transcribe"],
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> "TranscribePipeline": ...


@overload
def load(
    name: str | Path,
    *,
    task: Literal["answer"],
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> "AnswerPipeline": ...


@overload
def load(
    name: str | Path,
    *,
    task: Literal["match"],
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> "MatchPipeline": ...


@overload
def load(
    name: Literal["classify"],
    *,
    task: None = ...,
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> "ClassifyPipeline": ...


@overload
def load(
    name: Literal["caption"],
    *,
    task: None = ...,
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> "CaptionPipeline": ...


@overload
def load(
    name: Literal["transcribe"],
    *,
    task: None = ...,
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> "TranscribePipeline": ...


@overload
def load(
    name: Literal["answer"],
    *,
    task: None = ...,
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> "AnswerPipeline": ...


@overload
def load(
    name: Literal["match"],
    *,
    task: None = ...,
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> "MatchPipeline": ...


@overload
def load(
    name: str | Path,
    *,
    task: str | None = ...,
    revision: str | None = ...,
    device: str = ...,
    precision: Precision | None = ...,
) -> Pipeline[nn.Module]: ...


def load(
    name: str | Path,
    *,
    task: str | None = None,
    revision: str | None = None,
    device: str = "auto",
    precision: Precision | None = None,
) -> Pipeline[nn.Module]:
    """Load a model and make the pipeline of its task.

    Args:
        name: A task's name ("classify", "caption", "transcribe", "answer" or "match") for the small model that comes
            with the package, a model directory (ours or a published layout), or a hub id such as
            "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k".
        task: The task that the model must be for; where None, any.
        revision: Branch, tag or commit on the hub.
        device: "cpu", "cuda", "cuda:1", or "auto": the first GPU if there is one, else the CPU.
        precision: What the model computes in: "fp32"; on a CPU "int8", faster and in a quarter of the memory, with
            slightly other results; "bf16", on a GPU or a CPU that multiplies in it; on a GPU "fp16". Where None, fp32,
            but int8 for a directory in int8 on a CPU.

    Raises:
        ModelError: The task or the model is unknown, the model is damaged or of another task, the device does not
            exist, or does not compute in that precision.
    """
    if task is not None:
        task_spec(task)
    place = find_device(device)  # before the weights: a device that does not exist should not cost a download
    check_precision(precision, place)
    if remark := slow_precision(precision, place):
        warnings.warn(remark, MultiattnWarning, stacklevel=2)
    stays = precision in (None, "int8") and place.type == "cpu"
    bundle = load_bundle(name, revision=revision, as_stored=stays)
    # the pipeline of a task of the user's own need not know of precisions
    options = {} if precision in (None, "fp32") else {"precision": precision}
    part = task_spec(task or bundle.task).pipeline
    if task in (None, bundle.task):
        part = model_kind(bundle.config)[1].pipeline or part
    pipeline: Pipeline[nn.Module] = load_part(part)(bundle, device=place, **options)
    return pipeline
