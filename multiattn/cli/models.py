"""`multiattn models`: which models are there? Those shipped, those in the Hub's local cache, and the short names."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..registry import tasks
from ..resources import shipped
from .arguments import Option, Parser
from .families import as_markdown, families
from .output import printable, spinner

_DESCRIPTION = """\
List the models that `--model` takes: those shipped with this package, those
in the local cache of the Hugging Face Hub, the short names of published ones,
and every family of published models with what it can do. Needs no network.
"""

_EPILOG = """\
with --format json, one object
  {"shipped": [{"name": "classify", "task": "classify", "knows": "...",
                "directory": "...", "bytes": 2242172}, ...],
   "cache": "...",
   "cached": [{"name": "openai/whisper-tiny.en", "tasks": ["transcribe"],
               "layout": "hf-whisper", "short_names": ["tiny.en"],
               "directory": "...", "bytes": 151101416}, ...],
   "unknown": ["other/model"],
   "known": [{"name": "tiny.en", "task": "transcribe",
              "model": "openai/whisper-tiny.en", "cached": true}, ...],
   "families": [{"layout": "hf-beit", "models": "BEiT", "task": "classify",
                 "does": ["classify", "maps", "embed"], "maps": ["lrp", ...],
                 "classes": ["BeitForImageClassification", ...],
                 "headless": ["BeitModel"], "embeds": true}, ...]}
unknown are the models in the cache that multiattn does not read; headless are
the classes of a family without a head, which only embed

A directory here wins over a short name. A model that is known but not cached is
downloaded when it is first used.

examples
  multiattn models
  multiattn models --task transcribe
  multiattn models --format json
"""


class _Cached(NamedTuple):
    name: str
    tasks: tuple[str, ...]
    layout: str
    directory: Path
    size: int


def parser() -> Parser:
    """The command's options."""
    return Parser(
        Option("--task", choices=tuple(tasks()), help="only the models of a task"),
        Option(
            "--format",
            choices=("text", "json", "markdown"),
            default="text",
            help="text to read (default), json: one object (see below), or markdown: the families as a table",
        ),
        prog="multiattn models",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Print the lists; return 0."""
    if args.format == "markdown":
        with spinner("reading the layouts"):
            table = as_markdown(families(args.task))
        print(table)
        return 0
    with spinner("reading the cache"):
        from ..weights.hub_cache import cache_folder

        found, unknown = _cached()
        listing = _listing(found, unknown, cache=cache_folder(), task=args.task)
    print(json.dumps(listing) if args.format == "json" else _as_text(listing))
    return 0


def _cached() -> tuple[list[_Cached], list[str]]:
    """Return the models in the cache, and the names of those of no layout that is known."""
    from ..weights import recognize
    from ..weights.hub_cache import cached_models

    found, unknown = [], []
    for model in cached_models():
        kind = recognize(model.directory)
        if kind is None:
            unknown.append(model.name)
        else:
            found.append(_Cached(model.name, kind[1], kind[0], model.directory, model.size))
    return found, unknown


def _listing(found: list[_Cached], unknown: list[str], *, cache: Path, task: str | None) -> dict[str, Any]:
    from ..weights.hub_cache import folder_size

    specs = [spec for spec in tasks().values() if task in (None, spec.name)]
    names = {model.name for model in found}
    short = [(name, spec.name, model) for spec in specs for name, model in spec.short_names.items()]
    folders = {spec.name: shipped("models", spec.name) for spec in specs if spec.shipped}
    return {
        "shipped": [
            {
                "name": spec.name,
                "task": spec.name,
                "knows": spec.shipped,
                "directory": str(folders[spec.name]),
                "bytes": folder_size(folders[spec.name]),
            }
            for spec in specs
            if spec.name in folders and folders[spec.name].is_dir()
        ],
        "cache": str(cache),
        "cached": [
            {
                "name": model.name,
                "tasks": list(model.tasks),
                "layout": model.layout,
                "short_names": [name for name, _, of in short if of == model.name],
                "directory": str(model.directory),
                "bytes": model.size,
            }
            for model in found
            if task is None or task in model.tasks
        ],
        "unknown": unknown,
        "known": [{"name": name, "task": of, "model": model, "cached": model in names} for name, of, model in short],
        "families": [family.to_dict() for family in families(task)],
    }


def _as_text(listing: Mapping[str, Any]) -> str:
    """Return lines to read."""
    cached: list[tuple[str, ...]] = [
        (model["name"], " or ".join(model["tasks"]), model["layout"], _megabytes(model["bytes"]))
        for model in listing["cached"]
    ]
    parts: list[tuple[str, list[tuple[str, ...]]]] = [
        ("shipped", [(one["name"], _megabytes(one["bytes"]), one["knows"]) for one in listing["shipped"]]),
        (f"in the cache {listing['cache']}", cached or [("none",)]),
        (
            "short names of published models (* in the cache)",
            [(f"{'* ' * one['cached']}{one['name']}", one["task"], one["model"]) for one in listing["known"]],
        ),
        (
            "families of published models, and what they can do",
            [(one["layout"], ", ".join(one["does"]), one["models"]) for one in listing["families"]],
        ),
    ]
    lines: list[str] = []
    for title, rows in parts:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines += [printable(title)]
        for row in rows:
            lines.append(
                "  " + "  ".join(f"{printable(cell):{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            )
        lines.append("")
    if count := len(listing["unknown"]):
        lines.append(f"{count} other{'s' * (count > 1)} in the cache multiattn does not read")
    return "\n".join(lines).rstrip()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
