"""How often a verdict is wrong: how it calls random maps and centered ones, which it must call no better than chance.

    python -m tests.benchmarks.verdict --task classify --data FOLDER [--model M] [--items 100] [--points FILE]
    python -m tests.benchmarks.verdict --table FILE [FILE ...]
    python -m tests.benchmarks.verdict --cost --task classify --data FOLDER [--items 20]

Each input is predicted with `check`. Beside each map that a method made stand two that see nothing: one drawn at
random, and one that is brightest near where one would look without a model, off by a tenth of each side. Half of the
inputs is to choose thresholds by, the other half to report. With `--points`, the points of all verdicts are kept, and
`--table` prints the shares again, by the rule as it is now. `--cost` prints the processor time of an input without
maps, with the map by one method, and with its check.
"""

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

import multiattn
from multiattn.maps import MaskedInput, Verdict, judge
from multiattn.maps.evaluation import centered_blob
from multiattn.maps.verdict import word_of

OFF = 0.1
"""Standard deviation of the place of a centered map, as a share of each side."""

SHRUNK = 64
"""Pixels of the shorter side of pictures for a model that was trained on pictures of this size."""


class Recorder:
    """Judges each map as `judge` does, and two maps beside it that see nothing."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.item = 0
        self._generator = np.random.default_rng(0)

    def __call__(self, values: np.ndarray, masked: MaskedInput, *, seed: int = 0, place: str = "the center") -> Verdict:
        verdict = judge(values, masked, seed=seed, place=place)
        self._add("map", masked, verdict)
        self._add("random", masked, judge(self._generator.random(masked.cells, dtype=np.float32), masked, seed=seed))
        middle = masked.center or (0.5,) * len(masked.cells)
        moved = tuple(None if at is None else at + OFF * self._generator.standard_normal() for at in middle)
        self._add("centered", masked, judge(centered_blob(masked.cells, moved), masked, seed=seed))
        return verdict

    def _add(self, kind: str, masked: MaskedInput, verdict: Verdict) -> None:
        of = {1: "question", 2: "input"}[len(masked.cells)]
        word = len(masked.cells) == 2 and masked.center not in ((), (None, 0.5))
        self.records.append(
            {
                "item": self.item,
                "kind": kind,
                "of": "word" if word else of,
                "cells": list(masked.cells),
                "whole": verdict.whole,
                "deleted": verdict.deleted,
                "center": verdict.center,
                "random": verdict.random,
            }
        )


def inputs_of(task: str, folder: Path, items: int, *, shrink: bool) -> Iterator[Any]:
    """Some inputs of a split, drawn with a fixed seed."""
    if task == "answer":
        rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
        for row in random.Random(0).sample(rows, min(items, len(rows))):
            yield str(folder / row["file_name"]), row["question"]
        return
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png", ".flac", ".mp3"))
    for path in random.Random(0).sample(files, min(items, len(files))):
        if not shrink:
            yield str(path)
            continue
        picture = Image.open(path).convert("RGB")
        share = SHRUNK / min(picture.size)
        yield picture.resize((round(picture.width * share), round(picture.height * share)), Image.Resampling.BICUBIC)


def collect(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Predict and check, and return the points of all verdicts."""
    pipeline = multiattn.load(args.model or args.task, task=args.task, device="cpu")
    recorder, options = Recorder(), {"check": "words" if args.words else True, "maps": args.method}
    modules = ("multiattn.pipelines.verdicts", "multiattn.pipelines.transcribe.window_verdicts")
    with patch(f"{modules[0]}.judge", recorder), patch(f"{modules[1]}.judge", recorder):
        for one in inputs_of(args.task, Path(args.data) / args.split, args.items, shrink=args.shrink):
            if args.sure and pipeline(one).score < args.sure:
                continue
            pipeline(*one, **options) if isinstance(one, tuple) else pipeline(one, **options)
            recorder.item += 1
    return recorder.records


def cost(args: argparse.Namespace) -> None:
    """Print the processor time of an input without maps, with a map, and with its verdict."""
    pipeline = multiattn.load(args.model or args.task, task=args.task, device="cpu")
    method = args.method or pipeline.bundle.first_map_method
    ways: dict[str, dict[str, Any]] = {
        "no map": {},
        f"{method} map": {"maps": method},
        "with its check": {"maps": method, "check": True},
    }
    inputs = list(inputs_of(args.task, Path(args.data) / args.split, args.items, shrink=args.shrink))
    for name, options in ways.items():
        seconds = 0.0
        for number, one in enumerate([inputs[0], *inputs]):  # the first is to warm up
            start = process_time()
            pipeline(*one, **options) if isinstance(one, tuple) else pipeline(one, **options)
            seconds += (process_time() - start) * (number > 0)
        print(f"{name:20}{1000 * seconds / len(inputs):10.1f} ms an input")


def table(records: Sequence[dict[str, Any]]) -> None:
    """Print the share of each word by kind of map, for both halves of the inputs."""
    words = ("strong", "weak", "no better than chance")
    print(f"{'':34}{'maps':>6}" + "".join(f"{word:>24}" for word in words))
    found: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for one in records:
        half = "to choose by" if one["item"] % 2 == 0 else "to report"
        points = (one["whole"], tuple(one["deleted"]), tuple(one["center"]), tuple(one["random"]))
        found[half, one["of"], one["kind"]][word_of(*points)] += 1
    for names, counted in sorted(found.items()):
        total = counted.total()
        print(f"{', '.join(names):34}{total:6}" + "".join(f"{counted[word] / total:24.1%}" for word in words))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print how often each word is said of each kind of map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("classify", "caption", "answer", "transcribe"))
    parser.add_argument("--data", help="a folder with the split in it")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--model")
    parser.add_argument("--method", help="the map method; the task's default where left out")
    parser.add_argument("--items", type=int, default=100, help="inputs, drawn with a fixed seed")
    parser.add_argument("--sure", type=float, help="only inputs whose prediction has at least this probability")
    parser.add_argument("--shrink", action="store_true", help=f"shrink pictures to {SHRUNK} pixels first")
    parser.add_argument("--words", action="store_true", help="check each word, too")
    parser.add_argument("--points", help="keep the points in this file")
    parser.add_argument("--cost", action="store_true", help="print what a check costs")
    parser.add_argument("--table", nargs="+", help="read points from these files instead")
    args = parser.parse_args(arguments)
    if args.table:
        for name in args.table:
            print(name)
            table([json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()])
        return
    if args.cost:
        cost(args)
        return
    records = collect(args)
    if args.points:
        Path(args.points).write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    table(records)


if __name__ == "__main__":
    main()
