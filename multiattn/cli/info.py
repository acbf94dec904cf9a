"""`multiattn info`: what is this model?

The facts that every model has are here; those of a task's own architecture come from the function that its `TaskSpec`
names as `details`.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ..registry import load_part, task_spec
from .arguments import Option, Parser, not_empty
from .options import MODEL_HELP, model_or_shipped, output_format
from .output import listed, printable, spinner

if TYPE_CHECKING:
    from ..attention import Site
    from ..inputs import AudioPreprocessing, ImagePreprocessing
    from ..weights import ModelBundle

_FEW = 8  # names to print where there may be thousands

_DESCRIPTION = """\
Say what a model is: its task, architecture, size, input, preprocessing,
labels or vocabulary, and the attentions one can look into.
"""

_EPILOG = """\
examples
  multiattn info classify
  multiattn info caption
  multiattn info openai/whisper-tiny.en
  multiattn info runs/mine/model --format json
  multiattn info timm/vit_base_patch16_224.augreg2_in21k_ft_in1k
"""


@dataclass(frozen=True)
class Details:
    """The facts of a task's own architecture."""

    lines: Mapping[str, str] = field(default_factory=dict)
    """Lines to read, by name: the architecture and its attentions."""

    sites: Sequence["Site"] = ()
    """The attentions one can look into; of a model that writes, those for its longest text."""

    vocabulary: Sequence[str] = ()
    """What to say of the vocabulary beside its size."""

    decoding: Mapping[str, object] = field(default_factory=dict)
    """How texts are searched for where the model's directory states nothing."""


def parser() -> Parser:
    """The command's options."""
    return Parser(
        Option("model", "M", not_empty, MODEL_HELP, nargs="?"),
        output_format("json: one object, with all labels and settings"),
        prog="multiattn info",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Print what the model is; return 0."""
    model = model_or_shipped(args.model, "classify", option="multiattn info ")
    with spinner("loading"):
        from ..weights import load_bundle

        bundle = load_bundle(model)
        part = task_spec(bundle.task).details
        details: Details = load_part(part)(bundle) if part else Details()
    print(json.dumps(describe(bundle, details)) if args.format == "json" else as_text(bundle, details))
    return 0


def describe(bundle: "ModelBundle", details: Details) -> dict[str, object]:
    """Return the facts of a model as JSON can hold them."""
    spec = task_spec(bundle.task)
    facts = {
        "model": bundle.source,
        "task": bundle.task,
        "layout": bundle.layout,
        "architecture": asdict(bundle.config),
        "parameters": _parameters(bundle),
    }
    if spec.reads == "audio":
        facts["input_seconds"] = bundle.sound.max_seconds
    else:
        facts["input_size"] = list(bundle.pictures.size)
    facts["preprocessing"] = bundle.preprocessing.to_dict()
    if spec.has_labels:
        facts["labels"] = list(bundle.labels)
    if spec.scores_labels and bundle.score_function != "softmax":
        facts["score_function"] = bundle.score_function
    if bundle.tokenizer is not None:
        facts |= {"vocabulary": bundle.tokenizer.vocab_size, "decoding": bundle.decoding}
    facts["attention_sites"] = [
        {"name": site.name, "heads": site.num_heads, "queries": site.q_len, "keys": site.k_len}
        for site in details.sites
    ]
    return facts | {"card": bundle.card}


def as_text(bundle: "ModelBundle", details: Details) -> str:
    """Return lines to read; `--format json` has everything."""
    spec = task_spec(bundle.task)
    lines = {
        "model": bundle.source,
        "task": bundle.task,
        "layout": bundle.layout,
        "parameters": f"{_parameters(bundle):,}",
        **(_sound_lines(bundle.sound) if spec.reads == "audio" else _picture_lines(bundle.pictures)),
        **details.lines,
    }
    if bundle.tokenizer is not None:
        lines["vocabulary"] = ", ".join([f"{bundle.tokenizer.vocab_size:,} tokens", *details.vocabulary])
    if bundle.labels:
        lines[spec.output] = f"{len(bundle.labels)}: {listed(bundle.labels, _FEW)}"
    if decoding := {**details.decoding, **bundle.decoding}:
        lines["decoding"] = ", ".join(f"{name} {_short(value)}" for name, value in decoding.items())
    for key, value in bundle.card.items():
        if isinstance(value, str | int | float) and value != "":
            lines.setdefault(key, str(value))  # the card does not replace what is read from the model
    width = max(len(printable(name)) for name in lines)
    return "\n".join(f"{printable(name):{width}}  {printable(value)}" for name, value in lines.items())


def by(size: tuple[int, int]) -> str:
    """Return a size to read: `3 x 7`."""
    return f"{size[0]} x {size[1]}"


def _picture_lines(pictures: "ImagePreprocessing") -> dict[str, str]:
    from ..inputs import Fit

    size, resize, cropped = f"{by(pictures.size)} pixels (height x width)", pictures.resize_to, ", crop the center"
    if isinstance(resize, Fit):
        size += f" for a square picture, up to {resize.longer} a side for others, in steps of {resize.multiple}"
        resized, cropped = "the whole picture to that", ""
    else:
        resized = f"shorter side to {resize}" if isinstance(resize, int) else f"to {by(resize)}"
    return {
        "input": size,
        "preprocessing": f"resize {resized} ({pictures.interpolation}){cropped}, "
        f"mean {_numbers(pictures.mean)}, std {_numbers(pictures.std)}",
    }


def _sound_lines(sound: "AudioPreprocessing") -> dict[str, str]:
    padded = "" if sound.pad_to is None else f", filled up to {sound.pad_to:g} s"
    return {
        "input": f"pieces of at most {sound.max_seconds:g} s at {sound.sample_rate:,} Hz",
        "preprocessing": f"{sound.mels} mels of {sound.window} samples every {1000 * sound.frame_seconds:g} ms, "
        f"{sound.scale} scale{padded}",
    }


def _parameters(bundle: "ModelBundle") -> int:
    return sum(parameter.numel() for parameter in bundle.model.parameters())


def _short(value: object) -> str:
    """Return a setting to read; for a long list, only its length."""
    return f"({len(value)} of them)" if isinstance(value, tuple) and len(value) > _FEW else repr(value)


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)
