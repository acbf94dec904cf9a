"""`multiattn convert`: the same weights in another layout."""

import argparse

from .console import say, spinner
from .options import LAYOUTS, MODEL_HELP, Parser

_DESCRIPTION = """\
Rewrite a model in another layout, with its preprocessing and labels. The
weights stay the same; their names and the files around them change.
"""

_EPILOG = """\
layouts
  multiattn  ours: config.json and model.safetensors
  timm       for timm.create_model("local-dir:DST")
  hf-vit     for transformers, ViTForImageClassification.from_pretrained("DST")

examples
  multiattn convert timm/vit_base_patch16_224.augreg2_in21k_ft_in1k vit-base \\
      --to multiattn
  multiattn convert runs/mine/model mine-hf --to hf-vit
"""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn convert", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("source", metavar="SRC", help=MODEL_HELP.partition(";")[0] + ", or a task's name")
    parser.add_argument("target", metavar="DST", help="the directory to write, made where it is missing")
    parser.add_argument("--to", metavar="LAYOUT", choices=LAYOUTS, required=True, help=f"one of {', '.join(LAYOUTS)}")
    return parser


def run(args: argparse.Namespace) -> int:
    """Converts; prints where the model lies."""
    with spinner("converting"):
        from multiattn.weights import convert

        convert(args.source, args.target, to=args.to)
    say(f"{args.source} written in the layout {args.to}")
    print(args.target)
    return 0
