"""timm's layout for vision transformers, read and written.

`config.json` names one of timm's architectures and its arguments; `timm_structure` translates these to our
configuration, and `timm_tables` has the names of the tensors. timm does not state what the outputs mean: `config.json`
may have transformers' `problem_type`, which timm ignores; without it, several outputs are a softmax, and one is a
sigmoid.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ..errors import ModelError
from ..inputs import Fit, ImagePreprocessing
from ..models.vit import ViT
from .bundle import CONFIG, Layout, ModelBundle, build_model
from .hf_labels import read_score_function, write_score_function
from .hf_pictures import per_channel
from .json_files import read_part
from .model_files import ModelFiles
from .sizes import check_numbers
from .timm_structure import on_meta, read_structure, write_structure
from .timm_tables import NAME, TABLE, TABLES, names_of

__all__ = ["LAYOUT", "NAME", "TABLE"]


def recognizes(config: Mapping[str, Any]) -> bool:
    """Return whether a `config.json` is of this layout."""
    return isinstance(config.get("architecture"), str)


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that timm saved, or one of its models on the hub.

    Raises:
        ModelError: timm does not know the architecture, our model cannot express it, or the weights do not fit.
    """
    where, state = files.where(CONFIG), files.tensors()
    reference: Any = _reference(files, config, state, where=where) if files.module is None else files.module
    architecture = read_structure(reference, where=str(files))
    pretrained_cfg = dict(reference.pretrained_cfg)
    labels = _read_labels(pretrained_cfg, architecture.num_classes)
    preprocessing = files.preprocessing
    if not isinstance(preprocessing, ImagePreprocessing):
        preprocessing = _read_preprocessing(
            pretrained_cfg, architecture.image_size, channels=architecture.in_channels, where=where
        )
    return ModelBundle(
        task="classify",
        model=build_model(architecture, files, table=TABLES[names_of(reference).key], state=state),
        preprocessing=preprocessing,
        labels=labels,
        score_function=read_score_function(config, len(labels), where=where),
        card={"architecture": config["architecture"], "tag": pretrained_cfg.get("tag") or ""},
    )


def _reference(files: ModelFiles, config: Mapping[str, Any], state: Mapping[str, Tensor], *, where: str) -> Any:
    """Return timm's own model for a directory, without memory for its weights."""
    arguments = read_part(config, "model_args", where=where)
    read_part(config, "pretrained_cfg", where=where)  # timm uses it unchecked
    pool = config.get("global_pool")
    # older exports state the pooling only here, which timm ignores
    overrides = {"global_pool": pool} if pool and "global_pool" not in arguments else {}
    check_numbers({**arguments, "num_classes": config.get("num_classes")}, state, where=where)
    return on_meta(f"local-dir:{files}", where=str(files), **overrides)


def _read_preprocessing(
    config: Mapping[str, Any], size: tuple[int, int], *, channels: int = 3, where: str
) -> ImagePreprocessing:
    """Return the evaluation transform. Source: timm.data.transforms_factory.transforms_imagenet_eval."""
    from timm.data.config import resolve_data_config

    data = resolve_data_config(pretrained_cfg=dict(config))
    mode, share = data["crop_mode"], data["crop_pct"]
    scaled = tuple(math.floor(side / share) for side in size)
    resize_to: tuple[int, int] | int
    if mode == "squash":
        resize_to = (scaled[0], scaled[1])
    elif mode == "center" and scaled[0] == scaled[1]:
        resize_to = scaled[0]
    else:
        raise ModelError(
            f"{where}: `crop_mode` must be squash, or center with a square input, but is {mode} with an input of "
            f"{size[0]} x {size[1]} instead"
        )
    return ImagePreprocessing(
        size=size,
        resize_to=resize_to,
        interpolation=data["interpolation"],
        mean=_per_channel(data["mean"], channels, name="mean", where=where),
        std=_per_channel(data["std"], channels, name="std", where=where),
    )


def _per_channel(value: Any, channels: int, *, name: str, where: str) -> tuple[float, ...]:
    """Return a number for each channel; their mean where there are others. Source: timm.data.model_config."""
    numbers = value if isinstance(value, list | tuple) else (value,)
    if len(numbers) not in (1, channels):
        numbers = (sum(numbers) / len(numbers),)
    return per_channel(numbers, channels, name=name, where=where)


def _read_labels(config: Mapping[str, Any], num_classes: int) -> tuple[str, ...]:
    names = config.get("label_names")
    if names:
        if isinstance(names, Mapping):  # by the index as a string; indices may be missing
            names = [names.get(str(index), names.get(index, str(index))) for index in range(num_classes)]
        texts = config.get("label_descriptions") or {}
        return tuple(str(texts.get(name, name)) for name in names)
    if num_classes == 1000 and "in1k" in str(config.get("tag") or ""):
        # timm's own models do not state their labels; by this tag they are those of ImageNet
        from timm.data.imagenet_info import ImageNetInfo

        return tuple(ImageNetInfo("imagenet-1k").label_descriptions())
    return tuple(str(index) for index in range(num_classes))


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: timm cannot express the model or its preprocessing.
    """
    architecture = bundle.require(ViT).config
    name, arguments = write_structure(
        architecture,
        architecture=str(bundle.card.get("architecture", "")),
        key_bias=_needs_key_bias(bundle.require(ViT)),
    )
    description: dict[str, Any] = {
        "architecture": name,
        "num_classes": architecture.num_classes,
        "num_features": architecture.dim,
        "global_pool": arguments["global_pool"],
        "label_names": list(bundle.labels),
        **write_score_function(bundle.score_function),
        "model_args": arguments,
        "pretrained_cfg": {
            **_write_preprocessing(bundle.pictures),
            "num_classes": architecture.num_classes,
            "fixed_input_size": True,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": ["head", "head_dist"] if architecture.distilled else "head",
        },
    }
    return {CONFIG: description}


def _needs_key_bias(model: ViT) -> bool:
    """Return whether the biases of the keys matter: without rotary positions or a norm, the softmax cancels them."""
    if not model.is_rotary and not model.config.qk_norm:
        return False
    biases = [tensor for name, tensor in model.state_dict().items() if name.endswith(".attention.qkv.bias")]
    return any(bool(bias.chunk(3)[1].any()) for bias in biases)


def _variant(config: Mapping[str, Any]) -> str:
    """Return how timm names the tensors of a model that `describe` has described."""
    model = on_meta(config["architecture"], where="saving", **config["model_args"], num_classes=config["num_classes"])
    return names_of(model).key


def _write_preprocessing(preprocessing: ImagePreprocessing) -> dict[str, Any]:
    size, resize_to = preprocessing.size, preprocessing.resize_to
    if not math.isclose(preprocessing.rescale, 1 / 255):
        raise ModelError(f"the timm layout needs `rescale` to be 1/255, but it is {preprocessing.rescale} instead")
    unsaid = ModelError(f"the {NAME} layout has no way to say a resize to {resize_to} for an input of {size}")
    if isinstance(resize_to, Fit):
        raise unsaid
    scaled = (resize_to, resize_to) if isinstance(resize_to, int) else resize_to
    result = {
        "input_size": [preprocessing.channels, *size],
        "interpolation": preprocessing.interpolation,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "crop_pct": min(1.0, size[0] / (scaled[0] + 0.5)) if scaled != size else 1.0,
        "crop_mode": "center" if isinstance(resize_to, int) else "squash",
    }
    try:
        says = _read_preprocessing(result, size, channels=preprocessing.channels, where="saving")
    except ModelError:
        says = None
    if says != replace(preprocessing, rescale=1 / 255):
        raise unsaid
    return result


LAYOUT = Layout(
    NAME,
    '"architecture": a timm model',
    recognizes,
    load,
    describe,
    TABLE,
    variants=TABLES,
    variant=_variant,
    models="the transformers of timm's vision_transformer, deit, eva and beit",
)
