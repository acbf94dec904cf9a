"""The options of maps, and all those of a command over pictures. Importing this imports neither torch nor NumPy."""

import argparse
from collections.abc import Callable, Sequence

from ..registry import task_spec
from .options import (
    COMPUTE,
    LOUDNESS,
    PARALLEL,
    PIXELS,
    RESUME,
    STRICT,
    Option,
    not_empty,
    out_file,
    record_format,
)

MAP_FILES = """\
  NAME.METHOD.npz   the map's numbers; NAME.METHOD.json says what they are and
                    where they are on the {0}
A second {0} of the same name becomes NAME-2; a character that means
something to a browser or a shell (#, %, ?, a leading -, ...) becomes _. Files
that an earlier run left there are replaced."""


MAP_FORMATS = ("html", "png", "npz")
"""What is written of maps where nothing else is asked for: the page, a picture of each, and the numbers of each with
the JSON file beside them."""

_ALL_FORMATS = (*MAP_FORMATS, "svg", "pdf", "compare")


def map_formats(text: str) -> list[str]:
    """Read `html,npz` and the like."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in _ALL_FORMATS:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(_ALL_FORMATS)}, but is {name!r} instead")
    return names


def map_methods(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return the reader of `rollout`, `rollout,relevance` or `all`, for a task with these methods."""

    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in (*known, "all"):
                raise argparse.ArgumentTypeError(f"must be of {', '.join(known)} or all, but is {name!r} instead")
        return names

    return read


def maps_of(task: str) -> tuple[Option, ...]:
    """`--maps`, `--map-method` with the methods of the task, and `--map-format`."""
    methods, default = task_spec(task).map_methods, task_spec(task).default_map_method
    default = f"{default}, or what `evaluate maps --keep` found" if len(methods) > 1 else default
    return (
        Option("--maps", "DIR", not_empty, "write attention maps to DIR, which is made where it is missing"),
        Option(
            "--map-method",
            "NAME",
            map_methods(methods),
            f"how to make the maps: {', '.join(methods)}, or all (see below; default: {default}); "
            "repeat it, or separate names with commas",
            action="extend",
        ),
        Option(
            "--map-format",
            "KIND",
            map_formats,
            f"which files to write of the maps: {', '.join(_ALL_FORMATS)} (default: {', '.join(MAP_FORMATS)}); "
            "compare is NAME.compare.html, a page with the maps of the first two methods side by side and their "
            "difference; repeat it, or separate names with commas",
            action="extend",
        ),
    )


TOKENS = Option(
    "--tokens",
    action="store_true",
    help="with --maps: on the page each patch can be clicked, to see where it looks and which patches look at it",
)


def results_of(task: str) -> tuple[Option, ...]:
    """The options of a command over pictures for its results: `--format`, `--out`, maps, and how to compute."""
    return (record_format(), out_file(), RESUME, *maps_of(task), TOKENS, STRICT, PIXELS, *COMPUTE, *PARALLEL, *LOUDNESS)
