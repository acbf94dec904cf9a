"""What a parser's error means: the option by its whole path, the file that has it, and what was perhaps meant.

jsonargparse names the last part of an option only: "Option 'warmpu_epochs' is not accepted". The options that there are
come from the signatures of the classes that the configuration names.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import yaml

from .arguments import OURS

_UNKNOWN = (
    re.compile(r"Option '(?P<key>[^']+)' is not accepted"),
    re.compile(r"[Uu]nrecognized arguments: --(?P<key>[^=\s]+)"),
    re.compile(r"does not accept option '(?P<key>[^']+)'"),
)
_BAD_VALUE = re.compile(r"Parser key \"(?P<key>[^\"]+)\": ?(?P<reason>.*)")
_BAD_CLASS = re.compile(r"Problem with given class_path '(?P<path>[^']+)': (?P<reason>.*?)(?: - Expected|$)")
_NO_PACKAGE = re.compile(r"Requirement '(?P<package>[\w-]+)[^']*' not met\. HINT: Try running `(?P<mend>[^`]+)`")
_FORMER = {"optimizer": "model.init_args.optimization.optimizer", "lr_scheduler": "model.init_args.optimization"}


class Place(NamedTuple):
    """Where an option is set."""

    path: tuple[str, ...]
    """As a file has it, with `init_args`."""

    file: str
    """The file; empty for an argument of the command."""

    value: Any = None

    @property
    def option(self) -> str:
        """As the file or the command has it."""
        return f"`{'.'.join(self.path)}`" if self.file else f"`--{'.'.join(_plain(self.path))}`"

    def __str__(self) -> str:
        return f"{self.file}: {self.option}" if self.file else self.option


def missing_package(error: BaseException) -> str | None:
    """The message about a package that a class of the configuration needs; None for any other error."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, ImportError) and (found := _NO_PACKAGE.search(str(at))):
            return f"the package {found['package']} is not installed, but the configuration needs it: {found['mend']}"
        at = at.__cause__ or at.__context__
    return None


def explained(message: str, args: Sequence[str], *, known: Sequence[str]) -> str:
    """A message that says more than the parser's, on one line.

    Args:
        message: The parser's, on one line.
        args: The verb and its options, as the parser got them.
        known: The options of the verb that are no class's, with dots.
    """
    places = list(_places(args))
    if found := _BAD_CLASS.search(message):
        near = _near_class(found["path"])
        hint = f": did you mean {near}?" if near else f": {found['reason'].strip()}"
        place = next((one for one in reversed(places) if one.value == found["path"]), None)
        start = "" if place is None else f"{place}: "
        return f"{start}there is no class {found['path']}{hint}"
    for pattern in _UNKNOWN:
        if found := pattern.search(message):
            return _unknown(found["key"], places, known) or message
    if found := _BAD_VALUE.search(message):
        place = next((one for one in places if _ends(one.path, found["key"])), None)
        return message if place is None else f"{place}: {found['reason']}"
    return message


def _unknown(key: str, places: Sequence[Place], known: Sequence[str]) -> str:
    """The message about an option that there is not; empty where it cannot be found again."""
    place = next((one for one in reversed(places) if _ends(one.path, key)), None)
    if place is None:
        return ""
    depth = len(place.path) - len(_plain(key.split("."))) + 1  # where the first unknown part is
    options = [*known, *_options(places)]
    while depth < len(place.path) and any(_starts(one, place.path[:depth]) for one in options):
        depth += 1
    path = place.path[:depth]
    near = _FORMER.get(".".join(path)) or _nearest(".".join(path), options, depth)
    hint = f": did you mean {Place(tuple(near.split('.')), place.file).option}?" if near else ""
    return f"{Place(path, place.file)} is no option{hint}"


def _starts(option: str, path: Sequence[str]) -> bool:
    return tuple(option.split("."))[: len(path)] == tuple(path)


def _plain(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part for part in parts if part != "init_args")


def _ends(path: Sequence[str], key: str) -> bool:
    wanted = _plain(key.split("."))
    return _plain(path)[-len(wanted) :] == wanted


def _nearest(path: str, options: Sequence[str], depth: int) -> str:
    """The option that looks most like a path: its beginning as long as the path's, or its last part the same."""
    begins = dict.fromkeys(".".join(one.split(".")[:depth]) for one in options)
    last = path.rpartition(".")[2]
    before = path.rpartition(".")[0]
    beside = {one.rpartition(".")[2]: one for one in begins if one.rpartition(".")[0] == before}
    if near := get_close_matches(last, beside, n=1, cutoff=0.6):
        return beside[near[0]]
    same = [one for one in options if one.rpartition(".")[2] == last]
    if same:
        return min(same, key=len)
    return next(iter(get_close_matches(path, begins, n=1, cutoff=0.85)), "")


def _places(args: Sequence[str]) -> Iterator[Place]:
    """Every option that the files and the arguments set."""
    for index, (before, arg) in enumerate(zip(["", *args], args, strict=False)):
        option, equals, value = arg.partition("=")
        text = arg if before in ("-c", "--config") else value if option == "--config" else ""
        if text:
            yield from (Place(path, _name(text), value) for path, value in _paths(_content(text)))
        elif option.startswith("--"):
            path = option.removeprefix("--").removesuffix("+").split(".")
            if path[0] in ("model", "data") and len(path) > 1 and path[1] not in ("init_args", "class_path", "help"):
                path.insert(1, "init_args")
            yield Place(tuple(path), "", value if equals else "".join(args[index + 1 : index + 2]))


def _name(config: str) -> str:
    """The file, as messages name it; one whose old names were rewritten is here as its content."""
    return "the configuration" if "\n" in config else config


def _content(config: str) -> Any:
    try:
        return yaml.safe_load(config if "\n" in config else Path(config).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _paths(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path and value of everything in nested options."""
    parts = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in parts:
        yield (*path, str(key)), value
        yield from _paths(value, (*path, str(key)))


def _options(places: Sequence[Place]) -> Iterator[str]:
    """The options of the classes that are named, as a file has them."""
    for place in places:
        is_class = place.path[-1] == "class_path" or place.path in (("model",), ("data",))
        kind = _imported(place.value) if is_class and isinstance(place.value, str) else None
        if kind is not None:
            start = place.path[:-1] if place.path[-1] == "class_path" else place.path
            yield from (".".join((*start, "init_args", name)) for name in _arguments(kind))


def _imported(path: str) -> type | None:
    """The class of a path, if its module has been imported: nothing is imported for a message."""
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def _arguments(kind: type) -> Iterator[str]:
    """The options of a class, with those of the dataclasses among them."""
    try:
        types = get_type_hints(kind.__init__)  # type: ignore[misc]
    except (NameError, TypeError):
        types = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        yield name
        for part in dataclasses_of(types.get(name)):
            yield from (f"{name}.{inner}" for inner in _fields(part))


def dataclasses_of(hint: Any) -> Iterator[type]:
    """The dataclasses among the types that an option may have."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    yield from (one for one in options if isinstance(one, type) and is_dataclass(one))


def _fields(kind: type) -> Iterator[str]:
    types = get_type_hints(kind)
    for field in fields(kind):
        yield field.name
        for part in dataclasses_of(types[field.name]):
            yield from (f"{field.name}.{inner}" for inner in _fields(part))


def _near_class(path: str) -> str:
    """The class of ours, or of Lightning's callbacks and loggers, that a path may have meant."""
    known = {f"multiattn.tasks.{name}": name for name in OURS}
    for module in ("multiattn.tasks.callbacks", "lightning.pytorch.callbacks", "lightning.pytorch.loggers"):
        found = sys.modules.get(module)
        known |= {f"{module}.{name}": name for name in getattr(found, "__all__", ())}
    last = {name: whole for whole, name in known.items()}
    near = get_close_matches(path.rpartition(".")[2], last, n=1)
    return last[near[0]] if near else ""
