"""`multiattn convert`: rewrite a model in another layout."""

import argparse
from pathlib import Path

from ..errors import InputError
from ..registry import layouts
from .arguments import Option, Parser, not_empty
from .options import MODEL_HELP
from .output import listed, printable, say, spinner

_DESCRIPTION = """\
Rewrite a model in another layout, with its preprocessing and its labels or
vocabulary. The weights stay the same, unless another precision is asked for;
their names and the files beside them change.
"""

_EPILOG = """\
layouts
  multiattn  ours: config.json and model.safetensors

  of classifiers
  timm       for timm.create_model("local-dir:DST")
  hf-vit     for transformers, ViTForImageClassification.from_pretrained("DST")

  of captioners
  hf-blip    for transformers, BlipForConditionalGeneration.from_pretrained
  blip       for the original BLIP, blip_decoder(pretrained="DST/model.pth")
  vit-gpt2   for transformers, VisionEncoderDecoderModel.from_pretrained("DST")

  of models that answer
  hf-blip    for transformers, BlipForQuestionAnswering.from_pretrained("DST")
  blip       for the original BLIP, blip_vqa(pretrained="DST/model.pth")
  hf-vilt    for transformers, ViltForQuestionAnswering.from_pretrained("DST")

  of recognizers
  hf-whisper for transformers, WhisperForConditionalGeneration.from_pretrained
  whisper    for openai-whisper, whisper.load_model("DST/model.pt")
  ct2-whisper for CTranslate2 and faster-whisper, WhisperModel("DST")

examples
  multiattn convert timm/vit_base_patch16_224.augreg2_in21k_ft_in1k vit-base \\
      --to multiattn
  multiattn convert runs/mine/model mine-hf --to hf-vit
  multiattn convert model_base_capfilt_large.pth blip-base --to hf-blip
  multiattn convert model_base_vqa_capfilt_large.pth blip-vqa --to hf-blip
  multiattn convert tiny.en tiny-en --to ct2-whisper
  multiattn convert Salesforce/blip-image-captioning-base blip-int8 \\
      --to multiattn --precision int8
"""

_FEW = 3  # names that a message lists


def parser() -> Parser:
    """The command's options."""
    known = ("multiattn", *layouts())
    return Parser(
        Option("source", "SRC", not_empty, MODEL_HELP.partition(";")[0]),
        Option(
            "target",
            "DST",
            not_empty,
            "the directory to write, made where it is missing; one that is there must be empty",
        ),
        Option("--to", "LAYOUT", choices=known, required=True, help=f"one of {', '.join(known)}"),
        Option(
            "--precision",
            choices=("fp32", "bf16", "fp16", "int8"),
            default="fp32",
            help="of the weights on disk: fp32 (default); bf16 or fp16, half the size, computed in fp32 unless asked "
            "otherwise; int8, a quarter of the size, for the layout multiattn, which is then computed in on a CPU",
        ),
        prog="multiattn convert",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Convert, and print the path of the new model; return 0."""
    check_target(args.target)
    with spinner("converting"):
        from ..weights import convert

        convert(args.source, args.target, to=args.to, precision=args.precision)
    stored = "" if args.precision == "fp32" else f", in {args.precision}"
    say(f"{args.source} written in the layout {args.to}{stored}")
    print(printable(args.target))
    return 0


def check_target(target: str, name: str = "DST") -> None:
    """Check that the model will be alone there: beside files of another layout, it could be read as that layout.

    Raises:
        InputError: The target is a file, or a directory with something in it.
    """
    path = Path(target)
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"{name} {target} must be a directory, but is a file instead: give another")
    if names := sorted(entry.name for entry in path.iterdir()):
        raise InputError(
            f"{name} {target} must be empty or not exist yet, but holds {listed(names, _FEW)} instead: empty it first, "
            "or give another"
        )
