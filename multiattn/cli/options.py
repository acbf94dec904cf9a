"""The parser and the options that several commands share."""

import argparse
import math
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from .output import printable

# What the library has, repeated here because importing it imports torch; a test holds the two together.

MAP_METHODS = ("attention", "rollout", "relevance", "gradient_x_input")
"""`multiattn.maps.METHODS`."""

WORD_METHODS = ("attention", "relevance", "rollout")
"""`multiattn.maps.WORD_METHODS`."""

ANSWER_METHODS = ("attention", "relevance", "rollout")
"""`multiattn.maps.ANSWER_METHODS`."""

SPEECH_METHODS = ("attention",)
"""`multiattn.maps.SPEECH_METHODS`."""

LAYOUTS = ("multiattn", "timm", "hf-vit", "hf-blip", "blip", "hf-vilt", "vit-gpt2", "hf-whisper", "whisper")
"""`multiattn.weights.LAYOUTS`."""

_PUBLISHED = {
    "classify": "timm or Hugging Face ViT",
    "caption": "BLIP or ViT-GPT2",
    "transcribe": "Whisper",
    "answer": "BLIP or ViLT",
}

MODEL_HELP = (
    "a model directory (ours, or the published layout of timm, Hugging Face ViT, BLIP, ViT-GPT2, ViLT or Whisper), a "
    "hub id, or a task's name; default: classify, the small classifier shipped with this package"
)
"""Of a command that takes models of all tasks."""

_Number = TypeVar("_Number", int, float)


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


_MOST_SEED = 2**64 - 1  # what torch's generators take


def not_empty(text: str) -> str:
    """Reads a name or path; nothing at all, which would mean the current folder, comes of a shell variable not set."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty, but is '' instead; is a variable of the shell not set?")
    return text


def at_least_one(text: str) -> int:
    """Reads a whole number from 1 on."""
    return _number(text, int, "a whole number of at least 1", lambda value: value >= 1)


def not_blank(text: str) -> str:
    """Reads a text that must say something."""
    if not not_empty(text).strip():
        raise argparse.ArgumentTypeError(f"must have more than spaces, but is {text!r} instead")
    return text


def seed(text: str) -> int:
    """Reads where random numbers start."""
    return _number(text, int, "a whole number from 0 to 2**64 - 1", lambda value: 0 <= value <= _MOST_SEED)


def length_penalty(text: str) -> float:
    """Reads an exponent, which may be negative."""
    return _number(text, float, "a number from -10 to 10", lambda value: -10 <= value <= 10)


def above_zero(text: str) -> float:
    """Reads a number above 0."""
    return _number(text, float, "a number above 0", lambda value: 0 < value < math.inf)


def share(text: str) -> float:
    """Reads a number above 0 and at most 1."""
    return _number(text, float, "a number above 0 and at most 1", lambda value: 0 < value <= 1)


def _number(text: str, kind: Callable[[str], _Number], rule: str, fits: Callable[[_Number], bool]) -> _Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"must be {rule}, but is {text!r} instead")
    return value


def map_methods(known: Sequence[str]) -> Callable[[str], list[str]]:
    """What reads `rollout`, `rollout,relevance` or `all`, for a task with these methods."""

    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in (*known, "all"):
                raise argparse.ArgumentTypeError(f"must be of {', '.join(known)} or all, but is {name!r} instead")
        return list(known) if "all" in names else names

    return read


def add_model(parser: argparse.ArgumentParser, *, task: str = "classify", option: str = "--model") -> None:
    """`--model`, of this task; by default the one that ships for it."""
    parser.add_argument(
        option,
        metavar="M",
        type=not_empty,
        default=task,
        help=f"a model directory (ours, or the published layout of {_PUBLISHED[task]}), a hub id, or a task's name; "
        f"default: {task}, the small model shipped with this package",
    )


def add_format(parser: argparse.ArgumentParser, *, json_help: str) -> None:
    """`--format`."""
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help=f"text to read (default), or {json_help}"
    )


def add_map_method(parser: argparse.ArgumentParser, *, methods: Sequence[str], default: str) -> None:
    """`--map-method`."""
    parser.add_argument(
        "--map-method",
        metavar="NAME",
        type=map_methods(methods),
        action="extend",
        help=f"how to make the maps: {', '.join(methods)}, or all (see below; default: {default}); "
        "repeat it, or separate names with commas",
    )
    parser.set_defaults(default_method=default)


def add_compute(parser: argparse.ArgumentParser) -> None:
    """`--batch-size` and `--device`."""
    parser.add_argument(
        "--batch-size", metavar="N", type=at_least_one, default=8, help="pictures computed at once (default: 8)"
    )
    add_device(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device`."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute; auto (default) takes a GPU where there is one",
    )
