"""What is out of a model's domain is said in one line on standard error, and stands in the output."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from multiattn.models.domain import Domain
from multiattn.weights import save_bundle
from tests.fixtures import CONFIG, tiny_answer_bundle, tiny_bundle

WORDS = frozenset({"dog", "color", "square"})


def models(folder: Path, threshold: float) -> tuple[Path, Path]:
    """A classifier and an answerer whose only prototype is the origin."""
    dim = CONFIG.dim
    domain = Domain(torch.zeros(dim), torch.eye(dim), torch.zeros(1, dim), threshold=threshold)
    save_bundle(replace(tiny_bundle(), domain=domain), folder / "labels")
    save_bundle(replace(tiny_answer_bundle("closed"), domain=replace(domain, words=WORDS)), folder / "answers")
    return folder / "labels", folder / "answers"


@pytest.fixture(scope="module")
def far(tmp_path_factory) -> tuple[Path, Path]:
    return models(tmp_path_factory.mktemp("far"), 1e-3)


@pytest.fixture(scope="module")
def near(tmp_path_factory) -> tuple[Path, Path]:
    return models(tmp_path_factory.mktemp("near"), 1e6)


def test_labels_of_a_picture_out_of_the_domain(run, photos, far) -> None:
    outcome = run("classify", photos / "a.png", "--model", far[0], "--top-k", "1")
    assert outcome.status == 0
    said = "out of domain: the picture is unlike the training pictures ("
    assert outcome.err.startswith(f"multiattn: {photos / 'a.png'}: {said}")
    assert outcome.err.count("\n") == 1
    assert outcome.out.splitlines()[2].startswith(f"  {said}")
    (row,) = map(json.loads, run("classify", photos / "a.png", "--model", far[0], "--format", "json").out.splitlines())
    assert row["out_of_domain"]["picture"] > 1


def test_a_picture_is_named_once_and_each_question_with_new_words(run, photos, far) -> None:
    asked = ("is there a dog?", "what color is the dog?", "is the 猫 on the table?")
    options = [part for question in asked for part in ("--question", question)]
    outcome = run("answer", photos / "a.png", *options, "--model", far[1])
    first, second = outcome.err.splitlines()
    name = f"multiattn: {photos / 'a.png'}"
    assert first.startswith(f"{name}: out of domain: the picture is unlike the training pictures (")
    assert second.startswith(f"{name}, 'is the 猫 on the table?': out of domain: the picture is unlike")
    assert second.endswith("no training question has the words 猫, table; the answer may mean nothing")
    assert outcome.out.count("  out of domain: ") == 3


def test_like_pictures_and_questions_are_not_marked(run, photos, near) -> None:
    outcome = run("answer", photos / "a.png", "--question", "is there a dog?", "--model", near[1], "--format", "json")
    assert outcome.err == "" and "out_of_domain" not in json.loads(outcome.out)
    words = run("answer", photos / "a.png", "--question", "is there a table?", "--model", near[1])
    assert words.err == (
        f"multiattn: {photos / 'a.png'}, 'is there a table?': out of domain: no training question has the word table; "
        "the answer may mean nothing\n"
    )
    assert run("classify", photos / "a.png", "--model", near[0]).err == ""
