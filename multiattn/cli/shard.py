"""`multiattn shard`: write a folder of data as shards, which training reads from a disk or from an address."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError
from .arguments import Option, Parser, UsageError, not_empty, number
from .evaluate import PICTURES_OF
from .evaluate_answer import FILES as QUESTIONS
from .evaluate_caption import FILES as CAPTIONS
from .output import printable, say

_COUNT = number(int, "a whole number from 1 on", lambda value: value >= 1)
_SIZE = number(float, "a number above 0", lambda value: 0 < value < 1e6)

_DESCRIPTION = """\
Write a folder of data as shards: tar files with a few thousand samples each, as
WebDataset has them, and an index. Training reads them one after another, from a
disk or a web address: --data.root OUT, or --data.root https://HOST/OUT.
"""

_EPILOG = """\
FOLDER is one that training takes: splits (train/, validation/, test/) with
class folders, a metadata.jsonl or metadata.csv, or LibriSpeech's folders; or
COCO, Flickr8k and VQA v2 as published, by --captions or --questions.

OUT
  index.json              task, labels; items, seconds and shards of each split
  train/metadata.jsonl    what is known of each file, and where it is
  train/000000.tar        NUMBER.jpg and NUMBER.json of each file, as they are
Training files are put into a drawn order, the same each time; others keep
theirs. A shard is written whole or not at all, and a run that was interrupted
goes on: the same command again. Shards whose index is missing, or that another
program wrote, in OUT/train/ and so on, get one by "multiattn shard OUT".

examples
  multiattn shard pets pets-shards
  multiattn shard LibriSpeech shards --split train-clean-100 dev-clean
  multiattn shard coco coco-shards --pictures {split}2017 \\
      --captions annotations/captions_{split}2017.json --processes 8
  multiattn fit --config configs/classify/finetune.yaml --data.root pets-shards

exit status
  1 where a file could not be read, or a shard is damaged; it is named, and the
  others are done
"""


def parser() -> Parser:
    """The command's options."""
    tasks = ("classify", "caption", "transcribe", "answer")
    return Parser(
        Option("source", "FOLDER", not_empty, "the data; or shards, where there is no OUT"),
        Option("target", "OUT", not_empty, "the folder for the shards, made where it is missing", nargs="?"),
        Option("--task", choices=tasks, help="what the data is for (default: what its columns tell)"),
        Option(
            "--split", "NAME", not_empty, "the splits (default: train, validation, test, or all folders)", nargs="+"
        ),
        Option("--size", "MB", _SIZE, "megabytes of files in a shard (default: 256)", default=256.0),
        Option("--processes", "N", _COUNT, "processes that write (default: 1)", default=1),
        *CAPTIONS,
        *QUESTIONS,
        PICTURES_OF,
        prog="multiattn shard",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Write the shards, or the index of shards, and print where it is; return 0 where every file could be read."""
    from ..data.shards.index import INDEX
    from ..data.shards.layout import Source

    source = Source(Path(args.source), args.captions, args.questions, args.annotations, args.pictures)
    messages = _Messages()
    if args.target is None:
        return _index(source, args, messages)
    if Path(args.target).resolve() == source.root.resolve():
        raise UsageError("OUT must be another folder than FOLDER; to make the index of shards anew, leave OUT out")
    if (source.root / INDEX).is_file():
        raise InputError(f"FOLDER {source.root} must be a folder of files, but has shards instead: they need no others")
    from ..data.shards.write import Split, lock, write_index, write_split

    out, splits = Path(args.target), args.split or source.splits()
    task = args.task or source.task(splits[0])
    read = [source.read(task, split) for split in splits]  # all of them, so that an error shows before any work
    held = lock(out)
    found: dict[str, Any] = {}
    for name, records in zip(splits, read, strict=True):
        split = Split(name, out / name, records, int(args.size * 2**20))
        found[name] = write_split(split, processes=args.processes, skipped=messages, tell=say)
    labels = getattr(read[0], "class_names", ())
    write_index(out, task, found, labels)
    held.release()
    print(printable(str(out)))
    return messages.status


def _index(source: Any, args: argparse.Namespace, messages: "_Messages") -> int:
    """Make the index of shards that have none."""
    from ..data.shards.layout import indexed
    from ..data.shards.write import write_index
    from ..writing import write_text

    found: dict[str, Any] = {}
    tasks = set[str]()
    for split in args.split or source.splits():
        shards, lines = [], []
        for about, rows, task in indexed(source.root / split, messages):
            shards.append(about)
            lines += rows
            tasks |= {task} - {""}
        if not lines:
            raise InputError(f"{source.root / split}: there are no shards with samples in this folder. Check FOLDER.")
        seconds = sum(shard.pop("seconds", 0.0) for shard in shards)
        write_text(source.root / split / "metadata.jsonl", "".join(f"{line}\n" for line in lines))
        found[split] = {"items": sum(shard["items"] for shard in shards), "shards": shards}
        found[split] |= {"seconds": seconds} if seconds else {}
    if len(tasks) > 1 and not args.task:
        raise InputError(f"{source.root}: the shards must be for one task, but are for {' and '.join(sorted(tasks))}.")
    task = args.task or tasks.pop()
    labels: tuple[str, ...] = ()
    if task == "classify":
        labels = getattr(source.read(task, next(iter(found))), "class_names", ())
    write_index(source.root, task, found, labels)
    print(printable(str(source.root)))
    return messages.status


class _Messages:
    """Says what could not be read, and remembers that something could not."""

    status = 0

    def __call__(self, message: str) -> None:
        self.status = 1
        say(message)
