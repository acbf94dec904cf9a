"""What the picture processors of transformers do, in the words of their files, both ways."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..inputs import Fit, ImagePreprocessing
from .json_files import read_json

PREPROCESSOR = "preprocessor_config.json"

VIT_DEFAULTS: dict[str, Any] = {"size": 224, "resample": 2, "image_mean": 0.5, "image_std": 0.5}
"""Of ViTImageProcessor."""

_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers


def read_preprocessing(directory: Path, defaults: Mapping[str, Any] = VIT_DEFAULTS) -> ImagePreprocessing:
    """What a picture processor of transformers does, from the file it reads, in its older and its current form.

    Args:
        directory: Where the file lies.
        defaults: What the processor's class does where the file says nothing.

    Raises:
        ModelError: It does something that ours does not.
    """
    path, data = read_processor(directory, defaults)
    if data.get("do_pad") not in (False, None):
        raise ModelError(f"{path}: `do_pad` must be False, but is {data['do_pad']} instead")
    resize_to = _read_size(data["size"], where=f"{path}: `size`")
    size = resize_to
    if data.get("do_center_crop"):
        size = _read_size(data.get("crop_size", 224), where=f"{path}: `crop_size`")
    if isinstance(size, int):
        raise ModelError(f"{path}: `size` must have a height and a width where nothing is cropped, but has not")
    return as_preprocessing(data, size=size, resize_to=resize_to, where=str(path))


def read_processor(directory: Path, defaults: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """The file that a picture processor of transformers reads, and what it says or leaves to the defaults.

    Raises:
        ModelError: There is none, or it does not resize.
    """
    nested = directory / "processor_config.json"
    if not (directory / PREPROCESSOR).is_file() and nested.is_file():
        path, data = nested, read_json(nested).get("image_processor")
        if not isinstance(data, dict):
            raise ModelError(f"{path} must describe an `image_processor`, but does not")
    else:
        path = directory / PREPROCESSOR
        data = read_json(path)
    if data.get("do_resize") not in (True, None):
        raise ModelError(f"{path}: `do_resize` must be True, but is {data['do_resize']} instead")
    return path, {**defaults, **data}


def as_preprocessing(
    data: Mapping[str, Any], *, size: tuple[int, int], resize_to: tuple[int, int] | int | Fit, where: str
) -> ImagePreprocessing:
    """Ours for a picture processor of these settings and sizes.

    Raises:
        ModelError: It has another filter than ours.
    """
    resample = data["resample"]
    if resample not in _RESAMPLING:
        raise ModelError(f"{where}: `resample` must be one of {_RESAMPLING}, but is {resample!r} instead")
    normalizes, rescales = data.get("do_normalize") is not False, data.get("do_rescale") is not False
    return ImagePreprocessing(
        size=size,
        resize_to=resize_to,
        interpolation=_RESAMPLING[resample],  # type: ignore[arg-type]
        mean=_three(data["image_mean"] if normalizes else 0.0),
        std=_three(data["image_std"] if normalizes else 1.0),
        rescale=data.get("rescale_factor", 1 / 255) if rescales else 1.0,
    )


def _read_size(size: Any, *, where: str) -> tuple[int, int] | int:
    """Height and width, or the length of the shorter side. The older form, one number, is a square."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping) and size.get("height") and size.get("width"):
        return int(size["height"]), int(size["width"])
    if isinstance(size, Mapping) and size.get("shortest_edge") and not size.get("longest_edge"):
        return int(size["shortest_edge"])
    raise ModelError(f"{where} must be a height and width or a shortest_edge, but is {size} instead")


def _three(value: Any) -> tuple[float, float, float]:
    red, green, blue = value if isinstance(value, list) else (value,) * 3
    return float(red), float(green), float(blue)


def write_preprocessing(preprocessing: ImagePreprocessing, kind: str) -> dict[str, Any]:
    """The inverse of `read_preprocessing`, for a processor class of that name.

    Raises:
        ModelError: That class has no word for the resize.
    """

    def as_size(size: tuple[int, int] | int) -> dict[str, int]:
        return {"shortest_edge": size} if isinstance(size, int) else {"height": size[0], "width": size[1]}

    resize_to = preprocessing.resize_to
    if isinstance(resize_to, Fit):
        raise ModelError(f"a {kind} has no way to say a resize to {resize_to}: choose the layout multiattn")
    sizes: dict[str, Any] = {"size": as_size(resize_to)}
    if resize_to != preprocessing.size:
        sizes |= {"do_center_crop": True, "crop_size": as_size(preprocessing.size)}
    return write_processor(preprocessing, kind, sizes)


def write_processor(preprocessing: ImagePreprocessing, kind: str, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `as_preprocessing`: all that a picture processor does, of which the sizes are said already."""
    return {
        "image_processor_type": kind,
        "do_resize": True,
        **sizes,
        "resample": {name: number for number, name in _RESAMPLING.items()}[preprocessing.interpolation],
        "do_rescale": True,
        "rescale_factor": preprocessing.rescale,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
    }
