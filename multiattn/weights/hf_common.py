"""What the layouts of transformers have in common: the words for activations, pictures, vocabularies and decoding."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..inputs import Fit, ImagePreprocessing, Tokenizer
from ..models.text_decoder import TextDecoderConfig
from .bundle import TOKENIZER, ModelBundle
from .checks import check_vocabulary
from .json_files import read_json
from .own import tuples

PREPROCESSOR = "preprocessor_config.json"
GENERATION = "generation_config.json"
VISION, TEXT, QUESTION = "vision encoder", "text decoder", "question encoder"
"""What messages call a model's parts."""

VIT_DEFAULTS: dict[str, Any] = {"size": 224, "resample": 2, "image_mean": 0.5, "image_std": 0.5}
"""Of ViTImageProcessor."""

# theirs to ours; where two of theirs mean one of ours, the first is written
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "quick_gelu": "gelu_quick",
}
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers

# of a decode, theirs to ours; the second group says nothing unless the first of it is true
_SEARCH = {
    "num_beams": "beams",
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "length_penalty": "length_penalty",
    "early_stopping": "early_stopping",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "repetition_penalty": "repetition_penalty",
    "suppress_tokens": "suppress",
    "begin_suppress_tokens": "suppress_first",
}
_SAMPLING = {"do_sample": "sample", "temperature": "temperature", "top_k": "top_k", "top_p": "top_p"}


def read_activation(theirs: str, name: str, *, where: str) -> str:
    """Our word for an activation, which stands in the field `name`."""
    if theirs not in _ACTIVATIONS:
        raise ModelError(f"{where}: `{name}` must be one of {', '.join(_ACTIVATIONS)}, but is {theirs} instead")
    return _ACTIVATIONS[theirs]


def write_activation(ours: str) -> str:
    """Their word for an activation."""
    return {name: theirs for theirs, name in reversed(_ACTIVATIONS.items())}[ours]


def check_fixed(
    config: Any, fixed: Mapping[str, Any], layout: str, *, of: str = "", instead: str = "multiattn"
) -> None:
    """Make sure that a configuration of ours has these values, for which a layout has no words.

    Args:
        config: Has the fields.
        fixed: The fields, and the only value that the layout knows of each.
        layout: Its name.
        of: The part of the model that is configured, where it has several.
        instead: The layouts that have words for other values.

    Raises:
        ModelError: It has not; the message names the field.
    """
    for field, wanted in fixed.items():
        value = getattr(config, field)
        if value != wanted:
            raise ModelError(
                f"the {layout} layout needs `{field}`{of and f' of the {of}'} to be {wanted!r}, but it is "
                f"{value!r} instead, which it has no way to say: choose the layout {instead}"
            )


def require(config: Mapping[str, Any], name: str, *, where: str) -> Any:
    """A value that must be stated, because a default would load and be wrong: the number of heads is in no tensor.

    Raises:
        ModelError: It is not there.
    """
    if config.get(name) is None:
        raise ModelError(f"{where}: `{name}` must be stated, but is missing: add it to the file")
    return config[name]


def read_tokenizer(directory: Path, vocab_size: int) -> Tokenizer:
    """The vocabulary that lies in a directory.

    Raises:
        ModelError: There is none, or it does not fit weights for a vocabulary of that size.
    """
    tokenizer = Tokenizer.load(directory)
    check_vocabulary(tokenizer, vocab_size, where=str(directory))
    return tokenizer


def read_decoding(directory: Path, config: Mapping[str, Any], *, prompt: str = "") -> dict[str, Any]:
    """How the model is to write, where the directory says so.

    Args:
        directory: Of the model.
        config: Its `config.json`, in which the prompt stands: a key of ours, for transformers leaves it to the caller.
        prompt: Where it does not stand there.
    """
    path = directory / GENERATION
    stated = read_json(path) if path.is_file() else {}
    names = {**_SEARCH, **(_SAMPLING if stated.get("do_sample") else {})}
    search = {ours: tuples(stated[theirs]) for theirs, ours in names.items() if stated.get(theirs) is not None}
    prompt = config.get("prompt", prompt)
    return {"prompt": prompt, **search} if prompt else search


def describe_text(
    bundle: ModelBundle, decoder: TextDecoderConfig, layout: str, *, elsewhere: str = "prompt"
) -> dict[str, dict[str, Any]]:
    """The files about the vocabulary and the decoding.

    Args:
        bundle: What is written.
        decoder: Of its model.
        layout: Its name.
        elsewhere: What `decoding` may say that the caller writes.

    Raises:
        ModelError: There is no word for something that the model does when it writes.
    """
    words = {ours: theirs for theirs, ours in (_SEARCH | _SAMPLING).items()}
    if lacking := sorted(bundle.decoding.keys() - words.keys() - {elsewhere}):
        raise ModelError(f"the {layout} layout has no place for `{lacking[0]}` of the bundle's `decoding`")
    assert bundle.tokenizer is not None  # `save_bundle` has made sure
    vocabulary = json.loads(bundle.tokenizer.to_json())
    names = {token["id"]: token["content"] for token in vocabulary["added_tokens"]}
    # the roles whose token has a name: BLIP's [DEC] often has none
    roles = {"bos_token": decoder.start_token, "eos_token": decoder.end_token, "pad_token": decoder.pad_token}
    generation: dict[str, Any] = {
        "decoder_start_token_id": decoder.start_token,
        "bos_token_id": decoder.start_token,
        "eos_token_id": decoder.end_token,
        "pad_token_id": decoder.pad_token,
    }
    generation |= {words[ours]: value for ours, value in bundle.decoding.items() if ours in words}
    return {
        TOKENIZER: vocabulary,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            **{role: names[token] for role, token in roles.items() if token in names},
        },
        GENERATION: generation,
    }


def around_questions(bundle: ModelBundle, start: int, end: int, layout: str) -> dict[str, Any]:
    """The `tokenizer.json` of a model that reads questions, with which transformers too puts these tokens around them.

    Raises:
        ModelError: One of the tokens has no name.
    """
    assert bundle.tokenizer is not None  # `save_bundle` has made sure
    tokens = {"start_token": start, "end_token": end}
    names = [token_name(bundle, role, token, layout) for role, token in tokens.items()]
    opening, closing = ({"SpecialToken": {"id": name, "type_id": 0}} for name in names)
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    around = {
        "type": "TemplateProcessing",
        "single": [opening, first, closing],
        "pair": [first, second],
        "special_tokens": {
            name: {"id": name, "ids": [token], "tokens": [name]}
            for name, token in zip(names, tokens.values(), strict=True)
        },
    }
    return {**json.loads(bundle.tokenizer.to_json()), "post_processor": around}


def token_name(bundle: ModelBundle, role: str, token: int, layout: str) -> str:
    """What the vocabulary calls a token with a role.

    Raises:
        ModelError: It has no name.
    """
    assert bundle.tokenizer is not None  # `save_bundle` has made sure
    if (name := bundle.tokenizer.name_of(token)) is None:
        raise ModelError(f"the {layout} layout needs a name for `{role}` ({token}), but the vocabulary has none")
    return name


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
    normalises, rescales = data.get("do_normalize") is not False, data.get("do_rescale") is not False
    return ImagePreprocessing(
        size=size,
        resize_to=resize_to,
        interpolation=_RESAMPLING[resample],  # type: ignore[arg-type]
        mean=_three(data["image_mean"] if normalises else 0.0),
        std=_three(data["image_std"] if normalises else 1.0),
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
