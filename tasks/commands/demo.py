"""`multiattn demo`: a few pictures classified, and a page for each that shows where the model looked."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from multiattn.errors import InputError
from multiattn.resources import shipped

from .console import Report, make_folder, printable, say, spinner
from .options import MAP_METHODS, Parser, add_model, not_empty

_DESCRIPTION = """\
Classify a few pictures and write pages that show where the model looked. Needs
no network: the drawn pictures come with this package, the photographs with
scikit-image (pip install 'multiattn[demo]'; without it, only the drawn ones are
done).
"""

_EPILOG = """\
examples
  multiattn demo
  multiattn demo --out pages/ --model runs/mine/model
"""

_FEW = 20  # labels of a model whose labels can be told in a line
_LABEL_WIDTH = 20  # characters; a longer label moves what follows
_ON_INDEX = "relevance"  # the method whose map lies over the thumbnails: it explains the label that stands below them

# name -> file in scikit-image's data folder; those that its wheel holds, so that no network is asked
_PHOTOGRAPHS = {
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "astronaut": "astronaut.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn demo", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "--out", metavar="DIR", type=not_empty, default="demo", help="where to write the pages (default: demo)"
    )
    add_model(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Classifies the demo's pictures and writes the pages; returns 0 when all went well."""
    photographs_there = photographs()
    if len(photographs_there) < len(_PHOTOGRAPHS):
        missing = [name for name in _PHOTOGRAPHS if name not in photographs_there]
        say(
            f"without the photographs {', '.join(missing)}: pip install 'multiattn[demo]' brings them with scikit-image"
        )
    pictures = photographs_there | drawn_pictures()
    if not pictures:
        raise InputError(f"{shipped('inputs')} must hold the drawn pictures, but is missing instead: install again")
    with spinner("loading the model"):
        import multiattn
        from multiattn.export import IndexEntry, write_index

        out = make_folder(args.out, subject=f"--out {args.out}")
        classifier = multiattn.load(args.model)
    if len(classifier.labels) <= _FEW:
        say(
            f"this model knows only {', '.join(classifier.labels)}: "
            "a picture of anything else is given the label that comes nearest"
        )
    width = max(map(len, pictures))
    entries = []
    failures = 0
    methods = (_ON_INDEX, *(method for method in MAP_METHODS if method != _ON_INDEX))  # a page opens with its first
    with Report(len(pictures)) as report:
        results = classifier.stream(pictures.values(), maps=methods, top_k=5, batch_size=2)
        for name, result in zip(pictures, results, strict=True):
            if result.error is not None:
                failures += 1
                report.message(str(result.error))
            else:
                page = out / f"{name}.html"
                result.save_html(page)
                label = printable(result.label)
                report.result(f"{name:{width}}  {result.score:6.1%}  {label:{_LABEL_WIDTH}}  {printable(page)}")
                shown = result.maps[0]
                entries.append(IndexEntry(shown.picture, name, page.name, result.label, result.score, shown.map))
            report.advance()
    index = out / "index.html"
    write_index(index, entries, title="Where the model looked")
    say("each picture has a page with its maps; open this one first:")
    print(printable(index))
    return 1 if failures else 0


def drawn_pictures() -> dict[str, Path]:
    """The drawn pictures that come with the package, by name."""
    return {path.stem: path for path in sorted(shipped("inputs").glob("*.png"))}


def photographs() -> dict[str, Path]:
    """The photographs that scikit-image's wheel brings, by name; none where it is not installed."""
    package = find_spec("skimage")  # finds it without importing it
    if package is None or not package.submodule_search_locations:
        return {}
    folder = Path(package.submodule_search_locations[0]) / "data"
    return {name: folder / file for name, file in _PHOTOGRAPHS.items() if (folder / file).is_file()}
