"""`multiattn.from_module` and `multiattn.explain`: pipelines and maps of a module that is in memory already."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ..checks import require
from ..errors import ModelError
from ..inputs import Geometry, ImagePreprocessing
from ..maps import NO_CLASS, attention_stack
from ..maps import explain as explain_images
from ..models import ViT
from ..registry import load_part, model_kind, task_spec
from ..weights import ModelBundle, bundle_of
from ..weights.live import unwrapped
from .base import Pipeline, stacked
from .image_results import ClassifyResult, PictureMap
from .pictures import Prepared, prepare, the_only
from .results import Failure, Result


def from_module(
    module: nn.Module,
    *,
    processor: object = None,
    tokenizer: object = None,
    labels: Sequence[str] | None = None,
    device: str | torch.device | None = None,
) -> Pipeline[nn.Module]:
    """Make the pipeline of a module of timm or transformers that is in memory, or of a model of ours.

    The module stays as it is, in whatever mode. The pipeline has its weights, shared where no copy is needed: once they
    have changed, make another.

    Args:
        module: In a layout that is known, also compiled or wrapped for several devices.
        processor: What makes a picture or recording the module's input: transformers' processor, an
            `ImagePreprocessing` or `AudioPreprocessing`, or a directory or hub id that has the processor's files. A
            module of timm states it itself.
        tokenizer: Of a module that reads or writes text: transformers' fast tokenizer or a `Tokenizer`; that of the
            processor where None.
        labels: A name for each class or answer; the module's own where None.
        device: Where to compute; where the module is, if None.

    Raises:
        ModelError: The module is of no layout that is known, lacks a part, or has no head; or there is no such device.
    """
    bundle = bundle_of(module, processor=processor, tokenizer=tokenizer, labels=labels)
    return _pipeline(bundle, _device_of(module) if device is None else device)


def explain(
    module: nn.Module,
    source: Any,
    *,
    method: str | None = None,
    question: str | None = None,
    processor: object = None,
    tokenizer: object = None,
    labels: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    **options: Any,
) -> Result:
    """Explain what a module that is in memory makes of one picture or recording.

    A backbone without a head explains by the methods that need no class; its result has maps and no predictions. Use
    `from_module` for several inputs: it reads the weights once.

    Args:
        module: As for `from_module`, like `processor`, `tokenizer`, `labels` and `device`.
        source: A picture or recording, as the pipelines take it; or a picture that is the module's input already, a
            floating tensor (c, h, w) or (1, c, h, w). Where `processor` is None, such a picture is shown from its
            smallest value to its largest.
        method: The map method; the task's default where None, or attention for a backbone without a head.
        question: For a module that answers questions.
        processor: As above.
        tokenizer: As above.
        labels: As above.
        device: As above.
        options: Those of the pipeline's call, such as `target`, `versus`, `explain_text`, and `texts` for a model that
            matches texts and pictures.

    Returns:
        The pipeline's result: its labels, text or answer, and the map as the only one of `maps`.

    Raises:
        ModelError: As for `from_module`; the method is unknown; or a question is missing, or one too much, or
            `texts` are missing.
        InputError: The picture or recording cannot be used.
    """
    pixels = source if isinstance(source, Tensor) and source.is_floating_point() and source.ndim >= 3 else None
    if pixels is not None and processor is None and not hasattr(unwrapped(module), "pretrained_cfg"):
        processor = _as_it_is(pixels)
    bundle = bundle_of(module, processor=processor, tokenizer=tokenizer, labels=labels)
    place = _device_of(module) if device is None else device
    if pixels is not None and isinstance(bundle.preprocessing, ImagePreprocessing):
        source = _prepared(pixels, bundle.preprocessing, bundle)
    is_answer = bundle.task == "answer"
    require(is_answer == (question is not None), "question", must="given for a model that answers", value=question)
    needs_texts = bundle.task == "match"
    require(not needs_texts or "texts" in options, "texts", must="given for a model that matches texts", value=None)
    if isinstance(bundle.model, ViT) and bundle.model.head is None:
        return _of_backbone(bundle, source, method, place, options)
    pipeline = _pipeline(bundle, place)
    one = (source, question) if is_answer else source
    return the_only(pipeline.stream([one], maps=method or task_spec(bundle.task).default_map_method, **options))


def _pipeline(bundle: ModelBundle, device: str | torch.device) -> Pipeline[nn.Module]:
    part = model_kind(bundle.config)[1].pipeline or task_spec(bundle.task).pipeline
    pipeline: Pipeline[nn.Module] = load_part(part)(bundle, device=device)
    return pipeline


def _device_of(module: nn.Module) -> torch.device:
    return next((tensor.device for tensor in module.parameters()), torch.device("cpu"))


def _as_it_is(pixels: Tensor) -> ImagePreprocessing:
    """A preprocessing for pictures that need none: of their size and channels."""
    channels, height, width = pixels.shape[-3:]
    return ImagePreprocessing(
        size=(height, width),
        resize_to=(height, width),
        interpolation="bicubic",
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        rescale=1.0,
    )


def _prepared(pixels: Tensor, preprocessing: ImagePreprocessing, bundle: ModelBundle) -> Prepared:
    """Return a picture that is the model's input already, with what a page shows of it."""
    if pixels.ndim == 4 and len(pixels) == 1:
        pixels = pixels[0]
    channels = preprocessing.channels
    fits = pixels.ndim == 3 and len(pixels) == channels
    must = f"a tensor ({channels}, height, width), or one with a batch of 1 before it"
    require(fits, "source", must=must, value=tuple(pixels.shape))
    config = bundle.config
    patch = getattr(config, "encoder", getattr(config, "vision", config)).patch_size
    height, width = pixels.shape[1:]
    is_whole = height % patch == 0 and width % patch == 0
    require(is_whole, "source", must=f"of sides that are multiples of {patch}, the patch", value=(height, width))
    pixels = pixels.detach().float().cpu()
    geometry = Geometry(source_size=(height, width), resized_size=(height, width), crop=(0, 0, height, width))
    return Prepared(None, _shown(pixels, preprocessing), pixels.numpy(), geometry)


def _shown(pixels: Tensor, preprocessing: ImagePreprocessing) -> Image.Image:
    """Return normalized pixels (c, h, w) as a picture; from smallest to largest value where nothing is known."""
    mean, std = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (preprocessing.mean, preprocessing.std))
    values = pixels * std + mean
    if preprocessing.rescale == 1.0:
        values = (values - values.min()) / (values.max() - values.min()).clamp(min=1e-12)
    else:
        values = values / (255 * preprocessing.rescale)
    eight_bits = (values.clamp(0, 1) * 255).round().byte()
    rgb = eight_bits[:3] if len(eight_bits) >= 3 else eight_bits[:1].expand(3, -1, -1)
    return Image.fromarray(rgb.permute(1, 2, 0).contiguous().numpy())


def _of_backbone(
    bundle: ModelBundle, source: Any, method: str | None, device: str | torch.device, options: dict[str, Any]
) -> ClassifyResult:
    """Explain a backbone, which has no classes: by the methods that need none."""
    if options:
        raise ModelError(
            f"`{min(options)}` must be left out for a {bundle.source}, which has no head: it explains no class"
        )
    method = method or NO_CLASS[0]
    known = ", ".join(NO_CLASS)
    must = f"one of {known} for a {bundle.source}, which has no head: the others explain a class"
    require(method in NO_CLASS, "method", must=must, value=method)
    model = bundle.require(ViT).to(device)
    item = source if isinstance(source, Prepared) else prepare(source, bundle.pictures)
    if isinstance(item, Failure):
        raise item.error
    images = stacked([item], torch.device(device))
    (found,) = explain_images(model, images, method=method, geometries=[item.geometry])
    (stack,) = attention_stack(model, images, [item.geometry])
    shown = PictureMap(found, item.picture, item.title, stack, ())
    return ClassifyResult(item.file, (), (shown,), item.damaged, item.remark)
