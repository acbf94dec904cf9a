"""`multiattn search`: the pictures of a folder that a text, or a picture, is most similar to."""

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..inputs.files import PICTURES, is_web_address, local_path
from ..registry import load_part
from .arguments import Option, Parser, UsageError, at_least_one, not_blank, not_empty
from .inputs import Found, find_files
from .options import COMPUTE, LOUDNESS, PIXELS, model_of, model_or_shipped, output_format
from .output import Report, named_errors, printable, say, spinner
from .records import json_line

if TYPE_CHECKING:
    import numpy as np

    from ..pipelines import Embedding, Failure
    from ..pipelines.base import Pipeline
    from ..pipelines.folder_index import FolderIndex, Update

_TASK = "match"

_DESCRIPTION = """\
Find the pictures of a folder that are most like a text or a picture: those with
the most similar embeddings (cosine), exactly, best first. A text needs a model
of two towers, such as CLIP; a picture any model that embeds pictures.

The folder's embeddings are kept in a cache, so that the second search is quick:
only pictures that are new or whose files have changed are embedded again.
"""

_EPILOG = """\
QUERY is a picture where there is such a file, or where it is a web address, and
a text otherwise.

examples
  multiattn search 'a red shirt' photos/
  multiattn search beach.jpg photos/ --model classify --top-k 20
  multiattn search 'two dogs' photos/ --model openai/clip-vit-base-patch32 \\
      --format json

with --format json, each line is one object
  {"file": "photos/dog.jpg", "score": 0.31}

cache
  The folder and the model decide which cache is used; it has each picture's size
  and time of change, and the model's files. Where one of them is another, a line
  on standard error says what was renewed. It lies in $XDG_CACHE_HOME/multiattn
  (~/.cache/multiattn), or in --cache DIR.
"""


def parser() -> Parser:
    """The command's options."""
    return Parser(
        Option("query", "QUERY", not_blank, "a text, or a picture"),
        Option("folder", "FOLDER", not_empty, "the folder with the pictures, searched through with its sub-folders"),
        model_of(_TASK),
        Option("--top-k", "K", at_least_one, "pictures to show (default: 10)", 10),
        output_format("json: one object a line"),
        Option("--cache", "DIR", not_empty, "where embeddings are kept (default: see below)"),
        PIXELS,
        *COMPUTE,
        *LOUDNESS,
        prog="multiattn search",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Search; return 0 where the query and every picture of the folder could be used."""
    if not Path(args.folder).is_dir():
        raise UsageError(f"FOLDER must be a folder of pictures, but is {args.folder} instead")
    query = _query(args.query)
    model = model_or_shipped(args.model, _TASK, quiet=args.quiet)
    reads = load_part("multiattn.pipelines.embedder:reads_of")(model)
    if "image" not in reads:
        raise UsageError(
            f"--model {model} must be a model that reads pictures, but reads {' and '.join(reads)} instead"
        )
    if isinstance(query, str) and "text" not in reads:
        raise UsageError(
            f"QUERY must be a picture for --model {model}, which reads no texts, but there is no file {query!r}: for a "
            "text, give a model of two towers"
        )
    files, missing = find_files([args.folder], PICTURES)
    if not files:
        return 1
    with spinner("loading the model", quiet=args.quiet):
        pipeline: Pipeline[Any] = load_part("multiattn.pipelines.embedder:load_embedder")(
            model, device=args.device, precision=args.precision
        )
    vector = _vector(pipeline, query, args)
    index = _index(args, model)
    with named_errors(f"the cache {index.path.parent}"):
        update = index.renew(files, lambda paths: _embedded(pipeline, paths, args))
    failures = missing + _tell(update, quiet=args.quiet)
    for hit in index.search(vector, args.top_k):
        line = json_line(hit._asdict()) if args.format == "json" else f"{hit.score:6.3f}  {printable(hit.file)}"
        print(line)
    return 1 if failures else 0


def _query(given: str) -> "str | Found":
    """Return a text, or a picture: a file, or what is at a web address."""
    if is_web_address(given):
        from ..inputs.fetch import WebFile  # what it imports takes a while

        return WebFile(given)
    path = local_path(given)
    if os.path.lexists(path) and not path.is_dir():
        return path
    if PICTURES.matches(path.name) and " " not in given:
        raise InputError(f"`{given}` must be a picture, but is missing instead. Check the path.")
    return given


def _vector(pipeline: Any, query: "str | Found", args: argparse.Namespace) -> "np.ndarray":
    if isinstance(query, str):
        (found,) = pipeline.stream_text_embeddings([query], normalize=True)
    else:
        (found,) = pipeline.stream_embeddings([query], normalize=True, max_pixels=args.max_pixels)
    if found.error is not None:
        raise found.error
    vector: np.ndarray = found.values
    return vector


def _index(args: argparse.Namespace, model: str) -> "FolderIndex":
    locate, fingerprint_of = (
        load_part(part) for part in ("multiattn.weights:locate", "multiattn.pipelines.folder_index:fingerprint_of")
    )
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = Path(args.cache) if args.cache else Path(home) / "multiattn" / "search"
    index: FolderIndex = load_part("multiattn.pipelines.folder_index:FolderIndex")(
        args.folder, cache, model=f"{model} {args.precision or 'fp32'}", fingerprint=fingerprint_of(locate(model))
    )
    return index


def _embedded(pipeline: Any, paths: Iterable[Path], args: argparse.Namespace) -> "Iterator[Embedding | Failure]":
    """Yield the embeddings of pictures, with a progress bar."""
    found = pipeline.stream_embeddings(paths, normalize=True, batch_size=args.batch_size, max_pixels=args.max_pixels)
    with Report(None, doing="embedding", quiet=args.quiet) as report:
        for one in found:
            if one.error is not None:
                report.message(str(one.error))
            yield one
            report.advance()


def _tell(update: "Update", *, quiet: bool) -> int:
    """Say what has changed since the last search; return the number of pictures that could not be used."""
    if update.is_stale and not quiet:
        if update.other_model:
            say(f"the index was of other files of the model: all {update.new} pictures are embedded anew")
        else:
            facts = {"changed": update.changed, "new": update.new, "gone": update.gone}
            told = ", ".join(f"{count} {name}" for name, count in facts.items() if count)
            say(f"the index was not up to date and is renewed: {told}; {update.kept} kept")
    return len(update.failures)
