"""The files of `multiattn answer`: which questions to which pictures, and what to choose the answers from."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ..data.metadata import file_rows, text_lines
from ..errors import InputError


class Asked(NamedTuple):
    """A picture and what is asked about it."""

    picture: Path

    questions: list[str]

    places: list[str]
    """Where each question stands in a file, for messages; none where they do not come from one."""


def read_questions(file: str) -> list[Asked]:
    """The pictures that a file names, each with its questions. Rows of one picture that follow each other go together.

    Args:
        file: Lines of JSON, or a table that ends in .csv, with `file_name` (from the file's own folder) and `question`.

    Raises:
        InputError: There is no such file, a row cannot be read or has no question, or there are no rows.
    """
    rows = []
    for path, row, place in file_rows(_existing(file, "--questions"), ("question",)):
        question = row.get("question")
        if not isinstance(question, str):
            raise InputError(
                f"{place}: `question` must be text, but is {question!r} instead. Write what to ask, in quotes."
            )
        rows.append((path, question, place))
    asked = []
    for picture, group in groupby(rows, key=lambda row: row[0]):
        of_picture = list(group)
        asked.append(Asked(picture, [question for _, question, _ in of_picture], [place for *_, place in of_picture]))
    return asked


def read_answers(file: str) -> list[str]:
    """The answers to choose from, one a line; empty lines do not count.

    Raises:
        InputError: There is no such file, it has no answer, or the same one twice.
    """
    places: dict[str, str] = {}
    for line, place in text_lines(_existing(file, "--answers")):
        answer = line.strip()
        if answer in places:
            raise InputError(f"{place}: the answer {answer!r} is there already, in {places[answer]}: remove one.")
        places[answer] = place
    if not places:
        raise InputError(
            f"{file}: there must be at least one answer, each on a line of its own, but there is none: write some, "
            "or leave --answers out."
        )
    return list(places)


def same_for_all(pictures: Sequence[Path], questions: Sequence[str]) -> list[Asked]:
    """Every picture with all of the questions."""
    return [Asked(picture, list(questions), []) for picture in pictures]


def _existing(file: str, option: str) -> Path:
    path = Path(file)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise InputError(f"`{option} {file}` must be a file, but {what} instead. Check the path.")
    return path
