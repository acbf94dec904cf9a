"""`python -m tests.benchmarks.names [--names 1000000]`: what the names of many inputs cost the process that collects.

Empty files are made in folders of 10,000 and then moved into one; the same names are read from a list; and a file of
results, which an earlier run has written, is gone on with. Each in a process of its own, without a model: processor
time until the first input, and for all, and memory beyond the start.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from multiattn.cli.feed import Feed, Job
from multiattn.cli.inputs import Found, find_inputs
from multiattn.cli.out_file import OutFile, parse_json
from multiattn.cli.records import json_line
from multiattn.inputs.walk import Unusable

_A_FOLDER = 10_000
_GUESSES = [{"label": "cat", "score": 0.97}, {"label": "dog", "score": 0.01}, {"label": "cow", "score": 0.01}]


def make_folders(root: Path, count: int) -> None:
    """Make the files."""
    for number in range(count):
        folder = root / "pictures" / f"{number // _A_FOLDER:03}"
        if number % _A_FOLDER == 0:
            folder.mkdir(parents=True)
        os.close(os.open(folder / f"IMG_{number:07}.jpg", os.O_CREAT))


def make_one_folder(root: Path, count: int) -> None:
    """Move the files into one folder."""
    (root / "one").mkdir()
    for number in range(count):
        name = f"IMG_{number:07}.jpg"
        (root / "pictures" / f"{number // _A_FOLDER:03}" / name).rename(root / "one" / name)


def make_list(root: Path, count: int) -> None:
    """Write the list."""
    with (root / "list.txt").open("w") as file:
        file.writelines(f"{root}/one/IMG_{number:07}.jpg\n" for number in range(count))


def make_results(root: Path, count: int) -> None:
    """Write a record for each file of the list."""
    with (root / "results.part").open("w") as file:
        for number in range(count):
            record = {"file": f"{root}/one/IMG_{number:07}.jpg", "predictions": _GUESSES}
            file.write(json_line(record) + "\n")


WAYS: dict[str, tuple[Callable[[Path, int], None], str]] = {
    f"folders of {_A_FOLDER}": (make_folders, "pictures"),
    "one folder": (make_one_folder, "one"),
    "a list": (make_list, "list.txt"),
    "earlier results": (make_results, "list.txt"),
}


def measure(way: str, root: Path) -> None:
    """Take all names, and print what that cost."""
    place = str(root / WAYS[way][1])
    before, start = _peak(), time.process_time()
    earlier = opened = None
    if way == "earlier results":
        opened = OutFile(str(root / "results"), resume=True, parse=parse_json, options={})
        earlier = opened.earlier.take
    found = find_inputs([], listed=place) if place.endswith(".txt") else find_inputs([place])
    feed = Feed(map(_job, found))
    if opened is not None:
        feed.has_job()
    first = time.process_time() - start
    count = 0
    for _ in feed.inputs(earlier, 8, feed.waiting.clear):
        first = first if count else time.process_time() - start
        count += 1
        feed.waiting.clear()
    assert (opened is None) == (count == feed.num_inputs), (count, feed.num_inputs)
    print(
        f"{way:16} {feed.num_inputs} names: the first after {first:.3f} s of processor time, all after "
        f"{time.process_time() - start:.1f} s; {(_peak() - before) / 2**20:.0f} MiB",
        flush=True,
    )
    if opened is not None:
        opened.abandon()


def _job(found: Found | Unusable) -> Job | Unusable:
    return found if isinstance(found, Unusable) else Job(found)


def _peak() -> int:
    """The most bytes that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> None:
    """Make the names of each way, and take them in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.names", description=__doc__)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--of", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.of:
        measure(args.of[0], Path(args.of[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for way, (make, _) in WAYS.items():
            make(Path(folder), args.names)
            subprocess.run([sys.executable, "-m", "tests.benchmarks.names", "--of", way, folder], check=True)


if __name__ == "__main__":
    main()
