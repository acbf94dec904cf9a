"""What the commands over pictures share: which pictures, where results and maps go, and the loop over them."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from multiattn.errors import InputError

from .console import Report, say, spinner
from .map_files import MapFiles, Written
from .options import MAP_METHODS, WORD_METHODS, Parser, add_compute, add_format, map_methods, not_empty

# the parts of the help that all of them say

MAP_FILES = """\
  NAME.METHOD.npz   the map's numbers; NAME.METHOD.json says what they are and
                    where they lie on the picture
A second picture of the same name becomes NAME-2; what means something to a
browser or a shell (#, %, ?, a leading -, ...) becomes _. Files that an earlier
run left there are replaced."""

BAD_PICTURES = """\
A picture that cannot be used is named on standard error, the others are still
done, and the exit status is 1."""

_DOING = {"classify": "classifying", "caption": "captioning"}  # on the progress bar


def add_paths(parser: argparse.ArgumentParser) -> None:
    """PATH."""
    parser.add_argument(
        "paths",
        metavar="PATH",
        type=not_empty,
        nargs="+",
        help="a picture, a folder (searched through), or a pattern such as 'photos/*.jpg'",
    )


def add_results(parser: argparse.ArgumentParser, *, methods: Sequence[str], default_method: str) -> None:
    """`--format`, `--out`, `--maps`, `--map-method`, and how to compute."""
    add_format(parser, json_help="json: one object a line")
    parser.add_argument(
        "--out", metavar="FILE", type=not_empty, help="write the results to FILE instead of standard output"
    )
    parser.add_argument(
        "--maps",
        metavar="DIR",
        type=not_empty,
        help="write attention maps to DIR, which is made where it is missing",
    )
    parser.add_argument(
        "--map-method",
        metavar="NAME",
        type=map_methods(methods),
        action="extend",
        help=f"how to make the maps: {', '.join(methods)}, or all (see below; default: {default_method}); "
        "repeat it, or separate names with commas",
    )
    parser.set_defaults(default_method=default_method)
    add_compute(parser)


def work_through(
    args: argparse.Namespace,
    parser: Parser,
    *,
    task: str,
    options: Mapping[str, Any],
    as_text: Callable[[Any, Written | None], str],
    as_json: Callable[[Any, Written | None], str],
) -> int:
    """Does a task to each picture; returns 0 when every one could be used.

    Args:
        args: Of `add_paths`, `add_model` and `add_results`.
        parser: Whose usage it is.
        task: What the model must be for.
        options: The task's own, for its pipeline.
        as_text: A result to read, and where its maps lie.
        as_json: The same as one line of JSON.
    """
    if args.map_method and not args.maps:
        parser.error("--map-method says how to make maps, and needs --maps DIR to say where to")
    methods = (args.map_method or [args.default_method]) if args.maps else None
    with spinner("loading the model"):
        import multiattn

        pictures, unusable = find_pictures(args.paths, leave_out=args.maps)
        if args.out and (reason := why_not_replace(args.out, pictures)):
            parser.error(f"--out {args.out} {reason}")
        for error in unusable:
            say(str(error))
        if not pictures:
            return 1
        map_files = MapFiles(args.maps) if args.maps else None
        pipeline = multiattn.load(args.model, task=task, device=args.device)
        results = pipeline.stream(pictures, maps=methods, batch_size=args.batch_size, **options)
    failures = len(unusable)
    with Report(len(pictures), out=args.out, doing=_DOING[task]) as report:
        for result in results:
            if result.error is not None:
                failures += 1
                report.message(str(result.error))
            else:
                written = map_files.write(result) if map_files and result.maps else None
                report.result(as_json(result, written) if args.format == "json" else as_text(result, written))
            report.advance()
    if failures:
        say(f"{failures} of {len(unusable) + len(pictures)} inputs could not be used")
    return 1 if failures else 0


def find_pictures(paths: Iterable[str], *, leave_out: str | None = None) -> tuple[list[Path], list[InputError]]:
    """The pictures at `paths`, in order, and what is wrong with those paths that lead to none.

    Args:
        paths: Files, folders and patterns.
        leave_out: A folder in which a search does not count the maps of an earlier run as pictures.
    """
    from multiattn.inputs import find_images

    pictures: list[Path] = []
    errors: list[InputError] = []
    own = Path(leave_out).resolve() if leave_out else None
    ours = tuple(f".{method}.png" for method in {*MAP_METHODS, *WORD_METHODS})
    for path in paths:
        try:
            found = find_images([path])
        except InputError as error:
            errors.append(error)
            continue
        named = found == [Path(path)]
        kept = [file for file in found if named or not (file.name.endswith(ours) and file.resolve().parent == own)]
        if not kept:
            errors.append(InputError(f"`{path}` must hold at least one picture, but holds only maps of ours instead."))
        pictures += kept
    return pictures, errors


def why_not_replace(out: str, pictures: Iterable[Path]) -> str | None:
    """What speaks against writing results to `out`: a picture lies there; None where nothing does."""
    from multiattn.inputs.files import SUFFIXES

    file = Path(out)
    if not file.is_file():
        return None
    if any(picture.exists() and picture.samefile(file) for picture in pictures):
        return "must not be one of the pictures, which it would replace; give another file"
    if file.suffix.lower() in SUFFIXES:
        return "must not be a picture, which it would replace; give another file, or remove it first"
    return None
