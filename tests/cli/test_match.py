"""`multiattn match` and `multiattn evaluate match`."""

import json
from pathlib import Path

import pytest

from multiattn.pipelines import MatchPipeline
from multiattn.weights import hub
from tests.fixtures import save_drawing, save_tiny_matcher, tiny_match_bundle

TEXTS = ("a red square", "two green rings near a tree")
ASKED = ("--text", TEXTS[0], "--text", TEXTS[1])


@pytest.fixture(scope="session")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_matcher(tmp_path_factory.mktemp("matcher") / "tiny"))


def test_as_json(run, matcher, photos) -> None:
    outcome = run("match", photos, *ASKED, "--model", matcher, "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    match = MatchPipeline(tiny_match_bundle(), device="cpu")
    for line, file in zip(outcome.out.splitlines(), ("a.png", "b.jpg", "deep/c.png"), strict=True):
        found = json.loads(line)
        assert Path(found["file"]) == photos / file
        expected = match(photos / file, TEXTS)
        assert [one["text"] for one in found["texts"]] == list(TEXTS)
        assert [one["score"] for one in found["texts"]] == pytest.approx(expected.scores)


def test_to_read_best_first(run, matcher, photos) -> None:
    outcome = run("match", photos / "a.png", *ASKED, "--model", matcher)
    best = MatchPipeline(tiny_match_bundle(), device="cpu")(photos / "a.png", TEXTS).best
    first = outcome.out.splitlines()[1]
    assert first == f"  {best.score:6.1%}  {best.similarity:+.3f}  {best.text}"


def test_as_a_table(run, matcher, photos) -> None:
    outcome = run("match", photos / "a.png", *ASKED, "--model", matcher, "--format", "csv")
    header, row = outcome.out.splitlines()
    assert header.startswith("file,text,score,similarity,texts,score_kind,")
    best = MatchPipeline(tiny_match_bundle(), device="cpu")(photos / "a.png", TEXTS).best
    assert row.split(",")[1] == best.text and row.split(",")[2] == str(best.score)


def test_a_long_text_is_named_once(run, matcher, photos) -> None:
    outcome = run("match", photos, "--text", "the sky " * 30, "--text", "a fox", "--model", matcher)
    assert outcome.status == 0
    assert outcome.err.splitlines() == [
        f"multiattn: 1 text is longer than the model reads (17 tokens), and cut there: {'the sky ' * 30:.60} ..."
    ]


def test_wrong_usage(run, matcher, photos) -> None:
    assert "--text T must say what to compare the pictures with" in run("match", photos, "--model", matcher).err
    outcome = run("match", photos, "--text", "a", "--text", "a", "--model", matcher)
    assert (outcome.status, "`texts` must have each text once, but has 'a' twice" in outcome.err) == (1, True)


def test_without_a_model_where_none_is_shipped(run, photos, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(hub, "shipped", lambda *parts: tmp_path / "none")
    outcome = run("match", photos, *ASKED)
    assert outcome.status == 1
    assert outcome.err.startswith("multiattn: the model for match is missing from this installation: ")


def test_maps(run, matcher, photos, tmp_path) -> None:
    maps = tmp_path / "maps"
    outcome = run("match", photos, *ASKED, "--model", matcher, "--maps", maps, "--check", "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    first = json.loads(outcome.out.splitlines()[0])
    assert first["words"][0]["word"] == "a" if first["texts"][0]["score"] > 0.5 else "two"
    assert first["verdict"][0]["method"] == "relevance" and "word" in first["verdict"][0]["text"]
    assert first["maps"]["relevance"]["png"] == str(maps / "a.relevance.png")
    kinds = ("html", "relevance.json", "relevance.npz", "relevance.png", "relevance.text.json", "relevance.text.npz")
    names = {path.name for path in maps.iterdir()}
    assert names == {f"{name}.{kind}" for name in "abc" for kind in kinds} | {"index.html"}
    assert "two green rings near a tree" in (maps / "a.html").read_text()
    text = run("match", photos / "a.png", *ASKED, "--model", matcher, "--check", "--target", TEXTS[0])
    assert [line.split()[0] for line in text.out.splitlines()[3:]] == ["words", "check", "check"]
    wrong = run("match", photos / "a.png", *ASKED, "--model", matcher, "--check", "--target", "a fox")
    assert (wrong.status, "--target must be one of the texts, but is 'a fox' instead" in wrong.err) == (2, True)


LABELS = ("a fox", "a red square", "a tree")


def test_labels_of_ones_own(run, matcher, photos, tmp_path) -> None:
    outcome = run("classify", photos / "a.png", "--labels", *LABELS, "--model", matcher, "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    expected = MatchPipeline(tiny_match_bundle(), device="cpu").classify(photos / "a.png", LABELS)
    (line,) = map(json.loads, outcome.out.splitlines())
    assert line == json.loads(json.dumps(expected.to_dict()))
    (tmp_path / "labels.txt").write_text("a fox\n\na red square\na tree\n")
    same = run("classify", photos / "a.png", "--labels-file", tmp_path / "labels.txt", "--model", matcher)
    assert same.out.splitlines()[1] == f"  {expected.score:6.1%}  {expected.label}"
    only = run("classify", photos, "--labels", *LABELS, "--model", matcher, "--only", "a tree", "--top-k", 1)
    assert set(only.out.split("\n")[1::2]) <= {line for line in only.out.split("\n") if line.endswith("a tree")}


def test_templates_are_averaged(run, matcher, photos) -> None:
    templates = ("--template", "a small {}", "--template", "the {} is red")
    asked = ("--labels", *LABELS, "--model", matcher, "--format", "json")
    found = json.loads(run("classify", photos / "a.png", *templates, *asked).out)
    match = MatchPipeline(tiny_match_bundle(), device="cpu")
    expected = match.classify(photos / "a.png", LABELS, template=["a small {}", "the {} is red"])
    assert found["predictions"] == json.loads(json.dumps(expected.to_dict()))["predictions"]


def test_maps_of_a_label(run, matcher, photos, tmp_path) -> None:
    asked = ("--labels", *LABELS, "--model", matcher, "--maps", tmp_path / "maps", "--map-method", "relevance")
    outcome = run("classify", photos / "a.png", *asked, "--check", "--target", "a tree")
    assert (outcome.status, outcome.err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        *("a.html", "a.relevance.json", "a.relevance.npz", "a.relevance.png")
    ]
    assert json.loads((tmp_path / "maps" / "a.relevance.json").read_text())["target"] == "a tree"
    assert "check  relevance: " in outcome.out


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        (("--labels", "a", "a"), 1, "`labels` must have each text once, but has 'a' twice: leave one out"),
        (("--labels", "a"), 1, "`labels` must be at least two for a model whose probabilities are shares"),
        (("--labels", "a", " "), 2, "argument --labels: must have more than spaces, but is ' ' instead"),
        (("--labels",), 2, "argument --labels: expected at least one argument"),
        (("--template", "{}"), 2, "--template says what labels are put into, and needs --labels"),
        (("--template", "x", "--labels", "a", "b"), 1, "`template` must be a text with one {} for the label"),
        (("--labels", "a", "b", "--only", "c"), 2, "--only must be a label of the model, but is 'c' instead"),
        (("--labels", "a", "--labels-file", "x"), 2, "--labels and --labels-file both say what the labels are"),
        (("--labels-file", "no.txt"), 1, "`--labels-file no.txt` must be a file, but is not there instead"),
    ],
)
def test_labels_that_cannot_be_used(run, matcher, photos, asked, status, message) -> None:
    outcome = run("classify", photos / "a.png", *asked, "--model", matcher)
    assert (outcome.status, message in outcome.err) == (status, True), outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_path_after_the_labels_is_a_label(run, matcher, photos) -> None:
    outcome = run("classify", "--labels", "a", "b", photos / "a.png", "--model", matcher)
    assert (outcome.status, "required: PATH, before --labels" in outcome.err) == (2, True)


def test_evaluate(run, matcher, tmp_path) -> None:
    folder = tmp_path / "data" / "test"
    lines = []
    for seed in range(7):
        save_drawing(folder / f"{seed}.png", seed)
        lines.append({"file_name": f"{seed}.png", "texts": [f"a small fox {seed}", f"the tree {seed} is red"]})
    (folder / "6.png").write_bytes(b"")
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    outcome = run(
        *("evaluate", "match", "--data", tmp_path / "data", "--split", "test", "--model", matcher, "--groups", 3),
        *("--format", "json"),
    )
    assert outcome.status == 1 and "skipped" in outcome.err
    found = json.loads(outcome.out)
    assert (found["items"], found["skipped"], found["texts"], found["groups"]["size"]) == (6, 1, 12, 3)
    assert found["text_r1"] <= found["text_r5"] <= found["text_r10"] == 1.0 == found["picture_r10"]
    assert found["groups"]["picture_r5"] == 1.0
    text = run("evaluate", "match", "--data", tmp_path / "data", "--split", "test", "--model", matcher).out
    assert "R@1" in text.splitlines()[1] and text.splitlines()[2].startswith("all")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["maps", "heads"])
def test_maps_and_heads_are_measured(what, run, matcher, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("multiattn.pipelines.explained_texts.LIKELY", 0.0)
    rows = []
    for seed in range(12):
        save_drawing(tmp_path / "validation" / f"{seed}.png", seed)
        rows.append({"file_name": f"{seed}.png", "text": f"fox number {seed}"})
    (tmp_path / "validation" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = ("--task", "match", "--data", tmp_path, "--model", matcher, "--items", 12, "--format", "json")
    outcome = run("evaluate", what, *given)
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert (found["items"], found["task"]) == (12, "match")
    if what == "maps":
        assert {*found["scores"]} == {"attention", "rollout", "relevance", "lrp", "centered blob", "random"}
        assert len(found["scores"]["lrp"]["randomized"]) == 3
    else:
        assert [one["site"] for one in found["heads"]][::2] == [f"blocks.{layer}.self" for layer in range(3)]
