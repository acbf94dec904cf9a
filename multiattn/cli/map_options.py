"""The options of maps, and all those of a command over pictures. Importing this imports neither torch nor NumPy."""

import argparse
from collections.abc import Callable, Sequence

from ..registry import task_spec
from .arguments import Option, not_blank, not_empty
from .options import COMPUTE, LOUDNESS, PARALLEL, PIXELS, RESUME, STRICT, out_file, record_format

MAP_FILES = """\
  NAME.METHOD.npz   the map's numbers; NAME.METHOD.json says what they are and
                    where they are on the {0}
  index.html        of several inputs: what the model said of each, with a link
                    to its page; can be searched and sorted
A second {0} of the same name becomes NAME-2; a character that means
something to a browser or a shell (#, %, ?, a leading -, ...) becomes _. Files
that an earlier run left there are replaced."""


CHECK = """\
--check, how far a map can be trusted
  What a map points at is hidden, and so are random parts, and the middle. The
  verdict is strong or weak where the prediction falls further without the map's
  own parts, and else no better than chance: that is said of at least 95 of 100
  random maps. It costs 12 forward passes a map; for an answer 24, half of them
  without words of its question. In JSON, "verdict" is a list in the order of
  the maps, with the probabilities behind each:
    [{"method": "relevance", "word": "strong", "line": "strong: without its
      brightest quarter 94 -> 31 %; a random quarter 88 %; the center 80 %",
      "whole": 0.94, "shares": [0.0625, 0.125, 0.25, 0.5], "deleted": [...],
      "center": [...], "random": [...], "place": "the center"}]"""
"""For the help."""

MAP_FORMATS = ("html", "png", "npz")
"""What is written of maps where nothing else is asked for: the page, a picture of each, and the numbers of each with
the JSON file beside them."""

ON_PAGE = 3
"""Labels or answers of a closed list that have maps of their own on a page."""

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


def check_of(task: str) -> Option:
    """`--check`; for a task whose maps are of words, also `--check words`."""
    text = "say of each map how far it can be trusted, by 12 forward passes more (see below); needs no --maps"
    if task in ("classify", "match"):
        return Option("--check", action="store_true", help=text)
    words = f"{text}; --check words: of the map of each word, too, by 12 more for each"
    return Option("--check", "words", _whole_or_words, words, nargs="?", const=True, default=False, may_have="words")


def _whole_or_words(text: str) -> bool | str:
    if text not in ("", "words"):
        raise argparse.ArgumentTypeError(f"must be words, or nothing, but is {text!r} instead")
    return text or True


def explained_of(task: str) -> tuple[Option, ...]:
    """What the maps of a task explain: a label and another, an answer, or a text."""
    if task in ("caption", "transcribe"):
        what = "a caption" if task == "caption" else "a transcript"
        text = f"explain this text in place of {what} of the model's: its words with their probabilities, and its maps"
        if task == "transcribe":
            text += "; of a recording of one window (`multiattn align` follows a text through a long one)"
        return (Option("--explain-text", "TEXT", not_blank, text),)
    if task == "match":
        text = "explain this one of the texts instead of the best; needs --maps or --check"
        return (Option("--target", "TEXT", not_empty, text),)
    what, best = ("label", "the best") if task == "classify" else ("answer", "the one that is found")
    number = f"explain this {what}, by its name or its number in the list, instead of {best}; needs --maps or --check"
    other = f"explain why not this other {what}: the difference of the two scores"
    return (Option("--target", "LABEL", not_empty, number), Option("--versus", "LABEL", not_empty, other))


def maps_of(task: str) -> tuple[Option, ...]:
    """`--maps`, `--map-method` with the methods of the task, `--check` and `--map-format`."""
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
        check_of(task),
        *explained_of(task),
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


def tokens_of(task: str) -> Option:
    """`--tokens`."""
    part, others = ("moment", "moments") if task == "transcribe" else ("patch", "patches")
    text = f"with --maps: on the page each {part} can be clicked, to see where it looks and which {others} look at it"
    return Option("--tokens", action="store_true", help=text)


def results_of(task: str) -> tuple[Option, ...]:
    """The options of a command over pictures for its results: `--format`, `--out`, maps, and how to compute."""
    return (
        record_format(),
        out_file(),
        RESUME,
        *maps_of(task),
        tokens_of(task),
        STRICT,
        PIXELS,
        *COMPUTE,
        *PARALLEL,
        *LOUDNESS,
    )
