"""The parser and the options that several commands share."""

import argparse
from typing import NoReturn

from .console import printable

MAP_METHODS = ("attention", "rollout", "relevance", "gradient_x_input")
"""`multiattn.maps.METHODS`, repeated here because importing that imports torch; a test holds the two together."""

LAYOUTS = ("multiattn", "timm", "hf-vit")
"""`multiattn.weights.LAYOUTS`, repeated for the same reason."""

MODEL_HELP = (
    "a model directory (ours, or the published layout of timm or Hugging Face ViT), a hub id, or a task's name; "
    "default: classify, the small model shipped with this package"
)


class Parser(argparse.ArgumentParser):
    """An argument parser that answers wrong usage with one line and exit status 2, and prints help as written."""

    def __init__(self, *, prog: str, description: str, epilog: str = "", usage: str | None = None) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # a script that says --top must not change its meaning when --top-down comes
        )

    def error(self, message: str) -> NoReturn:
        """One line on standard error, exit status 2."""
        self.exit(2, f"{self.prog}: {printable(message)} ({self.prog} --help tells more)\n")


def not_empty(text: str) -> str:
    """Reads a name or path; nothing at all, which would mean the current folder, comes of a shell variable not set."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty, but is '' instead; is a variable of the shell not set?")
    return text


def at_least_one(text: str) -> int:
    """Reads a whole number from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, but is {text!r} instead")
    return value


def map_methods(text: str) -> list[str]:
    """Reads `rollout`, `rollout,relevance` or `all`."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in (*MAP_METHODS, "all"):
            raise argparse.ArgumentTypeError(f"must be of {', '.join(MAP_METHODS)} or all, but is {name!r} instead")
    return list(MAP_METHODS) if "all" in names else names


def add_model(parser: argparse.ArgumentParser) -> None:
    """`--model`."""
    parser.add_argument("--model", metavar="M", type=not_empty, default="classify", help=MODEL_HELP)


def add_format(parser: argparse.ArgumentParser, *, json_help: str) -> None:
    """`--format`."""
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help=f"text to read (default), or {json_help}"
    )


def add_compute(parser: argparse.ArgumentParser) -> None:
    """`--batch-size` and `--device`."""
    parser.add_argument(
        "--batch-size", metavar="N", type=at_least_one, default=8, help="pictures computed at once (default: 8)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute; auto (default) takes a GPU where there is one",
    )
