"""Data without one speaker: to train on the others, and to test on that one.

    python -m tests.leave_out --data .data/fsdd --speaker theo --out .data/fsdd-theo
    multiattn fit --config CONFIG --data.root .data/fsdd-theo
    multiattn evaluate transcribe --data .data/fsdd-theo --split test --model RUN/model --normalizer basic

The splits `train` and `validation` have the recordings of the others, and `test` all of that speaker's. The recordings
are links to those of the data.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from multiattn.data.metadata import metadata_rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with train and validation, with `speaker`")
    parser.add_argument("--speaker", required=True)
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args(arguments)
    found: dict[str, list[tuple[Path, dict[str, object]]]] = {"train": [], "validation": [], "test": []}
    for split in ("train", "validation"):
        for path, row, _ in metadata_rows(args.data / split, ("text", "speaker")) or ():
            found["test" if row["speaker"] == args.speaker else split].append((path.resolve(), dict(row)))
    if not found["test"]:
        parser.error(f"argument --speaker: there are no recordings of {args.speaker}")
    for split, rows in found.items():
        folder = args.out / split
        folder.mkdir(parents=True)
        for path, _ in rows:
            (folder / path.name).symlink_to(path)
        lines = [json.dumps(row | {"file_name": path.name}) for path, row in rows]
        (folder / "metadata.jsonl").write_text("".join(f"{line}\n" for line in lines))
        print(f"{split}: {len(rows)} recordings")


if __name__ == "__main__":
    main()
