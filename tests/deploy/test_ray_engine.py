"""The engine on Ray Serve, without a cluster: its deployments answer, refuse and end as they are told."""

import asyncio
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from multiattn.deploy.http.problems import problem_of
from multiattn.deploy.models import Choice
from multiattn.deploy.ray_cluster import ray_module
from multiattn.deploy.ray_engine import LostError, RayEngine
from multiattn.deploy.ray_replica import Answer, Order
from multiattn.deploy.work import BusyError, CancelledWork, DrainingError, Reply, TooLateError, Work
from multiattn.errors import InputError
from tests.ray_marks import RAY

pytestmark = RAY

CHOICES = [Choice("photos", "classify", "m"), Choice("talks", "transcribe", "n")]
DONE = Answer(Reply({"text": "two words"}), batch=2, seconds=0.5)


class Response:
    """What a handle returns: awaited for one answer, or gone through for several."""

    def __init__(self, steps: list[Any]) -> None:
        self.steps, self.is_cancelled = steps, False

    def cancel(self) -> None:
        self.is_cancelled = True

    async def _step(self) -> Any:
        step = self.steps.pop(0)
        if callable(step):
            step = await step()
        if isinstance(step, BaseException):
            raise step
        return step

    def __await__(self) -> Iterator[Any]:
        return self._step().__await__()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if not self.steps:
            raise StopAsyncIteration
        return await self._step()


class Handle:
    """A deployment that answers each request as `script` says, one after the other."""

    def __init__(self, *script: list[Any]) -> None:
        self.script, self.orders, self.responses = list(script), list[Order](), list[Response]()
        self.run = self.stream = self

    def options(self, *, stream: bool) -> "Handle":
        assert stream
        return self

    def remote(self, order: Order) -> Response:
        self.orders.append(pickle.loads(pickle.dumps(order)))  # as it goes to another process
        self.responses.append(Response(self.script.pop(0)))
        return self.responses[-1]


def died() -> Exception:
    ray_module()
    from ray.exceptions import ActorDiedError

    return ActorDiedError()


def full() -> Exception:
    ray_module()
    from ray.serve.exceptions import BackPressureError

    return BackPressureError(64, 64)


async def for_ever() -> None:
    await asyncio.Event().wait()


def work(**given: Any) -> Work:
    return Work(**{"model": "photos", "task": "classify", "input": b"p"} | given)


def with_engine(handle: Handle, body: Callable[[RayEngine], Any]) -> Any:
    """Run a coroutine function with an engine whose deployments are all `handle`."""

    async def main() -> Any:
        engine = RayEngine(CHOICES, lambda name: handle)
        await engine.start()
        try:
            return await body(engine)
        finally:
            await engine.close(0.0)

    return asyncio.run(main())


def run(handle: Handle, given: Work) -> Any:
    return with_engine(handle, lambda engine: engine.run(given))


def test_what_goes_to_another_process_is_all_of_the_work() -> None:
    given = work(options={"top_k": 3}, questions=("a?",), maps="png", check=True, deadline=time.monotonic() + 5)
    order = pickle.loads(pickle.dumps(Order.of(given)))
    assert 0 < order.seconds <= 5  # and no time of a clock that is another one there
    there = order.work()
    assert given.deadline is not None and there.deadline == pytest.approx(given.deadline, abs=1)
    assert (there.model, there.task, there.input, there.options) == ("photos", "classify", b"p", {"top_k": 3})
    assert (there.questions, there.maps, there.check, there.cancelled.is_set()) == (("a?",), "png", True, False)
    assert Order.of(work()).work().deadline is None


def test_an_answer_is_counted() -> None:
    async def body(engine: RayEngine) -> Any:
        assert await engine.run(work()) == DONE.reply
        return engine.statistics()["photos"]

    counted = with_engine(Handle([DONE]), body)
    assert (counted.running, counted.items, counted.tokens, counted.seconds) == (0, 1, 2, 0.25)


def test_what_a_replica_had_that_ended_is_done_by_another() -> None:
    handle = Handle([died()], [died()], [DONE])
    assert run(handle, work()) == DONE.reply
    assert len(handle.orders) == 3


def test_what_ends_three_replicas_is_given_up() -> None:
    handle = Handle([died()], [died()], [died()], [DONE])
    with pytest.raises(LostError, match="3 replicas ended with this request") as raised:
        run(handle, work())
    assert problem_of(raised.value).status_code == 500
    assert len(handle.orders) == 3


def test_a_full_queue_refuses_with_a_time() -> None:
    with pytest.raises(BusyError) as raised:
        run(Handle([full()]), work())
    answer = problem_of(raised.value)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


def test_a_full_queue_does_not_refuse_what_was_accepted() -> None:
    handle = Handle([died()], [full()], [full()], [DONE])
    assert run(handle, work()) == DONE.reply


def test_an_error_of_the_work_is_raised_as_it_is() -> None:
    with pytest.raises(InputError, match="no picture"):
        run(Handle([Answer(error=InputError("no picture"))]), work())


def test_a_defect_in_the_replica_is_a_defect_here() -> None:
    ray_module()
    from ray.exceptions import RayTaskError

    broken = RayTaskError("run", "traceback", ZeroDivisionError("inside"))
    for raised in (broken, broken.as_instanceof_cause()):
        with pytest.raises(ZeroDivisionError, match="inside"):
            run(Handle([raised]), work())


def test_a_deadline_ends_the_wait_and_the_work() -> None:
    handle = Handle([for_ever])
    with pytest.raises(TooLateError):
        run(handle, work(deadline=time.monotonic() + 0.05))
    assert handle.responses[0].is_cancelled


def test_a_deadline_holds_over_all_trials() -> None:
    handle = Handle([died()], *([full()] for _ in range(1000)))
    with pytest.raises(TooLateError):
        run(handle, work(deadline=time.monotonic() + 0.25))


def test_a_caller_that_has_gone_ends_the_work() -> None:
    handle, given = Handle([for_ever]), work()

    async def body(engine: RayEngine) -> None:
        asyncio.get_running_loop().call_later(0.02, given.cancelled.set)
        with pytest.raises(CancelledWork):
            await engine.run(given)

    with_engine(handle, body)
    assert handle.responses[0].is_cancelled


def test_a_request_that_is_cancelled_ends_the_work() -> None:
    handle = Handle([for_ever])

    async def body(engine: RayEngine) -> None:
        task = asyncio.create_task(engine.run(work()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.statistics()["photos"].running == 0

    with_engine(handle, body)
    assert handle.responses[0].is_cancelled


def segments(*texts: str) -> list[Any]:
    return [Answer(Reply({"delta": text})) for text in texts]


def test_the_segments_of_a_recording_are_one_item_also_where_it_is_begun_again() -> None:
    parts = [Answer(Reply({"delta": text}), seconds=0.5) for text in "abc"]

    async def body(engine: RayEngine) -> Any:
        assert await streamed(engine) == ["a", "b", "c"]
        return engine.statistics()["talks"]

    counted = with_engine(Handle([*parts[:2], died()], parts), body)
    assert (counted.items, counted.batches, counted.seconds) == (1, 1, 2.5)


async def streamed(engine: RayEngine) -> list[str]:
    given = work(model="talks", task="transcribe")
    return [reply.body["delta"] async for reply in engine.stream(given)]


def test_segments_come_once_each_though_two_replicas_end() -> None:
    handle = Handle([*segments("a", "b"), died()], [*segments("a"), died()], segments("a", "b", "c", "d"))
    assert with_engine(handle, streamed) == ["a", "b", "c", "d"]
    assert all(one.is_cancelled for one in handle.responses)


def test_other_segments_after_an_end_are_an_error_and_not_yielded() -> None:
    handle = Handle([*segments("a", "b"), died()], segments("a", "x", "y"))
    came: list[str] = []

    async def body(engine: RayEngine) -> None:
        async for reply in engine.stream(work(model="talks", task="transcribe")):
            came.append(reply.body["delta"])

    with pytest.raises(LostError, match="another one finds other segments"):
        with_engine(handle, body)
    assert came == ["a", "b"]


def test_a_stream_that_nobody_reads_on_ends_the_work() -> None:
    handle = Handle([*segments("a"), for_ever])

    async def body(engine: RayEngine) -> None:
        stream: Any = engine.stream(work(model="talks", task="transcribe"))
        assert (await anext(stream)).body["delta"] == "a"
        await stream.aclose()
        assert handle.responses[0].is_cancelled
        assert engine.statistics()["talks"].running == 0

    with_engine(handle, body)


def test_the_end_waits_for_what_was_accepted_and_refuses_more() -> None:
    async def slowly() -> Answer:
        await asyncio.sleep(0.05)
        return DONE

    async def body(engine: RayEngine) -> None:
        accepted = asyncio.create_task(engine.run(work()))
        await asyncio.sleep(0.01)
        ending = asyncio.create_task(engine.close(30.0))
        await asyncio.sleep(0)
        with pytest.raises(DrainingError):
            await engine.run(work())
        await ending
        assert accepted.done() and accepted.result() == DONE.reply

    with_engine(Handle([slowly]), body)


def test_the_end_comes_when_patience_is_over() -> None:
    async def body(engine: RayEngine) -> None:
        accepted = asyncio.create_task(engine.run(work()))
        await asyncio.sleep(0.01)
        await engine.close(0.01)
        with pytest.raises(DrainingError):
            await accepted

    with_engine(Handle([for_ever]), body)
