"""What `multiattn serve --engine ray` does with one replica and with two: `python -m tests.benchmarks.ray_serve`.

For one process (`--engine local`), one replica and two: seconds until the server is ready, requests a second of so many
clients that each ask again as soon as they are answered, and the time of an answer. Then one of two replicas is killed
while so many clients ask, each a picture after the other, and every answer is held against the pipeline's. Each process
has one thread. The model is the shipped classifier, or the one that is named.
"""

import argparse
import os
import signal
import statistics
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx

import multiattn
from tests.deploy.ray_server import ROOT, Server, serving

PICTURES = [path.read_bytes() for path in sorted((ROOT / "assets/inputs").glob("*.png"))]
WAYS: dict[str, dict[str, Any]] = {
    "local": {"engine": "local"},
    "ray, 1 replica": {"replicas": "1"},
    "ray, 2 replicas": {"replicas": "2"},
}


def main() -> None:
    """Print a row for each way, and the counts of the kill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--requests", type=int, default=400, help="of the kill")
    parser.add_argument("--model", default="classify", help="a model that classifies")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    args = parser.parse_args()
    print("| | ready after | requests a second | median | 99th |\n| --- | --- | --- | --- | --- |")
    for way in args.ways:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp", prefix="r"))
            options = dict(WAYS[way])
            engine = options.pop("engine", "ray")
            words = [word for name, value in options.items() for word in (f"--{name}", value)]
            models = ("--model", f"m={args.model}", "--threads", "1", "--device", "cpu")
            server = stack.enter_context(serving(*models, *words, engine=engine, TMPDIR=folder))
            seconds = throughput(server, args.clients, args.seconds)
            if options.get("replicas") == "2":
                killed = kill(server, args.clients, args.requests, args.model)
        seconds.sort()
        row = (f"{server.start:.0f} s", f"{len(seconds) / args.seconds:.1f}", _ms(statistics.median(seconds)))
        print(f"| {way} | {' | '.join(row)} | {_ms(seconds[int(0.99 * len(seconds))])} |", flush=True)
    if "ray, 2 replicas" in args.ways:
        print(f"\n{killed}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def throughput(server: Server, clients: int, seconds: float) -> list[float]:
    """Have clients ask for so long; return how long each answer took."""

    def ask(number: int, end: float) -> list[float]:
        times = list[float]()
        with server.client() as client:
            while (start := time.monotonic()) < end:
                answer = client.post("/v1/classify", files={"file": PICTURES[(number + len(times)) % len(PICTURES)]})
                if answer.status_code == 429:
                    time.sleep(0.05)
                    continue
                answer.raise_for_status()
                times.append(time.monotonic() - start)
        return times

    with ThreadPoolExecutor(clients) as pool:
        for warm_up in (2.0, seconds):
            end = time.monotonic() + warm_up
            found = list(pool.map(lambda number: ask(number, end), range(clients)))  # noqa: B023
    return [one for times in found for one in times]


def kill(server: Server, clients: int, requests: int, model: str) -> str:
    """Kill a replica while clients ask; return what came of it."""
    classify = multiattn.load(model, device="cpu")
    expected = [classify(picture).predictions[0].label for picture in PICTURES]
    counts: Counter[str] = Counter()

    def ask(number: int) -> None:
        with server.client() as client:
            while True:
                try:
                    answer = client.post("/v1/classify", files={"file": PICTURES[number % len(PICTURES)]})
                except httpx.TransportError as error:
                    counts[type(error).__name__] += 1
                    return
                if answer.status_code == 429:
                    counts["429, asked again"] += 1
                    time.sleep(0.2)
                    continue
                is_right = (
                    answer.is_success and answer.json()["predictions"][0]["label"] == expected[number % len(expected)]
                )
                counts["answered as offline" if is_right else f"status {answer.status_code}"] += 1
                return

    victim = server.wait_for("m", 2)[0]
    with ThreadPoolExecutor(clients) as pool:
        futures = [pool.submit(ask, number) for number in range(requests)]
        while counts.total() < requests // 4:
            time.sleep(0.005)
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        for future in futures:
            future.result()
    server.wait_for("m", 2)
    found = ", ".join(f"{count} {what}" for what, count in counts.items())
    again = time.monotonic() - killed
    return f"{requests} requests, a replica killed after {requests // 4}: {found}; two again after {again:.0f} s"


if __name__ == "__main__":
    main()
