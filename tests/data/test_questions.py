"""Questions in the files that people have, and what is wrong with some of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from multiattn.data.questions import Question, read_questions
from multiattn.errors import InputError

TEN = ("red", "Red", "red", "dark red", "", "crimson", "red", "pink", "red", "it is red")
EXPECTED = {
    "1.jpg": (Question("What color is the disc?", TEN, "color"), Question("Is it round?", ("yes",))),
    "b/2.jpg": (
        Question(
            "How many discs are there?",
            ("2",),
            "how many",
            boxes=((1.0, 2.0, 3.5, 4.0),),
            named=((0.0, 1.0, 2.0, 3.0),),
        ),
    ),
}


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def row_of(name: str, question: Question) -> dict[str, Any]:
    row: dict[str, Any] = {"file_name": name, "question": question.text}
    row |= {"answer": question.answers[0]} if len(question.answers) == 1 else {"answers": question.answers}
    row |= {"type": question.type} if question.type else {}
    return row | {key: boxes for key in ("boxes", "named") if (boxes := getattr(question, key)) is not None}


def jsonl(folder: Path, rows: list[dict[str, Any]]) -> None:
    write(folder / "metadata.jsonl", "\n".join(map(json.dumps, rows)))


def vqa(root: Path, *, split: str = "train", **changes: Any) -> dict[str, str]:
    """The same as VQA v2 has it, in which the types of the answers are said, too."""
    questions, notes = [], []
    for image, asked in enumerate(EXPECTED.values()):
        for question in asked:
            key = 100 + len(questions)
            questions.append({"image_id": image + 7, "question": question.text, "question_id": key})
            answers = [{"answer": answer, "answer_id": i} for i, answer in enumerate(question.answers)]
            note = {"question_id": key, "question_type": question.type, "answer_type": "other", "answers": answers}
            notes.insert(0, note)  # the order of the questions is what counts
    contents = {"questions": {"questions": questions}, "annotations": {"annotations": notes}}
    for name, content in (contents | changes).items():
        write(root / f"{split}_{name}.json", content if isinstance(content, bytes) else json.dumps(content))
    pictures = "{split}2014/COCO_{split}2014_{id:012}.jpg"
    return {"questions": "{split}_questions.json", "annotations": "{split}_annotations.json", "pictures": pictures}


def test_metadata_is_read_with_all_that_stands_there(tmp_path) -> None:
    rows = [row_of(name, question) for name, asked in EXPECTED.items() for question in asked]
    jsonl(tmp_path / "train", [rows[0], rows[2], rows[1]])  # the rows of a picture need not be together
    found = read_questions(tmp_path, "train")
    assert found.items == tuple((tmp_path / "train" / name, asked) for name, asked in EXPECTED.items())
    assert list(found.questions()) == [*EXPECTED["1.jpg"], *EXPECTED["b/2.jpg"]]


def test_a_csv_file_is_read(tmp_path) -> None:
    write(tmp_path / "train/metadata.csv", 'file_name,question,answer,type\n1.jpg,"what, then?",a fox,what\n')
    ((path, questions),) = read_questions(str(tmp_path), "train").items
    assert path == tmp_path / "train/1.jpg" and questions == (Question("what, then?", ("a fox",), "what"),)


def test_boxes_of_nothing_are_not_the_same_as_none(tmp_path) -> None:
    jsonl(tmp_path / "train", [{"file_name": "1.jpg", "question": "a fox?", "answer": "no", "boxes": []}])
    assert [question.boxes for question in read_questions(tmp_path, "train").questions()] == [()]


@pytest.mark.parametrize(("split", "named"), [("train", "train"), ("validation", "val")])
def test_vqa_says_the_same(split, named, tmp_path) -> None:
    options = vqa(tmp_path, split=named)
    folder = tmp_path / f"{named}2014"
    for number in (7, 8):
        write(folder / f"COCO_{named}2014_{number:012}.jpg", b"")
    found = read_questions(tmp_path, split, **options).items
    assert [path for path, _ in found] == [folder / f"COCO_{named}2014_{number:012}.jpg" for number in (7, 8)]
    expected = [[q._replace(answer_type="other", boxes=None, named=None) for q in asked] for asked in EXPECTED.values()]
    assert [list(asked) for _, asked in found] == expected


def test_splits_of_several_folders_are_joined(tmp_path) -> None:
    for name in ("one", "other"):
        rows = [{"file_name": "1.jpg", "question": f"is it the {name}?", "answer": "yes"}]
        jsonl(tmp_path / name / "train", rows)
    found = read_questions([tmp_path / "one", tmp_path / "other"], "train").items
    assert [path for path, _ in found] == [tmp_path / "one/train/1.jpg", tmp_path / "other/train/1.jpg"]
    assert [asked[0].text for _, asked in found] == ["is it the one?", "is it the other?"]
    (tmp_path / "third").mkdir()
    with pytest.raises(InputError, match="third: there is no split 'train'"):
        read_questions([tmp_path / "one", tmp_path / "third"], "train")


def test_what_is_missing_is_named(tmp_path) -> None:
    options = vqa(tmp_path)
    with pytest.raises(InputError, match="`root` must name at least one folder, but names none instead"):
        read_questions([], "train")
    with pytest.raises(InputError, match="there is no such folder. Give one with train/ in it"):
        read_questions(tmp_path / "none", "train")
    with pytest.raises(InputError, match="there is no such folder. Give one with train/ in it"):
        read_questions(tmp_path / "none", "train", **options)
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="train: there is no metadata in this folder. Put into it a metadata.jsonl"):
        read_questions(tmp_path, "train")
    with pytest.raises(InputError, match="must come together, but `annotations` and `pictures` are not given. Give"):
        read_questions(tmp_path, "train", questions="x")
    with pytest.raises(InputError, match="must come together, but `pictures` is not given"):
        read_questions(tmp_path, "train", questions="x", annotations="x")
    for name in ("questions", "annotations"):
        with pytest.raises(InputError, match=rf"x\.json: there is no such file\. Check `{name}`\."):
            read_questions(tmp_path, "train", **options | {name: "x.json"})
    with pytest.raises(InputError, match=r"`pictures` must have \{id\} in it, .* but is 'train2014' instead"):
        read_questions(tmp_path, "train", **options | {"pictures": "train2014"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": ""}, r"line 1: a question must have words, but is empty instead\. Fill it, or remove it\."),
        ({"question": 3}, r"line 1: a question must be text, but is 3 instead\."),
        ({"question": "\ud800?"}, "line 1: a question must be whole characters, but is"),
        (
            {"question": "word " * 10_000},
            r"line 1: a question must have at most 1000 characters, but has 50000 instead: 'word .* Shorten it\.",
        ),
        ({"question": None}, "line 1: a question must be text, but is None instead"),
        ({"answer": ""}, "line 1: an answer must have words, but is empty instead"),
        ({"answer": ["yes"]}, r"line 1: an answer must be text, but is \['yes'\] instead"),
        ({"answer": "word " * 201}, "line 1: an answer must have at most 1000 characters, but has 1005 instead"),
        ({"answers": ["yes"]}, "line 1: there must be one of `answer` and `answers`, but there is both instead"),
        ({"type": 5}, "line 1: `type` must be text, but is 5 instead"),
        ({"boxes": [1, 2, 3, 4]}, r"line 1: `boxes` must be a list of \[left, top, right, bottom\] in pixels, but is"),
        ({"boxes": [[1, 2, 3]]}, "line 1: `boxes` must be a list of"),
        ({"boxes": [[5, 2, 3, 4]]}, "line 1: `boxes` must be a list of"),
        ({"boxes": [[1, 2, float("nan"), 4]]}, "line 1: `boxes` must be a list of"),
        ({"boxes": [[1, 2, True, 4]]}, "line 1: `boxes` must be a list of"),
        ({"named": [[5, 2, 3, 4]]}, "line 1: `named` must be a list of"),
        ({"boxes": "1 2 3 4"}, "line 1: `boxes` must be a list of"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(changes, message, tmp_path) -> None:
    jsonl(tmp_path / "train", [{"file_name": "1.jpg", "question": "is it red?", "answer": "yes"} | changes])
    with pytest.raises(InputError, match=rf"metadata\.jsonl, {message}"):
        read_questions(tmp_path, "train")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([7] * 10, "an answer must be text, but is 7 instead"),
        (["yes"] * 9 + [None], "an answer must be text, but is None instead"),
        ([], r"`answers` must be a list of at least one answer, but is \[\] instead"),
        ("yes", "`answers` must be a list of at least one answer, but is 'yes' instead"),
        (["", " "], "an answer must have words, but is empty instead"),
    ],
)
def test_ten_answers_that_cannot_be_used_are_named(answers, message, tmp_path) -> None:
    jsonl(tmp_path / "train", [{"file_name": "1.jpg", "question": "is it red?", "answers": answers}])
    with pytest.raises(InputError, match=f"line 1: {message}"):
        read_questions(tmp_path, "train")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "yes"}, "line 1: there must be a `question`, but there is none"),
        ({"question": "is it?"}, "line 1: there must be one of `answer` and `answers`, but there is neither instead"),
    ],
)
def test_a_row_that_lacks_something_is_named(row, message, tmp_path) -> None:
    jsonl(tmp_path / "train", [{"file_name": "1.jpg"} | row])
    with pytest.raises(InputError, match=message):
        read_questions(tmp_path, "train")


def test_a_csv_without_the_columns_is_named(tmp_path) -> None:
    write(tmp_path / "train/metadata.csv", "file_name,question\n1.jpg,is it?\n")
    with pytest.raises(InputError, match="first line must name the columns `file_name` and `question` and `answer`"):
        read_questions(tmp_path, "train")


ASKED = {"question_id": 5, "image_id": 1, "question": "is it red?"}
NOTE = {"question_id": 5, "answers": [{"answer": "yes"}]}


@pytest.mark.parametrize(
    ("questions", "annotations", "message"),
    [
        (b"{", {"annotations": [NOTE]}, "questions.json must be JSON, but is damaged or unusual instead"),
        ([], {"annotations": [NOTE]}, "there must be a list of objects `questions`, as VQA v2 has it"),
        ({"questions": [ASKED]}, {"annotations": [3]}, "there must be a list of objects `annotations`, as VQA v2"),
        ({"questions": []}, {"annotations": [NOTE]}, "questions.json: the file has no questions"),
        (
            {"questions": [ASKED | {"question_id": 6}]},
            {"annotations": [NOTE]},
            "question 1: there are no answers: train_annotations.json does not list 6",
        ),
        ({"questions": [ASKED | {"question_id": []}]}, {"annotations": [NOTE]}, r"does not list \[\]"),
        (
            {"questions": [ASKED | {"image_id": "x"}]},
            {"annotations": [NOTE]},
            "question 1: `image_id` must be the number of a picture, but is 'x' instead",
        ),
        ({"questions": [ASKED | {"question": ""}]}, {"annotations": [NOTE]}, "question 1: a question must have words"),
        ({"questions": [ASKED]}, {"annotations": [{}]}, "annotation 1: there must be a `question_id`, but there is"),
        (
            {"questions": [ASKED]},
            {"annotations": [NOTE | {"answers": ["yes"]}]},
            r"annotation 1: `answers` must be a list of objects, as VQA v2 has it, but is \['yes'\] instead",
        ),
        (
            {"questions": [ASKED]},
            {"annotations": [NOTE | {"answers": [{"answer": 3}]}]},
            "annotation 1: an answer must be text, but is 3 instead",
        ),
    ],
)
def test_a_vqa_file_that_cannot_be_used_is_named(questions, annotations, message, tmp_path) -> None:
    options = vqa(tmp_path, questions=questions, annotations=annotations)
    with pytest.raises(InputError, match=message):
        read_questions(tmp_path, "train", **options)
