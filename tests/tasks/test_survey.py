"""What the data is, before the first step: the table, RUN/data.json, and each finding in them."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from multiattn.inputs import Tokenizer
from multiattn.tasks import AnswerData, CaptionData, ClassifyData, TranscribeData
from multiattn.tasks.survey import files, folders, labels, table, texts
from multiattn.tasks.survey.report import describe
from multiattn.tasks.training import main

from .asked import draw_asked
from .attach import grouped
from .captioned import draw_captioned
from .conftest import draw_folder, write_config
from .spoken import draw_spoken

SIZES = {"train": 7, "validation": 3}
SMALL = grouped(batch_size=5, num_workers=0)


def described(data: Any, task: str = "") -> dict[str, Any]:
    found = describe(data, task=task, most=1000)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


@pytest.mark.training
@pytest.mark.filterwarnings("default")
def test_a_classifiers_data_is_told_before_the_first_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = draw_folder(tmp_path / "data", sizes={"train": 5, "validation": 2})
    train = root / "train"
    shutil.copytree(train / "red", train / "Red ")
    (train / "nan").mkdir()
    shutil.copy(train / "green" / "01.png", train / "nan")
    shutil.copy(train / "blue" / "02.png", root / "validation" / "red" / "leak.png")
    (train / "red" / "._00.png").touch()
    (train / "notes.txt").touch()
    shutil.copy(train / "blue" / "02.png", train / "lost.png")
    config = write_config(tmp_path / "c.yaml", root=root, run=tmp_path)
    options = "--model.class_weights=balanced --trainer.max_epochs=1 --trainer.limit_train_batches=1".split()
    assert main(["fit", "--config", str(config), *options]) == 0
    error = capsys.readouterr().err
    assert error.index("The data in") < error.index("epoch 1/1")
    for line in (
        r" pictures +21 +7$",
        r" classes +5 +5$",
        r"   'nan' +1 +0$",
        r"   'red' +5 +3$",
        r" width, px +17 / 19 / 23 +17 / \d\d / 23$",
        r" files ignored +3 +0$",
    ):
        assert any(re.search(line, one) for one in error.splitlines()), line
    for remark in (
        "Labels that are nearly equal: 'Red ' and 'red'.",
        "Labels that stand for nothing: 'nan' (1).",
        "validation has no pictures of 'Red ', 'nan'.",
        "train: files that are ignored, hidden: 1, such as 'red/._00.png'.",
        "train: files that are ignored, no picture, by the name: 1, such as 'notes.txt'.",
        "train: files that are ignored, outside of the folders of the classes: 1, such as 'lost.png'.",
    ):
        assert f"  - {remark}\n" in error
    found = json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))
    assert [one["label"] for one in found["splits"]["train"]["classes"]] == ["nan", "Red ", "blue", "green", "red"]
    assert found["near_equal_labels"] == [["Red ", "red"]]
    equal = found["duplicates"]
    assert (equal["across_splits"], equal["looked_at"]) == (1, 28)
    assert equal["groups"][0]["splits"] == ["train", "validation"]
    assert [Path(name).name for name in equal["groups"][0]["files"]] == ["02.png", "leak.png"]
    assert equal["other_labels"] == equal["sets"] == 7  # five copies, the one in `nan`, and the leak
    assert all(remark in error for remark in found["remarks"])


def test_captions_are_counted_with_what_is_cut_and_unknown(tmp_path: Path) -> None:
    root = draw_captioned(tmp_path, sizes=SIZES)
    rows = [json.loads(line) for line in (root / "validation" / "metadata.jsonl").read_text().splitlines()]
    rows[0]["texts"] = ["a \N{GREEK SMALL LETTER PSI} disc", "nan"]
    (root / "validation" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (root / "train" / "new.png").touch()
    data = CaptionData(str(root), vocab_size=200, max_tokens=5, **SMALL)
    found = described(data, "caption")
    train, validation = (found["splits"][split] for split in ("train", "validation"))
    captions = train["texts"]["captions"]
    assert (captions["texts"], captions["looked_at"], captions["unknown"]) == (21, 21, 0)
    assert captions["words"] == {"min": 4, "median": 6, "max": 7}
    lengths = [
        len(data.tokenizer.encode(data._tidy(text))) for _, several in data.records("train").items for text in several
    ]
    assert captions["longer"] == sum(length > 5 for length in lengths) > 0
    assert (captions["most_tokens"], captions["are"]) == (5, "cut")
    assert train["ignored"]["reasons"] == {"not in the metadata": {"files": 1, "names": ["new.png"]}}
    told = validation["texts"]["captions"]
    assert (told["unknown"], told["unknown_words"], told["like_nothing"]) == (
        1,
        ["\N{GREEK SMALL LETTER PSI}"],
        {"nan": 1},
    )
    assert train["headers"]["width"] == {"min": 24, "median": 24, "max": 24}
    assert train["headers"]["height"] == {"min": 18, "median": 18, "max": 18}
    assert f"train: {captions['longer']} of 21 captions have more than 5 tokens and are cut." in found["remarks"]
    shown = table.lines(found)
    assert any(
        line.split() == ["longer,", "cut", str(captions["longer"]), "of", "21", str(told["longer"]), "of", "8"]
        for line in shown
    )


def test_recordings_are_told_with_their_seconds(tmp_path: Path) -> None:
    root = draw_spoken(tmp_path, sizes=SIZES)
    (root / "train" / "00.wav").write_bytes(b"RIFF")
    (root / "train" / "01.wav").unlink()
    found = described(TranscribeData(str(root), vocab_size=31, **SMALL), "transcribe")
    train = found["splits"]["train"]
    assert train["headers"]["looked_at"] == 6 and train["headers"]["unreadable"] == 1 and train["missing"] == 1
    seconds = train["headers"]["seconds"]
    assert 0.1 < seconds["min"] < seconds["median"] < seconds["max"] < 1
    assert train["texts"]["transcripts"]["words"] == {"min": 1, "median": 2, "max": 3}
    assert "train: 1 of 7 listed files are missing." in found["remarks"]
    assert "train: 1 of 6 files that were opened are unreadable." in found["remarks"]


def test_questions_are_told(tmp_path: Path) -> None:
    root = draw_asked(tmp_path, sizes=SIZES)
    found = described(AnswerData(str(root), vocab_size=61, **SMALL), "answer")
    assert found["splits"]["train"]["texts"].keys() == {"questions"}
    assert found["splits"]["train"]["texts"]["questions"]["texts"] == 21
    assert found["splits"]["train"]["texts"]["questions"]["are"] == "skipped"


def test_a_part_of_many_files_is_looked_at_and_that_is_stated(tmp_path: Path) -> None:
    data = ClassifyData(str(draw_folder(tmp_path, sizes={"train": 5, "validation": 1})), **SMALL)
    found = describe(data, task="classify", most=4)
    assert found["splits"]["train"]["looked_at"] == found["splits"]["train"]["headers"]["looked_at"] == 4
    assert found["duplicates"]["looked_at"] == 7
    assert "train: of 15 files, 4, evenly spread, were compared." in found["remarks"]
    assert not any("validation" in remark for remark in found["remarks"])


def test_equal_files_are_found_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only files of one size are read, and only those with one beginning as a whole."""
    long = os.urandom(5000)
    contents = {
        "a": b"1",
        "b": b"2",
        "c": b"1",
        "d": long,
        "e": long[:-1] + b"?",
        "f": long,
        "g": b"",
        "h": b"",
        "i": b"three",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    read: list[tuple[str, int | None]] = []
    digest = files._digest
    monkeypatch.setattr(files, "_digest", lambda path, most: read.append((path.name, most)) or digest(path, most))
    items = [(tmp_path / name, name) for name in [*contents, "lost"]]
    looked = files.looked_at("train", items, str, 100)
    found = files.duplicates(looked)
    assert [[Path(file).name for file in group["files"]] for group in found["groups"]] == [["a", "c"], ["d", "f"]]
    assert (found["files"], found["sets"], found["across_splits"], found["other_labels"]) == (4, 2, 0, 2)
    assert sorted(name for name, most in read if most) == ["a", "b", "c", "d", "e", "f"]
    assert sorted(name for name, most in read if not most) == ["a", "c", "d", "e", "f"]
    assert [file.size for file in looked][-1] == -1


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["dog", "dog ", "Dog", "cat"], [["dog", "dog ", "Dog"]]),
        (["guinea pig", "guinea_pig", "Guinea-Pig"], [["guinea pig", "guinea_pig", "Guinea-Pig"]]),
        (["\N{FULLWIDTH LATIN SMALL LETTER A}", "a"], [["\N{FULLWIDTH LATIN SMALL LETTER A}", "a"]]),
        (["dog", "dogs", "1", "01"], []),
    ],
)
def test_nearly_equal_labels(names: list[str], groups: list[list[str]]) -> None:
    assert labels.near_equal(names) == groups


def test_labels_that_stand_for_nothing() -> None:
    assert labels.like_nothing(["NaN", "cat", "nan", "NaN", "banana", " null ", "nan" * 9]) == {
        "NaN": 2,
        "nan": 1,
        " null ": 1,
    }


def test_files_that_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(5):
        (tmp_path / f"{index}.txt").touch()
    monkeypatch.setattr(folders, "MOST", 3)
    found = folders.ignored([tmp_path], [], kind="pictures", in_classes=True)
    assert (found["looked_at"], found["all"]) == (3, False)
    assert found["reasons"] == {"no picture, by the name": {"files": 3, "names": ["0.txt", "1.txt", "2.txt"]}}


def test_long_texts_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "TOKENIZED", 2)
    tokenizer = Tokenizer.train(["a b"], kind="characters", vocab_size=20)
    found = texts.described(texts.Texts("captions", ["a", "a b", "c", "b b b b"], most=3), tokenizer)
    assert (found["texts"], found["looked_at"], found["unknown"]) == (4, 2, 1)
    assert found["words"] == {"min": 1, "median": 1.5, "max": 4}
