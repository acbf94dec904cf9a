import base64
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import multiattn
from multiattn.cli.caption import Caption
from multiattn.cli.map_files import Written
from multiattn.errors import MultiattnError
from multiattn.pipelines import Candidate, CaptionResult, WrittenWord
from tests.fixtures import SENTENCES, save_drawing


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def caption(captioner):
    return multiattn.load(captioner, task="caption", device="cpu")


def test_json_is_one_object_a_line_in_order(run, captioner, caption, photos) -> None:
    outcome = run("caption", photos / "deep/c.png", photos, "--model", captioner, "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    found = lines(outcome.out)
    names = ("deep/c.png", "a.png", "b.jpg", "deep/c.png")
    assert [line["file"] for line in found] == [str(photos / name) for name in names]
    assert len({line["text"] for line in found}) > 1
    for line in found:
        theirs = caption(line["file"])
        assert line.keys() == {"file", "text", "score", "words"}
        assert (line["text"], line["score"]) == (theirs.text, pytest.approx(theirs.score, abs=1e-5))
        assert line["words"] == [
            {
                "word": word.text,
                "start": word.start,
                "end": word.end,
                "probability": pytest.approx(word.probability, rel=1e-3),
            }
            for word in theirs.words
        ]


def test_text_is_a_block_a_picture(run, captioner, caption, photos) -> None:
    outcome = run("caption", photos / "a.png", photos / "b.jpg", "--model", captioner, "--candidates", "2")
    assert (outcome.status, outcome.err) == (0, "")
    blocks = outcome.out.splitlines()
    assert len(blocks) == 6
    first = caption(photos / "a.png", num_return_sequences=2).candidates
    assert blocks[:4] == [
        str(photos / "a.png"),
        f"  {first[0].score:6.1%}  {first[0].text}",
        f"  {first[1].score:6.1%}  {first[1].text}",
        str(photos / "b.jpg"),
    ]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("--beams 1", {"num_beams": 1}),
        ("--beams 5 --candidates 4", {"num_beams": 5, "num_return_sequences": 4}),
        ("--max-tokens 2", {"max_tokens": 2}),
        ("--max-tokens 19 --length-penalty -3.5", {"max_tokens": 19, "length_penalty": -3.5}),
        ("--prompt red", {"prompt": "red"}),
        ("--no-repeat-ngram 1", {"no_repeat_ngram": 1}),
        ("--repetition-penalty 3", {"repetition_penalty": 3.0}),
        ("--max-tokens 12 --min-tokens 11", {"max_tokens": 12, "min_tokens": 11}),
        ("--sample --seed 3", {"sample": True, "seed": 3}),
        ("--sample --seed 3 --temperature 9", {"sample": True, "seed": 3, "temperature": 9.0}),
        ("--sample --seed 3 --temperature 9 --top-k 3", {"sample": True, "seed": 3, "temperature": 9.0, "top_k": 3}),
        ("--sample --seed 3 --temperature 9 --top-p .3", {"sample": True, "seed": 3, "temperature": 9.0, "top_p": 0.3}),
    ],
)
def test_the_options_are_those_of_the_pipeline(run, captioner, caption, photos, arguments, options) -> None:
    outcome = run("caption", photos, "--model", captioner, "--format", "json", *arguments.split())
    assert (outcome.status, outcome.err) == (0, "")
    pictures = [photos / name for name in ("a.png", "b.jpg", "deep/c.png")]
    theirs, default = caption(pictures, **options), caption(pictures)
    assert [line["text"] for line in lines(outcome.out)] == [result.text for result in theirs]
    assert [result.candidates for result in theirs] != [result.candidates for result in default]  # it does something


def test_candidates_are_told_where_several_are_asked_for(run, captioner, caption, photos) -> None:
    arguments = ("caption", photos / "a.png", "--model", captioner, "--format", "json")
    (line,) = lines(run(*arguments, "--candidates", "3").out)
    assert [one["text"] for one in line["candidates"]] == [
        one.text for one in caption(photos / "a.png", num_return_sequences=3).candidates
    ]
    assert line["candidates"][0] == {"text": line["text"], "score": line["score"]}
    (line,) = lines(run(*arguments, "--candidates", "1").out)
    assert "candidates" not in line


@pytest.mark.parametrize("batch_size", ["1", "2", "7"])
def test_the_batch_size_changes_nothing(run, captioner, photos, batch_size) -> None:
    arguments = ("caption", photos, "--model", captioner)
    assert run(*arguments, "--batch-size", batch_size).out == run(*arguments).out


def test_out_takes_the_results(run, captioner, photos, tmp_path) -> None:
    to_stdout = run("caption", photos, "--model", captioner, "--format", "json").out
    outcome = run("caption", photos, "--model", captioner, "--format", "json", "--out", tmp_path / "new/r.jsonl")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert (tmp_path / "new/r.jsonl").read_text() == to_stdout


def test_maps_are_written_and_named(run, captioner, caption, photos, tmp_path) -> None:
    maps = tmp_path / "new" / "maps"
    outcome = run("caption", photos / "a.png", "--model", captioner, "--format", "json", "--maps", maps)
    assert (outcome.status, outcome.err) == (0, "")
    (line,) = lines(outcome.out)
    assert line["maps"] == {
        "relevance": {
            "html": str(maps / "a.html"),
            "png": str(maps / "a.relevance.png"),
            "npz": str(maps / "a.relevance.npz"),
            "json": str(maps / "a.relevance.json"),
        }
    }
    assert sorted(path.name for path in maps.iterdir()) == [
        "a.html",
        "a.relevance.json",
        "a.relevance.npz",
        "a.relevance.png",
    ]
    with Image.open(maps / "a.relevance.png") as strip:
        assert strip.size > (53, 37)
    theirs = caption(photos / "a.png", maps="relevance")
    values = np.load(maps / "a.relevance.npz", allow_pickle=False)["values"]
    np.testing.assert_allclose(values, theirs.maps[0].map.values, atol=1e-6)
    facts = json.loads((maps / "a.relevance.json").read_text(encoding="utf-8"))
    assert "".join(facts["axes"][0]["labels"]) == line["text"]
    assert "a.png" in (maps / "a.html").read_text(encoding="utf-8")
    for word, expected in zip(line["words"], theirs.words, strict=True):
        assert word["image_dependence"] == pytest.approx(expected.image_dependence, abs=1e-4)
        assert word["ungrounded"] == expected.ungrounded


def test_map_methods_add_up(run, captioner, photos, tmp_path) -> None:
    arguments = ("caption", photos / "a.png", "--model", captioner, "--format", "json", "--maps", tmp_path / "m")
    arguments = (*arguments, "--map-format", "npz")
    (several,) = lines(run(*arguments, "--map-method", "rollout,attention", "--map-method", "relevance").out)
    assert list(several["maps"]) == ["rollout", "attention", "relevance"]
    (all_of_them,) = lines(run(*arguments, "--map-method", "all").out)
    assert list(all_of_them["maps"]) == ["relevance", "attention", "lrp", "rollout"]


def test_maps_of_an_earlier_run_are_no_inputs(run, captioner, photos) -> None:
    arguments = ("caption", photos, "--model", captioner, "--format", "json", "--maps", photos)
    first, second = run(*arguments), run(*arguments)
    assert first.out == second.out
    assert len(first.out.splitlines()) == 3


def test_the_text_says_where_the_page_is_and_what_the_picture_did_not_say(run, captioner, photos, tmp_path) -> None:
    outcome = run("caption", photos / "a.png", "--model", captioner, "--maps", tmp_path / "m")
    assert outcome.out.splitlines()[-1] == f"    maps  {tmp_path}/m/a.html"
    words = tuple(
        WrittenWord(text, 0, 1, 0.5, image_dependence, ungrounded)
        for text, image_dependence, ungrounded in (("a", 0.0, True), ("do\x1bg", 2.0, False), ("\x1bsea", -1.0, True))
    )
    result = CaptionResult("x\n.png", words, (Candidate("a do\x1bg \x1bsea", 0.25),))
    assert Caption.as_text(result, Written("m/x.html", {})).split("\n") == [
        r"x\n.png",
        r"   25.0%  a do\x1bg \x1bsea",
        r"    the picture did not matter: a, \x1bsea",
        "    maps  m/x.html",
    ]
    assert Caption.as_text(result, None).split("\n") == [r"x\n.png", r"   25.0%  a do\x1bg \x1bsea"]


def test_a_bad_picture_is_named_and_the_others_are_done(run, captioner, photos, tmp_path) -> None:
    (tmp_path / "words.png").write_text("no picture")
    outcome = run("caption", photos / "a.png", tmp_path / "words.png", photos / "b.jpg", "--model", captioner)
    assert outcome.status == 1
    assert [line for line in outcome.out.splitlines() if not line.startswith(" ")] == [
        f"{photos}/a.png",
        f"{photos}/b.jpg",
    ]
    named, counted = outcome.err.splitlines()
    assert named.startswith(f"multiattn: `{tmp_path}/words.png` must be a picture")
    assert counted == "multiattn: 1 of 3 inputs could not be used"


def test_a_model_for_another_task(run, model, captioner, photos) -> None:
    outcome = run("caption", photos, "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"multiattn: {model} must be a model for caption, but is one for classify instead: give another\n"
    )
    outcome = run("classify", photos, "--model", captioner)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"multiattn: {captioner} must be a model for classify, but is one for caption instead: give another\n"
    )


def test_a_prompt_that_is_longer_than_the_position_table(run, captioner, photos) -> None:
    outcome = run("caption", photos, "--model", captioner, "--prompt", "red square " * 20)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("multiattn: ")
    assert "41" in outcome.err  # rows of the table
    assert outcome.err.count("\n") == 1


def test_a_prompt_of_nothing_but_spaces(run, captioner, photos) -> None:
    outcome = run("caption", photos, "--model", captioner, "--prompt", "  ")
    assert (outcome.status, outcome.out) == (2, "")
    assert "--prompt: must have more than spaces, but is '  ' instead" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_vocabulary_of_another_model(run, captioner, photos, tmp_path) -> None:
    from multiattn.inputs import Tokenizer

    broken = tmp_path / "broken"
    broken.mkdir()
    for file in Path(captioner).iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    Tokenizer.train(["a few letters"], kind="characters", vocab_size=31).save(broken)
    outcome = run("caption", photos, "--model", broken)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith(f"multiattn: {broken} ")
    assert "vocabulary" in outcome.err
    assert outcome.err.count("\n") == 1
    (broken / "tokenizer.json").write_text("{")
    outcome = run("caption", photos, "--model", broken)
    assert (outcome.status, outcome.out) == (1, "")
    assert str(broken / "tokenizer.json") in outcome.err


def test_a_name_that_commands_a_terminal_is_made_harmless(run, captioner, tmp_path) -> None:
    name = save_drawing(tmp_path / "a\x1b[2J.png", 1)
    outcome = run("caption", name, "--model", captioner, "--maps", tmp_path / "m")
    assert outcome.status == 0
    assert "\x1b" not in outcome.out + outcome.err
    assert (tmp_path / "m" / "a_[2J.html").is_file()


def test_a_decode_that_fails_on_the_way_keeps_what_was_done(run, captioner, photos, monkeypatch, tmp_path) -> None:
    from multiattn.pipelines import caption as room

    plain, calls = room.generate, []

    def sometimes(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise MultiattnError("the cable was pulled")
        return plain(*arguments, **options)

    monkeypatch.setattr(room, "generate", sometimes)
    results = tmp_path / "r.txt"
    outcome = run("caption", photos, "--model", captioner, "--batch-size", "2", "--out", results)
    assert (outcome.status, outcome.err) == (1, "multiattn: the cable was pulled\n")
    assert not results.exists()
    assert results.with_name("r.txt.part").read_text().count("%") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only there")
def test_a_file_name_that_is_no_text_comes_out_as_it_went_in(run, captioner, photos, tmp_path) -> None:
    name = str(tmp_path / "caf\udce9.png")
    (photos / "a.png").rename(name)
    (line,) = lines(run("caption", name, "--model", captioner, "--format", "json").out)
    assert (line["file"], base64.b64decode(line["file_bytes"])) == (name.replace("\udce9", "\ufffd"), os.fsencode(name))


def test_a_text_that_is_given_is_explained(run, captioner, photos) -> None:
    outcome = run("caption", photos / "b.jpg", "--model", captioner, "--explain-text", SENTENCES[0], "--format", "json")
    assert outcome.status == 0, outcome.err
    record = json.loads(outcome.out)
    assert record["text"] == SENTENCES[0] and [word["word"] for word in record["words"]] == SENTENCES[0].split()
    unknown = run("caption", photos / "b.jpg", "--model", captioner, "--explain-text", "a \u6f22")
    assert (
        unknown.status == 1 and "`explain_text` must have words of the model's vocabulary, but '\u6f22'" in unknown.err
    )
    assert unknown.err.count("\n") == 1
