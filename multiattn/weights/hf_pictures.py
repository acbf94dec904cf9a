"""The files of transformers' processors (preprocessing of images and recordings), read and written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..inputs import Fit, ImagePreprocessing
from ..inputs.channels import check_channels
from .json_files import check_value, read_json, short

PREPROCESSOR = "preprocessor_config.json"

VIT_DEFAULTS: dict[str, Any] = {"size": 224, "resample": 2, "image_mean": 0.5, "image_std": 0.5}
"""What ViTImageProcessor does where its file states nothing."""

_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers


def read_preprocessing(
    directory: Path, defaults: Mapping[str, Any] = VIT_DEFAULTS, *, channels: int = 3
) -> ImagePreprocessing:
    """Read the preprocessing of images from the file of transformers' processor, in its older or its current form.

    Args:
        directory: The model's directory.
        defaults: What the processor's class does where the file states nothing.
        channels: The number that the model reads.

    Raises:
        ModelError: The processor does something that ours does not.
    """
    path, data = read_processor(directory, defaults)
    check_value(not data.get("do_pad"), "do_pad", must="False", value=data.get("do_pad"), where=str(path))
    resize_to = _read_size(data["size"], where=f"{path}: `size`")
    size = resize_to
    if data.get("do_center_crop"):
        size = _read_size(data.get("crop_size", 224), where=f"{path}: `crop_size`")
    if isinstance(size, int):
        raise ModelError(f"{path}: `size` must have a height and a width where nothing is cropped, but has not")
    return as_preprocessing(data, size=size, resize_to=resize_to, channels=channels, where=str(path))


def read_processor(directory: Path, defaults: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Return the path of an image processor's file, and its values over the defaults.

    Raises:
        ModelError: There is no such file, or it does not resize.
    """
    path, found = find_processor(directory, "an `image_processor`")
    data = read_json(directory / PREPROCESSOR) if found is None else found  # raises: the file is missing
    resize = data.get("do_resize")
    check_value(resize in (True, None), "do_resize", must="True", value=resize, where=str(path))
    return path, {**defaults, **data}


def find_processor(directory: Path, part: str) -> tuple[Path, Mapping[str, Any] | None]:
    """Read a processor's file: one of its own, or a part of that of a processor for several kinds of input.

    Args:
        directory: The model's directory.
        part: The key of the part, with its article and in backticks, as messages have it.

    Returns:
        The path, and the object that was read; None where there is no file.

    Raises:
        ModelError: The file for several kinds of input lacks the part.
    """
    path = directory / PREPROCESSOR
    if path.is_file():
        return path, read_json(path)
    path = directory / "processor_config.json"
    if not path.is_file():
        return path, None
    data = read_json(path).get(part.split("`")[1])
    if not isinstance(data, dict):
        raise ModelError(f"{path} must describe {part}, but does not")
    return path, data


def as_preprocessing(
    data: Mapping[str, Any],
    *,
    size: tuple[int, int],
    resize_to: tuple[int, int] | int | Fit,
    channels: int = 3,
    where: str,
) -> ImagePreprocessing:
    """Return our preprocessing for an image processor with these values and sizes.

    Raises:
        ModelError: It resizes with a filter that ours does not have, or normalizes another number of channels.
    """
    resample = data["resample"]
    check_value(resample in _RESAMPLING, "resample", must=f"one of {_RESAMPLING}", value=repr(resample), where=where)
    normalizes, rescales = data.get("do_normalize") is not False, data.get("do_rescale") is not False
    return ImagePreprocessing(
        size=size,
        resize_to=resize_to,
        interpolation=_RESAMPLING[resample],  # type: ignore[arg-type]
        mean=per_channel(data["image_mean"] if normalizes else 0.0, channels, name="image_mean", where=where),
        std=per_channel(data["image_std"] if normalizes else 1.0, channels, name="image_std", where=where),
        rescale=data.get("rescale_factor", 1 / 255) if rescales else 1.0,
    )


def _read_size(size: Any, *, where: str) -> tuple[int, int] | int:
    """Return height and width, or the length of the shorter side; one number, the older form, is a square."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping) and size.get("height") and size.get("width"):
        return int(size["height"]), int(size["width"])
    if isinstance(size, Mapping) and size.get("shortest_edge") and not size.get("longest_edge"):
        return int(size["shortest_edge"])
    raise ModelError(f"{where} must be a height and width or a shortest_edge, but is {size} instead")


def per_channel(value: Any, channels: int, *, name: str, where: str) -> tuple[float, ...]:
    """Return a number for each channel of a model; one number, or equal ones for red, green and blue, is for all.

    Args:
        value: A number, or a list of them.
        channels: The number of channels.
        name: The key of the value.
        where: The file, for messages.

    Raises:
        ModelError: The numbers differ and are not one for each channel, or a channel has no known meaning.
    """
    check_channels(channels, where=where)
    numbers = tuple(map(float, value)) if isinstance(value, list | tuple) else (float(value),)
    if len(numbers) != channels and len(set(numbers)) == 1:
        numbers = numbers[:1] * channels
    if len(numbers) != channels:
        raise ModelError(
            f"{where}: `{name}` must have a number for each of the model's {channels} channels, but is "
            f"{short(list(numbers))} instead: use the numbers that the model was trained with"
        )
    return numbers


def write_preprocessing(preprocessing: ImagePreprocessing, kind: str) -> dict[str, Any]:
    """Return the file that `read_preprocessing` reads, for a processor class of that name.

    Raises:
        ModelError: The class cannot express the resize.
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
    """Return the values that `as_preprocessing` takes, with the sizes in the words of the processor class."""
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
