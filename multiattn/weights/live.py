"""A live module of timm or transformers as a `ModelBundle`: its state dict through the key tables, in memory.

`LiveFiles` stands for the files that the module would be saved as, so every layout reads it by the code and the table
with which it reads a directory. Tensors are shared with the module, unless a transform joins several to one.
Neither library is imported here; what is called of them is a method of the module, or of a module that they imported.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError, brief, reading
from ..inputs import AudioPreprocessing, ImagePreprocessing, Tokenizer
from ..inputs.vocabulary import from_description
from ..inputs.whisper_vocabulary import with_timestamps
from ..registry import load_part, model_kind, tasks
from .bundle import CONFIG, ModelBundle, build_model
from .directory import known_layouts, layout_of
from .hf_common import GENERATION, TOKENIZER_CONFIG
from .hf_pictures import PREPROCESSOR
from .hub import locate
from .model_files import ModelFiles
from .nearest import nearest_of
from .state import MISFIT
from .tensor_files import PICKLED, WEIGHTS
from .unsupported import refuse

_COMPILED = "_orig_mod"
"""The attribute in which `torch.compile` keeps the module."""

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def bundle_of(
    module: nn.Module,
    *,
    processor: object = None,
    tokenizer: object = None,
    labels: Sequence[str] | None = None,
) -> ModelBundle:
    """Return a live module as a bundle, which shares its weights; the module stays as it is.

    The bundle's model is another module, in eval mode, in float32, on the module's device. Where tensors are joined
    (q, k and v), transposed or of another type, it has copies: after the weights have changed, make a new bundle.

    Args:
        module: A module of timm or transformers in one of `layout_names()`, or a model of ours. One that is compiled
            or divided among devices (`torch.compile`, `DataParallel`) stands for the module in it.
        processor: What makes a picture or recording the module's input: transformers' processor, an
            `ImagePreprocessing` or `AudioPreprocessing`, or a directory or hub id that has the processor's files. A
            module of timm states it itself.
        tokenizer: Of a module that reads or writes text: transformers' fast tokenizer or a `Tokenizer`; that of the
            processor where None.
        labels: A name for each class or answer; the module's own where None.

    Raises:
        ModelError: The module is of no layout that is known, or lacks a part; the message names it.
    """
    module = unwrapped(module)
    files = LiveFiles(module, processor, tokenizer)
    with reading(str(files), "a model of a known layout", mend="", error=ModelError):
        bundle = _of_ours(files) if _is_ours(module) else _of_layout(files)
        bundle.source = str(files)
        if labels is not None:
            bundle.labels = tuple(map(str, labels))
        bundle.check(str(files))
    return bundle


def unwrapped(module: object) -> nn.Module:
    """Return the module that `torch.compile` or a wrapper for several devices was given.

    Raises:
        ModelError: It is no module.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"`module` must be a torch module, but is a {type(module).__name__} instead: "
            "`multiattn.load` takes names and directories"
        )
    found: nn.Module = module
    while True:
        if isinstance(inner := getattr(found, _COMPILED, None), nn.Module):
            found = inner
        elif isinstance(found, nn.DataParallel | nn.parallel.DistributedDataParallel):
            found = found.module
        else:
            return found


class LiveFiles(ModelFiles):
    """The files that a live module would be saved as.

    Args:
        module: The module.
        processor: As for `bundle_of`.
        tokenizer: As for `bundle_of`.

    Raises:
        ModelError: The processor or the tokenizer is of no kind that is known, or the module has no values.
    """

    def __init__(self, module: nn.Module, processor: object = None, tokenizer: object = None) -> None:
        super().__init__(Path(type(module).__name__))
        self.module = module
        self._state = _published_state(module)
        self._beside: ModelFiles | None = None
        if isinstance(processor, str | Path):
            self._beside = ModelFiles(locate(processor))
        elif isinstance(processor, ImagePreprocessing | AudioPreprocessing):
            self.preprocessing = processor
        self._tokenizer = tokenizer or getattr(processor, "tokenizer", None)
        if self._tokenizer is None and hasattr(processor, "backend_tokenizer"):
            self._tokenizer = processor
        self._json = _written(module, processor, self._tokenizer)
        known = processor is None or self._beside or self.preprocessing or PREPROCESSOR in self._json
        if not known and self._tokenizer is not processor:
            raise ModelError(
                "`processor` must be a processor of transformers, an `ImagePreprocessing`, an `AudioPreprocessing` or "
                f"a directory, but is a {type(processor).__name__} instead"
            )

    def has(self, name: str) -> bool:
        """Return whether the module or its processor state what this file does."""
        return name in self._json or (self._beside is not None and self._beside.has(name))

    def json(self, name: str) -> Mapping[str, Any]:
        """Return what the file of this name would hold.

        Raises:
            ModelError: Nobody states it.
        """
        if name in self._json:
            return self._json[name]
        if self._beside is not None:
            return self._beside.json(name)
        if name == PREPROCESSOR:
            raise ModelError(
                f"`processor` must be given for a {self}, which does not state how a picture becomes its input, but is "
                "None: give what `transformers.AutoImageProcessor` returns, an `ImagePreprocessing`, or the model's "
                "directory"
            )
        raise ModelError(f"{self} must have a configuration, but has none instead: give a model of transformers")

    def tensors(self, weights: str = WEIGHTS, pickled: str = PICKLED) -> dict[str, Tensor]:
        """Return the module's tensors under their published names, floating ones as float32; shared, where they are.

        Raises:
            ModelError: A tensor is no plain array.
        """
        return {key: self._plain(key, tensor) for key, tensor in self._state.items()}

    def _plain(self, key: str, tensor: Tensor) -> Tensor:
        is_plain = tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_meta
        if not is_plain:
            found = "on the device meta, without values" if tensor.is_meta else "quantized or sparse"
            raise ModelError(f"{self}: the tensor {key} must be a plain array of real numbers, but is {found} instead")
        return tensor.float() if tensor.is_floating_point() else tensor

    def tokenizer(self) -> Tokenizer:
        """Return the vocabulary that was given.

        Raises:
            ModelError: There is none, or it is of no kind that is known.
        """
        given: Any = self._tokenizer
        if isinstance(given, Tokenizer):
            return given
        if given is None and self._beside is not None:
            return self._beside.tokenizer()
        if given is None:
            raise ModelError(
                f"`tokenizer` must be given for a {self}, which reads or writes text, but is None: give what "
                "`transformers.AutoTokenizer` returns, or the processor that has it"
            )
        backend = getattr(given, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(
                f"`tokenizer` must be a fast tokenizer of transformers, or a `Tokenizer`, but is a "
                f"{type(given).__name__} instead"
            )
        return Tokenizer(from_description(backend.to_str(), self._json[TOKENIZER_CONFIG]))

    def speech_tokenizer(self, vocab_size: int) -> Tokenizer:
        """Return the vocabulary that was given, with its timestamps.

        Raises:
            ModelError: There is none, or it is of no kind that is known.
        """
        if self._tokenizer is None and self._beside is not None:
            return self._beside.speech_tokenizer(vocab_size)
        return with_timestamps(self.tokenizer(), vocab_size=vocab_size)


def _published_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's tensors under the names of its files, which newer versions of transformers rename on loading.

    Source: transformers 5, `PreTrainedModel.save_pretrained`.
    """
    state = {key.replace(f"{_COMPILED}.", ""): tensor for key, tensor in module.state_dict().items()}
    if not _is_of("transformers", module):
        return state
    revert = getattr(sys.modules.get("transformers.core_model_loading"), "revert_weight_conversion", None)
    return state if revert is None else dict(revert(module, state))


def _is_of(library: str, module: nn.Module) -> bool:
    """Return whether a module's class, or one that it is derived from, is one of this library."""
    return any(kind.__module__.split(".")[0] == library for kind in type(module).__mro__)


def _written(module: nn.Module, processor: object, tokenizer: object) -> dict[str, Mapping[str, Any]]:
    """Return the JSON files that the module and its processor would be saved with, by name."""
    found: dict[str, Mapping[str, Any]] = {}
    if _is_of("timm", module):
        stated = getattr(module, "pretrained_cfg", None) or {}
        found[CONFIG] = {"architecture": stated.get("architecture") or type(module).__name__}
    config: Any = getattr(module, "config", None)
    if hasattr(config, "to_json_string"):
        stated = json.loads(config.to_json_string(use_diff=False))
        found[CONFIG] = {**_without_none(stated), "architectures": [type(module).__name__]}
    generation: Any = getattr(module, "generation_config", None)
    if hasattr(generation, "to_json_string"):
        found[GENERATION] = _without_none(json.loads(generation.to_json_string()))
    for part in ("image_processor", "feature_extractor", ""):
        preparing = getattr(processor, part, None) if part else processor
        if preparing is not tokenizer and hasattr(preparing, "to_json_string"):
            found[PREPROCESSOR] = json.loads(preparing.to_json_string())
            break
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        roles = {role: str(name) for role in _SPECIAL if (name := getattr(tokenizer, role, None)) is not None}
        clean = "clean_up_tokenization_spaces"
        found[TOKENIZER_CONFIG] = {**roles, clean: bool(getattr(tokenizer, clean, False))}
    return found


def _without_none(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of JSON without what it leaves at a default."""
    return {
        name: _without_none(value) if isinstance(value, Mapping) else value
        for name, value in data.items()
        if value is not None
    }


def _is_ours(module: nn.Module) -> bool:
    return any(type(module) is load_part(kind.model) for spec in tasks().values() for kind in spec.models.values())


def _of_ours(files: LiveFiles) -> ModelBundle:
    """Return a model of ours with what the caller gave for it."""
    config = getattr(files.module, "config", None)
    kind = model_kind(config)[1]
    spec = next(spec for spec in tasks().values() if kind in spec.models.values())
    if files.preprocessing is None:
        raise ModelError(f"`processor` must be an `ImagePreprocessing` or `AudioPreprocessing` for a {files}")
    return ModelBundle(
        task=spec.name,
        model=build_model(config, files),
        preprocessing=files.preprocessing,
        tokenizer=files.tokenizer() if spec.has_tokenizer else None,
    )


def _of_layout(files: LiveFiles) -> ModelBundle:
    """Read the module by the layout that recognizes its configuration."""
    config = files.json(CONFIG) if files.has(CONFIG) else {}
    layout = layout_of(config)
    if layout is None:
        refuse(config.get("model_type"), where=str(files))
        raise ModelError(_unknown(files))
    try:
        bundle = layout.load(files, config)
    except ModelError as error:
        if MISFIT not in str(error):
            raise
        first = str(error).split("\n")[1].strip()
        sign = "it lacks the tensor" if first.startswith("-") else "there is no place for its tensor"
        raise ModelError(
            f"{files} must be a model of the layout {layout.name}, but {sign} {first[2:]} instead: it has been "
            "changed, or is another model"
        ) from error
    bundle.layout = layout.name
    return bundle


def _unknown(files: LiveFiles) -> str:
    """Return the message about a module of no layout: the nearest, and the first tensor that is not in it."""
    kind = type(files.module)
    keys = files.tensors()
    near = nearest_of(keys, known_layouts())
    found = f"{kind.__module__}.{kind.__name__} instead: {near.describe(len(keys))}"
    known = ", ".join(layout.name for layout in known_layouts() if layout.table is not None)
    return brief(f"`module` must be a model of a layout that is known, but is a {found}; known are {known}")
