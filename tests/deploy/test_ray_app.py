"""Deployments of Ray Serve, without a cluster: what they reserve, and what a replica makes of a batch."""

import argparse
import asyncio
import dataclasses
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from multiattn.cli.arguments import UsageError
from multiattn.cli.serve import parser, replicas, run
from multiattn.deploy.engine import LocalEngine
from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import Choice
from multiattn.deploy.ray_app import Scale, application, build, named
from multiattn.deploy.ray_cluster import ray_module, share
from multiattn.deploy.ray_replica import Answer, ModelReplica, Order
from multiattn.deploy.ray_server import Machines, scale_of
from multiattn.deploy.work import TooLateError, Work
from multiattn.errors import MultiattnError, WrongKindError
from tests.ray_marks import RAY

pytestmark = RAY

ROOT = Path(__file__).parent.parent.parent
PICTURES = [path.read_bytes() for path in sorted((ROOT / "assets/inputs").rglob("*.png"))[:3]]
TWO = [Choice("photos/mine", "classify", "classify"), Choice("talks", "transcribe", "transcribe")]


# --- what is deployed ---


def deployments(app: Any) -> dict[str, Any]:
    """The deployments of an application, as `serve build` writes them."""
    from ray.serve._private.build_app import build_app
    from ray.serve.deployment import deployment_to_schema

    found = [deployment_to_schema(one).model_dump(exclude_unset=True) for one in build_app(app, name="x").deployments]
    return {one["name"]: one for one in found}


@pytest.fixture(autouse=True)
def quiet() -> None:
    ray_module()


def test_each_model_is_a_deployment_with_its_queue_and_share_of_a_gpu() -> None:
    settings = Settings(queue=7, batch_size=3, drain=11.0)
    found = deployments(application(TWO, settings, Scale(1, 4, cpus_per_replica=0.5, gpus_per_replica=0.25)))
    assert list(found) == ["photos-mine", "talks", "http"]
    for name in ("photos-mine", "talks"):
        one = found[name]
        assert one["max_queued_requests"] == 7
        assert one["max_ongoing_requests"] == 6
        assert one["graceful_shutdown_timeout_s"] == 11.0
        assert one["ray_actor_options"] == {"num_cpus": 0.5, "num_gpus": 0.25}
        assert (one["autoscaling_config"]["min_replicas"], one["autoscaling_config"]["max_replicas"]) == (1, 4)
        assert one["autoscaling_config"]["target_ongoing_requests"] == 3
    assert found["http"]["graceful_shutdown_timeout_s"] == 11.0
    assert all(one["logging_config"]["log_level"] == "ERROR" for one in found.values())


def test_names_of_deployments_differ() -> None:
    choices = [Choice(name, "classify", "m") for name in ("a/b", "a b", "http", "a-b")]
    assert list(named(choices).values()) == ["a-b", "a-b-2", "http-2", "a-b-3"]


def test_replicas_without_a_gpu_do_not_take_one() -> None:
    def device(**scale: float) -> Any:
        from multiattn.deploy import ray_app

        given: list[Any] = []
        serve = SimpleNamespace(
            deployment=lambda **_: lambda cls: SimpleNamespace(bind=lambda *_, **options: given.append(options))
        )
        ray_app._model(serve, TWO[0], "x", Settings(), Scale(**scale))  # type: ignore[arg-type]
        return given[0]["device"]

    assert device() == "cpu"
    assert device(gpus_per_replica=0.5) == "auto"
    with pytest.raises(MultiattnError, match="^`gpus_per_replica` must be above 0 with device cuda"):
        application(TWO, Settings(device="cuda"), Scale())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_replicas": -1}, "`min_replicas` must be at least 0"),
        ({"min_replicas": 3, "max_replicas": 2}, "`max_replicas` must be at least 3"),
        ({"min_replicas": 0, "max_replicas": 0}, "`max_replicas` must be at least 1"),
        ({"gpus_per_replica": 1.5}, "`gpus_per_replica` must be at most 1, or a whole number"),
        ({"heads": 0}, "`heads` must be at least 1"),
    ],
)
def test_wrong_scales(given, message) -> None:
    with pytest.raises(MultiattnError, match=f"^{message}"):
        Scale(**given)


def cluster(**total: float) -> Any:
    return SimpleNamespace(resources=lambda: total)


def test_replicas_share_what_a_cluster_has() -> None:
    shares = scale_of(Machines(max_replicas=2), cluster(CPU=2.0, GPU=1.0), Settings(), 2)
    assert (shares.cpus_per_replica, shares.gpus_per_replica) == (0.33, 0.25)
    assert scale_of(Machines(), cluster(CPU=64.0), Settings(), 5).cpus_per_replica == 1
    assert scale_of(Machines(), cluster(CPU=8.0, GPU=8.0), Settings(device="cpu"), 2).gpus_per_replica == 0
    stated = scale_of(Machines(cpus_per_replica=2.0, gpus_per_replica=0.0), cluster(CPU=8.0, GPU=1.0), Settings(), 2)
    assert (stated.cpus_per_replica, stated.gpus_per_replica) == (2.0, 0.0)


def test_as_many_fit_into_each_gpu_as_there_must() -> None:
    for total in range(1, 17):
        for count in range(1, 60):
            hundredths = round(100 * share(total, count))
            assert total * (100 // hundredths) >= count
            assert hundredths == 100 or total * (100 // (hundredths + 1)) < count
    assert (share(0.9, 2), share(0, 3)) == (0.45, 0)


@pytest.mark.parametrize(
    ("cpus", "message"),
    [(1.0, "2 GPU for 4 replicas, but"), (2.0, "8.1 CPU for 4 replicas and what reads requests, but")],
)
def test_no_room(cpus: float, message: str) -> None:
    machines = Machines(min_replicas=2, max_replicas=2, cpus_per_replica=cpus, gpus_per_replica=0.5)
    with pytest.raises(MultiattnError, match=f"^--engine ray must have {message} the cluster has [18] inst"):
        scale_of(machines, cluster(CPU=8.0, GPU=1.0), Settings(), 2)


def test_arguments_that_are_unknown() -> None:
    with pytest.raises(MultiattnError, match=r"^`args` must be of allow_urls, .*, but there is 'replica' instead"):
        build({"replica": 1})


# --- the command ---


def test_replicas_of_the_command() -> None:
    assert [replicas(text) for text in ("2", "1-4", "0-3")] == [(2, 2), (1, 4), (0, 3)]
    for wrong in ("", "0", "4-1", "1-", "-2", "1-2-3", "many", "1.5"):
        with pytest.raises(argparse.ArgumentTypeError, match="^must be N or MIN-MAX, such as 2 or 1-4, but is "):
            replicas(wrong)


@pytest.mark.parametrize("option", ["--address", "--replicas", "--cpus-per-replica", "--gpus-per-replica"])
def test_options_for_many_machines_need_them(option) -> None:
    with pytest.raises(UsageError, match=f"^{option} needs --engine ray"):
        run(parser().parse_args([option, "2"]))


def test_a_budget_of_memory_is_none_of_many_machines() -> None:
    with pytest.raises(MultiattnError, match="^--memory must be left out with --engine ray"):
        run(parser().parse_args(["--engine", "ray", "--memory", "2"]))


# --- a replica ---


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModelReplica]]:
    """Makes the shipped classifier a replica, outside of a cluster: there Ray Serve knows how many requests it has."""
    from ray import serve
    from ray._common.utils import get_or_create_event_loop

    context = SimpleNamespace(_deployment_config=SimpleNamespace(max_ongoing_requests=99))
    monkeypatch.setattr(serve, "get_replica_context", lambda: context)
    made = []

    def make(batch_size: int, patience: float = 60.0) -> ModelReplica:
        """With so much patience, a batch is what the test says it is."""
        made.append(ModelReplica("classify", "classify", batch_size, patience, device="cpu", threads=1))
        return made[-1]

    yield make
    for one in made:
        del one._gathered
    gc.collect()  # the queue of a batch makes a loop, to see whether it runs
    get_or_create_event_loop().close()
    asyncio.set_event_loop(None)


def order(picture: bytes = PICTURES[0], **given: Any) -> Order:
    return Order.of(Work(**{"model": "classify", "task": "classify", "input": picture} | given))


def together(replica: ModelReplica, *orders: Order) -> list[Answer]:
    async def main() -> list[Answer]:
        return await asyncio.gather(*map(replica.run, orders))

    return asyncio.run(main())


def test_a_batch_has_equal_options_and_says_what_one_process_says(replica) -> None:
    options, pictures = [{}, {"top_k": 2}, {}], [PICTURES[0], PICTURES[1], PICTURES[0]]
    found = together(
        replica(3), *(order(picture, options=given) for picture, given in zip(pictures, options, strict=True))
    )
    assert [one.batch for one in found] == [2, 1, 2]

    async def local() -> list[Any]:
        engine = LocalEngine([Choice("classify", "classify", "classify")], Settings(device="cpu"))
        await engine.start()
        works = zip(pictures, options, strict=True)
        found = [await engine.run(Work("classify", "classify", picture, given)) for picture, given in works]
        await engine.close(1.0)
        return found

    for ours, theirs in zip(found, asyncio.run(local()), strict=True):
        assert ours.reply is not None
        labels = [[one["label"] for one in body["predictions"]] for body in (ours.reply.body, theirs.body)]
        scores = [[one["score"] for one in body["predictions"]] for body in (ours.reply.body, theirs.body)]
        assert labels[0] == labels[1]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_errors_are_answers(replica) -> None:
    bad, wrong, good = together(replica(2), order(b"text"), order(options={"no_such": 1}), order())
    assert isinstance(bad.error, WrongKindError)
    assert wrong.error is not None and wrong.reply is None
    assert good.reply is not None and good.batch == 1


def test_one_that_fails_takes_no_other_with_it(replica, monkeypatch) -> None:
    from multiattn.deploy import computing

    bad = order(PICTURES[1])

    def compute(pipeline: Any, batch: Any) -> Any:
        if any(one.work.input == bad.input for one in batch):
            raise RuntimeError("out of memory")
        return ["found" for one in batch]

    monkeypatch.setattr(computing, "compute", compute)
    monkeypatch.setattr(computing, "reply", lambda work, found: found)
    found = together(replica(3), order(), bad, order())
    assert [one.reply for one in found] == ["found", None, "found"]
    assert isinstance(found[1].error, RuntimeError) and "out of memory" in str(found[1].error)


def test_what_nobody_waits_for_is_not_computed(replica, monkeypatch) -> None:
    from multiattn.deploy import computing

    model = replica(5, 0.2)
    started, going_on, computed = threading.Event(), threading.Event(), []

    def compute(pipeline: Any, batch: Any) -> Any:
        computed.extend(one.work.options["number"] for one in batch)
        started.set()
        assert going_on.wait(10)
        return ["found" for one in batch]

    monkeypatch.setattr(computing, "compute", compute)
    monkeypatch.setattr(computing, "reply", lambda work, found: found)

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(model.run(order(options={"number": 0})))]
        await asyncio.to_thread(started.wait, 10)
        # all three wait behind the first batch; nobody waits for one, and the time of another is over
        tasks += [asyncio.create_task(model.run(order(options={"number": number}))) for number in (1, 3)]
        late = dataclasses.replace(order(options={"number": 2}), seconds=0.0)
        tasks.append(asyncio.create_task(model.run(late)))
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.sleep(0.01)
        going_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, cancelled, other, late = asyncio.run(main())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert isinstance(late.error, TooLateError)
    assert (first.reply, other.reply) == ("found", "found")
    assert computed == [0, 3]


def test_a_recording_comes_segment_by_segment_and_stops_when_nobody_reads(replica, monkeypatch) -> None:
    from multiattn.deploy import computing, speech

    ended = threading.Event()

    def stream(pipeline: Any, read: Any, work: Work) -> Any:
        try:
            yield "a"
            yield "b"
            assert work.cancelled.wait(10)
            yield "c"
        finally:
            ended.set()

    monkeypatch.setattr(computing, "read", lambda pipeline, work, limits: SimpleNamespace(input=None, work=work))
    monkeypatch.setattr(speech, "stream", stream)

    async def main() -> list[Any]:
        answers: Any = replica(1).stream(order(task="transcribe"))
        found = [(await anext(answers)).reply, (await anext(answers)).reply]
        await answers.aclose()
        return found

    assert asyncio.run(main()) == ["a", "b"]
    assert ended.wait(10)


def test_a_recording_as_a_whole_took_the_seconds_of_all_its_segments(replica, monkeypatch) -> None:
    from multiattn.deploy import computing, speech

    def stream(pipeline: Any, read: Any, work: Work) -> Any:
        for reply in "abc":
            time.sleep(0.02)
            yield reply

    def read(pipeline: Any, work: Work, limits: Any) -> Any:
        return SimpleNamespace(input=None, work=work, alone=True)

    monkeypatch.setattr(computing, "read", read)
    monkeypatch.setattr(speech, "stream", stream)
    [found] = together(replica(1), order(task="transcribe"))
    assert found.reply == "c" and found.seconds >= 0.06
