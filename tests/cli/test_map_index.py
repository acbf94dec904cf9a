"""`--maps` of several inputs: an index that links their pages."""

import re
import shutil
from pathlib import Path

import pytest

from tests.fixtures import save_tiny_answerer

from .test_classify import lines

CARD = re.compile(r'<a class="card" href="([^"]*)" data-search="([^"]*)"')


def cards(folder: Path) -> list[tuple[str, str]]:
    return CARD.findall((folder / "index.html").read_text(encoding="utf-8"))


def test_every_page_has_a_card_with_what_the_model_said(run, model, photos, tmp_path) -> None:
    files = [photos / "a.png", photos / "b.jpg", photos / "deep" / "c.png"]
    maps = tmp_path / "m"
    command = ("classify", *files, "--model", model, "--format", "json", "--map-method", "attention")
    records = lines(run(*command, "--check", "--maps", maps).out)
    found = cards(maps)
    assert [place for place, _ in found] == [f"{file.stem}.html" for file in files]
    for (place, words), record in zip(found, records, strict=True):
        assert (maps / place).is_file()
        assert record["predictions"][0]["label"].casefold() in words
        assert words.endswith(record["verdict"][0]["word"])
    run(*command, "--maps", tmp_path / "n", "--map-format", "png")
    run("classify", files[0], "--model", model, "--maps", tmp_path / "one", "-q")
    assert not (tmp_path / "n" / "index.html").exists() and not (tmp_path / "one" / "index.html").exists()


def test_each_question_has_a_card_that_opens_the_page_at_it(run, photos, tmp_path) -> None:
    model = save_tiny_answerer(tmp_path / "tiny")
    files, asked = (photos / "a.png", photos / "b.jpg"), ("--question", "what?", "--question", "where is it?")
    shared = ("--model", model, "--maps", tmp_path / "m", "--map-format", "html", "--map-method", "attention", "-q")
    assert run("answer", *files, *asked, *shared).status == 0
    found = cards(tmp_path / "m")
    assert [place for place, _ in found] == [f"{name}.html#question={n}" for name in "ab" for n in (1, 2)]
    assert all(question in words for (_, words), question in zip(found, ("what?", "where is it?") * 2, strict=True))


@pytest.mark.process
def test_workers_make_cards_and_an_earlier_run_leaves_its_own(run, model, photos, tmp_path) -> None:
    maps = tmp_path / "m"
    shared = ("--model", model, "--format", "json", "--out", tmp_path / "r.jsonl", "--map-method", "attention")
    command = ("classify", photos, *shared, "--map-format", "html", "--maps", maps)
    assert run(*command, "--processes", "1").status == 0
    assert [place for place, _ in cards(maps)] == ["a.html", "b.html", "c.html"]
    shutil.copy(photos / "a.png", photos / "index.png")  # whose page may not have the index's name
    assert run(*command, "--resume").status == 0
    assert [place for place, _ in cards(maps)] == ["a.html", "b.html", "c.html", "index-2.html"]
    assert (maps / "index-2.html").is_file()
