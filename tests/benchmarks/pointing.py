"""Whether an answer's map points at what the question is about, measured where that is known.

    python -m multiattn.data.scene_files --out .data/scenes --split validation --pictures 2000
    python -m tests.benchmarks.pointing --data .data/scenes [--model M] [--pictures 500]

`multiattn evaluate maps --task answer` gives the first of these figures beside others; this adds the rows and columns
of each type of question.

A map points at a thing where the middle of its highest patch lies in the thing's box; `touching` counts those, too,
whose highest patch has but some of the box. Beside the methods stand two maps that see nothing: one drawn at random
(every patch is its highest equally often) and one that is highest in the picture's middle; and each method's own maps
for another question about the same picture, which tell a model that looks where the question sends it from one that
looks at whatever stands out. Where the highest value comes several times, or a map is drawn, the mean over the choices
counts, so that nothing is left to luck.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, SupportsFloat

import numpy as np
import torch
from jaxtyping import Bool, Float

import multiattn
from multiattn.data.questions import Question, read_questions
from multiattn.maps import ANSWER_METHODS, AttentionMap, Box, patches_within, points
from multiattn.maps.evaluation import centered_blob
from multiattn.pipelines import Answer, Failure

FIRST = ("all", "touching", "right")
SEES_NOTHING = ("random map", "center map")


class Asked(NamedTuple):
    """A question with boxes, what was answered, and for each map its values over the patches."""

    question: Question
    right: bool
    inside: Bool[np.ndarray, "y x"]
    """The patches whose middles are in one of the boxes."""

    touching: Bool[np.ndarray, "y x"]
    """Those that have some of one."""

    maps: Mapping[str, Float[np.ndarray, "y x"]]
    """By method: one value a patch, all words of the answer together."""


def patches_touching(over: AttentionMap, boxes: Sequence[Box]) -> Bool[np.ndarray, "y x"]:
    """The patches of a map that have some of one of the boxes."""
    assert over.geometry is not None
    rows, columns = over.values.shape[-2:]
    height, width = over.geometry.crop[2:]
    touching = np.zeros((rows, columns), bool)
    for y, x in np.ndindex(rows, columns):
        left, top = over.geometry.to_source(x * width / columns, y * height / rows)
        right, bottom = over.geometry.to_source((x + 1) * width / columns, (y + 1) * height / rows)
        touching[y, x] = any(a < right and left < c and b < bottom and top < d for a, b, c, d in boxes)
    return touching


def asked_of(answers: Sequence[Answer], questions: Sequence[Question]) -> list[Asked]:
    """Answers to questions about one picture that have boxes, ready to be scored."""
    found = []
    for answer, question in zip(answers, questions, strict=True):
        if not question.boxes or not answer.maps:
            continue
        maps = {one.map.method: one.map.values.sum(axis=0) for one in answer.maps}
        over = answer.maps[0].map
        inside, touching = patches_within(over, question.boxes), patches_touching(over, question.boxes)
        maps |= {"random map": np.ones(inside.shape), "center map": centered_blob(inside.shape)}
        found.append(Asked(question, answer.answer in question.answers, inside, touching, maps))
    return found


class Table:
    """Shares by row and column, printed in the order they first came."""

    def __init__(self) -> None:
        self._scores: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, row: str, column: str, score: SupportsFloat) -> None:
        self._scores[row][column].append(float(score))

    def show(self) -> None:
        columns = sorted({column for row in self._scores.values() for column in row} - set(FIRST))
        columns = [*FIRST, *columns]
        print(f"{'':34}" + "".join(f"{column:>10}" for column in columns))
        for name, row in self._scores.items():
            cells = (f"{np.mean(row[column]):10.3f}" if row[column] else f"{'-':>10}" for column in columns)
            print(f"{name:34}" + "".join(cells))
        first = next(iter(self._scores.values()))
        print(f"{'questions':34}" + "".join(f"{len(first[column]):10}" for column in columns))


def score(table: Table, asked: Sequence[Asked]) -> None:
    """Add the questions about one picture to a table."""
    for i, one in enumerate(asked):
        columns = ["all", one.question.type or "no type", *(["right"] if one.right else [])]
        other = asked[(i + 1) % len(asked)]
        for name, values in one.maps.items():
            for column in columns:
                table.add(name, column, points(values, one.inside))
            table.add(name, "touching", points(values, one.touching))
        if other.question.boxes != one.question.boxes:
            for name in (name for name in one.maps if name not in SEES_NOTHING):
                for column in columns:
                    table.add(f"{name}, of another question", column, points(other.maps[name], one.inside))
                table.add(f"{name}, of another question", "touching", points(other.maps[name], one.touching))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row a map: how often it points at a thing that the question is about, by type of question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with the split in it, whose questions have boxes")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--model", default="answer")
    parser.add_argument("--pictures", type=int, default=500, help="the first so many (default: 500)")
    parser.add_argument("--methods", nargs="+", default=list(ANSWER_METHODS), choices=ANSWER_METHODS, metavar="METHOD")
    args = parser.parse_args(arguments)
    items = read_questions(args.data, args.split).items[: args.pictures]
    answering = multiattn.load(args.model, task="answer", device="cpu")
    pairs = ((path, [question.text for question in questions]) for path, questions in items)
    answers = answering.stream(pairs, maps=args.methods, batch_size=4)
    table, right, total = Table(), 0, 0
    for _, questions in items:
        found = [next(answers) for _ in questions]
        assert not any(isinstance(one, Failure) for one in found), found
        score(table, asked_of(found, questions))
        right += sum(one.answer in question.answers for one, question in zip(found, questions, strict=True))
        total += len(questions)
    print(f"{len(items)} pictures of {args.split}, {total} questions, {right / total:.3f} of them answered right")
    print("share of maps whose highest patch is on what the question is about; by type, and where the answer is right")
    table.show()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
