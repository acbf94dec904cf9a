"""What `--processes` and `--engine ray` cost beside the plain loop: `python -m tests.benchmarks.engines`.

The same command computes the same pictures in each way, in turns; all have two threads: the plain loop both, two
processes or two Ray workers one each. The start is the time of a run over one batch, and is taken off. Processor time
is that of all processes a run starts. A model directory can be named; without one, the weights are drawn: of a ViT-Ti
at 224 px, or with `--task caption` or `answer` of a model of BLIP-base's size, which writes captions of 12 tokens by
three beams, or answers of 3.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fixtures import save_drawing

if TYPE_CHECKING:
    from multiattn.weights import ModelBundle

WAYS = {
    "plain": (),
    "--processes 2": ("--processes", "2"),
    "--engine ray": ("--engine", "ray", "--processes", "2"),
}
TASKS: dict[str, tuple[str, ...]] = {"classify": (), "caption": (), "answer": ("--question", "what is this ?")}
"""What the command of each task is given, beside model and files."""

DECODING = {
    "caption": {"max_tokens": 12, "min_tokens": 11, "num_beams": 3},
    "answer": {"max_tokens": 3, "min_tokens": 2, "num_beams": 1},
}
"""Texts of as many tokens, the one for the end included, as those of a trained model have."""

_MARK = "MULTIATTN_BENCHMARK"  # in the environment of all processes of a run
_TICK = os.sysconf("SC_CLK_TCK")  # of the processor times in /proc, a second


def main() -> None:
    """Print the start, and time and processor time for each picture, of each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--task", choices=list(TASKS), default="classify")
    parser.add_argument("--model", help="a model directory")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="engines-") as folder:
        model = args.model or drawn(args.task, Path(folder) / "model")
        for i in range(50):
            save_drawing(Path(folder) / f"{i}.jpg", i, size=(640, 480))
        names = [f"{folder}/{i % 50}.jpg" for i in range(args.pictures)]
        found: dict[str, list[tuple[float, ...]]] = {way: [] for way in args.ways}
        for _ in range(args.rounds):
            for way in args.ways:
                command = (args.task, "--model", model, *TASKS[args.task], *WAYS[way])
                found[way].append((*_run(folder, command, names[:16]), *_run(folder, command, names)))
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


def _run(folder: str, options: Sequence[str], names: list[str]) -> tuple[float, float]:
    """Return seconds and processor seconds of a run of `multiattn` over files."""
    listed = Path(folder) / "list"
    listed.write_text("\n".join(names))
    command = [sys.executable, "-m", "multiattn", *options, "--files", str(listed), "--format", "json"]
    out = ["--out", f"{folder}/results"]
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


def drawn(task: str, directory: Path) -> str:
    """Write a model with drawn weights: a ViT-Ti at 224 px, or one of BLIP-base's size; return the directory."""
    from multiattn.weights import save_bundle

    save_bundle(_classifier() if task == "classify" else _of_texts(task), directory)
    return str(directory)


def _classifier() -> "ModelBundle":
    from multiattn.inputs import ImagePreprocessing
    from multiattn.models import ViT, ViTConfig
    from multiattn.weights import ModelBundle

    config = ViTConfig(
        image_size=(224, 224), patch_size=16, num_classes=1000, dim=192, depth=12, num_heads=3, mlp_dim=768
    )
    preprocessing = ImagePreprocessing(
        size=(224, 224), resize_to=(256, 256), interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    labels = tuple(f"class {i}" for i in range(1000))
    model = ViT(config).eval()
    return ModelBundle(task="classify", model=model, preprocessing=preprocessing, labels=labels, source="drawn")


def _of_texts(task: str) -> "ModelBundle":
    """A model of BLIP-base's size, with as many made-up words as BLIP knows."""
    from multiattn.inputs import ImagePreprocessing, Tokenizer
    from multiattn.models import captioner, vqa
    from multiattn.weights import ModelBundle

    words = {"[UNK]": 0, "what": 1, "is": 2, "this": 3, "?": 4} | {f"w{i}": i for i in range(5, 30524)}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}
    tokenizer = Tokenizer.from_json(
        json.dumps({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": model})
    )
    of_captions, of_answers = captioner.PRESETS["blip_base"], vqa.PRESETS["blip_base"]
    made = captioner.Captioner(of_captions) if task == "caption" else vqa.VQA(of_answers)
    size = (of_captions if task == "caption" else of_answers).encoder.image_size
    preprocessing = ImagePreprocessing(size, size, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return ModelBundle(
        task=task,
        model=made.eval(),
        preprocessing=preprocessing,
        tokenizer=tokenizer,
        decoding=DECODING[task],
        source="drawn",
    )


if __name__ == "__main__":
    main()
