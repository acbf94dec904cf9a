"""The things that a question is about and those that it names: their boxes as patches of the encoder's grid.

y and x are the rows and columns of patches.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from multiattn.data.questions import Box, Question, QuestionRecords
from multiattn.errors import InputError
from multiattn.inputs.image import read_size
from multiattn.maps.pointing import centers_within

from .tokens import TokenRows


def box_patches(boxes: Sequence[Box], size: tuple[int, int], grid: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """Find the patches whose centers are in one of the boxes, for a picture that is resized as a whole.

    Args:
        boxes: Left, top, right and bottom of each, in pixels of the picture.
        size: Width and height of the picture in pixels.
        grid: Rows and columns of patches.
    """
    rows, cols = grid
    x, y = (np.arange(cols) + 0.5) * size[0] / cols, (np.arange(rows) + 0.5) * size[1] / rows
    return centers_within(x, y, np.array(boxes, dtype=np.float64).reshape(-1, 4))


class BoxPatches:
    """The patches of `boxes` and of `named` of all questions of a split, in arrays that worker processes share.

    The patches of two boxes, such as those of a thing and of its left neighbor, are kept apart, as first and second;
    for any other number of boxes both are the patches of all of them.
    """

    def __init__(self, records: QuestionRecords, grid: tuple[int, int]) -> None:
        """Compute the patches; each picture whose questions have boxes is opened for its size, without decoding it.

        Args:
            records: The split.
            grid: Rows and columns of patches.
        """
        self.grid = grid
        self._patches = TokenRows(self._of_picture(path, questions) for path, questions in records.items)

    def _of_picture(self, path: Path, questions: Sequence[Question]) -> list[list[int]]:
        """Four rows of patches for each question: first and second of `boxes`, then of `named`."""
        known = any(question.boxes or question.named for question in questions)
        size = _size(path) if known else None
        found = []
        for boxes in (boxes or () for question in questions for boxes in (question.boxes, question.named)):
            things = [boxes[:1], boxes[1:]] if len(boxes) == 2 else [boxes]
            rows = [np.flatnonzero(box_patches(some, size or (1, 1), self.grid)).tolist() for some in things]
            found += [rows[0], rows[-1]]
        return found

    def inside(self, item: int, number: int) -> Bool[np.ndarray, "2 2 y x"]:
        """The patches of `boxes` and of `named` of question `number`, first and second; none where unknown."""
        inside = np.zeros((4, self.grid[0] * self.grid[1]), np.bool_)
        for row in range(4):
            inside[row, self._patches.row(item, 4 * number + row)] = True
        return inside.reshape(2, 2, *self.grid)


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height; None for a picture that cannot be opened: it is named and skipped when it is read."""
    try:
        height, width = read_size(path)
    except InputError:
        return None
    return width, height
