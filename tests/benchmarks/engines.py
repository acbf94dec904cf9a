"""What `--processes` and `--engine ray` cost beside the plain loop: `python -m tests.benchmarks.engines`.

The same command classifies the same pictures in each way, in turns; all have two threads: the plain loop both, two
processes or two Ray workers one each. The start is the time of a run over one batch, and is taken off. Processor time
is that of all processes a run starts. A model directory can be named; without one, a ViT-Ti at 224 px is drawn.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.fixtures import save_drawing

WAYS = {
    "plain": (),
    "--processes 2": ("--processes", "2"),
    "--engine ray": ("--engine", "ray", "--processes", "2"),
}
_MARK = "MULTIATTN_BENCHMARK"  # in the environment of all processes of a run
_TICK = os.sysconf("SC_CLK_TCK")  # of the processor times in /proc, a second


def main() -> None:
    """Print the start, and time and processor time for each picture, of each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", help="a model directory")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="engines-") as folder:
        model = args.model or _drawn(Path(folder) / "model")
        for i in range(50):
            save_drawing(Path(folder) / f"{i}.jpg", i, size=(640, 480))
        names = [f"{folder}/{i % 50}.jpg" for i in range(args.pictures)]
        found: dict[str, list[tuple[float, ...]]] = {way: [] for way in args.ways}
        for _ in range(args.rounds):
            for way in args.ways:
                found[way].append((*_run(folder, model, names[:16], way), *_run(folder, model, names, way)))
                print(way, " ".join(f"{value:.2f}" for value in found[way][-1]), flush=True)
    count = args.pictures - 16
    plain: list[float] = []
    for way, rounds in found.items():
        walls = statistics.median(whole - start for start, _, whole, _ in rounds) / count * 1000
        busy = statistics.median(whole - start for _, start, _, whole in rounds) / count * 1000
        plain = plain or [walls, busy]
        start = statistics.median(start for start, *_ in rounds)
        print(
            f"{way:14} start {start:5.1f} s; a picture {walls:6.2f} ms ({walls / plain[0] - 1:+.1%}), "
            f"{busy:6.2f} ms of processor time ({busy / plain[1] - 1:+.1%})"
        )


def _run(folder: str, model: str, names: list[str], way: str) -> tuple[float, float]:
    """Return seconds and processor seconds of a run."""
    listed = Path(folder) / "list"
    listed.write_text("\n".join(names))
    command = [sys.executable, "-m", "multiattn", "classify", "--files", str(listed), "--model", model, "--format"]
    out = ["json", "--out", f"{folder}/results", *WAYS[way]]
    mark, start = str(time.monotonic_ns()), time.monotonic()
    used: dict[int, float] = {}
    with subprocess.Popen([*command, *out], env=os.environ | {"OMP_NUM_THREADS": "2", _MARK: mark}) as process:
        is_over = threading.Event()
        watch = threading.Thread(target=_watch, args=(f"{_MARK}={mark}".encode(), used, is_over))
        watch.start()
        status = process.wait()
        seconds = time.monotonic() - start
        is_over.set()
        watch.join()
    assert status == 0
    return seconds, sum(used.values())


def _watch(mark: bytes, used: dict[int, float], is_over: threading.Event) -> None:
    """Note the processor time of all processes of a run, ten times a second: Ray's are not waited for by anyone."""
    is_of_run: dict[int, bool] = {}
    while not is_over.wait(0.1):
        for number in (int(entry) for entry in os.listdir("/proc") if entry.isdecimal()):
            with suppress(OSError):
                folder = Path("/proc", str(number))
                if not is_of_run.get(number):
                    is_of_run[number] = mark in folder.joinpath("environ").read_bytes().split(b"\0")
                if is_of_run[number]:
                    fields = folder.joinpath("stat").read_text().rpartition(")")[2].split()
                    used[number] = (int(fields[11]) + int(fields[12])) / _TICK


def _drawn(directory: Path) -> str:
    from multiattn.inputs import ImagePreprocessing
    from multiattn.models import ViT, ViTConfig
    from multiattn.weights import ModelBundle, save_bundle

    config = ViTConfig(
        image_size=(224, 224), patch_size=16, num_classes=1000, dim=192, depth=12, num_heads=3, mlp_dim=768
    )
    preprocessing = ImagePreprocessing(
        size=(224, 224), resize_to=(256, 256), interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    labels = tuple(f"class {i}" for i in range(1000))
    model = ViT(config).eval()
    save_bundle(
        ModelBundle(task="classify", model=model, preprocessing=preprocessing, labels=labels, source="drawn"), directory
    )
    return str(directory)


if __name__ == "__main__":
    main()
