"""`multiattn export`: write a model for other runtimes."""

import argparse
import re

from .arguments import Option, Parser, UsageError, at_least_one, not_empty
from .convert import check_target
from .options import MODEL_HELP
from .output import printable, say, spinner

_DESCRIPTION = """\
Write a model for another runtime: as ONNX graphs, which onnxruntime computes
with less memory and without torch, and so do browsers and phones; or as
programs of torch.export.
"""

_EPILOG = """\
files in DIR
  config.json      the model, its preprocessing, labels and decoding
  tokenizer.json   where it reads or writes text
  NAME.onnx        a graph (NAME.pt2, a program, with --to torch): model of a
                   classifier; encoder and decoder of what writes text, whose
                   decoder takes and returns the keys and values of its steps;
                   question, too, of what answers. Batch and length may vary

examples
  multiattn export classify classify-onnx --to onnx
  multiattn classify cat.jpg --runtime onnxruntime --model classify-onnx
  multiattn export runs/mine/model mine-onnx --to onnx --maps '*'
  multiattn export tiny.en tiny-en-onnx --to onnx
  multiattn export tiny.en tiny-en-pt2 --to torch
"""


def parser() -> Parser:
    """The command's options."""
    return Parser(
        Option("model", "MODEL", not_empty, re.sub(r"; default:.*", "", MODEL_HELP)),
        Option(
            "folder", "DIR", not_empty, "the folder to write, made where it is missing; one that is there must be empty"
        ),
        Option("--to", choices=("onnx", "torch"), required=True, help="ONNX graphs, or programs of torch.export"),
        Option("--opset", "N", at_least_one, "with --to onnx: the version of ONNX's operators (default: 20)"),
        Option(
            "--maps",
            "SITE",
            not_empty,
            "attentions whose weights the graphs give, too, for maps without torch: names such as blocks.2.self, or "
            "patterns such as '*' (`multiattn info MODEL` lists them); after DIR",
            nargs="+",
        ),
        prog="multiattn export",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Export, and print the path of the folder; return 0."""
    if args.opset is not None and args.to != "onnx":
        raise UsageError("--opset is that of ONNX, and needs --to onnx")
    check_target(args.folder, "DIR")
    with spinner("exporting"):
        from ..deploy.onnx.export import export
        from ..weights import load_bundle

        opset = {} if args.opset is None else {"opset": args.opset}
        export(load_bundle(args.model), args.folder, to=args.to, sites=args.maps or (), **opset)
    say(f"{args.model} exported for {'onnxruntime' if args.to == 'onnx' else 'torch'}")
    print(printable(args.folder))
    return 0
