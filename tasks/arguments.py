"""The arguments of a Lightning verb, from what is typed to what the parser takes. Needs neither torch nor Lightning.

Usage errors are found, shipped configurations are located, YAML files are checked, and old names are rewritten.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from multiattn.errors import InputError, reading
from multiattn.resources import shipped

from .former_keys import modernize

VERBS = ("fit", "validate", "test", "predict")

_MOST_VALUES, _DEEPEST = 100_000, 100  # of a configuration, once its anchors are written out
_HELP_FLAGS = {"-h", "--help", "--print_config"}


def usage_problem(args: Sequence[str]) -> str:
    """The error line for arguments that cannot work; empty where no error can be seen without the parser."""
    if not args or args[0] not in (*VERBS, *_HELP_FLAGS):
        given = f"not {args[0]!r}" if args else "for example: multiattn fit --config configs/classify/cifar10.yaml"
        return f"error: the first argument must be one of {', '.join(VERBS)}, {given}"
    flags = {arg.split("=")[0] for arg in args[1:]}
    if args[0] in VERBS and not flags & (_HELP_FLAGS | {"-c", "--config"}):
        return (
            f"error: `{args[0]}` needs a configuration, for example: "
            f"multiattn {args[0]} --config configs/classify/cifar10.yaml"
        )
    return ""


def prepared(args: Sequence[str]) -> list[str]:
    """The arguments with the paths of shipped configurations and with today's names.

    Exits with status 2 and one line for a configuration file that is not YAML: the parser does not name the file.
    """
    found = [_with_shipped_config(arg) for arg in args]
    configs = {}
    for index, (before, arg) in enumerate(zip(["", *found], found, strict=False)):
        option, _, value = arg.partition("=")
        path = arg if before in ("-c", "--config") else value if option == "--config" else ""
        if Path(path).is_file():
            configs[index] = _content(path)
    return modernize(found, configs)


def _with_shipped_config(arg: str) -> str:
    """Let `configs/...` be the shipped file where the working directory has none."""
    option, equals, value = arg.rpartition("=")
    path = Path(value)
    if path.suffix == ".yaml" and path.parts[:1] == ("configs",) and not path.exists():
        there = shipped("configs", str(Path(*path.parts[1:])))
        value = str(there) if there.exists() else value
    return option + equals + value


def _content(path: str) -> dict[str, Any]:
    """The content of a configuration file."""
    try:
        with reading(path, "YAML", mend="Correct it."):
            content = yaml.safe_load(Path(path).read_bytes())
            _check_extent(content)
    except InputError as error:
        text = str(error).replace('"<byte string>"', "the file")
        print(f"error: {text}", file=sys.stderr)
        sys.exit(2)
    if not isinstance(content, dict):
        kind = "is empty" if content is None else f"holds a {type(content).__name__}"
        print(f"error: {path} must hold keys with values, such as `trainer:`, but {kind} instead", file=sys.stderr)
        sys.exit(2)
    return content


def _check_extent(content: Any) -> None:
    """Check that a configuration ends: anchors can stand for themselves, or for thousands of millions of values.

    Raises:
        ValueError: It has too many values, or values in each other.
    """
    waiting, count = [(content, 0)], 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > _MOST_VALUES:
            raise ValueError(f"it has more than {_MOST_VALUES} values, once its anchors are written out")
        if depth > _DEEPEST:
            raise ValueError(f"it has more than {_DEEPEST} values in each other, or an anchor within itself")
        if isinstance(node, dict):
            waiting += [(part, depth + 1) for part in node.values()]
        elif isinstance(node, list | tuple | set):
            waiting += [(part, depth + 1) for part in node]
