"""`python -m tests.benchmarks.shards [--pictures 2000] [--small 20000] [--rounds 3]`: shards beside a folder of files.

The same pictures (photographs of noise and shapes, JPEG, 256 px) by the same training loader, resized to 224 px in one
process: from a folder, from shards on the disk, and from shards of a web server on this machine, in turns. Then many
small pictures in many shards: the memory of the process over one pass.
"""

import argparse
import functools
import http.server
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from multiattn.cli.main import main as command
from multiattn.tasks import ClassifyData
from multiattn.tasks.loading.datamodule import BatchOptions
from multiattn.tasks.loading.transforms import Augmentation


def draw(root: Path, count: int, side: int) -> Path:
    """Pictures of ten classes; a tenth as many to validate on."""
    rng = np.random.default_rng(0)
    for split, number in (("train", count), ("validation", count // 10)):
        for i in range(number):
            folder = root / split / f"class{i % 10}"
            folder.mkdir(parents=True, exist_ok=True)
            coarse = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
            Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=90)
    return root


def loader(root: str, *, augmentation: Augmentation | None = None) -> ClassifyData:
    """The data without workers."""
    return ClassifyData(root, batches=BatchOptions(size=50, num_workers=0), augmentation=augmentation)


def passed(data: ClassifyData, epoch: int) -> Iterator[int]:
    """The number of pictures after each batch of an epoch."""
    found = data.train_dataloader()
    found.sampler.set_epoch(epoch)
    count = 0
    for batch in found:
        count += len(batch.indices)
        yield count


def resident() -> float:
    """MiB that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def serve(folder: Path) -> str:
    """Serve a folder from a thread of its own; its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.shards", description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = draw(Path(place) / "folder", args.pictures, 256)
        start = time.perf_counter()
        command(["shard", str(folder), f"{place}/shards", "--size", "4"])
        print(f"multiattn shard: {args.pictures * 1.1 / (time.perf_counter() - start):.0f} pictures a second")
        address = serve(Path(place))
        roots = {"a folder": str(folder), "shards": f"{place}/shards", "shards at an address": f"{address}/shards"}
        plain = Augmentation(crop="none", flip=0.0)
        data = {name: loader(root, augmentation=plain) for name, root in roots.items()}
        rates: dict[str, list[float]] = {name: [] for name in roots}
        for turn in range(args.rounds):
            for name, one in data.items():
                start, count = time.perf_counter(), 0
                for count in passed(one, turn):  # noqa: B007
                    pass
                rates[name].append(count / (time.perf_counter() - start))
        base = median(rates["a folder"])
        for name, found in rates.items():
            print(f"{name:22} {median(found):7.1f} pictures a second, {median(found) / base:.2f} of those of a folder")
    with tempfile.TemporaryDirectory() as place:
        folder = draw(Path(place) / "small", args.small, 16)
        command(["shard", str(folder), f"{place}/shards", "--size", "0.05"])
        shards = len(list(Path(f"{place}/shards/train").glob("*.tar")))
        one = loader(f"{place}/shards", augmentation=Augmentation(crop="none", flip=0.0))
        for count in passed(one, 0):
            if count % (args.small // 10) == 0:
                print(f"after {count} pictures, of {shards * count // args.small} shards: {resident():.1f} MiB")


if __name__ == "__main__":
    main()
