"""What transformers' layouts of a single picture encoder share, whether it classifies or has no head.

`Keys` sets the keys of their configuration against the fields of ours, and `Family` is a layout: with `Keys`, and a key
table for each class that may have saved the file. Both are used both ways.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import ModelError
from ..models.vit import ViT, ViTConfig
from .bundle import CONFIG, Layout, ModelBundle, build_model
from .hf_common import check_fixed, read_activation, read_kind, write_activation
from .hf_labels import read_labels, read_score_function, write_labels, write_score_function
from .hf_pictures import PREPROCESSOR, read_preprocessing, write_preprocessing
from .json_files import check_value, read_architecture
from .model_files import ModelFiles
from .table import KeyTable

SIZES: dict[str, tuple[str, Any]] = {
    "in_channels": ("num_channels", 3),
    "dim": ("hidden_size", 768),
    "depth": ("num_hidden_layers", 12),
    "num_heads": ("num_attention_heads", 12),
}
"""Fields of ours whose keys and defaults are the same in all of transformers' picture encoders."""

_SEPARATE = {"image_size", "patch_size", "activation"}  # fields that need more than another name
_TRAINING = {"stochastic_depth"}  # fields that a layout need not express


@dataclass(frozen=True)
class Keys:
    """The keys of the configuration of one of transformers' picture encoders, against the fields of ours."""

    names: Mapping[str, tuple[str, Any]]
    """Fields of ours: the key of theirs, and its default."""

    derived: Sequence[str] = ()
    """Fields of ours that the layout finds by itself, and gives to `read`."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ours that have one value in all of these models, which is not our default."""

    patch_size: int = 16
    """Their default, in pixels."""

    activation: str = "gelu"
    """Their default of `hidden_act`."""

    @property
    def fixed(self) -> dict[str, Any]:
        """The fields of ours that they cannot express, and their values in all of these models."""
        expressed = {*self.names, *self.derived, *_SEPARATE, *_TRAINING, "num_classes"}
        defaults = {one.name: one.default for one in fields(ViTConfig) if one.name not in expressed}
        return defaults | dict(self.values)

    def read(self, config: Mapping[str, Any], *, where: str, **derived: Any) -> ViTConfig:
        """Return our configuration for theirs. A value that is not stated has the default of transformers.

        Args:
            config: Theirs.
            where: The file, for messages.
            derived: The fields that the layout has found by itself.

        Raises:
            ModelError: Ours cannot be such a model.
        """
        image_size, patch_size = config.get("image_size", 224), config.get("patch_size", self.patch_size)
        if isinstance(patch_size, list):
            check_value(len(set(patch_size)) == 1, "patch_size", must="square", value=patch_size, where=where)
            patch_size = patch_size[0]
        found = {
            **self.fixed,
            "image_size": image_size if isinstance(image_size, list) else [image_size, image_size],
            "patch_size": patch_size,
            "activation": read_activation(config.get("hidden_act", self.activation), "hidden_act", where=where),
            **{ours: config.get(theirs, default) for ours, (theirs, default) in self.names.items()},
            **derived,
        }
        return read_architecture(found, ViTConfig, where=where)

    def write(self, architecture: ViTConfig, layout: str, *, of: str = "") -> dict[str, Any]:
        """Return the keys that `read` reads.

        Args:
            architecture: Our configuration.
            layout: The layout's name, for messages.
            of: The part of the model that this is, if it is not the whole.

        Raises:
            ModelError: They cannot express the model.
        """
        check_fixed(architecture, self.fixed, layout, of=of)
        for ours, (_, default) in self.names.items():
            if getattr(architecture, ours) is None and default is not None:
                raise ModelError(
                    f"the {layout} layout needs `{ours}`{of and f' of the {of}'} to be a number, but it is None "
                    "instead: choose the layout multiattn"
                )
        height, width = architecture.image_size
        return {
            "image_size": height if height == width else [height, width],
            "patch_size": architecture.patch_size,
            "hidden_act": write_activation(architecture.activation),
            **{theirs: getattr(architecture, ours) for ours, (theirs, _) in self.names.items()},
        }


def class_of(config: Mapping[str, Any]) -> str:
    """Return the class of transformers that saved a `config.json`; "" where it states none."""
    return str((config.get("architectures") or [""])[0])


@dataclass(frozen=True)
class Family:
    """A layout of transformers for one kind of picture encoder."""

    name: str
    """The layout's name."""

    models: str
    """Its models in words."""

    model_types: tuple[str, ...]
    """What `model_type` states for it."""

    classifiers: Collection[str]
    """The classes with a head."""

    headless: Collection[str]
    """The classes without."""

    tables: Mapping[str, KeyTable]
    """The tables, by what `variant` returns."""

    read: Callable[..., ViTConfig]
    """Takes `config.json`, and `kind`, `num_classes` and `where`."""

    write: Callable[[ViTConfig], Mapping[str, Any]]
    """Returns what `config.json` states of a configuration: `architectures`, `model_type`, and what `read` reads."""

    processor: str
    """The class that prepares its pictures, where a file states none, and in what is written."""

    variant: Callable[[Mapping[str, Any]], str] = class_of
    """Which of `tables` a `config.json` needs; by default, that of its class."""

    recognizes: Callable[[Mapping[str, Any]], bool] = lambda config: True
    """What else than the `model_type` is asked of a `config.json`."""

    older: str = ""
    """What the keys of a headless model begin with in files of older versions, where `tables` do without."""

    def layout(self) -> Layout:
        """Return the layout."""
        return Layout(
            self.name,
            " or ".join(f'"model_type": "{kind}"' for kind in self.model_types),
            lambda config: config.get("model_type") in self.model_types and self.recognizes(config),
            self._load,
            self._describe,
            next(iter(self.tables.values())),
            variants=self.tables,
            variant=self.variant,
            states_dtype=True,
            models=self.models,
            classes=(*self.classifiers, *self.headless),
            headless=tuple(self.headless),
        )

    def _load(self, files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
        """Read a directory that transformers saved, or such a repository of the hub.

        Raises:
            ModelError: The model is neither a classifier nor a backbone, or something in the directory does not fit.
        """
        where = files.where(CONFIG)
        kind = read_kind(config, (*self.classifiers, *self.headless), where=where)
        labels = read_labels(config, where=where) if kind in self.classifiers else ()
        architecture = self.read(config, kind=kind, num_classes=len(labels), where=where)
        state = files.tensors()
        if kind in self.headless and self.older:
            state = {key.removeprefix(self.older): tensor for key, tensor in state.items()}
        table = self.tables[self.variant({**config, "architectures": [kind]})]
        return ModelBundle(
            task="classify",
            model=build_model(architecture, files, table=table, state=state),
            preprocessing=read_preprocessing(files, self.processor, channels=architecture.in_channels),
            labels=labels,
            score_function=read_score_function(config, len(labels), where=where) if labels else "softmax",
            card={"architecture": kind},
        )

    def _describe(self, bundle: ModelBundle) -> dict[str, dict[str, Any]]:
        """Return the JSON files of a bundle in this layout.

        Raises:
            ModelError: transformers' class cannot express the model.
        """
        architecture = bundle.require(ViT).config
        config = dict(self.write(architecture))
        if architecture.num_classes:
            config |= {**write_labels(bundle.labels), **write_score_function(bundle.score_function)}
        return {CONFIG: config, PREPROCESSOR: write_preprocessing(bundle.pictures, self.processor)}
