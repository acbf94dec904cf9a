"""Record what the four shipped models say about the shipped inputs: `python -m tests.goldens.record`.

The file was first written before the library was rearranged (November 2026), so it holds every later version to the
outputs of that one. Record it anew only when a shipped model or input changes, and say so in the commit.
"""

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("outputs.json.gz")
INPUTS = ROOT / "assets" / "inputs"

QUESTIONS = ("what color is the large circle?", "how many circles are there?", "is the cross left of the blue square?")
SUBTITLES = {"srt": "srt", "vtt": "vtt", "textgrid": "TextGrid", "ctm": "ctm"}

METHODS = {
    "classify": "attention,rollout,relevance,gradient_x_input",
    "caption": "attention,rollout",  # relevance is another one now, through the text's self-attention, too
    "answer": "attention,relevance,rollout",
    "transcribe": "attention",
}
"""The map methods of the recorded version. Later ones have tests of their own."""

LATER = {
    "pairs": 0,
    "summary": False,
    "distilled": False,
    "resampling": "bicubic",
    "center": "nearest",
    "patch_norm": False,
    "rotary": "axial",
    "rotary_period": 100.0,
    "rotary_offset": 0.0,
    "rotary_grid": None,
    "rotary_order": "rows",
    "rotary_pairs": "halves",
    "relative_bias": "none",
    "num_kv_heads": [],
    "scale_feedforward": True,
    "pool_prefix": False,
    "pool_heads": None,
    "pool_mlp_dim": None,
    "gated": False,
    "branch_bias": True,
    "attention_norm": False,
    "mlp_norm": False,
    "norm": "layer",
    "scale_embedding": False,
    "num_buckets": 32,
    "max_distance": 128,
    "linear_bias": True,
    "head_dim": None,
    "scale_scores": True,
    "scale_states": False,
    "global_projections": False,
    "window": None,
    "dilation": 1,
    "global_tokens": 0,
    "lsh_chunk": 64,
    "lsh_rounds": 2,
    "reversible": False,
}
"""Parts of a configuration that came later, with the value that leaves a model as it was."""

RENAMED = {"made_up": "ungrounded", "dependence": "image_dependence", "beams": "num_beams"}
"""JSON keys of the recorded version, and what they are called now."""

RENAMED_VALUES = {"normalised": "normalized"}
"""The same for values of a configuration."""


def record(run: Callable[[list[str]], str]) -> dict[str, Any]:
    """All outputs, as JSON values.

    Args:
        run: Runs `multiattn` with these arguments, and gives what it wrote to standard output.
    """
    pictures = [str(path) for path in sorted(INPUTS.glob("*.png"))]
    scene = str(INPUTS / "scene.png")
    recordings = [str(INPUTS / f"{name}.flac") for name in ("digits", "telephone")]  # the sentence is for a Whisper
    asked = [part for question in QUESTIONS for part in ("--question", question)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)

        def lines(*arguments: str) -> list[dict[str, Any]]:
            return [_without_paths(json.loads(line)) for line in run([*arguments]).splitlines()]

        def maps(*arguments: str, name: str) -> dict[str, Any]:
            options = [
                "--format",
                "json",
                "--maps",
                str(out / name),
                "--map-method",
                METHODS[arguments[0]],
                "--map-format",
                "npz",
            ]
            found: dict[str, Any] = {"lines": lines(*arguments, *options), "maps": {}}
            for path in sorted((out / name).glob("*.npz")):
                facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
                del facts["note"]
                facts.pop("concentration", None)  # follows from the values
                with np.load(path) as arrays:
                    values = {key: np.asarray(arrays[key], np.float64).round(6).tolist() for key in arrays.files}
                found["maps"][path.name] = {"facts": facts, "values": values}
            return found

        outputs: dict[str, Any] = {
            "classify": maps("classify", *pictures, name="classify"),
            "caption": maps("caption", *pictures[:3], name="caption"),
            "answer": maps("answer", scene, *asked, name="answer"),
            "transcribe": maps("transcribe", *recordings, "--words", name="transcribe"),
            "candidates": lines("caption", pictures[0], "--beams", "4", "--candidates", "3", "--format", "json"),
            "info": {
                task: _without_later(lines("info", task, "--format", "json")[0])
                for task in ("classify", "caption", "transcribe", "answer")
            },
            "subtitles": {},
        }
        for kind in SUBTITLES:
            file = out / f"one.{kind}"
            run(["transcribe", recordings[0], "--words", "--format", kind, "--out", str(file)])
            outputs["subtitles"][kind] = file.read_text(encoding="utf-8")
    return outputs


def _without_later(value: Any) -> Any:
    """A configuration without the parts that came later and are as if they were not there."""
    if not isinstance(value, dict):
        return value
    later = [key for key, plain in LATER.items() if key in value and value[key] == plain]
    if value.get("attention") == ("full" if value.get("window") is None else "window"):
        later.append("attention")  # which said nothing else before it was a field
    return {key: _without_later(item) for key, item in value.items() if key not in later}


def _without_paths(line: dict[str, Any]) -> dict[str, Any]:
    """A line of output without what depends on where the checkout and the maps lie."""
    kept = {key: value for key, value in line.items() if key not in ("maps", "card")}
    return kept | ({"file": Path(line["file"]).name} if "file" in line else {})


def recorded() -> dict[str, Any]:
    """What was recorded, under the names of now."""
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        found: dict[str, Any] = _renamed(json.load(file))
    found["info"] = _without_later(found["info"])
    for task, methods in METHODS.items():
        maps = found[task]["maps"]
        found[task]["maps"] = {name: one for name, one in maps.items() if one["facts"]["method"] in methods.split(",")}
    return found


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {RENAMED.get(key, key): _renamed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    return RENAMED_VALUES.get(value, value) if isinstance(value, str) else value


def difference(expected: Any, found: Any, *, tolerance: float, place: str = "") -> str:
    """Where two JSON values differ first, by more than a tolerance for numbers; empty where they do not."""
    if isinstance(expected, float) and isinstance(found, int | float) and not isinstance(found, bool):
        return "" if abs(expected - found) <= tolerance else f"{place}: {expected} was recorded, {found} is found"
    if type(expected) is not type(found):
        return f"{place}: {expected!r} was recorded, {found!r} is found"
    if isinstance(expected, dict):
        if expected.keys() != found.keys():
            return f"{place}: the keys {sorted(expected)} were recorded, {sorted(found)} are found"
        pairs = [(f"{place}/{key}", expected[key], found[key]) for key in expected]
    elif isinstance(expected, list):
        if len(expected) != len(found):
            return f"{place}: {len(expected)} values were recorded, {len(found)} are found"
        pairs = [(f"{place}/{i}", *pair) for i, pair in enumerate(zip(expected, found, strict=True))]
    else:
        return "" if expected == found else f"{place}: {expected!r} was recorded, {found!r} is found"
    differences = (difference(*pair, tolerance=tolerance, place=where) for where, *pair in pairs)
    return next(filter(None, differences), "")


if __name__ == "__main__":

    def run_program(arguments: list[str]) -> str:
        command = [sys.executable, "-m", "multiattn", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    text = json.dumps(record(run_program), sort_keys=True)
    with gzip.GzipFile(FILE, "wb", mtime=0) as file:
        file.write(text.encode())
