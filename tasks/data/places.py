"""Where in its picture lies what a question is about: boxes as patches of the encoder's grid.

y and x count the rows and columns of patches.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from .questions import Box, Question, QuestionRecords
from .texts import TokenRows


def patches_of(boxes: Sequence[Box], size: tuple[int, int], grid: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """The patches whose middles are in one of the boxes, for a picture that is resized as a whole.

    Args:
        boxes: Left, top, right and bottom, in pixels of the picture.
        size: Width and height of the picture in pixels.
        grid: Rows and columns of patches.
    """
    rows, cols = grid
    y = ((np.arange(rows) + 0.5) * size[1] / rows)[:, None]
    x = ((np.arange(cols) + 0.5) * size[0] / cols)[None]
    inside = np.zeros(grid, np.bool_)
    for left, top, right, bottom in boxes:
        inside |= (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return inside


class Places:
    """Of all questions of a split the patches that they are about, in arrays, as `TokenRows` and for its reason.

    A question about two things, such as which of them is on the left, has to do with each: it has the patches of the
    first and those of the second. Of any other number of things it has those of all, twice.
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
        """The patches of the first thing of each question, then those of the second."""
        size = _size(path) if any(question.boxes for question in questions) else None
        found = []
        for question in questions:
            boxes = question.boxes or ()
            for some in [boxes[:1], boxes[1:]] if len(boxes) == 2 else [boxes, boxes]:
                found.append(np.flatnonzero(patches_of(some, size or (1, 1), self.grid)).tolist())
        return found

    def inside(self, item: int, number: int) -> Bool[np.ndarray, "2 y x"]:
        """The patches that question `number` of a picture is about; none where that is not known."""
        inside = np.zeros((2, self.grid[0] * self.grid[1]), np.bool_)
        for thing in range(2):
            inside[thing, self._patches.row(item, 2 * number + thing)] = True
        return inside.reshape(2, *self.grid)


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height; None for a picture that cannot be opened, which whoever reads it names and skips."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError:
        return None
