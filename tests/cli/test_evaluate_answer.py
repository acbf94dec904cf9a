import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import multiattn
from multiattn.metrics.vqa import AnswerScores, answer_scores
from tests.fixtures import save_drawing, save_tiny_answerer

ITEMS = 7
ASKED = ("is the dog left of a tree?", "what is near the white line?", "what is gray?", "is it a fox?")


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_answerer(tmp_path_factory.mktemp("model") / "answerer"))


@pytest.fixture(scope="module")
def rows(answerer: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Three or four questions a picture; of some, people say what the model says."""
    folder = tmp_path_factory.mktemp("drawn")
    answer = multiattn.load(answerer, task="answer", device="cpu")
    found: list[dict[str, object]] = []
    for seed in range(ITEMS):
        file = save_drawing(folder / f"{seed}.png", seed)
        for number, text in enumerate(ASKED[: 3 + seed % 2]):
            said = answer(file, text).answer
            row: dict[str, object] = {"file_name": f"{seed}.png", "question": text}
            if number == 0:
                row |= {"answers": [said, said, "blue", "green", "gray"], "type": "place"}
            elif number == 1:
                row |= {"answer": said if seed % 3 else "nothing"}
            else:
                row |= {"answer": "a fox"}
            found.append(row)
    return found


@pytest.fixture
def data(tmp_path: Path, rows: list[dict[str, object]]) -> Path:
    """The validation split of the drawn pictures, and a training split that nobody opens."""
    for seed in range(ITEMS):
        save_drawing(tmp_path / f"data/validation/{seed}.png", seed)
    write_rows(tmp_path / "data/validation", rows)
    seen = [("what is near", "a wall"), ("what is this", "a wall"), ("what is it", "the fox"), ("why not", "so")]
    write_rows(
        tmp_path / "data/train",
        [{"file_name": "none.png", "question": question, "answer": answer} for question, answer in seen],
    )
    return tmp_path / "data"


def write_rows(folder: Path, rows: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def kind(row: dict[str, object]) -> str:
    return str(row.get("type") or " ".join(str(row["question"]).split()[:2]))


def scored(rows: list[dict[str, object]], answers: list[str]) -> AnswerScores:
    given = [row.get("answers") or [row["answer"]] for row in rows]
    return answer_scores(answers, given, [kind(row) for row in rows])


def as_json(scores: AnswerScores) -> dict[str, object]:
    return {
        "accuracy": pytest.approx(scores.accuracy),
        "vqa_accuracy": pytest.approx(scores.vqa_accuracy),
        "by_type": {name: {"accuracy": one.accuracy, "items": one.items} for name, one in scores.by_type.items()},
    }


def by_hand(answerer: str, data: Path, rows: list[dict[str, object]]) -> AnswerScores:
    answer = multiattn.load(answerer, task="answer", device="cpu")
    return scored(rows, [answer(data / "validation" / str(row["file_name"]), row["question"]).answer for row in rows])


def test_json_is_one_object(run, answerer, data, rows) -> None:
    outcome = run("evaluate", "answer", "--data", data, "--model", answerer, "--format", "json", "--batch-size", 3)
    assert (outcome.status, outcome.err) == (0, "")
    expected = by_hand(answerer, data, rows)
    assert 0 < expected.vqa_accuracy != expected.accuracy < 1
    assert set(expected.by_type) == {"place", "what is", "is it"}
    assert json.loads(outcome.out) == as_json(expected) | {
        "items": len(rows),
        "skipped": 0,
        "model": answerer,
        "data": str(data),
        "split": "validation",
    }


def test_baselines_are_of_the_question_alone(run, answerer, data, rows) -> None:
    outcome = run("evaluate", "answer", "--data", data, "--model", answerer, "--format", "json", "--baselines")
    found = json.loads(outcome.out)["baselines"]
    bundle = multiattn.load(answerer, task="answer", device="cpu").bundle
    height, width = bundle.pictures.size
    flat = np.full((height, width, 3), np.round(255 * np.array(bundle.pictures.mean)), np.uint8)
    answer = multiattn.load(answerer, task="answer", device="cpu")
    blind = [answer(Image.fromarray(flat), str(row["question"])).answer for row in rows]
    assert found["question_only"] == as_json(scored(rows, blind))
    frequent = {"what is": "a wall"}  # of "place" and "is it" the training split has none: there, what is frequent
    assert found["most_frequent"] == as_json(scored(rows, [frequent.get(kind(row), "wall") for row in rows]))


def test_text_says_the_same_in_one_table(run, answerer, data) -> None:
    arguments = ("evaluate", "answer", "--data", data, "--model", answerer, "--baselines")
    found = json.loads(run(*arguments, "--format", "json").out)
    columns = [found, found["baselines"]["question_only"], found["baselines"]["most_frequent"]]

    def line(name: str, values: list[float], more: str = "") -> str:
        return f"{name:12}" + "".join(f"  {value:13.2%}" for value in values) + more

    kinds = [
        line(
            f"  {name}",
            [one["by_type"][name]["accuracy"] for one in columns],
            f"  of {found['by_type'][name]['items']}",
        )
        for name in found["by_type"]
    ]
    assert run(*arguments).out.splitlines() == [
        " " * 12 + "        answers  question only  most frequent",
        line("accuracy", [one["accuracy"] for one in columns]),
        line("VQA accuracy", [one["vqa_accuracy"] for one in columns]),
        "accuracy by the kind of question",
        *kinds,
        f"on {found['items']} questions of {data} (validation) with {answerer}",
    ]


def test_bad_pictures_are_named_once_and_their_questions_counted(run, answerer, data, rows) -> None:
    (data / "validation/1.png").write_bytes(b"")
    (data / "validation/4.png").unlink()
    outcome = run("evaluate", "answer", "--data", data, "--model", answerer, "--format", "json")
    assert outcome.status == 1
    good = [row for row in rows if row["file_name"] not in ("1.png", "4.png")]
    found = json.loads(outcome.out)
    assert found == as_json(by_hand(answerer, data, good)) | {
        "items": len(good),
        "skipped": len(rows) - len(good),
        "model": answerer,
        "data": str(data),
        "split": "validation",
    }
    broken, missing, counted = outcome.err.splitlines()
    assert broken.startswith(f"multiattn: skipped: `{data}/validation/1.png` must be ")
    assert f"{data}/validation/4.png" in missing
    assert counted == f"multiattn: 7 of {len(rows)} questions could not be used"


def test_nothing_but_bad_pictures(run, answerer, data, rows) -> None:
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    outcome = run("evaluate", "answer", "--data", data, "--model", answerer)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.endswith(f"none of the {len(rows)} questions of the split 'validation' could be used\n")


def test_baselines_need_a_training_split(run, answerer, data) -> None:
    (data / "train").rename(data / "other")
    outcome = run("evaluate", "answer", "--data", data, "--model", answerer, "--baselines")
    assert (outcome.status, outcome.out) == (1, "")
    assert "there is no split 'train'" in outcome.err


def test_a_model_of_another_task(run, model, data) -> None:
    outcome = run("evaluate", "answer", "--data", data, "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert "must be a model for answer, but is one for classify instead: give another" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("caption --baselines", "argument --baselines: is for answers only, but the task is caption"),
        ("classify --questions q", "argument --questions: is for answers only, but the task is classify"),
        ("transcribe --annotations a", "argument --annotations: is for answers only, but the task is transcribe"),
        ("answer --captions c", "argument --captions: is for captions and matches only, but the task is answer"),
    ],
)
def test_wrong_usage(run, arguments, message) -> None:
    outcome = run("evaluate", *arguments.split(), "--data", "x")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"multiattn evaluate: {message} (multiattn evaluate --help tells more)\n"
