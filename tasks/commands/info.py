"""`multiattn info`: what is this model?"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from .console import printable, spinner
from .options import MODEL_HELP, Parser, add_format, not_empty

if TYPE_CHECKING:
    from multiattn.weights import ModelBundle

_FEW = 8  # labels to print of what may be thousands

_DESCRIPTION = """\
Say what a model is: its task, architecture, size, input, preprocessing and
labels, and the attentions one can look into.
"""

_EPILOG = """\
examples
  multiattn info classify
  multiattn info runs/mine/model --format json
  multiattn info timm/vit_base_patch16_224.augreg2_in21k_ft_in1k
"""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn info", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("model", metavar="M", type=not_empty, nargs="?", default="classify", help=MODEL_HELP)
    add_format(parser, json_help="json: one object, with all labels and settings")
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints what the model is."""
    with spinner("loading"):
        from multiattn.weights import load_bundle

        bundle = load_bundle(args.model)
    print(json.dumps(describe(bundle)) if args.format == "json" else as_text(bundle))
    return 0


def describe(bundle: "ModelBundle") -> dict[str, object]:
    """The facts of a model, as JSON can hold them."""
    model = bundle.model
    return {
        "model": bundle.source,
        "task": bundle.task,
        "layout": bundle.layout,
        "architecture": asdict(model.config),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "input_size": list(bundle.preprocessing.size),
        "preprocessing": bundle.preprocessing.to_dict(),
        "labels": list(bundle.labels),
        "attention_sites": [
            {"name": site.name, "heads": site.num_heads, "queries": site.q_len, "keys": site.k_len}
            for site in model.attention_sites()
        ],
        "card": bundle.card,
    }


def as_text(bundle: "ModelBundle") -> str:
    """Lines to read; `--format json` has it in full."""
    model, config, pictures = bundle.model, bundle.model.config, bundle.preprocessing
    sites = model.attention_sites()
    resize = pictures.resize_to
    resized = f"shorter side to {resize}" if isinstance(resize, int) else f"to {_by(resize)}"
    lines = {
        "model": bundle.source,
        "task": bundle.task,
        "layout": bundle.layout,
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        "input": f"{_by(pictures.size)} pixels (height x width)",
        "preprocessing": f"resize {resized} ({pictures.interpolation}), crop the centre, "
        f"mean {_numbers(pictures.mean)}, std {_numbers(pictures.std)}",
        "architecture": f"ViT, width {config.dim}, depth {config.depth}, {config.num_heads} heads, "
        f"mlp {config.mlp_dim}, patches of {config.patch_size} px, {config.stem} stem, {config.positions} positions, "
        f"{'class token' if config.pool == 'class' else 'mean of the patches'} read out",
        "attention": f"{len(sites)} sites of {config.num_heads} heads: {sites[0].name} to {sites[-1].name}, "
        f"{sites[0].k_len} tokens of which {_by(model.grid(pictures.size))} are patches",
        "labels": f"{len(bundle.labels)}: {', '.join(bundle.labels[:_FEW])}"
        + (", ..." if len(bundle.labels) > _FEW else ""),
    }
    for key, value in bundle.card.items():
        if isinstance(value, str | int | float):
            lines.setdefault(key, str(value))  # what we say of it ourselves stands
    width = max(len(printable(name)) for name in lines)
    return "\n".join(f"{printable(name):{width}}  {printable(value)}" for name, value in lines.items())


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)
