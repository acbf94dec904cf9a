"""Fifteen captions of a model: five good, five middling and five bad ones, drawn by a fixed seed and not chosen.

`python -m tests.benchmarks.caption_sheet --data FOLDER [--model M] [--split test] [--out sheet.png]`

All pictures of the split are captioned and ranked by CIDEr-D. Five are drawn from each third of the ranking. Prints a
table, and draws the pictures with their captions where `--out` says so.
"""

import argparse
import random
import textwrap
from pathlib import Path

import multiattn
from multiattn.data.captions import read_captions
from multiattn.inputs import load_image
from multiattn.metrics import CiderD

_THIRDS = ("good", "middling", "bad")
_DRAWN = 5
_COLUMN = 26  # characters of a line below a picture


def main() -> None:
    """Caption, rank, draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.caption_sheet", description=__doc__)
    parser.add_argument("--data", required=True, help="a folder with the split in it")
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", default="caption")
    parser.add_argument("--out", type=Path, help="where to draw the pictures; nowhere where it is left out")
    args = parser.parse_args()
    items = read_captions(args.data, args.split).items
    found = multiattn.load(args.model, task="caption")([path for path, _ in items], batch_size=25)
    good = [i for i, one in enumerate(found) if one.error is None]
    texts = {i: found[i].text for i in good}
    scores = CiderD([items[i][1] for i in good]).score([texts[i] for i in good], range(len(good)))
    ranking = sorted(zip(good, scores, strict=True), key=lambda pair: (-pair[1], pair[0]))
    third = len(ranking) // 3
    draw = random.Random(0)
    parts = (ranking[:third], ranking[third : len(ranking) - third], ranking[len(ranking) - third :])
    rows = [sorted(draw.sample(part, _DRAWN), key=lambda pair: -pair[1]) for part in parts]
    print("| | CIDEr-D | caption | one of the five people's |\n| --- | --- | --- | --- |")
    for name, row in zip(_THIRDS, rows, strict=True):
        for i, score in row:
            print(f"| {name} | {score:.2f} | {texts[i]} | {items[i][1][0]} |")
    if args.out:
        _draw([[(items[i][0], texts[i], score) for i, score in row] for row in rows], args.out)


def _draw(rows: list[list[tuple[Path, str, float]]], out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * _DRAWN, 3.1 * len(rows)), dpi=110, layout="constrained")
    grid = figure.subplots(len(rows), _DRAWN)
    for name, axes, row in zip(_THIRDS, grid, rows, strict=True):
        for column, (axis, (path, text, score)) in enumerate(zip(axes, row, strict=True)):
            axis.imshow(load_image(path))
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_xlabel("\n".join(textwrap.wrap(text, _COLUMN)) + f"\nCIDEr-D {score:.2f}", fontsize=9)
            if column == 0:
                axis.set_ylabel(name, fontsize=11)
    figure.savefig(out)


if __name__ == "__main__":
    main()
