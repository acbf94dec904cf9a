import base64
import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

import multiattn
from multiattn.cli.answer import AnswerQuestions
from multiattn.cli.map_files import Written
from multiattn.pipelines import Answer, Candidate
from tests.fixtures import ANSWERS, save_drawing, save_tiny_answerer

DOG, COLOR = "is there a dog?", "what color is it?"


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def answerer(tmp_path_factory) -> str:
    return str(save_tiny_answerer(tmp_path_factory.mktemp("answerer") / "tiny"))


@pytest.fixture(scope="module")
def writer(tmp_path_factory) -> str:
    return str(save_tiny_answerer(tmp_path_factory.mktemp("writer") / "tiny", "decoder"))


@pytest.fixture(scope="module")
def answer(answerer):
    return multiattn.load(answerer, device="cpu")


@pytest.fixture
def asked(photos):
    """A file of questions, as a metadata.jsonl has them, about two pictures."""
    rows = [("a.png", DOG), ("a.png", COLOR), ("deep/c.png", DOG), ("a.png", "how many?")]
    file = photos / "metadata.jsonl"
    file.write_text("".join(json.dumps({"file_name": name, "question": question}) + "\n" for name, question in rows))
    return file


def test_json_is_one_object_a_line_in_order(run, answerer, answer, photos) -> None:
    arguments = ("--question", DOG, "--question", COLOR, "--model", answerer, "--format", "json")
    outcome = run("answer", photos / "b.jpg", photos / "a.png", *arguments)
    assert (outcome.status, outcome.err) == (0, "")
    found = lines(outcome.out)
    assert [(line["file"], line["question"]) for line in found] == [
        (str(photos / name), question) for name in ("b.jpg", "a.png") for question in (DOG, COLOR)
    ]
    for line in found:
        theirs = answer(line["file"], line["question"])
        assert line == {
            "file": theirs.file,
            "question": theirs.question,
            "answer": theirs.answer,
            "score": pytest.approx(theirs.score, abs=1e-5),
            "candidates": [
                {"answer": one.text, "score": pytest.approx(one.score, abs=1e-5)} for one in theirs.candidates
            ],
            "question_words": [
                {"word": word.text, "start": word.start, "end": word.end} for word in theirs.question_words
            ],
            "words": [
                {
                    "word": theirs.answer,
                    "start": 0,
                    "end": len(theirs.answer),
                    "probability": pytest.approx(theirs.score, abs=1e-5),
                }
            ],
            "first_token": "[START]",
        }
    assert [word["word"] for word in found[0]["question_words"]] == ["is", "there", "a", "dog", "?"]


def test_text_is_a_block_a_question(run, answerer, answer, photos) -> None:
    outcome = run("answer", photos / "a.png", "--question", DOG, "--question", COLOR, "--model", answerer, "--top-k=2")
    assert (outcome.status, outcome.err) == (0, "")
    blocks = outcome.out.splitlines()
    assert len(blocks) == 6
    first = answer(photos / "a.png", DOG).candidates
    assert blocks[:4] == [
        f"{photos}/a.png: {DOG}",
        f"  {first[0].score:6.1%}  {first[0].text}",
        f"  {first[1].score:6.1%}  {first[1].text}",
        f"{photos}/a.png: {COLOR}",
    ]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("--beams 1", {"num_beams": 1}),
        ("--top-k 4", {"top_k": 4}),
        ("--beams 5 --top-k 4", {"num_beams": 5, "top_k": 4}),
        ("--first-token [PAD]", {"first_token": "[PAD]"}),
    ],
)
def test_the_options_are_those_of_the_pipeline(run, writer, photos, arguments, options) -> None:
    rest = ("--question", DOG, "--model", writer, "--format", "json", *arguments.split())
    (line,) = lines(run("answer", photos / "a.png", *rest).out)
    pipeline = multiattn.load(writer, task="answer", device="cpu")
    theirs, default = pipeline(photos / "a.png", DOG, **options), pipeline(photos / "a.png", DOG)
    assert [one["answer"] for one in line["candidates"]] == [one.text for one in theirs.candidates]
    assert line["first_token"] == theirs.first_token
    assert theirs.candidates != default.candidates  # it does something


def test_answers_are_chosen_from_a_file(run, answerer, writer, photos, tmp_path) -> None:
    several = tmp_path / "answers.txt"
    several.write_text("yes\n\n  two \n")
    arguments = ("answer", photos / "a.png", "--question", DOG, "--answers", several, "--format", "json", "--model")
    for model in (answerer, writer):
        (line,) = lines(run(*arguments, model).out)
        assert {one["answer"] for one in line["candidates"]} == {"yes", "two"}
        assert line["answer"] == line["candidates"][0]["answer"]


def test_questions_come_from_a_file_in_its_order(run, answerer, answer, photos, asked) -> None:
    outcome = run("answer", "--questions", asked, "--model", answerer, "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    found = [(line["file"], line["question"], line["answer"]) for line in lines(outcome.out)]
    assert [(file, question) for file, question, _ in found] == [
        (f"{photos}/a.png", DOG),
        (f"{photos}/a.png", COLOR),
        (f"{photos}/deep/c.png", DOG),
        (f"{photos}/a.png", "how many?"),
    ]
    assert all(said == answer(file, question).answer for file, question, said in found)
    table = photos / "asked.csv"
    table.write_text(f'file_name,question,answer\na.png,"{DOG}",no\n')
    (line,) = lines(run("answer", "--questions", table, "--model", answerer, "--format", "json").out)
    assert (line["file"], line["question"]) == (f"{photos}/a.png", DOG)


@pytest.mark.parametrize("batch_size", ["1", "2", "7"])
def test_the_batch_size_changes_nothing(run, answerer, photos, batch_size) -> None:
    arguments = ("answer", photos, "--question", DOG, "--question", COLOR, "--model", answerer)
    assert run(*arguments, "--batch-size", batch_size).out == run(*arguments).out


def test_out_takes_the_results(run, answerer, photos, tmp_path) -> None:
    arguments = ("answer", photos, "--question", DOG, "--model", answerer, "--format", "json")
    to_stdout = run(*arguments).out
    outcome = run(*arguments, "--out", tmp_path / "new/r.jsonl")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert (tmp_path / "new/r.jsonl").read_text() == to_stdout


def test_maps_are_written_and_named_one_page_a_picture(run, answerer, answer, photos, tmp_path) -> None:
    maps = tmp_path / "new" / "maps"
    arguments = ("--question", DOG, "--question", COLOR, "--model", answerer, "--format", "json", "--maps", maps)
    outcome = run("answer", photos / "a.png", *arguments)
    assert (outcome.status, outcome.err) == (0, "")
    first, second = lines(outcome.out)
    for line, name in ((first, "a"), (second, "a.2")):
        assert line["maps"] == {
            "relevance": {
                "html": str(maps / "a.html"),
                "png": str(maps / f"{name}.relevance.png"),
                "npz": str(maps / f"{name}.relevance.npz"),
                "json": str(maps / f"{name}.relevance.json"),
            }
        }
        (theirs,) = answer(photos / "a.png", line["question"], maps="relevance").maps
        for file, one in ((f"{name}.relevance", theirs.map), (f"{name}.relevance.question", theirs.question)):
            values = np.load(maps / f"{file}.npz", allow_pickle=False)["values"]
            np.testing.assert_allclose(values, one.values, atol=1e-5)
            facts = json.loads((maps / f"{file}.json").read_text(encoding="utf-8"))
            assert tuple(facts["axes"][0]["labels"]) == one.axes[0].labels
        with Image.open(maps / f"{name}.relevance.png") as figure:
            assert figure.size > (53, 37)
    assert len(list(maps.iterdir())) == 2 * 5 + 1
    page = (maps / "a.html").read_text(encoding="utf-8")
    assert all(f'"text":"{word}"' in page for word in (" dog", " color", first["answer"], second["answer"]))


def test_map_methods_add_up_and_maps_of_an_earlier_run_are_no_inputs(run, answerer, photos) -> None:
    arguments = ("--question", DOG, "--model", answerer, "--format", "json", "--maps", photos)
    methods = ("--map-method", "rollout,attention", "--map-method", "relevance")
    first = run("answer", photos / "a.png", *arguments, *methods, "--map-format", "png")
    assert [list(line["maps"]) for line in lines(first.out)] == [["rollout", "attention", "relevance"]]
    assert (photos / "a.rollout.png").exists()
    again = run("answer", photos, *arguments, "--map-method", "all", "--map-format", "npz")
    assert [list(line["maps"]) for line in lines(again.out)] == [["relevance", "attention", "rollout"]] * 3


def test_the_text_says_where_the_page_is_and_commands_no_terminal() -> None:
    result = Answer("x\n.png", "wh\x1b[2Jat?", (Candidate("do\x1bg", 0.25),), (), (), "[ENC]")
    assert AnswerQuestions.as_text(result, Written("m/x.html", {})).split("\n") == [
        r"x\n.png: wh\x1b[2Jat?",
        r"   25.0%  do\x1bg",
        "    maps  m/x.html",
    ]


def test_what_cannot_be_used_is_named_and_the_others_are_done(run, answerer, photos, asked) -> None:
    with asked.open("a") as more:
        for name, question in (("gone.png", DOG), ("gone.png", COLOR), ("b.jpg", " "), ("b.jpg", DOG)):
            more.write(json.dumps({"file_name": name, "question": question}) + "\n")
    outcome = run("answer", "--questions", asked, "--model", answerer)
    assert outcome.status == 1
    assert sum(not line.startswith(" ") for line in outcome.out.splitlines()) == 5
    gone, blank, counted = outcome.err.splitlines()
    assert gone.startswith(f"multiattn: {asked}, line 5: `{photos}/gone.png` must be a file")
    assert blank == f"multiattn: {asked}, line 7: `question` must have a word, but is ' ' instead: ask something"
    assert counted == "multiattn: 3 of 8 inputs could not be used"


def test_a_path_that_leads_nowhere(run, answerer, photos) -> None:
    outcome = run("answer", photos / "gone.png", photos / "a.png", "--question", DOG, "--model", answerer)
    assert outcome.status == 1
    assert outcome.out.startswith(f"{photos}/a.png: {DOG}\n")
    assert "gone.png" in outcome.err
    assert outcome.err.endswith("multiattn: 1 of 2 inputs could not be used\n")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("fox " * 10_000, "multiattn: `question` must have at most 41 tokens, but 'fox fox "),
        ("何色ですか", "multiattn: `question` must have a word that the model's vocabulary knows, but is '何色ですか'"),
    ],
)
def test_a_question_that_the_model_cannot_read_is_told_once(run, answerer, photos, question, message) -> None:
    outcome = run("answer", photos, "--question", question, "--model", answerer)
    assert (outcome.status, outcome.out) == (1, "")
    told, counted = outcome.err.splitlines()
    assert told.startswith(message)
    assert len(told) < 200
    assert counted == "multiattn: 3 of 3 inputs could not be used"


def test_words_that_the_model_does_not_know_are_named_once_a_question(run, answerer, photos) -> None:
    asked = ("--question", "is the 猫 left of 犬x?", "--question", DOG, "--question", "where is the 猫?")
    outcome = run("answer", photos, *asked, "--model", answerer, "--format", "json")
    assert outcome.status == 0
    assert len(lines(outcome.out)) == 3 * 3  # each is answered about each picture
    told = "multiattn: the question {} is answered without what the model's vocabulary does not know: {}"
    assert outcome.err.splitlines() == [
        told.format("'is the 猫 left of 犬x?'", "猫, 犬x"),
        told.format("'where is the 猫?'", "猫"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "{}: the file names no picture."),
        ("{", "{}, line 1 must be a JSON object, but is damaged or unusual instead ("),
        ('{"question": "why?"}', "{}, line 1: `file_name` must be the path of a picture, but is None instead."),
        ('{"file_name": "a.png"}', "{}, line 1: `question` must be text, but is None instead."),
        ('{"file_name": "a.png", "question": ["a", "b"]}', "{}, line 1: `question` must be text, but is ['a', 'b']"),
    ],
)
def test_a_file_of_questions_that_is_none(run, answerer, photos, content, message) -> None:
    file = photos / "asked.jsonl"
    file.write_text(content)
    outcome = run("answer", "--questions", file, "--model", answerer)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("multiattn: " + message.format(file))
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n \n", "{0}: there must be at least one answer, each on a line of its own, but there is none: write"),
        (
            "yes\nno\n yes\n",
            "{0}, line 3: the answer 'yes' is there already, in {0}, line 1: remove one.",
        ),
        (
            "yes\nblue\n",
            "`answers` must be of the 5 that {1} knows (yes, no, red, two, above the wall), but 'blue' is not: leave",
        ),
    ],
)
def test_a_file_of_answers_that_is_none(run, answerer, photos, tmp_path, content, message) -> None:
    file = tmp_path / "answers.txt"
    file.write_text(content)
    outcome = run("answer", photos / "a.png", "--question", DOG, "--answers", file, "--model", answerer)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("multiattn: " + message.format(file, answerer))
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--questions", "--answers"])
def test_a_file_that_is_not_there(run, answerer, photos, option) -> None:
    rest = () if option == "--questions" else (photos / "a.png", "--question", DOG)
    outcome = run("answer", *rest, option, photos / "gone.txt", "--model", answerer)
    assert (outcome.status, outcome.out) == (1, "")
    check = "Check the path."
    assert outcome.err == f"multiattn: `{option} {photos}/gone.txt` must be a file, but is not there instead. {check}\n"
    outcome = run("answer", *rest, option, photos, "--model", answerer)
    assert outcome.err == f"multiattn: `{option} {photos}` must be a file, but is a folder instead. {check}\n"


def test_beams_of_a_model_that_does_not_write(run, answerer, photos) -> None:
    outcome = run("answer", photos / "a.png", "--question", DOG, "--beams", "3", "--model", answerer)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"multiattn: `num_beams` says how an answer is written, but {answerer} takes it from a list: "
        "leave `num_beams` out\n"
    )


def test_a_model_for_another_task(run, model, answerer, photos) -> None:
    outcome = run("answer", photos, "--question", DOG, "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"multiattn: {model} must be a model for answer, but is one for classify instead: give another\n"
    )
    outcome = run("classify", photos, "--model", answerer)
    assert outcome.err == (
        f"multiattn: {answerer} must be a model for classify, but is one for answer instead: give another\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: PATH (or --questions FILE, which names pictures)"),
        (("x.png",), "--question Q (or --questions FILE) must say what to ask"),
        (("x.png", "--questions", "q"), "--questions names pictures and their questions; leave out PATH and --quest"),
        (("--question", "why?", "--questions", "q"), "--questions names pictures and their questions; leave out"),
        (("x.png", "--question", "  "), "--question: must have more than spaces, but is '  ' instead"),
        (("x.png", "--question", "a", "--beams", "2", "--answers", "f"), "--beams says how to write an answer, and"),
        (("x.png", "--question", "a", "--map-method", "rollout"), "--map-method says how to make maps, and needs"),
        (("x.png", "--question", "a", "--top-k", "0"), "--top-k: must be a whole number of at least 1, but is '0'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run, arguments, message) -> None:
    outcome = run("answer", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_out_does_not_replace_a_picture_that_a_file_names(run, answerer, photos, asked) -> None:
    before = (photos / "a.png").read_bytes()
    outcome = run("answer", "--questions", asked, "--out", photos / "a.png", "--model", answerer)
    assert (outcome.status, outcome.out) == (2, "")
    assert "must not be one of the pictures, which it would replace" in outcome.err
    assert (photos / "a.png").read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only there")
def test_a_file_name_that_is_no_text_comes_out_as_it_went_in(run, answerer, tmp_path) -> None:
    name = str(tmp_path / "caf\udce9.png")
    save_drawing(tmp_path / "a.png", 1).rename(name)
    (line,) = lines(run("answer", name, "--question", DOG, "--model", answerer, "--format", "json").out)
    assert os.fsdecode(base64.b64decode(line["file_bytes"])) == name
    assert line["answer"] in ANSWERS
