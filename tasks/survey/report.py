"""The report about the data of a training: `RUN/data.json`, and the same as a table on standard error.

`data.json` has:

    task, kind, root    the task, what the files are ("pictures", "recordings"), and the folders of the data
    splits              for `train` and `validation`:
        items           pictures or recordings
        classes         of a classifier: [{"label", "items"}], the rarest first; else []
        missing         listed files that are not there, of the `looked_at` of `headers`' split (see `files`)
        looked_at       files whose size was looked at
        ignored         {"looked_at", "all", "reasons": {reason: {"files", "names"}}}; null where it was not looked for
        headers         {"looked_at", "unreadable"}, and {"min", "median", "max"} as `width` and `height` in pixels, or
                        as `seconds`; null where no file states it
        texts           {kind of text: see `survey.texts.described`}: captions, transcripts, questions, answers
    near_equal_labels   [["Dog", "dog "], ...]
    labels_like_nothing {"nan": items}
    duplicates          see `survey.files.duplicates`
    remarks             what a person should look at, each a sentence
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from multiattn.checks import require
from multiattn.data.image_folder import ClassificationRecords
from multiattn.writing import write_json

from ..base import BaseTask
from ..loading.datamodule import BaseData, data_of
from ..loading.text_data import TextData
from . import files, folders, labels, table, texts

FILE = "data.json"
"""The name of the report in the folder of a run."""


class DataReport(Callback):
    """Describe the data before the first step: a table on standard error, and RUN/data.json."""

    def __init__(self, files: int = 20_000) -> None:
        """Set how much is looked at.

        Args:
            files: Files of each split whose sizes, and where these are equal, whose contents are compared; 0 for no
                report.
        """
        require(files >= 0, "files", must="at least 0", value=files)
        self.files = files

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Describe it, in one of several processes."""
        if not self.files or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, BaseTask)
        found = describe(data_of(trainer), task=pl_module.task, most=self.files)
        print("\n".join(table.lines(found)), file=sys.stderr, flush=True)
        if not getattr(trainer, "fast_dev_run", False):
            write_json(Path(trainer.default_root_dir) / FILE, found)


def describe(
    data: BaseData[Any, Any], *, task: str, most: int, splits: Sequence[str] = ("train", "validation")
) -> dict[str, Any]:
    """Describe data, as this module's head says.

    Args:
        data: The data, whose task has built its model.
        task: The name of the task.
        most: Files of a split that are looked at.
        splits: The splits.
    """
    seen: list[files.File] = []
    used = [] if data.indices else [path for split in splits for path, _ in data.files(split).items]
    parts: dict[str, Any] = {}
    names: tuple[str, ...] = ()
    for split in splits:
        records = data.files(split)
        label: Callable[[Any], str] = _no_label
        classes: list[dict[str, Any]] = []
        if isinstance(records, ClassificationRecords):
            names, label = records.class_names, records.named
            counts = zip(records.class_names, records.counts(), strict=True)
            classes = [{"label": name, "items": n} for name, n in sorted(counts, key=lambda pair: pair[1])]
        looked = files.looked_at(split, records.items, label, most)
        seen += looked
        parts[split] = {
            "items": len(records.items),
            "classes": classes,
            "looked_at": len(looked),
            "missing": sum(file.size < 0 for file in looked),
            "ignored": _ignored(data, split, used, in_classes=bool(classes)),
            "headers": files.headers(looked, data.kind),
            "texts": _texts(data, split),
        }
    found: dict[str, Any] = {"task": task, "kind": data.kind, "root": [*map(str, data.names)]}
    train = {one["label"]: one["items"] for one in parts[splits[0]]["classes"]}
    found |= {
        "splits": parts,
        "near_equal_labels": labels.near_equal(names),
        "labels_like_nothing": {name: train[name] for name in labels.like_nothing(names)},
        "duplicates": files.duplicates(seen),
    }
    return found | {"remarks": table.remarks(found)}


def _texts(data: BaseData[Any, Any], split: str) -> dict[str, Any]:
    """What is found of the texts of a split, by their kinds."""
    if not isinstance(data, TextData):
        return {}
    return {one.kind: texts.described(one, data.tokenizer) for one in data.texts(split)}


def _no_label(known: Any) -> str:
    return ""


def _ignored(data: BaseData[Any, Any], split: str, used: Sequence[Path], *, in_classes: bool) -> Any:
    """The files that are not used; None where there are too many, or no folders of the split."""
    where = [folder for folder in data.folders(split) if folder.is_dir()]
    if not where or len(used) > folders.MOST:
        return None
    by_class = in_classes and all(map(folders.is_in_classes, where))
    return folders.ignored(where, used, kind=data.kind, in_classes=by_class)
