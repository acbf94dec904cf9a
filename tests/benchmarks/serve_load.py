"""What becomes of many requests at once, and of memory over many: `python -m tests.benchmarks serve_load serve_memory`.

All tasks of the shipped models, in pictures and recordings of several sizes; a tenth of the requests is bad. What is
answered is compared with what the pipelines say of the same input: texts equal, scores within 1e-4.
"""

import asyncio
import io
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import httpx
from PIL import Image

import multiattn
from multiattn.resources import shipped

from .serve import overhead, photograph, throughput_answer, throughput_classify
from .serve_client import Ask, machine, server

_SIZES = ((53, 37), (320, 240), (640, 480), (1280, 960))
_QUESTIONS = ("what color is the circle?", "how many shapes are there?", "is there a square?", "what is left of it?")
_TEXTS = ("two dogs", "a child in the snow", "a red shirt")
_PATIENCE = 400
"""Times that a request is sent again after 429."""


class Known(NamedTuple):
    """A request and what must come of it."""

    ask: Ask
    status: int
    expected: Any = None


class Outcome(NamedTuple):
    """What came of a request."""

    status: int
    refused: int
    """How often it was refused with 429 before."""

    seconds: float
    """Of the attempt that was accepted."""

    difference: float | None
    """The largest difference of a number from the pipeline's; None where a text differs."""


def serve(rounds: int) -> None:
    """Measure all that docs/serve-load.md has."""
    for measure in (throughput_classify, throughput_answer, overhead, serve_load, serve_memory):
        measure(rounds)


def serve_load(rounds: int) -> None:
    """Send 1,000 requests at once and print what became of them; `rounds` is not used."""
    del rounds
    print(f"\n{machine()}")
    wanted = mixture(1000)
    with server() as one:
        start = time.perf_counter()
        outcomes = asyncio.run(send(one.address, wanted, at_once=len(wanted)))
        whole = time.perf_counter() - start
        found = httpx.get(f"{one.address}/metrics").text
    good = [outcome for known, outcome in zip(wanted, outcomes, strict=True) if known.status == 200]
    as_known = [outcome.status == known.status for known, outcome in zip(wanted, outcomes, strict=True)]
    same = [outcome.difference for outcome in good if outcome.difference is not None]
    seconds = sorted(outcome.seconds for outcome in outcomes)
    sizes = {
        name: _of(found, f'multiattn_model_items_total{{model="{name}"}}')
        / _of(found, f'multiattn_model_batches_total{{model="{name}"}}')
        for name in ("classify", "caption", "answer", "match", "transcribe")
    }
    print("\n| 1,000 requests at once, all tasks, a tenth bad | |\n| --- | --- |")
    for name, value in (
        ("answered as they should be, good and bad", f"{sum(as_known)} of {len(wanted)}"),
        ("statuses at last", _counted(str(outcome.status) for outcome in outcomes)),
        ("refused with 429 first, then answered", f"{sum(outcome.refused > 0 for outcome in outcomes)} requests"),
        ("refusals", f"{sum(outcome.refused for outcome in outcomes)}"),
        ("texts as the pipelines'", f"{len(same)} of {len(good)}"),
        ("largest difference of a score", f"{max(same):.1e}"),
        ("all of them", f"{whole:.0f} s, {len(wanted) / whole:.1f} a second"),
        (
            "an accepted request, p50 and p99",
            f"{statistics.median(seconds):.2f} s, {seconds[-len(seconds) // 100]:.2f} s",
        ),
        ("requests in a batch, mean", ", ".join(f"{name} {size:.1f}" for name, size in sizes.items())),
    ):
        print(f"| {name} | {value} |")


def serve_memory(rounds: int) -> None:
    """Send 500 requests for each of `rounds` (40 by default: 20,000), and print the server's memory on the way."""
    wanted, rows = mixture(500), list[tuple[int, float]]()
    problems = Counter[int]()
    print(f"\n{machine()}\n\n| requests | MB |\n| --- | --- |")
    with server() as one:
        for number in range(1, rounds + 1):
            outcomes = asyncio.run(send(one.address, wanted, at_once=16))
            problems.update(outcome.status for outcome in outcomes)
            rows.append((500 * number, one.memory / 1e6))
            if number in (1, 2, 4, 8) or number % 8 == 0 or number == rounds:
                print(f"| {rows[-1][0]:,} | {rows[-1][1]:.0f} |", flush=True)
    print(f"\nstatuses: {_counted(str(status) for status in problems.elements())}")


def mixture(count: int) -> list[Known]:
    """Return requests of all tasks, a tenth of them bad, in an order that is drawn, with what must come of them."""
    load = {
        task: multiattn.load(task, device="cpu") for task in ("classify", "caption", "answer", "match", "transcribe")
    }
    pictures = [photograph(seed, _SIZES[seed % len(_SIZES)]) for seed in range(8)]
    pictures += [shipped("inputs", name).read_bytes() for name in ("scene.png", "frog.png", "ship.png")]
    sounds = [shipped("inputs", name).read_bytes() for name in ("digits.flac", "telephone.flac")]
    known: list[Known] = []
    for number, data in enumerate(pictures):
        file, post = ("x", data), partial(Ask, file=("x", data))
        top_k = 1 + number % 5
        known += [
            Known(post("/v1/classify", fields={"top_k": top_k}), 200, load["classify"](data, top_k=top_k).to_dict()),
            Known(post("/v1/caption", fields={}), 200, load["caption"](data).to_dict()),
            Known(post("/v1/match", fields={"texts": list(_TEXTS)}), 200, load["match"](data, _TEXTS).to_dict()),
            Known(Ask("/v1/embed", file, {"model": "classify"}), 200, load["classify"].embed(data).to_dict()),
        ]
        for question in _QUESTIONS:
            answer = {"file": None, "answers": [load["answer"](data, question).to_dict()]}
            known.append(Known(post("/v1/answer", fields={"question": question}), 200, answer))
    known += [
        Known(Ask("/v1/audio/transcriptions", ("x", data), {}), 200, {"text": load["transcribe"](data).text})
        for data in sounds
    ]
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    picture = ("x", pictures[0])
    bad = [
        Known(Ask("/v1/classify", ("x", b"no picture"), {}), 415),
        Known(Ask("/v1/classify", ("x", shipped("inputs", "frog.png").read_bytes()[:60]), {}), 422),
        Known(Ask("/v1/caption", ("x", bomb.getvalue()), {}), 413),
        Known(Ask("/v1/caption", picture, {"num_beams": -1}), 422),
        Known(Ask("/v1/answer", picture, {}), 422),
        Known(Ask("/v1/match", picture, {"texts": ["a"], "model": "nobody"}), 404),
        Known(Ask("/v1/embed", json={"text": 3}), 422),
        Known(Ask("/v1/audio/transcriptions", ("x", b"no recording"), {}), 415),
        Known(Ask("/v1/nothing", picture, {}), 404),
    ]
    chosen = [known[i % len(known)] for i in range(count - count // 10)] + [
        bad[i % len(bad)] for i in range(count // 10)
    ]
    random.Random(0).shuffle(chosen)
    return chosen


async def send(address: str, wanted: Sequence[Known], *, at_once: int) -> list[Outcome]:
    """Send requests, so many at once, each again after 429 as the server says."""
    limits = httpx.Limits(max_connections=at_once)
    gate = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as client:

        async def one(known: Known) -> Outcome:
            async with gate:
                for refused in range(_PATIENCE):
                    start = time.perf_counter()
                    try:
                        answer = await known.ask.post(client)
                    except httpx.TransportError as error:
                        print(known.ask.path, known.status, repr(error), flush=True)
                        return Outcome(0, refused, time.perf_counter() - start, None)
                    if answer.status_code != 429:
                        seconds = time.perf_counter() - start
                        return Outcome(answer.status_code, refused, seconds, _difference(known, answer))
                    await asyncio.sleep(float(answer.headers["Retry-After"]) * random.uniform(0.5, 1.5))
                raise AssertionError("never accepted")

        return await asyncio.gather(*map(one, wanted))


def _difference(known: Known, answer: httpx.Response) -> float | None:
    if answer.status_code != 200 or known.status != 200:
        return None
    found, expected = answer.json(), json.loads(json.dumps(known.expected))
    return _between({name: found.get(name) for name in expected} | {"file": None}, expected | {"file": None})


def _between(found: Any, expected: Any) -> float | None:
    """Return the largest difference of two numbers at the same place; None where something else differs."""
    if isinstance(expected, float) and isinstance(found, float):
        return abs(found - expected)
    if isinstance(expected, dict) and isinstance(found, dict) and found.keys() == expected.keys():
        parts = [_between(found[name], expected[name]) for name in expected]
    elif isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        parts = [_between(a, b) for a, b in zip(found, expected, strict=True)]
    else:
        return 0.0 if found == expected else None
    return None if None in parts else max((one for one in parts if one is not None), default=0.0)


def _of(metrics: str, name: str) -> float:
    return float(next(line for line in metrics.splitlines() if line.startswith(name)).rpartition(" ")[2])


def _counted(values: Any) -> str:
    return ", ".join(f"{value}: {count}" for value, count in sorted(Counter(values).items()))
