import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import multiattn
from multiattn.errors import ModelError
from multiattn.metrics import caption_scores, self_retrieval
from multiattn.pipelines import CaptionPipeline
from tests.fixtures import SENTENCES, save_drawing, save_tiny_captioner

ITEMS = 7


@pytest.fixture(scope="module")
def captioner(tmp_path_factory) -> str:
    return str(save_tiny_captioner(tmp_path_factory.mktemp("model") / "captioner"))


@pytest.fixture(scope="module")
def texts(captioner, tmp_path_factory) -> list[list[str]]:
    """References: of some pictures what the model writes and a few words more, of the others invented sentences."""
    folder = tmp_path_factory.mktemp("drawn")
    files = [save_drawing(folder / f"{seed}.png", seed) for seed in range(ITEMS)]
    caption = multiattn.load(captioner, device="cpu")
    written = zip(*(caption(files, num_beams=num_beams) for num_beams in (1, 3)), strict=True)
    return [
        [f"{result.text} and a fox" for result in results] if i % 3 == 0 else list(SENTENCES[: i % 4 + 1])
        for i, results in enumerate(written)
    ]


@pytest.fixture
def data(tmp_path, texts) -> Path:
    """The validation split of the drawn pictures."""
    for seed in range(ITEMS):
        save_drawing(tmp_path / f"data/validation/{seed}.png", seed)
    write_metadata(tmp_path / "data", texts)
    return tmp_path / "data"


def write_metadata(data: Path, texts: list[list[str]], *, split: str = "validation") -> None:
    rows = ({"file_name": f"{i}.png", "texts": captions} for i, captions in enumerate(texts))
    (data / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def by_hand(
    captioner: str, data: Path, texts: list[list[str]], places: list[int], *, num_beams: int
) -> dict[str, float]:
    files = [data / f"validation/{i}.png" for i in places]
    captions = [result.text for result in multiattn.load(captioner, device="cpu")(files, num_beams=num_beams)]
    references = [texts[i] for i in places]
    return asdict(caption_scores(captions, references)) | {"self_retrieval": self_retrieval(captions, references)}


@pytest.mark.parametrize("num_beams", [1, 3])
def test_json_is_one_object(run, captioner, data, texts, num_beams) -> None:
    arguments = ("evaluate", "caption", "--data", data, "--model", captioner, "--format", "json")
    outcome = run(*arguments, "--beams", num_beams, "--batch-size", 3)
    assert (outcome.status, outcome.err) == (0, "")
    expected = by_hand(captioner, data, texts, list(range(ITEMS)), num_beams=num_beams)
    assert expected["bleu1"] > expected["bleu2"] > 0
    assert expected["cider"] > 0
    assert 0 < expected["self_retrieval"] < 1
    assert json.loads(outcome.out) == {
        **{name: pytest.approx(value) for name, value in expected.items()},
        "items": ITEMS,
        "skipped": 0,
        "model": captioner,
        "data": str(data),
        "split": "validation",
    }


@pytest.mark.parametrize(("arguments", "num_beams"), [((), None), (("--beams", "5"), 5)])
def test_the_width_of_the_search_reaches_it(run, monkeypatch, captioner, data, arguments, num_beams) -> None:
    """A tiny random model may well find the same with any width, so this looks at the call and not at the figures."""
    asked: list[int | None] = []
    stream = CaptionPipeline.stream

    def spied(self: CaptionPipeline, *inputs: Any, **options: Any) -> Any:
        asked.append(options["num_beams"])
        return stream(self, *inputs, **options)

    monkeypatch.setattr(CaptionPipeline, "stream", spied)
    outcome = run("evaluate", "caption", "--data", data, "--model", captioner, "--limit", "1", *arguments)
    assert (outcome.status, asked) == (0, [num_beams])


def test_text_says_the_same(run, captioner, data) -> None:
    arguments = ("evaluate", "caption", "--data", data, "--model", captioner)
    found = json.loads(run(*arguments, "--format", "json").out)
    assert run(*arguments).out.splitlines() == [
        f"BLEU-1   {found['bleu1']:.3f}",
        f"BLEU-2   {found['bleu2']:.3f}",
        f"BLEU-3   {found['bleu3']:.3f}",
        f"BLEU-4   {found['bleu4']:.3f}",
        f"METEOR   {found['meteor']:.3f}  (words and stems; no synonyms)",
        f"ROUGE-L  {found['rouge_l']:.3f}",
        f"CIDEr-D  {found['cider']:.3f}",
        f"own picture found  {found['self_retrieval']:.1%} of the time among 7 (by chance 14.3%)",
        f"on 7 pictures of {data} (validation) with {captioner}",
    ]


def test_a_limit_is_spread_over_the_split(run, captioner, data, texts) -> None:
    arguments = ("evaluate", "caption", "--data", data, "--model", captioner, "--beams", "1", "--format", "json")
    found = json.loads(run(*arguments, "--limit", "3").out)
    expected = by_hand(captioner, data, texts, [0, 2, 4], num_beams=1)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["items"] == 3


def test_bad_pictures_are_named_skipped_and_counted(run, captioner, data, texts) -> None:
    (data / "validation/1.png").write_bytes(b"")
    (data / "validation/5.png").unlink()
    arguments = ("evaluate", "caption", "--data", data, "--model", captioner, "--beams", "1")
    outcome = run(*arguments, "--format", "json")
    assert outcome.status == 1
    found = json.loads(outcome.out)
    expected = by_hand(captioner, data, texts, [0, 2, 3, 4, 6], num_beams=1)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert (found["items"], found["skipped"]) == (5, 2)
    broken, missing, counted = outcome.err.splitlines()
    assert broken.startswith(f"multiattn: skipped: `{data}/validation/1.png` must be ")
    assert f"{data}/validation/5.png" in missing
    assert counted == "multiattn: 2 of 7 pictures could not be used"
    assert run(*arguments).out.endswith("; 2 skipped\n")


def test_nothing_but_bad_pictures(run, captioner, data) -> None:
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    outcome = run("evaluate", "caption", "--data", data, "--model", captioner)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.endswith("none of the 7 pictures of the split 'validation' could be used\n")


def test_captions_of_the_kind_of_coco(run, captioner, data, texts) -> None:
    images = [{"id": 10 + i, "file_name": f"{i}.png"} for i in range(ITEMS)]
    annotations = [{"image_id": 10 + i, "caption": text} for i, several in enumerate(texts) for text in several]
    (data / "validation").rename(data / "val2017")
    (data / "captions_val2017.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    arguments = ["--captions", "captions_{split}2017.json", "--pictures", "{split}2017", "--format", "json"]
    outcome = run("evaluate", "caption", "--data", data, "--model", captioner, "--beams", "1", *arguments)
    assert (outcome.status, outcome.err) == (0, "")
    (data / "val2017").rename(data / "validation")
    expected = by_hand(captioner, data, texts, list(range(ITEMS)), num_beams=1)
    found = json.loads(outcome.out)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file_name": "1.png", "texts": [""]}', "metadata.jsonl, line 8"),
        ('{"file_name": "1.png"', "metadata.jsonl, line 8"),
        ('{"file_name": "1.png"}', "metadata.jsonl, line 8"),
    ],
)
def test_a_corrupt_line_of_metadata_is_named_with_its_number(run, captioner, data, line, message) -> None:
    with (data / "validation/metadata.jsonl").open("a") as metadata:
        metadata.write(line)
    outcome = run("evaluate", "caption", "--data", data, "--model", captioner)
    assert (outcome.status, outcome.out) == (1, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_split_that_is_not_there(run, captioner, data) -> None:
    outcome = run("evaluate", "caption", "--data", data, "--split", "tset", "--model", captioner)
    assert (outcome.status, outcome.out) == (1, "")
    assert "there is no split 'tset'" in outcome.err


def test_a_model_of_the_other_task(run, captioner, model, data) -> None:
    outcome = run("evaluate", "caption", "--data", data, "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert (
        outcome.err
        == f"multiattn: {model} must be a model for caption, but is one for classify instead: give another\n"
    )
    save_drawing(data / "test/ant/1.png", 1)
    outcome = run("evaluate", "classify", "--data", data, "--split", "test", "--model", captioner)
    assert (outcome.status, outcome.out) == (1, "")
    assert "must be a model for classify, but is one for caption instead: give another\n" in outcome.err


@pytest.mark.parametrize("task", ["caption", "classify"])
def test_the_shipped_model_is_that_of_the_task(run, monkeypatch, data, task) -> None:
    def load(name: str, *, task: str, device: str, precision: str | None) -> None:
        raise ModelError(f"asked for {name} for {task} on {device} in {precision}")

    monkeypatch.setattr(multiattn, "load", load, raising=False)
    save_drawing(data / "test/ant/1.png", 1)
    split = "validation" if task == "caption" else "test"
    outcome = run("evaluate", task, "--data", data, "--split", split)
    assert (outcome.status, outcome.err) == (1, f"multiattn: asked for {task} for {task} on auto in None\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("caption --beams 0", "argument --beams: must be a whole number of at least 1, but is '0' instead"),
        ("caption --limit 0", "argument --limit: must be a whole number of at least 1, but is '0' instead"),
        (
            "classify --beams 3",
            "argument --beams: is for captions and transcripts and answers only, but the task is classify",
        ),
        (
            "classify --captions c.json",
            "argument --captions: is for captions and matches only, but the task is classify",
        ),
        (
            "classify --pictures p",
            "argument --pictures: is for captions and answers and matches only, but the task is classify",
        ),
        (
            "transcribe --pictures p",
            "argument --pictures: is for captions and answers and matches only, but the task is transcribe",
        ),
        ("caption --join", "argument --join: is for transcripts only, but the task is caption"),
        ("classify --language de", "argument --language: is for transcripts only, but the task is classify"),
        ("caption --normalizer none", "argument --normalizer: is for transcripts only, but the task is caption"),
    ],
)
def test_wrong_usage(run, arguments, message) -> None:
    outcome = run("evaluate", *arguments.split(), "--data", "x")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"multiattn evaluate: {message} (multiattn evaluate --help tells more)\n"
