r"""Questions about pictures with their answers, read from metadata or VQA v2. Nothing here opens a picture.

    root/train/metadata.jsonl    {"file_name": "1.jpg", "question": "is it red?", "answer": "yes"}, or `answers`: a list
                                 with those of several people; `type`, `boxes` and `named` are optional
    root/train/metadata.csv      file_name,question,answer
    root/v2_OpenEnded_mscoco_train2014_questions.json, root/v2_mscoco_train2014_annotations.json      VQA v2

Each row is a question; a picture that is listed several times has all of its questions.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from .metadata import (
    checked_text,
    lists_of,
    one_or_several,
    require_folder,
    required_rows,
    shortened,
    split_file,
    split_folder,
    split_path,
)
from .packed import bytes_of, grouped, text_of

LONGEST_QUESTION = 1000
"""The largest number of characters of a question or an answer: in a longer text a quote is missing."""

_LAYOUT = "a metadata.jsonl with `file_name`, `question`, and `answer` or `answers`"
_ID = re.compile(r"\{id(?::0?(\d{1,2}))?\}")

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

_MOST_DIGITS = 64  # of a picture's number in its name
_FARTHEST = 1e9  # pixels; NaN and infinity are no smaller

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the picture file."""


class Question(NamedTuple):
    """A question about a picture, and people's answers."""

    text: str
    answers: tuple[str, ...]
    """As they were written; one for each person, at least one with words."""

    type: str = ""
    """The type of the question; empty where the data does not state it."""

    answer_type: str = ""
    """The type of the answer; empty where the data does not state it."""

    boxes: tuple[Box, ...] | None = None
    """The things that the answer is about; None where the data does not state them."""

    named: tuple[Box, ...] | None = None
    """The things that the question names, such as the one to the left of the thing that the answer is about; None where
    the data does not state them."""

    def to_bytes(self) -> bytes:
        """The question as a list in JSON."""
        return bytes_of(_JSON.encode(self))

    @classmethod
    def of_bytes(cls, data: bytes) -> "Question":
        """The question that `to_bytes` has written."""
        text, answers, kind, answer_kind, *boxes = json.loads(text_of(data))
        boxes, named = (None if one is None else tuple(map(tuple, one)) for one in boxes)
        return cls(text, tuple(answers), kind, answer_kind, boxes, named)


@dataclass(frozen=True)
class QuestionRecords:
    """The pictures of one split, not opened yet, with their questions."""

    items: Sequence[tuple[Path, tuple[Question, ...]]]
    """The path of each picture and its questions, at least one; in a fixed order."""

    def questions(self) -> Iterator[Question]:
        """All questions of the split."""
        return (question for _, questions in self.items for question in questions)


def read_questions(
    roots: str | Path | Sequence[str | Path],
    split: str,
    *,
    questions: str | None = None,
    annotations: str | None = None,
    pictures: str | None = None,
) -> QuestionRecords:
    """List the pictures of a split with their questions.

    Args:
        roots: The folder that holds the data; or several, whose splits are joined.
        split: `train`, `validation` or `test`, or any other name.
        questions: A questions file of VQA v2, relative to the folder; `{split}` in it is replaced by the name of the
            split, or by `val` for `validation`. None reads the metadata in the folder of the split.
        annotations: The file with the answers, in the same way.
        pictures: The path of a picture, in the same way; `{id:012}` in it is replaced by the id of the picture, here
            with 12 digits.

    Raises:
        InputError: A file is missing; a line cannot be read or is too long; a question or its answers are not text,
            empty or too long; or the files do not belong together. A listed picture that is missing is no error here:
            like a damaged one, it is skipped, named and counted when it is opened.
    """
    folders = [Path(root) for root in ([roots] if isinstance(roots, str | Path) else roots)]
    if not folders:
        raise InputError("`root` must name at least one folder, but names none instead.")
    files = {"questions": questions, "annotations": annotations, "pictures": pictures}
    missing = [f"`{name}`" for name, value in files.items() if value is None]
    if 0 < len(missing) < len(files):
        raise InputError(
            f"`questions`, `annotations` and `pictures` must come together, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not given. Give all of them, or leave all of them out."
        )

    def rows() -> Iterator[tuple[Path, bytes]]:
        for folder in folders:
            if questions is None or annotations is None or pictures is None:
                found = _metadata(split_folder(folder, split, layout=_LAYOUT))
            else:
                require_folder(folder, split, layout=_LAYOUT)
                found = _vqa(folder, split, questions=questions, annotations=annotations, pictures=pictures)
            yield from ((path, question.to_bytes()) for path, question in found)

    return QuestionRecords(grouped(rows(), Question.of_bytes))


def _metadata(folder: Path) -> Iterator[tuple[Path, Question]]:
    """Picture and question of each row of a split's metadata."""
    for path, row, location in required_rows(folder, ("question", "answer"), layout=_LAYOUT):
        if "question" not in row:
            raise InputError(f"{location}: there must be a `question`, but there is none.")
        answers = one_or_several(row, "answer", "answers", location)
        text = checked_text(row["question"], location, kind="a question", longest=LONGEST_QUESTION)
        kind, answer_kind = row.get("type"), row.get("answer_type")
        for name, value in (("type", kind), ("answer_type", answer_kind)):
            if not isinstance(value, str | None):
                raise InputError(f"{location}: `{name}` must be text, but is {shortened(value)} instead.")
        boxes, named = (None if row.get(key) is None else _boxes(row[key], location, key) for key in ("boxes", "named"))
        yield path, Question(text, _answers(answers, location), kind or "", answer_kind or "", boxes, named)


def _answers(answers: Any, location: str) -> tuple[str, ...]:
    """Check people's answers. An empty answer counts, too, unless all are empty."""
    if not isinstance(answers, list) or not answers:
        raise InputError(
            f"{location}: `answers` must be a list of at least one answer, but is {shortened(answers)} instead."
        )
    some_have_words = any(isinstance(answer, str) and answer.strip() for answer in answers)
    return tuple(
        checked_text(answer, location, kind="an answer", longest=LONGEST_QUESTION, may_be_empty=some_have_words)
        for answer in answers
    )


def _boxes(boxes: Any, location: str, key: str) -> tuple[Box, ...]:
    """Check boxes, and convert them to numbers."""
    if isinstance(boxes, list) and all(isinstance(box, list) and len(box) == 4 for box in boxes):
        numbers = [value for box in boxes for value in box]
        # an integer may be too large for a float, for which `isfinite` raises
        if all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < _FARTHEST for v in numbers):
            found: list[Box] = [(float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in boxes]
            if all(x0 <= x1 and y0 <= y1 for x0, y0, x1, y1 in found):
                return tuple(found)
    raise InputError(
        f"{location}: `{key}` must be a list of [left, top, right, bottom] in pixels, but is {shortened(boxes)} "
        "instead."
    )


def _vqa(root: Path, split: str, *, questions: str, annotations: str, pictures: str) -> Iterator[tuple[Path, Question]]:
    """Picture and question of each entry of VQA v2's questions, with its answers."""
    file = split_file(root, questions, split, option="questions")
    answers_file = split_file(root, annotations, split, option="annotations")
    if not _ID.search(pictures) or any(int(digits or 1) > _MOST_DIGITS for digits in _ID.findall(pictures)):
        raise InputError(
            f"`pictures` must have {{id}} in it, for the number of the picture, or {{id:012}} for one of 12 digits (of "
            f"{_MOST_DIGITS} at most), but is {pictures!r} instead."
        )
    (asked,) = lists_of(file, "questions", source="VQA v2")
    (noted,) = lists_of(answers_file, "annotations", source="VQA v2")
    notes: dict[Any, tuple[int, dict[str, Any]]] = {}
    for number, note in enumerate(noted, start=1):
        key = note.get("question_id")
        if not isinstance(key, str | int):
            raise InputError(f"{answers_file}, annotation {number}: there must be a `question_id`, but there is none.")
        notes[key] = (number, note)
    if not asked:
        raise InputError(f"{file}: the file has no questions.")
    for number, entry in enumerate(asked, start=1):
        location, key, image = f"{file}, question {number}", entry.get("question_id"), entry.get("image_id")
        if not isinstance(key, str | int) or key not in notes:
            raise InputError(f"{location}: there are no answers: {answers_file.name} does not list {shortened(key)}.")
        if type(image) is not int or not 0 <= image < 10**18:
            raise InputError(
                f"{location}: `image_id` must be the number of a picture, but is {shortened(image)} instead."
            )
        text = checked_text(entry.get("question"), location, kind="a question", longest=LONGEST_QUESTION)
        line, note = notes[key]
        location = f"{answers_file}, annotation {line}"
        given = note.get("answers")
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise InputError(
                f"{location}: `answers` must be a list of objects, as VQA v2 has it, but is {shortened(given)} instead."
            )
        said = _answers([one.get("answer") for one in given], location)
        kind, answer_kind = (str(note.get(name, "")) for name in ("question_type", "answer_type"))
        name = _ID.sub(lambda found, image=image: f"{image:0{int(found[1] or 1)}d}", pictures)  # type: ignore[misc]
        yield split_path(root, name, split), Question(text, said, kind, answer_kind)
