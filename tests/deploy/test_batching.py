"""The queue of a model: who is computed with whom, when, and who is refused."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import Any

import pytest

from multiattn.deploy.batching import Batcher
from multiattn.deploy.work import BusyError, CancelledWork, DrainingError, TooLateError


class Recorder:
    """Computes by giving items back; keeps the batches, and can be held."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, items: Sequence[Any]) -> Sequence[Any]:
        self.batches.append(list(items))
        self.entered.set()
        assert self.gate.wait(10)
        if "bad" in items:
            raise RuntimeError("bad")
        return items


def batcher(compute: Recorder, **changed: Any) -> Batcher[Any]:
    return Batcher("test", compute, **{"limit": 13, "batch_size": 5, "patience": 0.0, **changed})


def put(to: Batcher[Any], item: Any, *, key: str = "a", size: float = 1, **more: Any) -> "Future[Any]":
    to.admit()
    return to.put(item, key=key, size=size, **{"deadline": None, "cancelled": threading.Event(), **more})


def held(compute: Recorder, to: Batcher[Any]) -> "Future[Any]":
    """Have the thread compute one item until the gate is opened, so that others wait."""
    compute.gate.clear()
    first = put(to, "first", key="first")
    assert compute.entered.wait(10)
    return first


def test_what_waits_is_computed_by_key_first_come_first_served() -> None:
    compute = Recorder()
    queue = batcher(compute)
    futures = [held(compute, queue)]
    futures += [put(queue, f"{key}{i}", key=key) for i, key in enumerate("abaabaa")]
    compute.gate.set()
    assert [one.result(10) for one in futures] == ["first", "a0", "b1", "a2", "a3", "b4", "a5", "a6"]
    assert compute.batches == [["first"], ["a0", "a2", "a3", "a5", "a6"], ["b1", "b4"]]
    done = queue.statistics(memory=0)
    assert (done.batches, done.items, done.queue, done.running) == (3, 8, 0, 0)


def test_a_batch_takes_those_of_like_size_but_the_oldest_in_any_case() -> None:
    compute = Recorder()
    queue = batcher(compute, batch_size=3)
    futures = [held(compute, queue)]
    futures += [put(queue, size, size=size) for size in (8, 100, 7, 90, 9, 1)]
    compute.gate.set()
    wait(futures, 10)
    assert compute.batches[1:] == [[8, 9, 7], [100, 90, 1]]


def test_it_waits_for_those_that_are_being_read() -> None:
    compute = Recorder()
    queue = batcher(compute, patience=10.0)
    queue.admit()  # being read
    first = put(queue, 1)
    second = queue.put(2, key="a", size=1, deadline=None, cancelled=threading.Event())
    assert (first.result(5), second.result(5)) == (1, 2)  # long before the patience is over
    assert compute.batches == [[1, 2]]


def test_it_does_not_wait_for_a_client_that_is_alone() -> None:
    compute = Recorder()
    queue = batcher(compute, patience=10.0)
    assert put(queue, 1).result(5) == 1
    assert put(queue, 2).result(5) == 2
    assert compute.batches == [[1], [2]]


def test_a_full_queue_refuses_and_says_when_to_try_again() -> None:
    compute = Recorder()
    queue = batcher(compute, limit=2)
    futures = [held(compute, queue), put(queue, 1)]
    queue.admit()
    with pytest.raises(BusyError, match="queue of this model is full") as refused:
        queue.admit()
    assert refused.value.retry_after >= 1
    queue.release()
    futures.append(put(queue, 2))  # the place is free again
    compute.gate.set()
    assert [one.result(10) for one in futures] == ["first", 1, 2]


def test_what_nobody_waits_for_is_not_computed() -> None:
    compute = Recorder()
    queue = batcher(compute)
    first, gone = held(compute, queue), threading.Event()
    cancelled = put(queue, "gone", cancelled=gone)
    late = put(queue, "late", deadline=time.monotonic() - 1)
    good = put(queue, "good")
    gone.set()
    compute.gate.set()
    assert good.result(10) == "good"
    assert compute.batches == [["first"], ["good"]]
    with pytest.raises(CancelledWork):
        cancelled.result(0)
    with pytest.raises(TooLateError):
        late.result(0)
    assert first.result(0) == "first"


def test_one_that_fails_does_not_take_the_others_of_its_batch_with_it() -> None:
    compute = Recorder()
    queue = batcher(compute)
    futures = [held(compute, queue), *(put(queue, item) for item in ("x", "bad", "y"))]
    compute.gate.set()
    wait(futures, 10)
    assert [futures[1].result(), futures[3].result()] == ["x", "y"]
    with pytest.raises(RuntimeError, match="bad"):
        futures[2].result()


def test_a_call_has_its_turn_by_itself() -> None:
    compute = Recorder()
    queue = batcher(compute)
    futures = [held(compute, queue), put(queue, 1)]
    queue.admit()
    futures.append(queue.put_call(lambda: "called", deadline=None, cancelled=threading.Event()))
    futures.append(put(queue, 2))
    compute.gate.set()
    assert [one.result(10) for one in futures] == ["first", 1, "called", 2]
    assert compute.batches == [["first"], [1, 2]]


def test_closed_it_finishes_what_it_has_and_takes_no_more() -> None:
    compute = Recorder()
    queue = batcher(compute)
    futures = [held(compute, queue), put(queue, 1)]
    queue.close()
    with pytest.raises(DrainingError):
        queue.admit()
    compute.gate.set()
    assert [one.result(10) for one in futures] == ["first", 1]
    assert queue.is_idle


def test_abandoned_it_gives_up_what_waits() -> None:
    compute = Recorder()
    queue = batcher(compute)
    first, second = held(compute, queue), put(queue, 1)
    queue.abandon()
    with pytest.raises(DrainingError, match="try again"):
        second.result(0)
    compute.gate.set()
    assert first.result(10) == "first"


def test_it_outlives_callers_that_cancel_and_computations_that_are_wrong() -> None:
    compute = Recorder()
    queue = batcher(compute)
    futures = [held(compute, queue), put(queue, "cancelled"), put(queue, "last")]
    assert futures[0].cancel() and futures[1].cancel()  # one while it is computed
    compute.gate.set()
    assert futures[2].result(10) == "last"
    wrong: Batcher[Any] = Batcher("test", lambda items: [], limit=13, batch_size=5, patience=0.0)
    for _ in range(2):
        with pytest.raises(AssertionError, match="one outcome for each item"):
            put(wrong, 1).result(10)
