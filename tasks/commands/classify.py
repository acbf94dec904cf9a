"""`multiattn classify`: what is on these pictures, and where did the model look?"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from multiattn.errors import InputError

from .console import Report, printable, say, spinner
from .map_files import MapFiles, Written
from .options import MAP_METHODS, Parser, add_compute, add_format, add_model, at_least_one, map_methods, not_empty

if TYPE_CHECKING:
    from multiattn.pipelines import ClassifyResult

_DESCRIPTION = """\
Say what is on pictures. Prints the most likely labels of each with their
probabilities, in the order of the inputs, each as soon as it is ready. With
--maps, also writes where the model looked: pictures, numbers, and pages to
explore.
"""

_EPILOG = """\
map methods
  attention         what the model read out last: attention of the last layer,
                    mean of its heads; the same for every label
  rollout           attention followed back through all layers (Abnar & Zuidema
                    2020); the same for every label
  relevance         attention weighted by what it did for the label that came
                    first (Chefer et al. 2021)
  gradient_x_input  how the label's score changes with each pixel; uses no
                    attention: a contrast to judge the others by
  all               all of these

files in the --maps folder, for a picture NAME.jpg
  NAME.html         one page, complete in itself: the picture with the maps over
                    it, every layer and head, the value under the mouse
  NAME.METHOD.png   the map over the picture
  NAME.METHOD.npz   the map's numbers; NAME.METHOD.json says what they are and
                    where they lie on the picture
A second picture of the same name becomes NAME-2; what means something to a
browser or a shell (#, %, ?, a leading -, ...) becomes _. Files that an earlier
run left there are replaced.

examples
  multiattn classify cat.jpg
  multiattn classify photos/ 'holiday/*.jpg' --top-k 1
  multiattn classify cat.jpg --maps out/ --map-method relevance,rollout
  multiattn classify photos/ --format json --out results.jsonl \\
      --model timm/vit_base_patch16_224.augreg2_in21k_ft_in1k

with --format json, each line is one object ("maps" only with --maps)
  {"file": "cat.jpg", "predictions": [{"label": "cat", "score": 0.97}, ...],
   "maps": {"relevance": {"html": "out/cat.html", "png": ..., "npz": ...,
                          "json": ...}, ...}}

A picture that cannot be used is named on standard error, the others are still
done, and the exit status is 1.
"""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn classify", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "paths",
        metavar="PATH",
        type=not_empty,
        nargs="+",
        help="a picture, a folder (searched through), or a pattern such as 'photos/*.jpg'",
    )
    add_model(parser)
    parser.add_argument(
        "--top-k", metavar="K", type=at_least_one, default=5, help="labels to give for each picture (default: 5)"
    )
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
        type=map_methods,
        action="extend",
        help=f"how to make the maps: {', '.join(MAP_METHODS)}, or all (see below; default: relevance); "
        "repeat it, or separate names with commas",
    )
    add_compute(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Classifies; returns 0 when every input could be used."""
    if args.map_method and not args.maps:
        parser().error("--map-method says how to make maps, and needs --maps DIR to say where to")
    methods = (args.map_method or ["relevance"]) if args.maps else None
    with spinner("loading the model"):
        import multiattn

        pictures, unusable = find_pictures(args.paths, leave_out=args.maps)
        if args.out and (reason := why_not_replace(args.out, pictures)):
            parser().error(f"--out {args.out} {reason}")
        for error in unusable:
            say(str(error))
        if not pictures:
            return 1
        map_files = MapFiles(args.maps) if args.maps else None
        classifier = multiattn.load(args.model, device=args.device)
    failures = len(unusable)
    with Report(len(pictures), out=args.out) as report:
        results = classifier.stream(pictures, maps=methods, top_k=args.top_k, batch_size=args.batch_size)
        for result in results:
            if result.error is not None:
                failures += 1
                report.message(str(result.error))
            else:
                written = map_files.write(result) if map_files else None
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
    ours = tuple(f".{method}.png" for method in MAP_METHODS)
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


def as_text(result: "ClassifyResult", written: Written | None) -> str:
    """A block to read: the file, its labels, and where the page lies."""
    lines = [printable(result.file)]
    lines += [f"  {prediction.score:6.1%}  {printable(prediction.label)}" for prediction in result.predictions]
    if written:
        lines.append(f"    maps  {printable(written.page)}")
    return "\n".join(lines)


def as_json(result: "ClassifyResult", written: Written | None) -> str:
    """One line, one object."""
    line: dict[str, object] = {
        "file": result.file,
        "predictions": [{"label": prediction.label, "score": prediction.score} for prediction in result.predictions],
    }
    if written:
        line["maps"] = written.by_method
    return json.dumps(line)
