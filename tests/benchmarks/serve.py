"""What batches bring, and what HTTP costs: `python -m tests.benchmarks serve`.

Servers of one model, one thread each, run side by side and are measured in turn, one at a time: one computes requests
in batches as they come, the other one by one. Their ratio by time is that of a machine in whatever state it is in; that
by processor time is of the server alone. Weights are drawn.
"""

import io
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

import multiattn
from tests.fixtures import draw

from .engines import drawn
from .serve_client import Ask, Load, Server, load, server

_ONE = ("--batch-size", "1", "--patience-ms", "0")
_CLIENTS = (1, 8, 32)


def photograph(seed: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """A drawing as a JPEG."""
    file = io.BytesIO()
    draw(seed, size=size).save(file, "JPEG")
    return file.getvalue()


def throughput_classify(rounds: int) -> None:
    """Compare batches with one by one for a ViT-Ti at 224 px, and photographs of 640 x 480."""
    pictures = [photograph(seed) for seed in range(16)]
    asks = [Ask("/v1/classify", (f"{i}.jpg", pictures[i % 16])) for i in range(48)]
    with tempfile.TemporaryDirectory() as folder:
        model = drawn("classify", Path(folder) / "vit")
        with server("--model", f"vit={model}") as batches, server("--model", f"vit={model}", *_ONE) as singly:
            compare(
                "classify, ViT-Ti", batches, singly, {count: asks for count in _CLIENTS}, rounds=max(3, rounds // 8)
            )


def throughput_answer(rounds: int) -> None:
    """Compare batches with one by one for BLIP VQA base, and questions about one picture."""
    picture = photograph(7)
    words = ("w7", "w11", "w13", "w17", "w19")
    questions = [f"what is this {words[i % 5]} w{100 + i} ?" for i in range(32)]
    asks = [Ask("/v1/answer", ("7.jpg", picture), {"question": question}) for question in questions]
    with tempfile.TemporaryDirectory() as folder:
        model = drawn("answer", Path(folder) / "vqa")
        with server("--model", f"vqa={model}") as batches, server("--model", f"vqa={model}", *_ONE) as singly:
            each = {1: asks[:2], 8: asks[:8], 32: asks}
            compare("questions on one picture, BLIP VQA base", batches, singly, each, rounds=max(1, rounds // 20))


def compare(title: str, batches: Server, singly: Server, asks: Mapping[int, Sequence[Ask]], *, rounds: int) -> None:
    """Measure both servers in turn, for each number of clients, and print a table."""
    for one in (batches, singly):
        load(one, asks[1][:1], clients=1)
    print(f"\n**{title}**\n")
    print("| clients | one by one, 1/s | batches, 1/s | ratio | by processor time | p50, p99 one by one | in batches |")
    print("| --- " * 7 + "|")
    for clients, wanted in asks.items():
        pairs = [(load(singly, wanted, clients=clients), load(batches, wanted, clients=clients)) for _ in range(rounds)]
        rate = statistics.median(b.rate / a.rate for a, b in pairs)
        busy = statistics.median(a.busy / b.busy for a, b in pairs)
        a, b = (_middle(side) for side in zip(*pairs, strict=True))
        times = " | ".join(f"{one.p50 * 1000:.0f}, {one.p99 * 1000:.0f} ms" for one in (a, b))
        print(f"| {clients} | {a.rate:.2f} | {b.rate:.2f} | {rate:.2f} | {busy:.2f} | {times} |", flush=True)


def _middle(loads: Sequence[Load]) -> Load:
    return Load(*(statistics.median(values) for values in zip(*loads, strict=True)))


def overhead(rounds: int) -> None:
    """Compare a lone request to a server with a call of the pipeline in this process, in turn."""
    picture = photograph(3)
    with tempfile.TemporaryDirectory() as folder:
        model = drawn("classify", Path(folder) / "vit")
        pipeline = multiattn.load(model, device="cpu")
        with server("--model", f"vit={model}") as one, httpx.Client(base_url=one.address, timeout=60) as client:
            calls, requests, busy = list[float](), list[float](), list[float]()
            for _ in range(5):
                _post(client, picture)
            of_server = one.busy
            for _ in range(count := max(50, 5 * rounds)):
                start, used = time.perf_counter(), time.process_time()
                json.dumps(pipeline(picture).to_dict())
                busy.append(time.process_time() - used)
                middle = time.perf_counter()
                _post(client, picture)
                calls.append(middle - start)
                requests.append(time.perf_counter() - middle)
            of_server = (one.busy - of_server) / count * 1000
    print("\n**A lone classify, ViT-Ti**\n")
    print("| | the pipeline | over HTTP | difference |\n| --- | --- | --- | --- |")
    for name, at in (("median", 0.5), ("least disturbed tenth", 0.1)):
        own, whole = (sorted(times)[int(at * count)] * 1000 for times in (calls, requests))
        print(f"| {name} | {own:.1f} ms | {whole:.1f} ms | {whole - own:.1f} ms |")
    used = statistics.median(busy) * 1000
    print(f"| processor time | {used:.1f} ms | {of_server:.1f} ms | {of_server - used:.1f} ms |")


def _post(client: httpx.Client, picture: bytes) -> None:
    assert client.post("/v1/classify", files={"file": ("3.jpg", picture)}).status_code == 200
