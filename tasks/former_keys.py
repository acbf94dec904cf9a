"""Names of earlier configurations, rewritten to those of today: class paths, keys, and words among the values.

Works on arguments and on the content of YAML files, before Lightning's parser sees either of them. Needs neither torch
nor Lightning, and imports none of the classes that it names.
"""

import copy
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from .former_keys_table import FORMER_KEYS, FORMER_VALUES

_CALLBACKS = ("EMA", "BestCheckpoint", "ResumeCheckpoint", "ModelDirectory", "EpochLines", "PredictionLines")
_MAP_CALLBACKS = ("MapsWhileTraining", "WordMapsWhileTraining")

FORMER_CLASSES = {
    f"tasks.{old}": f"multiattn.tasks.{new}"
    for new, olds in {
        "ClassifyTask": ("ClassifyTask", "classify.ClassifyTask"),
        "CaptionTask": ("CaptionTask", "caption.CaptionTask"),
        "TranscribeTask": ("TranscribeTask", "transcribe.TranscribeTask"),
        "AnswerTask": ("AnswerTask", "answer.AnswerTask"),
        "ClassifyData": ("data.ClassificationData", "data.classification.ClassificationData"),
        "CaptionData": ("data.CaptionData", "data.captioning.CaptionData"),
        "TranscribeData": ("data.SpeechData", "data.speech.SpeechData"),
        "AnswerData": ("data.AnswerData", "data.answering.AnswerData"),
        **{f"callbacks.{name}": (f"callbacks.{name}",) for name in _CALLBACKS},
        **{f"map_callbacks.{name}": (f"callbacks_maps.{name}",) for name in _MAP_CALLBACKS},
    }.items()
    for old in olds
}
"""Old class path -> class path of today. Any other `tasks.X` is the user's own."""

_CLASS_PATH = re.compile(r"(?<![\w.])tasks\.[\w.]+")
_SECTIONS = ("model", "data")  # the parts of a configuration that are one of our classes


def modernize(args: Sequence[str], configs: Mapping[int, dict[str, Any]]) -> list[str]:
    """Rewrite the old names in the arguments of a Lightning verb; each is named once on standard error.

    Args:
        args: The verb and its options.
        configs: The content of the YAML files among the arguments, by the index of the argument that names the file.

    Returns:
        The arguments. A file that has old names is replaced by its rewritten content, which the parser takes, too.
    """
    rewriter = _Rewriter()
    contents = {index: rewriter.classes_in(config) for index, config in configs.items()}
    rest = [arg if index in configs else rewriter.classes_in_text(arg) for index, arg in enumerate(args)]
    names = _class_names(rest, contents)
    found: list[str] = []
    skip = False
    for index, arg in enumerate(rest):
        if skip:
            skip = False
        elif index in configs:
            content = rewriter.config(contents[index], names)
            option = "--config=" if arg.startswith("--config=") else ""
            changed = content != configs[index]
            found.append(option + yaml.safe_dump(content, sort_keys=False, allow_unicode=True) if changed else arg)
        elif arg.startswith(tuple(f"--{section}" for section in _SECTIONS)):
            value = rest[index + 1] if "=" not in arg and index + 1 < len(rest) else None
            rewritten = rewriter.option(arg, value, names)
            skip = rewritten is not None and value is not None
            found += [arg] if rewritten is None else rewritten
        else:
            found.append(arg)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # Lightning starts the other processes with the same arguments
        for old, new in rewriter.renamed.items():
            print(f"old key {old} is now {new}", file=sys.stderr)
    return found


class _Rewriter:
    """Rewrites parts of a configuration, and remembers what it has renamed."""

    def __init__(self) -> None:
        self.renamed: dict[str, str] = {}
        """Old name -> new name, in the order in which they were met."""

    def classes_in_text(self, text: str) -> str:
        """A text with the class paths of today."""

        def new(match: re.Match[str]) -> str:
            found = FORMER_CLASSES.get(match[0], match[0])
            if found != match[0]:
                self.renamed[match[0]] = found
            return found

        return _CLASS_PATH.sub(new, text)

    def classes_in(self, node: Any) -> Any:
        """A part of a configuration with the class paths of today."""
        if isinstance(node, dict):
            return {key: self.classes_in(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self.classes_in(value) for value in node]
        return self.classes_in_text(node) if isinstance(node, str) and node in FORMER_CLASSES else node

    def config(self, content: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
        """A configuration with the keys of today.

        Args:
            content: The configuration.
            names: The class of each section, for a configuration that does not state it.
        """
        sections = {key: content[key] for key in _SECTIONS if isinstance(content.get(key), dict)}
        return content | {key: self._section(key, part, names.get(key, "")) for key, part in sections.items()}

    def option(self, option: str, value: str | None, names: Mapping[str, str]) -> list[str] | None:
        """An option of a section with the keys of today.

        Args:
            option: `--model.KEY=VALUE`, or `--model.KEY` alone.
            value: The next argument, for the second form.
            names: The class of each section.

        Returns:
            One option or several, each with its value; None where nothing is old.
        """
        key, equals, text = option.partition("=")
        text = text if equals else value or ""
        section, *path = key.removeprefix("--").removesuffix("+").split(".")
        start = ["init_args"] if path[:1] == ["init_args"] else []
        path = path[len(start) :]
        if section not in _SECTIONS:
            return None
        content = _mapping(text)
        if not path and not start:
            rewritten = self._section(section, content or {}, names.get(section, ""))
            return [f"--{section}={json.dumps(rewritten)}"] if content and rewritten != content else None
        name = names.get(section, "")
        nested = _nested(path, content or text) if path else content or {}
        changed = self._renamed(nested, name, section)
        if changed == nested:
            return None
        plus = "+" if key.endswith("+") else ""
        whole, table = ".".join(path), FORMER_KEYS.get(name, {})
        stops = {whole, *(new for old, new in table.items() if f"{old}.".startswith(f"{whole}." if whole else ""))}
        return [
            f"--{'.'.join([section, *start, *at])}{plus}={part if isinstance(part, str) else json.dumps(part)}"
            for at, part in _leaves(changed, stops)
        ]

    def _section(self, section: str, content: dict[str, Any], name: str) -> dict[str, Any]:
        if isinstance(content.get("class_path"), str):
            name = content["class_path"].rpartition(".")[2]
        init_args = content.get("init_args")
        if isinstance(init_args, dict):
            return content | {"init_args": self._renamed(init_args, name, section)}
        return content if "class_path" in content else self._renamed(content, name, section)

    def _renamed(self, values: dict[str, Any], name: str, section: str) -> dict[str, Any]:
        """Options of a class with the keys and values of today; a new key that is set, too, has priority."""
        values = copy.deepcopy(values)
        moved = {}
        for old, new in FORMER_KEYS.get(name, {}).items():
            try:
                moved[new] = _pop(values, old.split("."))
            except KeyError:
                continue
            self.renamed[f"{section}.{old}"] = f"{section}.{new}"
        for new, value in moved.items():
            values = _merged(_nested(new.split("."), value), values)
        for key, words in FORMER_VALUES.get(name, {}).items():
            for old, new in words.items():
                if _part(values, key.split(".")) == old:
                    values = _merged(values, _nested(key.split("."), new))
                    self.renamed[f"{section}.{key}: {old}"] = f"{section}.{key}: {new}"
        return values


def _class_names(args: Sequence[str], contents: Mapping[int, dict[str, Any]]) -> dict[str, str]:
    """The name of the class of each section: the last one that is given."""
    found = {}
    for index, arg in enumerate(args):
        for section in _SECTIONS:
            path = None
            if index in contents:
                part = contents[index].get(section)
                path = part.get("class_path") if isinstance(part, dict) else part
            elif arg.partition("=")[0] in (f"--{section}", f"--{section}.class_path"):
                path = arg.partition("=")[2] or next(iter(args[index + 1 : index + 2]), "")
            if isinstance(path, str):
                found[section] = path.rpartition(".")[2]
    return found


def _mapping(text: str) -> dict[str, Any] | None:
    """The mapping that an argument spells, such as `{max_tokens: 12}`; None where it is no mapping."""
    if not text.startswith("{"):
        return None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return None  # the parser names it
    return content if isinstance(content, dict) else None


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def _part(values: Any, path: Sequence[str]) -> Any:
    """The value at a path; None where there is none."""
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _pop(values: dict[str, Any], path: Sequence[str]) -> Any:
    """Take a value out, with the parts around it that are empty then; raises KeyError where there is none."""
    key, *rest = path
    if not rest:
        return values.pop(key)
    if not isinstance(values.get(key), dict):
        raise KeyError(key)
    found = _pop(values[key], rest)
    if not values[key]:
        del values[key]
    return found


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two nested dictionaries as one; of two values for a key the one `above`."""
    found = below | above
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            found[key] = _merged(below[key], above[key])
    return found


def _leaves(node: dict[str, Any], stops: set[str], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path and the value of each part, down to the paths in `stops`."""
    for key, value in node.items():
        path = (*at, key)
        if isinstance(value, dict) and ".".join(path) not in stops:
            yield from _leaves(value, stops, path)
        else:
            yield path, value
