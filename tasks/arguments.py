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

OURS = tuple(f"{name}{kind}" for name in ("Answer", "Caption", "Classify", "Transcribe") for kind in ("Task", "Data"))
"""The tasks and data modules, which an option can name without `multiattn.tasks`."""

_PACKAGE = "multiattn.tasks."

VERBS = ("fit", "validate", "test", "predict")

_MOST_VALUES, _DEEPEST = 100_000, 100  # of a configuration, once its anchors are written out
_HELP_FLAGS = {"-h", "--help", "--print_config"}
_CLASSES = ("--model", "--data", "--model.class_path", "--data.class_path", "--model.help", "--data.help")


def usage_problem(args: Sequence[str]) -> str:
    """The error line for arguments that cannot work; empty where no error can be seen without the parser."""
    if not args or args[0] not in (*VERBS, *_HELP_FLAGS):
        given = f"not {args[0]!r}" if args else "for example: multiattn fit --config configs/classify/cifar10.yaml"
        return f"error: the first argument must be one of {', '.join(VERBS)}, {given}"
    flags = {arg.split("=")[0] for arg in args[1:]}
    is_help = bool(flags & _HELP_FLAGS) or any(flag.endswith(".help") for flag in flags)
    if args[0] in VERBS and not is_help and not flags & {"-c", "--config", "--model", "--model.class_path"}:
        return (
            f"error: `{args[0]}` needs a configuration, for example: "
            f"multiattn {args[0]} --config configs/classify/cifar10.yaml, or a task and its data: "
            f"multiattn {args[0]} --model ClassifyTask --data ClassifyData --data.root FOLDER"
        )
    return ""


def prepared(args: Sequence[str]) -> list[str]:
    """The arguments with the paths of shipped configurations and with today's names.

    Exits with status 2 and one line for a configuration file that is not YAML: the parser does not name the file.
    """
    found = _with_whole_names([_with_shipped_config(arg) for arg in args])
    configs = {}
    for index, (before, arg) in enumerate(zip(["", *found], found, strict=False)):
        option, _, value = arg.partition("=")
        path = arg if before in ("-c", "--config") else value if option == "--config" else ""
        if Path(path).is_file():
            configs[index] = _content(path)
    return modernize(found, configs)


def _with_whole_names(args: Sequence[str]) -> list[str]:
    """Let task and data module be named without `multiattn.tasks`, and have `--print_config` explain each field.

    A run without a configuration file and a folder of its own gets `runs/TASK`, not the working directory.
    """
    found = []
    named = ""
    for before, arg in zip(["", *args], args, strict=False):
        option, equals, value = arg.partition("=")
        if option in _CLASSES and value in OURS:
            arg = f"{option}={_PACKAGE}{value}"
        elif before in _CLASSES and arg in OURS:
            arg = _PACKAGE + arg
        elif arg == "--print_config":
            arg = "--print_config=comments"
        if arg.endswith("Task") and (option == "--model" or before == "--model"):
            named = arg.rpartition(".")[2].removesuffix("Task").lower()
        found.append(arg)
    flags = {arg.partition("=")[0] for arg in found}
    if named and not flags & {"-c", "--config", "--trainer.default_root_dir", "--trainer"}:
        found.append(f"--trainer.default_root_dir=runs/{named}")
    return found


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
