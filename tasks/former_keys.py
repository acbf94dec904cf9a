"""Names of earlier configurations, rewritten to those of today: class paths, keys, and words among the values.

Works on arguments and on the content of YAML files, before Lightning's parser sees either of them. Needs neither torch
nor Lightning, and imports none of the classes that it names.
"""

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

Options = dict[tuple[str, ...], Any]
"""Nested options as one dictionary: path -> value."""


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
    typed = [arg if index in configs else rewriter.classes_in(arg) for index, arg in enumerate(args)]
    rewriter.find_classes(typed, contents)
    found: list[str] = []
    rest = iter(enumerate(typed))
    for index, arg in rest:
        if index in configs:
            content = rewriter.config(contents[index])
            if content != configs[index]:
                text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
                arg = f"--config={text}" if arg.startswith("--config=") else text
            found.append(arg)
            continue
        has_value = "=" in arg or not arg.startswith("--") or index + 1 == len(typed)
        rewritten = rewriter.option(arg if has_value else f"{arg}={typed[index + 1]}")
        if rewritten and not has_value:
            next(rest)
        found += rewritten or [arg]
    if os.environ.get("LOCAL_RANK", "0") == "0":  # Lightning starts the other processes with the same arguments
        for old, new in rewriter.renamed.items():
            print(f"old key {old} is now {new}", file=sys.stderr)
    return found


class _Rewriter:
    """Rewrites parts of a configuration, and remembers what it has renamed."""

    def __init__(self) -> None:
        self.renamed: dict[str, str] = {}
        """Old name -> new name, in the order in which they were found."""

        self.class_names: dict[str, str] = {}
        """The class of each section, for files and options that do not state it."""

    def classes_in(self, node: Any) -> Any:
        """A text, or a part of a configuration, with the class paths of today."""
        if isinstance(node, dict):
            return {key: self.classes_in(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self.classes_in(value) for value in node]
        return _CLASS_PATH.sub(self._class_path, node) if isinstance(node, str) else node

    def _class_path(self, match: re.Match[str]) -> str:
        old = match[0]
        if old in FORMER_CLASSES:
            self.renamed[old] = FORMER_CLASSES[old]
        return FORMER_CLASSES.get(old, old)

    def find_classes(self, args: Sequence[str], contents: Mapping[int, dict[str, Any]]) -> None:
        """Find the class of each section: the last one that a file or an option states."""
        for index, arg in enumerate(args):
            option, equals, value = arg.partition("=")
            for section in _SECTIONS:
                path = _class_path(contents[index].get(section)) if index in contents else None
                if option in (f"--{section}", f"--{section}.class_path"):
                    path = _class_path(_mapping(value) or value if equals else "".join(args[index + 1 : index + 2]))
                if path:
                    self.class_names[section] = path.rpartition(".")[2]

    def config(self, content: dict[str, Any]) -> dict[str, Any]:
        """A configuration with the keys of today."""
        sections = {name: content[name] for name in _SECTIONS if isinstance(content.get(name), dict)}
        return content | {name: self._section(name, part) for name, part in sections.items()}

    def option(self, arg: str) -> list[str]:
        """Rewrite `--model.KEY=VALUE`: one option or several; empty where nothing is old."""
        key, _, text = arg.partition("=")
        section, *path = key.removeprefix("--").removesuffix("+").split(".")
        if section not in _SECTIONS:
            return []
        content = _mapping(text)
        if not path:
            rewritten = self._section(section, content or {})
            return [f"{key}={json.dumps(rewritten)}"] if rewritten != (content or {}) else []
        start = path[:1] if path[0] == "init_args" else []
        at = tuple(path[len(start) :])
        options = {(*at, *rest): value for rest, value in _flat(content or text)}
        changed = self._renamed(options, section, self.class_names.get(section, ""))
        if changed == options:
            return []
        # a mapping stays one option, as far as its keys stay in it: the parser replaces it as a whole
        inside: Options = {}
        parts: Options = {}
        for rest, value in changed.items():
            is_inside = bool(at) and rest[: len(at)] == at
            (inside if is_inside else parts)[rest[len(at) :] if is_inside else rest] = value
        if inside:
            parts[at] = inside[()] if () in inside else _nested(inside)
        plus = "+" if key.endswith("+") else ""
        names = (".".join(map(str, [section, *start, *rest])) for rest in parts)
        texts = (value if isinstance(value, str) else json.dumps(value) for value in parts.values())
        return [f"--{name}{plus}={text}" for name, text in zip(names, texts, strict=True)]

    def _section(self, section: str, content: dict[str, Any]) -> dict[str, Any]:
        name = (_class_path(content) or self.class_names.get(section, "")).rpartition(".")[2]
        if isinstance(content.get("init_args"), dict):
            return content | {"init_args": self._section_options(section, content["init_args"], name)}
        return content if "class_path" in content else self._section_options(section, content, name)

    def _section_options(self, section: str, options: dict[str, Any], name: str) -> dict[str, Any]:
        return _nested(self._renamed(dict(_flat(options)), section, name)) if options else options

    def _renamed(self, options: Options, section: str, name: str) -> Options:
        """Options of a class with the keys and values of today; a new key that is set, too, has priority."""
        found: Options = {}
        for path, value in options.items():
            for old, new in FORMER_KEYS.get(name, {}).items():
                before = tuple(old.split("."))
                if path[: len(before)] == before:
                    self.renamed[f"{section}.{old}"] = f"{section}.{new}"
                    path = (*new.split("."), *path[len(before) :])
                    if path in options:
                        value = options[path]
                    break
            key = ".".join(map(str, path))
            words = FORMER_VALUES.get(name, {}).get(key, {})
            if isinstance(value, str) and value in words:
                self.renamed[f"{section}.{key}: {value}"] = f"{section}.{key}: {words[value]}"
                value = words[value]
            found[path] = value
        return found


def _class_path(part: Any) -> str:
    """The class path that a section states; empty where there is none."""
    path = part.get("class_path") if isinstance(part, dict) else part
    return path if isinstance(path, str) else ""


def _mapping(text: str) -> dict[str, Any] | None:
    """The mapping that an argument spells, such as `{max_tokens: 12}`; None where it is no mapping."""
    if not text.startswith("{"):
        return None
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None  # the parser names it
    return content if isinstance(content, dict) else None


def _flat(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path and value of each part of nested options."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _flat(value, (*path, key))
    else:
        yield path, node


def _nested(options: Options) -> dict[str, Any]:
    """The reverse of `_flat`."""
    found: dict[str, Any] = {}
    for path, value in options.items():
        node = found
        for key in path[:-1]:
            if not isinstance(node.get(key), dict):
                node[key] = {}
            node = node[key]
        node[path[-1]] = value
    return found
