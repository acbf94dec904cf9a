"""`multiattn info`: what is this model?"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from .console import printable, spinner
from .options import MODEL_HELP, Parser, add_format, not_empty

if TYPE_CHECKING:
    from torch import nn

    from multiattn.attention import Site
    from multiattn.models import ViT
    from multiattn.weights import ModelBundle

_FEW = 8  # labels to print of what may be thousands

_DESCRIPTION = """\
Say what a model is: its task, architecture, size, input, preprocessing,
labels or vocabulary, and the attentions one can look into.
"""

_EPILOG = """\
examples
  multiattn info classify
  multiattn info caption
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
    facts = {
        "model": bundle.source,
        "task": bundle.task,
        "layout": bundle.layout,
        "architecture": asdict(bundle.model.config),
        "parameters": _count(bundle.model),
        "input_size": list(bundle.preprocessing.size),
        "preprocessing": bundle.preprocessing.to_dict(),
    }
    if bundle.tokenizer is None:
        facts["labels"] = list(bundle.labels)
    else:
        facts |= {"vocabulary": bundle.tokenizer.vocab_size, "decoding": bundle.decoding}
    facts["attention_sites"] = [
        {"name": site.name, "heads": site.num_heads, "queries": site.q_len, "keys": site.k_len}
        for site in _sites(bundle)
    ]
    facts["card"] = bundle.card
    return facts


def as_text(bundle: "ModelBundle") -> str:
    """Lines to read; `--format json` has it in full."""
    pictures = bundle.preprocessing
    resize = pictures.resize_to
    resized = f"shorter side to {resize}" if isinstance(resize, int) else f"to {_by(resize)}"
    lines = {
        "model": bundle.source,
        "task": bundle.task,
        "layout": bundle.layout,
        "parameters": f"{_count(bundle.model):,}",
        "input": f"{_by(pictures.size)} pixels (height x width)",
        "preprocessing": f"resize {resized} ({pictures.interpolation}), crop the centre, "
        f"mean {_numbers(pictures.mean)}, std {_numbers(pictures.std)}",
        **(_classifier_lines(bundle) if bundle.tokenizer is None else _captioner_lines(bundle)),
    }
    for key, value in bundle.card.items():
        if isinstance(value, str | int | float) and value != "":
            lines.setdefault(key, str(value))  # what we say of it ourselves stands
    width = max(len(printable(name)) for name in lines)
    return "\n".join(f"{printable(name):{width}}  {printable(value)}" for name, value in lines.items())


def _classifier_lines(bundle: "ModelBundle") -> dict[str, str]:
    model, sites = bundle.classifier, _sites(bundle)
    return {
        "architecture": f"{_encoder(model)}, "
        f"{'class token' if model.config.pool == 'class' else 'mean of the patches'} read out",
        "attention": f"{len(sites)} sites of {model.config.num_heads} heads: {sites[0].name} to {sites[-1].name}, "
        f"{sites[0].k_len} tokens of which {_by(model.grid(bundle.preprocessing.size))} are patches",
        "labels": f"{len(bundle.labels)}: {', '.join(bundle.labels[:_FEW])}"
        + (", ..." if len(bundle.labels) > _FEW else ""),
    }


def _captioner_lines(bundle: "ModelBundle") -> dict[str, str]:
    from multiattn.pipelines.caption_options import decoding_options

    model, sites = bundle.captioner, _sites(bundle)
    assert bundle.tokenizer is not None
    encoder, decoder = model.config.encoder, model.config.decoder
    # what the pipeline makes of what the model says: the same words as there
    search = decoding_options({}, bundle.decoding, source=bundle.source)
    said = {"beams": search.beams, "max_tokens": search.max_tokens} | bundle.decoding
    return {
        "encoder": _encoder(model.encoder) + (f", led to width {decoder.context_dim}" if model.config.bridge else ""),
        "decoder": f"width {decoder.dim}, depth {decoder.depth}, {decoder.num_heads} heads, mlp {decoder.mlp_dim}, "
        f"{'pre' if decoder.pre_norm else 'post'}-norm, {decoder.positions} positions for {decoder.max_length} tokens",
        "attention": f"{len(sites)} sites: encoder.blocks.N.self of {encoder.num_heads} heads, decoder.blocks.N.self "
        f"and decoder.blocks.N.cross of {decoder.num_heads}; {sites[-1].k_len} tokens are looked at, of which "
        f"{_by(model.encoder.grid(bundle.preprocessing.size))} are patches",
        "vocabulary": f"{bundle.tokenizer.vocab_size:,} tokens",
        "decoding": ", ".join(f"{name} {value!r}" for name, value in said.items()),
    }


def _sites(bundle: "ModelBundle") -> tuple["Site", ...]:
    """The attentions one can look into, of a captioner those for its longest text."""
    if bundle.tokenizer is None:
        return bundle.classifier.attention_sites()
    model = bundle.captioner
    return model.attention_sites(tokens=model.config.decoder.max_length)


def _encoder(model: "ViT") -> str:
    config = model.config
    return (
        f"ViT, width {config.dim}, depth {config.depth}, {config.num_heads} heads, mlp {config.mlp_dim}, patches of "
        f"{config.patch_size} px, {config.stem} stem, {config.positions} positions"
    )


def _count(model: "nn.Module") -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)
