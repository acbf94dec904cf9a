"""The argument parser, and the types of arguments. Importing this imports neither torch nor NumPy."""

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from .output import printable

_Number = TypeVar("_Number", int, float)


class UsageError(Exception):
    """Options that do not go together. The command line answers as the parser does: one line, exit status 2."""


@dataclass(frozen=True)
class Option:
    """An option or argument of a command; `add_argument` of argparse says what the fields mean.

    A field that is None is left to argparse.
    """

    name: str
    metavar: str | None = None
    type: Callable[[str], object] | None = None
    help: str = ""
    default: object = None
    dest: str | None = None
    action: str | None = None
    nargs: str | None = None
    choices: Sequence[str] | None = None
    required: bool | None = None
    const: object = None
    also: str | None = None
    """Another name of the option, such as its long form."""
    may_have: str | None = None
    """The one value that the option may have, or none; before anything else it stands alone."""

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Add the option to a parser or to a group of its options."""
        names = [self.name] if self.also is None else [self.name, self.also]
        given = {
            name: value
            for name, value in vars(self).items()
            if name not in ("name", "also", "may_have") and value is not None
        }
        parser.add_argument(*names, **given)


class Parser(argparse.ArgumentParser):
    """An argument parser that answers wrong usage with one line and exit status 2, and prints help as written."""

    def __init__(
        self,
        *options: Option,
        prog: str,
        description: str,
        epilog: str = "",
        usage: str | None = None,
        groups: Mapping[str, Sequence[Option]] | None = None,
    ) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # a script that says --top must not change its meaning when --top-down comes
        )
        every = [*options, *(option for members in (groups or {}).values() for option in members)]
        self._may_have = {option.name: option.may_have for option in every if option.may_have is not None}
        for option in options:
            option.add_to(self)
        for title, members in (groups or {}).items():
            group = self.add_argument_group(title)
            for option in members:
                option.add_to(group)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Parse arguments as argparse does, but for `--check PATH`: the path is not the value of `--check`."""
        given = list(sys.argv[1:] if args is None else args)
        for i in range(given.index("--") if "--" in given else len(given)):
            value = self._may_have.get(given[i])
            if value is not None and given[i + 1 : i + 2] != [value]:
                given[i] += "="
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Write one line to standard error and exit with status 2."""
        self.exit(2, f"{self.prog}: {printable(message)} ({self.prog} --help tells more)\n")


# --- types of arguments ---


def not_empty(text: str) -> str:
    """Read a name or path. An empty one, which would mean the current folder, comes from an unset shell variable."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty, but is '' instead; is a variable of the shell not set?")
    return text


def not_blank(text: str) -> str:
    """Read a text that has more than spaces."""
    if not not_empty(text).strip():
        raise argparse.ArgumentTypeError(f"must have more than spaces, but is {text!r} instead")
    return text


def number(kind: Callable[[str], _Number], rule: str, is_valid: Callable[[_Number], bool]) -> Callable[[str], _Number]:
    """Return the reader of a number that must follow a rule."""

    def read(text: str) -> _Number:
        with suppress(ValueError):
            if is_valid(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"must be {rule}, but is {text!r} instead")

    return read


at_least_zero = number(int, "a whole number of at least 0", lambda value: value >= 0)
at_least_one = number(int, "a whole number of at least 1", lambda value: value >= 1)
seed = number(int, "a whole number from 0 to 2**64 - 1", lambda value: 0 <= value < 2**64)  # as torch's generators
length_penalty = number(float, "a number from -10 to 10", lambda value: -10 <= value <= 10)
above_zero = number(float, "a number above 0", lambda value: 0 < value < math.inf)
finite = number(float, "a number", math.isfinite)
share = number(float, "a number above 0 and at most 1", lambda value: 0 < value <= 1)
