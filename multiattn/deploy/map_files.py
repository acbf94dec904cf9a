"""The files with the maps of a request's result, as bytes."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..pipelines import Result, save_answers


def map_files(results: Sequence[Result], kind: str | None) -> dict[str, bytes]:
    """Return the files with the maps of an input: a page of all of them, or a picture or the numbers of each.

    Args:
        results: Of one input.
        kind: "html", "png" or "json"; None for no files.
    """
    if kind is None or not any(one.maps for one in results):
        return {}
    files = {}
    with tempfile.TemporaryDirectory(prefix="multiattn-") as folder:
        if kind == "html":
            path = Path(folder, "maps.html")
            if hasattr(results[0], "question"):
                save_answers(cast(Any, results), path)
            else:
                results[0].save_html(path)
            return {path.name: path.read_bytes()}
        for number, result in enumerate(results, start=1):
            for index, one in enumerate(result.maps):
                name = ".".join([*([str(number)] if len(results) > 1 else []), one.map.method])
                if any(other.map.method == one.map.method for other in result.maps[:index]):
                    name += f".{index}"  # the windows of a recording
                if kind == "png":
                    path = Path(folder, f"{name}.png")
                    one.save_png(path)
                    files[path.name] = path.read_bytes()
                else:
                    files |= _numbers(one, name, Path(folder))
    return files


def _numbers(one: Any, name: str, folder: Path) -> dict[str, bytes]:
    """Return the numbers of a map, and of the question or the text that belongs to it, each as one JSON file."""
    one.save(folder / f"{name}.npz")
    files = {}
    for path in sorted(folder.glob(f"{name}*.npz")):
        facts = json.loads(path.with_suffix(".json").read_bytes())
        with np.load(path) as archive:
            facts["values"] = archive["values"].tolist()
        files[path.with_suffix(".json").name] = json.dumps(facts).encode()
        path.unlink()
    return files
