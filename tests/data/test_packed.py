"""Records without an object for each: the same as tuples of them, and shared by processes."""

import gc
import pickle
import tracemalloc
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch.multiprocessing  # noqa: F401  # as a data loader does: teaches pickling to share memory

from multiattn.data.captions import read_captions
from multiattn.data.image_folder import read_folder
from multiattn.data.packed import Chosen, NamesBuilder, Numbers, PathsBuilder, bytes_of, grouped, packed_texts, text_of
from multiattn.data.questions import Question, read_questions
from multiattn.data.recordings import SpeechRecords, held_out, read_recordings

TEXTS = ["a dog", "", "süß \U0001f98a", "\udcff"]


def test_a_packed_sequence_is_as_a_list_of_the_same() -> None:
    found = packed_texts(TEXTS)
    assert found == TEXTS and list(found) == TEXTS and found[-1] == "\udcff" and found[2:] == TEXTS[2:]
    assert found[::-2] == TEXTS[::-2] and found != TEXTS[:-1] and found != 3 and "süß \U0001f98a" in found
    assert Chosen(found, [3, 1, 1]) == [TEXTS[3], "", ""]
    for index in (4, -5):
        with pytest.raises(IndexError, match=f"there are 4 items, and none at {index}"):
            found[index]
    with pytest.raises(TypeError, match="unhashable"):
        hash(found)


def test_paths_come_back_as_they_are() -> None:
    paths = [Path(name) for name in ("/a/b/1.jpg", "1.jpg", "/1.jpg", "..", "a/../b/\udcff.png", "/a/b/2.jpg")]
    builder = PathsBuilder()
    for path in paths:
        builder.add(path)
    assert builder.build() == paths


def test_rows_of_one_file_are_joined_in_their_order_wherever_they_stand() -> None:
    one, other = Path("one"), Path("other")
    rows = [(other, "b"), (one, "x"), (one, "y"), (other, "a"), (one, "z")]
    found = grouped(((path, bytes_of(text)) for path, text in rows), text_of)
    assert found == [(other, ("b", "a")), (one, ("x", "y", "z"))]
    assert grouped(iter(()), text_of) == []


@pytest.mark.parametrize(
    "question",
    [
        Question("is it?", ("yes", "", 'a "b"')),
        Question("wo?", ("da",), "place", "other", ((0.1, 2.0, 1e-7, 3.0),), ()),
        Question("", (), boxes=(), named=((1.0, 2.0, 3.0, 1 / 3), (0.0, 0.0, 0.0, 0.0))),
    ],
)
def test_a_question_comes_back_as_it_is(question: Question) -> None:
    assert Question.of_bytes(question.to_bytes()) == question


@pytest.mark.slow
def test_a_record_costs_less_than_a_hundred_bytes_beyond_its_texts_and_processes_share_them(tmp_path: Path) -> None:
    count = 3000
    rows = {
        "labels": (lambda i: f'"label": {i % 7}', read_folder),
        "captions": (lambda i: '"text": "a dog"', read_captions),
        "questions": (lambda i: '"question": "is it?", "answer": "yes"', read_questions),
        "recordings": (lambda i: f'"text": "a dog", "speaker": "s{i % 5}"', read_recordings),
    }
    found = {}
    for name, (columns, read) in rows.items():
        folder = tmp_path / name / "train"
        folder.mkdir(parents=True)
        lines = [f'{{"file_name": "{i:07d}.x", {columns(i)}}}' for i in range(count)]
        (folder / "metadata.jsonl").write_text("\n".join(lines))
        read(tmp_path / name, "train")
        tracemalloc.start()
        found[name] = read(tmp_path / name, "train")
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held / count < 9 + 14 + 100, name
    for name, records in found.items():
        sent = ForkingPickler.dumps(records)
        assert len(sent) < count  # the arrays are not in it
        assert pickle.loads(sent).items == records.items
        assert records.items[-1][0] == tmp_path / name / "train" / f"{count - 1:07d}.x"


def test_what_is_held_out_is_shared_too() -> None:
    names = NamesBuilder()
    for speaker in "aaabbc" * 500:
        names.add(speaker)
    records = SpeechRecords([(Path(f"{i}"), "") for i in range(3000)], names.build())
    _, part = held_out(records, 0.2)
    assert list(part.speakers) == ["c"] * 500
    assert len(ForkingPickler.dumps(part.speakers)) < 3000
    assert len(ForkingPickler.dumps(Numbers(np.arange(9000)))) < 3000
