"""Inputs are divided among workers, and those of a worker that ends are computed again: with workers that are none."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from multiattn.cli.engines.pool import Ended, Event, Finished, Pool, Raised, Ready, Workers
from multiattn.cli.feed import Job
from multiattn.cli.outcome import Outcome
from multiattn.errors import ModelError, MultiattnError


class Fake(Workers):
    """Workers in this process, which answer in an order that is drawn by chance.

    Args:
        count: The number of workers.
        poison: Inputs that end a worker: how often.
        seconds: What an input takes.
        unable: Workers that end before they are ready.
    """

    subject = "--processes 3"

    def __init__(
        self,
        count: int = 3,
        *,
        poison: dict[str, float] | None = None,
        seconds: float = 0.1,
        unable: Sequence[int] = (),
    ) -> None:
        self.count, self.poison, self.seconds, self.unable = count, dict(poison or {}), seconds, unable
        self.drawn = random.Random(3)
        self.news = deque[Event]()
        self.given: dict[int, deque[Sequence[Job]]] = {}
        self.sent: list[list[str]] = []
        self.most = 0

    def start(self, worker: int) -> None:
        self.given[worker] = deque()
        self.news.append(Ended(worker, "it was killed") if worker in self.unable else Ready(worker))

    def send(self, worker: int, jobs: Sequence[Job]) -> None:
        self.given[worker].append(jobs)
        self.most = max(self.most, len(self.given[worker]))
        self.sent.append([str(job.file) for job in jobs])

    def wait(self) -> list[Event]:
        if self.news:
            return [self.news.popleft()]
        worker = self.drawn.choice([worker for worker, chunks in self.given.items() if chunks])
        jobs = self.given[worker].popleft()
        for job in jobs:
            if self.poison.get(str(job.file), 0) > 0:
                self.poison[str(job.file)] -= 1
                self.given.pop(worker)
                return [Ended(worker, "it was killed")]
        if any(str(job.file) == "raise" for job in jobs):
            return [Raised(worker, ModelError("no"))]
        return [
            Finished(worker, [[Outcome([str(job.file)])] * job.num_results for job in jobs], self.seconds * len(jobs))
        ]

    def stop(self, *, at_once: bool) -> None:
        self.given = {}


def jobs(count: int) -> Iterator[Job]:
    return (Job(Path(str(number))) for number in range(count))


def computed(workers: Fake, inputs: Iterator[Job], *, batch: int = 2) -> tuple[list[list[Outcome]], list[str]]:
    told: list[str] = []
    pool = Pool(workers, inputs, batch=batch, what="picture", tell=told.append)
    pool.start()
    return list(pool.outcomes()), told


def names(outcomes: list[list[Outcome]]) -> list[str]:
    return [one.messages[0] for one, *_ in outcomes]


@pytest.mark.parametrize("count", [0, 1, 5, 97])
def test_every_input_once_and_in_order(count) -> None:
    outcomes, told = computed(workers := Fake(), jobs(count))
    assert names(outcomes) == [str(number) for number in range(count)]
    assert told == []
    assert [name for chunk in workers.sent for name in chunk] == names(outcomes)


def test_chunks_are_of_whole_batches_and_take_half_a_second() -> None:
    computed(workers := Fake(seconds=0.01), jobs(1009), batch=7)
    sizes = [len(chunk) for chunk in workers.sent]
    assert sizes[0] == 7 and max(sizes) == 49  # 0.49 s
    assert {size % 7 for size in sizes[:-1]} == {0}
    computed(workers := Fake(seconds=1e-6), jobs(5003), batch=7)
    assert max(map(len, workers.sent)) == 64 * 7
    computed(workers := Fake(seconds=3.0), jobs(31), batch=1)
    assert {len(chunk) for chunk in workers.sent} == {1}
    assert workers.most == 1  # none waits behind a long one


def test_what_a_killed_worker_had_is_computed_again_in_its_batches() -> None:
    outcomes, told = computed(workers := Fake(poison={"23": 1}, seconds=0.05), jobs(60))
    assert names(outcomes) == [str(number) for number in range(60)]
    assert len(told) == 1 and told[0].startswith("--processes 3: it was killed; the ")
    again = [chunk for chunk in workers.sent if "23" in chunk]
    assert len(again) == 2 and len(again[0]) > 2 and again[1] == ["22", "23"]


def test_an_input_that_ends_each_worker_is_a_failure_and_the_others_are_done() -> None:
    inputs = iter([*jobs(7), Job(Path("bad"), ["a", "b"]), *jobs(4)])
    outcomes, told = computed(workers := Fake(poison={"bad": 99}, seconds=0.1), inputs)
    bad = outcomes.pop(7)
    assert names(outcomes) == [str(number) for number in (*range(7), *range(4))]
    assert [len(one.messages) for one in bad] == [1, 0]
    assert bad[0].error is bad[1].error
    assert str(bad[0].error) == (
        "`bad` must be a picture that can be computed, but each process that did so has ended instead (the last one: "
        "it was killed). It is left out."
    )
    assert workers.poison["bad"] in (96, 97)  # with a chunk, its batch, and alone
    assert told[-1] == "--processes 3: it was killed; the picture that it had is computed again"


def test_one_alone_is_tried_twice() -> None:
    outcomes, told = computed(workers := Fake(1, poison={"1": 99}, seconds=9.0), jobs(3), batch=1)
    assert [len(one.messages) for (one,) in outcomes] == [1, 1, 1]
    assert [one.error is None for (one,) in outcomes] == [True, False, True]
    assert workers.poison["1"] == 97 and len(told) == 2


def test_what_is_raised_in_a_worker_is_raised_here() -> None:
    with pytest.raises(ModelError, match="^no$"):
        computed(Fake(), iter([Job(Path("raise"))]))


def test_workers_that_only_end() -> None:
    with pytest.raises(
        MultiattnError, match="^--processes 3 must be workers that go on, but it was killed before it was"
    ):
        computed(Fake(1, unable=[0]), jobs(3))
    inputs = list(jobs(30))
    with pytest.raises(
        MultiattnError, match="it was killed as the last of 12 in a row instead: is there memory for so"
    ):
        computed(Fake(poison={str(job.file): 99 for job in inputs}), iter(inputs), batch=8)


def test_a_worker_that_cannot_start_is_left_out() -> None:
    outcomes, told = computed(Fake(unable=[2]), jobs(31))
    assert len(outcomes) == 31
    assert told == ["--processes 3: it was killed; it is not ready"] * 2 + [
        "--processes 3: it was killed; the run goes on with 2 of 3 workers"
    ]


def test_inputs_are_taken_when_they_are_needed() -> None:
    taken = []

    def endless() -> Iterator[Job]:
        while True:
            taken.append(1)
            yield Job(Path(str(len(taken))))

    pool = Pool(Fake(seconds=1.0), endless(), batch=2, what="picture", tell=print)
    pool.start()
    assert taken == []
    outcomes = pool.outcomes()
    assert next(outcomes)[0].messages == ["1"]
    assert len(taken) <= 2 * (16 * 3 + 1)
