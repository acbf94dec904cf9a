"""Files that commands read beside the inputs: pictures with their questions, and lists of answers or labels."""

from itertools import groupby
from pathlib import Path

from ..data.metadata import file_rows, shortened, text_lines
from ..errors import InputError
from .feed import Job


def read_questions(file: str) -> list[Job]:
    """Read pictures with their questions. Neighboring rows with the same picture become one job.

    Args:
        file: Lines of JSON, or a table that ends in .csv, with `file_name` (relative to the file's folder) and
            `question`.

    Raises:
        InputError: There is no such file, a row cannot be read or has no question, or there are no rows.
    """
    rows = []
    for path, row, origin in file_rows(_existing(file, "--questions"), ("question",)):
        question = row.get("question")
        if not isinstance(question, str):
            raise InputError(
                f"{origin}: `question` must be text, but is {shortened(question)} instead. "
                "Write what to ask, in quotes."
            )
        rows.append((path, question, origin))
    jobs = []
    for picture, group in groupby(rows, key=lambda row: row[0]):
        _, questions, origins = zip(*group, strict=True)
        jobs.append(Job(picture, questions, origins))
    return jobs


def read_answers(file: str) -> list[str]:
    """Read the answers to choose from, as `read_choices` does."""
    return read_choices(file, option="--answers", one="answer")


def read_choices(file: str, *, option: str, one: str) -> list[str]:
    """Read texts to choose from, one a line; empty lines do not count.

    Args:
        file: Its path.
        option: The option that named it, for messages.
        one: What a text is, for messages.

    Raises:
        InputError: There is no such file, it has no text, or the same one twice.
    """
    origins: dict[str, str] = {}
    for line, origin in text_lines(_existing(file, option)):
        choice = line.strip()
        if choice in origins:
            raise InputError(f"{origin}: the {one} {choice!r} is there already, in {origins[choice]}: remove one.")
        origins[choice] = origin
    if not origins:
        raise InputError(
            f"{file}: there must be at least one {one}, each on a line of its own, but there is none: write some, "
            f"or leave {option} out."
        )
    return list(origins)


def _existing(file: str, option: str) -> Path:
    path = Path(file)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise InputError(f"`{option} {file}` must be a file, but {what} instead. Check the path.")
    return path
