"""The report of a run has the numbers of the training, over all of its starts, and never ends one."""

import html
import re
import shlex
from pathlib import Path

import pytest

from multiattn.tasks.callbacks.report import _thinned
from multiattn.tasks.training import main

from .asked import draw_asked, write_answer_config
from .conftest import draw_folder, logged, write_config

pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

HOSTILE = '<img src=x onerror="alert(1)">'
MAPS = "--trainer.callbacks+=multiattn.tasks.map_callbacks.MapsWhileTraining"


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """A classifier with a class that is named like a script, trained for an epoch, and for a second one."""
    folder = tmp_path_factory.mktemp("reported")
    root = draw_folder(folder / "data", sizes={"train": 8, "validation": 3})
    for split in ("train", "validation"):
        (root / split / "red").rename(root / split / HOSTILE)
    run = folder / "a run"
    config = write_config(folder / "c.yaml", root=root, run=run)
    commands = [["fit", "--config", str(config), f"--trainer.max_epochs={epochs}", MAPS] for epochs in (1, 2)]
    for command in commands:
        assert main(command) == 0
    return run, commands


def said(page: str, chart: str) -> str:
    (found,) = re.findall(rf"<strong>{chart}</strong> <span[^>]*>([^<]*)</span>", page)
    return found


def test_the_curves_go_on_where_the_training_does(resumed: tuple[Path, list[list[str]]]) -> None:
    run, commands = resumed
    page = (run / "report.html").read_text(encoding="utf-8")
    train, measured, top1 = (logged(run, key) for key in ("train/loss", "val/loss", "val/top1"))
    assert len(train) == 8 and len(measured) == 2
    assert "Finished: epoch 2 of 2, step 8." in page
    (svg,) = re.findall(r'<svg[^>]*aria-label="loss by step".*?</svg>', page)
    # the CSV file counts steps from 0, this page those that are done
    points = re.findall(r"<title>training (\S+) at step (\d+)</title>", svg)
    assert points == [(f"{value:.4g}", str(step + 1)) for step, value in train.items()]
    points = re.findall(r"<title>validation (\S+) at step (\d+)</title>", svg)
    assert points == [(f"{value:.4g}", str(step + 1)) for step, value in measured.items()]
    lowest = min(measured, key=lambda step: measured[step])
    expected = f"validation {measured[7]:.4g}, lowest {measured[lowest]:.4g} at step {lowest + 1}"
    assert said(page, "loss") == f"training (dashed) {train[7]:.4g}; {expected}"
    assert said(page, "top1").startswith(f"validation {top1[7]:.4g}, highest {max(top1.values()):.4g}")
    assert said(page, "learning rate")
    shown = [html.unescape(one) for one in re.findall(r"<pre[^>]*>(.*?)</pre>", page)]
    assert [shlex.split(one) for one in shown] == [["multiattn", *command] for command in commands]
    assert "resumed at step 4" in page


def test_it_shows_the_data_the_mistakes_the_maps_and_the_model(resumed: tuple[Path, list[list[str]]]) -> None:
    run, _ = resumed
    page = (run / "report.html").read_text(encoding="utf-8")
    assert '<th scope="row">pictures</th><td>24</td><td>9</td>' in page
    assert HOSTILE not in page and page.count(html.escape(HOSTILE)) >= 4 and "<img src=x" not in page
    (matrix,) = re.findall(r'<table class="matrix">.*?</table>', page)
    counts = [int(count) for count in re.findall(r"<td[^>]*>(\d+)<", matrix)]
    assert sum(counts) == 9
    for epoch in (1, 2):
        assert page.count(f'alt="epoch {epoch}"') == 4
    assert f"<dt>model</dt><dd>{html.escape(str(run / 'model'))}</dd>" in page


def test_answers_are_shown_and_a_page_that_cannot_be_written_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = draw_asked(tmp_path / "data", sizes={"train": 23, "validation": 9})
    run = tmp_path / "run"
    config = write_answer_config(tmp_path / "c.yaml", root=root, run=run)
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.callbacks=null"]
    assert main(["fit", "--config", str(config), *short]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    examples = re.findall(r'<div class="example"><img src="data:image/jpeg[^"]*" alt=""><div><em>([^<]+)</em>', page)
    assert len(examples) == 8
    lines = (root / "validation" / "metadata.jsonl").read_text()
    assert all(html.unescape(question) in lines for question in examples)

    (run / "report.html").unlink()
    (run / "report.html").mkdir()
    capsys.readouterr()
    assert main(["fit", "--config", str(config), *short, "--trainer.max_epochs=2"]) == 0
    assert capsys.readouterr().err.count("report.html is not written: ") == 1
    (run / "report.html").rmdir()
    assert main(["fit", "--config", str(config), *short, "--trainer.max_epochs=9", "--model.optimization.lr=1e30"]) == 1
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Ended early (the training has diverged" in page


def test_long_curves_are_thinned_and_keep_their_last_point() -> None:
    points: list[list[float]] = []
    for step in range(4801):
        points = _thinned([*points, [step, 0.0, 0.0]])
    steps = [step for step, _, _ in points]
    assert 1000 <= len(steps) <= 2000 and steps[-1] == 4800 and steps == sorted(set(steps)) and steps[0] < 10
