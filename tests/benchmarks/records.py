"""`python -m tests.benchmarks.records [--items 1000000] [--reader captions ...]`: what the records of a split cost.

For each reader a data set is written whose files are only named (class folders and LibriSpeech's have empty ones), and
a process of its own reads it: processor seconds, the memory that stays, and what a worker that has looked at every
record has of its own, beyond one that has no records.
"""

import argparse
import ctypes
import gc
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multiattn.data.captions import read_captions
from multiattn.data.image_folder import read_folder
from multiattn.data.questions import read_questions
from multiattn.data.recordings import read_recordings

WORDS = "a red dog and the small green house stand under one tall old tree near that wide river".split()


def sentence(index: int, count: int) -> str:
    """A sentence of so many words."""
    return " ".join(WORDS[(index * 7 + k * (1 + index % 5)) % len(WORDS)] for k in range(count))


def lines(root: Path, rows: "Any") -> None:
    """Write `root/train/metadata.jsonl`."""
    (root / "train").mkdir(parents=True)
    with (root / "train" / "metadata.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def captions(root: Path, items: int) -> None:
    """A caption of ten words a picture."""
    lines(root, ({"file_name": f"{i:09d}.jpg", "text": sentence(i, 10)} for i in range(items)))


def questions(root: Path, items: int) -> None:
    """A question of six words a picture, with an answer of one."""
    rows = ((f"{i:09d}.jpg", sentence(i, 6), WORDS[i % 13]) for i in range(items))
    lines(root, ({"file_name": name, "question": text, "answer": answer} for name, text, answer in rows))


def labels(root: Path, items: int) -> None:
    """A label of a thousand."""
    lines(root, ({"file_name": f"{i:09d}.jpg", "label": f"class {i * 7919 % 1000}"} for i in range(items)))


def transcripts(root: Path, items: int) -> None:
    """A transcript of twelve words, and a speaker of a thousand."""
    rows = ((f"{i:09d}.flac", sentence(i, 12), f"s{i % 1000}") for i in range(items))
    lines(root, ({"file_name": name, "text": text, "speaker": speaker} for name, text, speaker in rows))


def class_folders(root: Path, items: int) -> None:
    """Empty files in a thousand class folders."""
    for label in range(min(1000, items)):
        folder = root / "train" / f"class{label:04d}"
        folder.mkdir(parents=True)
        for i in range(label, items, 1000):
            (folder / f"{i:09d}.jpg").touch()


def librispeech(root: Path, items: int) -> None:
    """Empty files in chapters of fifty."""
    for chapter in range(0, items, 50):
        folder = root / "train" / str(chapter // 1000) / str(chapter)
        folder.mkdir(parents=True)
        names = [f"{chapter // 1000}-{chapter}-{i:04d}" for i in range(min(50, items - chapter))]
        for name in names:
            (folder / f"{name}.flac").touch()
        text = "".join(f"{name} {sentence(chapter + i, 12).upper()}\n" for i, name in enumerate(names))
        (folder / f"{chapter // 1000}-{chapter}.trans.txt").write_text(text)


READERS: dict[str, tuple[Callable[[Path, int], None], Callable[[Path], Any]]] = {
    "labels": (labels, lambda root: read_folder(root, "train")),
    "class folders": (class_folders, lambda root: read_folder(root, "train")),
    "captions": (captions, lambda root: read_captions(root, "train")),
    "transcripts": (transcripts, lambda root: read_recordings(root, "train")),
    "librispeech": (librispeech, lambda root: read_recordings(root, "train")),
    "questions": (questions, lambda root: read_questions(root, "train")),
}


def own_bytes() -> int:
    """Bytes of this process that no other process shares."""
    found = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in found if line.startswith(("Private_Clean", "Private_Dirty")))


def written(label: Any) -> int:
    """Characters of a label's own texts."""
    return len(label) if isinstance(label, str) else sum(map(written, label)) if isinstance(label, tuple) else 0


def look(records: Any, answers: Any) -> None:
    """In a worker: look at every record, and tell how much memory is this process's own; None for no records."""
    import torch  # noqa: F401  # a data loader's worker has it in any case

    for _ in () if records is None else records.items:
        pass
    answers.put(own_bytes())


def measure(name: str, root: Path) -> None:
    """Read a data set, and print what that cost."""
    read = READERS[name][1]
    ctypes.CDLL(None).malloc_trim(0)
    before, start = own_bytes(), time.process_time()
    records = read(root)
    seconds = time.process_time() - start
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    held, count = own_bytes() - before, len(records.items)
    # a folder's name is shared by its files
    texts = sum(len(path.name) + written(label) for path, label in records.items)
    print(
        f"{name:14} {count} items in {seconds:5.1f} s of processor time; {held / count:4.0f} bytes an item, of which "
        f"{texts / count:.0f} are its name and texts, and {(held - texts) / count:.0f} more",
        flush=True,
    )
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        answers = context.SimpleQueue()
        own = []
        for given in (None, records, records):
            worker = context.Process(target=look, args=(given, answers))
            worker.start()
            own.append(answers.get())
            worker.join()
        shown = " and ".join(f"{(found - own[0]) / 2**20:.1f}" for found in own[1:])
        print(f"{'':14} {method}: of {held / 2**20:.0f} MiB, two workers hold copies of {shown} MiB", flush=True)


def main() -> None:
    """Write each data set, and read it in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.records", description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--reader", nargs="*", choices=list(READERS), default=list(READERS))
    parser.add_argument("--of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.of:
        measure(args.reader[0], Path(args.of))
        return
    for name in args.reader:
        with tempfile.TemporaryDirectory() as folder:
            READERS[name][0](Path(folder) / "data", args.items)
            command = [sys.executable, "-m", "tests.benchmarks.records", "--of", f"{folder}/data", "--reader", name]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
