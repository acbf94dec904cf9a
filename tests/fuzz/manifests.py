"""The files that describe data sets, in every format that is read."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from multiattn.data.captions import read_captions
from multiattn.data.image_folder import read_folder
from multiattn.data.metadata import file_rows
from multiattn.data.questions import read_questions
from multiattn.data.recordings import read_recordings

from .sample import Sample

_CAPTIONS: list[dict[str, Any]] = [
    {"file_name": "1.jpg", "text": "a dog"},
    {"file_name": "2.jpg", "texts": ["a red fox", "it jumps"]},
]
_QUESTIONS: list[dict[str, Any]] = [
    {"file_name": "1.jpg", "question": "what is it?", "answer": "dog", "type": "what", "boxes": [[1, 2, 8, 9.5]]},
    {"file_name": "1.jpg", "question": "how many?", "answers": ["two", "two", "3"], "named": [[0, 0, 4, 4]]},
]
_LABELS: list[dict[str, Any]] = [{"file_name": "1.jpg", "label": "dog"}, {"file_name": "2.jpg", "label": "fox"}]
_SPOKEN: list[dict[str, Any]] = [
    {"file_name": "1.flac", "text": "two seven", "speaker": "a"},
    {"file_name": "2.flac", "text": "", "speaker": 3},
]
_COCO = {
    "info": {"year": 2017},
    "images": [{"id": 7, "file_name": "1.jpg", "width": 640}, {"id": "8", "file_name": "2.jpg"}],
    "annotations": [{"image_id": 7, "caption": "a dog", "id": 1}, {"image_id": "8", "caption": "a fox", "id": 2}],
}
_VQA_QUESTIONS = {
    "questions": [
        {"image_id": 42, "question": "what is it?", "question_id": 42000},
        {"image_id": 9, "question": "how many?", "question_id": 9001},
    ]
}
_VQA_ANSWERS = {
    "annotations": [
        {"question_id": 42000, "question_type": "what", "answer_type": "other", "answers": [{"answer": "dog"}] * 3},
        {"question_id": 9001, "answers": [{"answer": "2", "answer_id": 1}, {"answer": "two"}]},
    ]
}
_TOKENS = b"1.jpg#0\ta dog .\n1.jpg#1\tit runs .\n2.jpg#0\ta fox .\n"


def samples() -> list[Sample]:
    return [
        Sample("captions", {"captions/train/metadata.jsonl": _lines(_CAPTIONS)}),
        Sample("captions in CSV", {"captions/train/metadata.csv": _csv(_CAPTIONS[:1], "file_name", "text")}),
        Sample("questions", {"questions/train/metadata.jsonl": _lines(_QUESTIONS)}),
        Sample(
            "questions in CSV",
            {"questions/train/metadata.csv": _csv(_QUESTIONS[:1], "file_name", "question", "answer")},
        ),
        Sample("labels", {"labels/train/metadata.jsonl": _lines(_LABELS)}),
        Sample("labels in CSV", {"labels/train/metadata.csv": _csv(_LABELS, "file_name", "label")}),
        Sample("recordings", {"recordings/train/metadata.jsonl": _lines(_SPOKEN)}),
        Sample("recordings in CSV", {"recordings/train/metadata.csv": _csv(_SPOKEN, "file_name", "text", "speaker")}),
        Sample(
            "LibriSpeech", {"recordings/train/19/198/19-198.trans.txt": b"19-198-0001 TWO SEVEN\n19-198-0002 ONE\n"}
        ),
        Sample("COCO", {"coco/captions_train.json": json.dumps(_COCO).encode(), "coco/pictures/.keep": b""}),
        Sample(
            "Flickr8k",
            {
                "flickr/Flickr8k.token.txt": _TOKENS,
                "flickr/Flickr_8k.trainImages.txt": b"1.jpg\n2.jpg\n",
                "flickr/pictures/.keep": b"",
            },
        ),
        Sample(
            "VQA v2",
            {
                "vqa/q_train.json": json.dumps(_VQA_QUESTIONS).encode(),
                "vqa/a_train.json": json.dumps(_VQA_ANSWERS).encode(),
            },
        ),
        Sample("list of questions", {"asked.jsonl": _lines(_QUESTIONS)}),
        Sample("list of questions in CSV", {"asked.csv": _csv(_QUESTIONS[:1], "file_name", "question")}),
    ]


def read(path: Path) -> None:
    """By the reader that is meant for what is there; records are what their type says."""
    if (root := path / "captions").is_dir():
        found = read_captions(root, "train").items
    elif (root := path / "coco").is_dir():
        found = read_captions(root, "train", captions="captions_{split}.json", pictures="pictures").items
    elif (root := path / "flickr").is_dir():
        found = read_captions(root, "train", captions="Flickr8k.token.txt", pictures="pictures").items
    elif (root := path / "questions").is_dir():
        asked = read_questions(root, "train")
        for question in asked.questions():
            assert question.answers and all(isinstance(answer, str) for answer in question.answers)
        return
    elif (root := path / "vqa").is_dir():
        files = {"questions": "q_{split}.json", "annotations": "a_{split}.json", "pictures": "p/{id:012}.jpg"}
        assert read_questions(root, "train", **files).items
        return
    elif (root := path / "labels").is_dir():
        records = read_folder(root, "train")
        assert sum(records.counts()) == len(records.items)
        return
    elif (root := path / "recordings").is_dir():
        found = read_recordings(root, "train").items
    else:
        (file,) = path.iterdir()
        found = tuple((row_path, str(row.get("question"))) for row_path, row, _ in file_rows(file, ("question",)))
    for one, texts in found:
        assert isinstance(one, Path)
        assert all(isinstance(text, str) for text in ([texts] if isinstance(texts, str) else texts))


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _csv(rows: list[dict[str, Any]], *columns: str) -> bytes:
    written = io.StringIO()
    writer = csv.DictWriter(written, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue().encode()
