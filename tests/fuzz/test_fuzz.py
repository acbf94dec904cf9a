"""The corpus, and as many new inputs as some seconds allow, with only results and clear errors.

`make fuzz` runs for as long as is wanted. Here it is 3 seconds after the corpus (`FUZZ_SECONDS` sets them), on one
process beside this one: a minute would be a sixth of all tests. The inputs are the same at each run, and how many there
are depends on the machine.
"""

import itertools
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from .__main__ import Run, jobs_of
from .corpus import CORPUS, first_jobs
from .kinds import KINDS, make, samples
from .outcome import table
from .pool import Worker, run_all

# a training's configuration needs Lightning, which takes as long to import as all the others together
IN_TESTS = tuple(kind for kind in KINDS if kind != "config")


@pytest.mark.process
def test_the_corpus_and_some_seconds_of_new_inputs(tmp_path: Path) -> None:
    run = Run(tmp_path, deadline=float("inf"))
    run_all(first_jobs(IN_TESTS), run.done, workers=1)
    known = run.total
    run.deadline = time.monotonic() + float(os.environ.get("FUZZ_SECONDS", "3"))
    run_all(jobs_of(IN_TESTS, seed=0), run.done, workers=1)
    assert not run.faults, run.report()
    assert run.total > known > 100


@pytest.mark.slow
@pytest.mark.process
def test_configurations(tmp_path: Path) -> None:
    run = Run(tmp_path, deadline=float("inf"))
    run_all(
        itertools.chain(first_jobs(["config"]), itertools.islice(jobs_of(["config"], seed=0), 50)), run.done, workers=1
    )
    assert not run.faults, run.report()


@pytest.mark.parametrize("kind", ["picture", "sound", "manifest", "map"])
def test_an_input_follows_from_its_number(kind: str) -> None:
    numbers = random.Random(kind).sample(range(100_000), 20)
    first = [make(kind, 7, number) for number in numbers]
    samples.cache_clear()
    assert [make(kind, 7, number) for number in numbers] == first
    assert len({one.how for one in first}) > 10


def test_names_are_there_once() -> None:
    assert len({one.name for one in CORPUS}) == len(CORPUS)


@pytest.mark.process
def test_what_goes_wrong_is_seen(tmp_path: Path) -> None:
    worker = Worker(tmp_path, seconds=2, megabytes=200)
    try:
        found = {one.name: worker.run({"kind": "trouble", "whole": i}) for i, one in enumerate(samples("trouble"))}
    finally:
        worker.close()
    assert {way: outcome.column for way, outcome in found.items()} == {
        "read": "result",
        "named": "clear error",
        "unnamed": "foreign exception",
        "two lines": "foreign exception",
        "foreign": "foreign exception",
        "exit": "crash",
        "crash": "crash",
        "slow": "too slow",
        "large": "too large",
        "noise": "result",
    }
    assert "Segmentation fault" in found["crash"].detail and "trouble.py" in found["crash"].detail
    assert "trouble.py" in found["slow"].detail, "where it was when its time was over"
    assert found["noise"].noise == "codec: warning\n"
    assert "KeyError" in found["foreign"].detail


def test_the_table() -> None:
    counts = {"sound": Counter({"result": 1999, "crash": 1}), "map": Counter({"clear error": 3})}
    assert table(counts).splitlines() == [
        "| kind | inputs | result | clear error | foreign exception | crash | too slow | too large |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| sound | 2,000 | 1,999 | 0 | 0 | 1 | 0 | 0 |",
        "| map | 3 | 0 | 3 | 0 | 0 | 0 | 0 |",
        "| all | 2,003 | 1,999 | 3 | 0 | 1 | 0 | 0 |",
    ]
