"""What the commands over pictures share: where results and maps go, and the loop over the pictures."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .inputs import add_maps, add_out, find_inputs, status, why_not_replace
from .map_files import MapFiles, Written
from .options import Parser, add_compute, add_format, add_map_method
from .output import Report, say, spinner

_DOING = {"classify": "classifying", "caption": "captioning"}  # on the progress bar


def add_results(parser: argparse.ArgumentParser, *, methods: Sequence[str], default_method: str) -> None:
    """`--format`, `--out`, `--maps`, `--map-method`, and how to compute."""
    add_format(parser, json_help="json: one object a line")
    add_out(parser)
    add_maps(parser)
    add_map_method(parser, methods=methods, default=default_method)
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
    methods = map_methods_of(args, parser)
    with spinner("loading the model"):
        import multiattn

        pictures, unusable = find_pictures(args, parser)
        if not pictures:
            return 1
        map_files = MapFiles(args.maps) if args.maps else None
        pipeline = multiattn.load(args.model, task=task, device=args.device)
        results = pipeline.stream(pictures, maps=methods, batch_size=args.batch_size, **options)
    failures = unusable
    with Report(len(pictures), out=args.out, doing=_DOING[task]) as report:
        for result in results:
            if result.error is not None:
                failures += 1
                report.message(str(result.error))
            else:
                written = map_files.write(result) if map_files and result.maps else None
                report.result(as_json(result, written) if args.format == "json" else as_text(result, written))
            report.advance()
    return status(failures, unusable + len(pictures))


def map_methods_of(args: argparse.Namespace, parser: Parser) -> list[str] | None:
    """The map methods asked for; None where there are to be no maps."""
    if args.map_method and not args.maps:
        parser.error("--map-method says how to make maps, and needs --maps DIR to say where to")
    return (args.map_method or [args.default_method]) if args.maps else None


def find_pictures(args: argparse.Namespace, parser: Parser) -> tuple[list[Path], int]:
    """The pictures at the paths asked for, and how many of the paths lead to none, of which it tells."""
    pictures, unusable = find_inputs(args.paths, leave_out=args.maps)
    check_out(args, parser, pictures)
    for error in unusable:
        say(str(error))
    return pictures, len(unusable)


def check_out(args: argparse.Namespace, parser: Parser, pictures: Iterable[Path]) -> None:
    """Makes sure that `--out` does not replace one of the pictures."""
    if args.out and (reason := why_not_replace(args.out, pictures)):
        parser.error(f"--out {args.out} {reason}")
