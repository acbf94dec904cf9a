"""The files of transformers' processors (preprocessing of images and recordings), read and written."""

from collections.abc import Collection, Mapping
from typing import Any

from ..errors import ModelError
from ..inputs import Fit, ImagePreprocessing
from ..inputs.channels import check_channels
from ..inputs.preprocess import LARGEST_RESIZE
from .json_files import check_value, short
from .model_files import ModelFiles

PREPROCESSOR = "preprocessor_config.json"
_FOR_SEVERAL = "processor_config.json"  # of a processor for several kinds of input

VIT = "ViTImageProcessor"
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # mean and standard deviation
_CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])


def _defaults(size: Any, resample: int, normalize: tuple[Any, Any], **others: Any) -> dict[str, Any]:
    mean, std = normalize
    return {"size": size, "resample": resample, "image_mean": mean, "image_std": std, **others}


PROCESSORS: dict[str, dict[str, Any]] = {
    VIT: _defaults(224, 2, (0.5, 0.5)),
    "DeiTImageProcessor": _defaults(256, 3, (0.5, 0.5), do_center_crop=True, crop_size=224),
    "CLIPImageProcessor": _defaults(
        {"shortest_edge": 224}, 3, _CLIP, do_center_crop=True, crop_size=224, default_to_square=False
    ),
    "BitImageProcessor": _defaults(
        {"shortest_edge": 224}, 3, _CLIP, do_center_crop=True, crop_size=224, default_to_square=False
    ),
    "BeitImageProcessor": _defaults(224, 3, (0.5, 0.5)),
    "DINOv3ViTImageProcessor": _defaults(224, 2, _IMAGENET),
    "SiglipImageProcessor": _defaults(224, 3, (0.5, 0.5)),
    "BlipImageProcessor": _defaults(384, 3, _CLIP),
}
"""The classes of transformers that resize, crop, rescale and normalize, in this order and nothing else; and what each
does where its file states nothing."""

# keys that say nothing about the numbers: their form, other programs, and padding among the pictures of a batch, which
# have one size after a resize to a fixed one
_HARMLESS = {
    *("image_processor_type", "feature_extractor_type", "processor_class", "_processor_class", "transformers_version"),
    *("data_format", "input_data_format", "return_tensors", "device", "disable_grouping", "model_input_names"),
    *("do_convert_rgb", "do_pad", "size_divisor", "do_reduce_labels", "reduce_labels", "_valid_processor_keys"),
}
_HONORED = {
    *("do_resize", "size", "resample", "do_center_crop", "crop_size", "default_to_square"),
    *("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"),
}

_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers


def read_preprocessing(files: ModelFiles, kind: str = VIT, *, channels: int = 3) -> ImagePreprocessing:
    """Read the preprocessing of images from the file of transformers' processor, in its older or its current form.

    Args:
        files: The model's files.
        kind: The class of `PROCESSORS` that a file means which states none.
        channels: The number that the model reads.

    Raises:
        ModelError: The processor does something that ours does not.
    """
    if isinstance(files.preprocessing, ImagePreprocessing):
        return files.preprocessing
    path, data = read_processor(files, PROCESSORS, kind)
    square = data.get("default_to_square") is not False
    resize_to = _read_size(data["size"], square=square, where=f"{path}: `size`")
    size = resize_to
    if data.get("do_center_crop"):
        size = _read_size(data.get("crop_size", 224), square=True, where=f"{path}: `crop_size`")
    if isinstance(size, int):
        raise ModelError(f"{path}: `size` must have a height and a width where nothing is cropped, but has not")
    return as_preprocessing(data, size=size, resize_to=resize_to, channels=channels, where=path)


def read_processor(
    files: ModelFiles, known: Mapping[str, Mapping[str, Any]], kind: str, *, honored: Collection[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Return the path of an image processor's file, and its values over the defaults of its class.

    Args:
        files: The model's files.
        known: The classes that can be used, each with its defaults.
        kind: The class of a file that states none.
        honored: Keys that the caller uses, beside those of every processor.

    Raises:
        ModelError: There is no such file, it is of another class, it does not resize, or it has a key that is not
            known to change nothing.
    """
    path, found = find_processor(files, "an `image_processor`")
    data = files.json(PREPROCESSOR) if found is None else found  # raises: the file is missing
    # None is the class's default, and no step where it says whether one is done
    steps = [name for name, value in data.items() if value is None and name.startswith("do_")]
    data = {name: value for name, value in data.items() if value is not None} | dict.fromkeys(steps, False)
    for name in ("image_processor_type", "feature_extractor_type"):
        if name in data:
            stated = data[name]
            check_value(isinstance(stated, str), name, must="the name of a class", value=short(stated), where=path)
            kind = stated.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
            check_value(kind in known, name, must=f"one of {', '.join(known)}", value=short(stated), where=path)
            break
    for name, value in data.items():
        if name not in _HARMLESS and name not in _HONORED and name not in honored and value is not False:
            raise ModelError(
                f"{path}: `{name}` must be one of {', '.join(sorted(_HONORED | set(honored)))}, or change nothing, but "
                f"is {short(value)} instead, which {kind} does not have: remove it if the model does not need it"
            )
    for name in ("do_resize", "do_rescale", "do_normalize", "do_center_crop", "default_to_square"):
        value = data.get(name, True)
        check_value(isinstance(value, bool), name, must="true or false", value=short(value), where=path)
    resize = data.get("do_resize", True)
    check_value(resize, "do_resize", must="True", value=resize, where=path)
    return path, {**known[kind], **data}


def find_processor(files: ModelFiles, part: str) -> tuple[str, Mapping[str, Any] | None]:
    """Read a processor's file: one of its own, or a part of that of a processor for several kinds of input.

    Args:
        files: The model's files.
        part: The key of the part, with its article and in backticks, as messages have it.

    Returns:
        The path, and the object that was read; None where there is no file.

    Raises:
        ModelError: The file for several kinds of input lacks the part.
    """
    path = files.where(PREPROCESSOR)
    if files.has(PREPROCESSOR):
        return path, files.json(PREPROCESSOR)
    path = files.where(_FOR_SEVERAL)
    if not files.has(_FOR_SEVERAL):
        return path, None
    data = files.json(_FOR_SEVERAL).get(part.split("`")[1])
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
    known = type(resample) is int and resample in _RESAMPLING
    check_value(known, "resample", must=f"one of {_RESAMPLING}", value=short(resample), where=where)
    normalizes, rescales = data.get("do_normalize") is not False, data.get("do_rescale") is not False
    for name in ("image_mean", "image_std", "rescale_factor"):
        values = data.get(name, 1.0)
        are_numbers = all(type(value) in (int, float) for value in (values if isinstance(values, list) else [values]))
        check_value(are_numbers, name, must="a number or a list of numbers", value=short(values), where=where)
    return ImagePreprocessing(
        size=size,
        resize_to=resize_to,
        interpolation=_RESAMPLING[resample],  # type: ignore[arg-type]
        mean=per_channel(data["image_mean"] if normalizes else 0.0, channels, name="image_mean", where=where),
        std=per_channel(data["image_std"] if normalizes else 1.0, channels, name="image_std", where=where),
        rescale=data.get("rescale_factor", 1 / 255) if rescales else 1.0,
        center="nearest" if resize_to == size or isinstance(resize_to, Fit) else "floor",
    )


def _read_size(size: Any, *, square: bool, where: str) -> tuple[int, int] | int:
    """Return height and width, or the length of the shorter side; one number, the older form, is a square or that."""
    found: Any = None
    if isinstance(size, list) and len(size) == 2:
        found = tuple(size)
    elif isinstance(size, Mapping):
        stated = {name: value for name, value in size.items() if value is not None}
        if stated.keys() == {"height", "width"}:
            found = stated["height"], stated["width"]
        elif stated.keys() == {"shortest_edge"}:
            found = stated["shortest_edge"]
    elif type(size) is int:
        found = (size, size) if square else size
    sides = found if isinstance(found, tuple) else (found,)
    if not all(type(side) is int and 1 <= side <= LARGEST_RESIZE for side in sides):
        raise ModelError(
            f"{where} must be a height and width or a shortest_edge, each from 1 to {LARGEST_RESIZE} pixels, but is "
            f"{short(size)} instead"
        )
    return found  # type: ignore[no-any-return]


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
    elif PROCESSORS[kind].get("do_center_crop"):  # which is then the class's default
        sizes["do_center_crop"] = False
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
