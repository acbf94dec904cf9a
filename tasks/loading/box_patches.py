"""Where in its picture lies what a question is about and what it names: boxes as patches of the encoder's grid.

y and x count the rows and columns of patches.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from multiattn.data.questions import Box, Question, QuestionRecords
from multiattn.maps.pointing import centers_within

from .tokens import TokenRows


def box_patches(boxes: Sequence[Box], size: tuple[int, int], grid: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """The patches whose middles are in one of the boxes, for a picture that is resized as a whole.

    Args:
        boxes: Left, top, right and bottom, in pixels of the picture.
        size: Width and height of the picture in pixels.
        grid: Rows and columns of patches.
    """
    rows, cols = grid
    x, y = (np.arange(cols) + 0.5) * size[0] / cols, (np.arange(rows) + 0.5) * size[1] / rows
    return centers_within(x, y, np.array(boxes, dtype=np.float64).reshape(-1, 4))


class BoxPatches:
    """Of all questions of a split the patches of `boxes` and of `named`, in arrays, as `TokenRows` and for its reason.

    Two things, such as those of which one is said to be on the left, are kept apart: there are the patches of the first
    and those of the second. Of any other number of things there are those of all, twice.
    """

    def __init__(self, records: QuestionRecords, grid: tuple[int, int]) -> None:
        """Look them up; each picture whose questions have boxes is opened for its size, without decoding it.

        Args:
            records: The split.
            grid: Rows and columns of patches.
        """
        self.grid = grid
        self._patches = TokenRows(self._of_picture(path, questions) for path, questions in records.items)

    def _of_picture(self, path: Path, questions: Sequence[Question]) -> list[list[int]]:
        """Of each question four rows: what its answer is about, in two, and what it names, in two."""
        known = any(question.boxes or question.named for question in questions)
        size = _size(path) if known else None
        found = []
        for boxes in (boxes or () for question in questions for boxes in (question.boxes, question.named)):
            things = [boxes[:1], boxes[1:]] if len(boxes) == 2 else [boxes]
            rows = [np.flatnonzero(box_patches(some, size or (1, 1), self.grid)).tolist() for some in things]
            found += [rows[0], rows[-1]]
        return found

    def inside(self, item: int, number: int) -> Bool[np.ndarray, "2 2 y x"]:
        """The patches of question `number` of a picture: of `boxes`, two times, then of `named`; none where unknown."""
        inside = np.zeros((4, self.grid[0] * self.grid[1]), np.bool_)
        for row in range(4):
            inside[row, self._patches.row(item, 4 * number + row)] = True
        return inside.reshape(2, 2, *self.grid)


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height; None for a picture that cannot be opened, which whoever reads it names and skips."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError:
        return None
