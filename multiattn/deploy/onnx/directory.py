"""What `multiattn export --to onnx` wrote, read without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...inputs import ImagePreprocessing, Tokenizer
from ...registry import task_spec, tasks
from ...text_files import read_json_file
from .maps import METHODS
from .session import Session

CONFIG = "config.json"
FORMATS = {"onnx": "multiattn-onnx", "torch": "multiattn-torch"}
"""`format` in `config.json`, by what it was exported to."""

OLDEST_OPSET, NEWEST_OPSET, OPSET = 18, 23, 20
"""Versions of ONNX's operators that are written: the least, the latest, and the one where none is asked for."""


@dataclass(frozen=True)
class ExportedModel:
    """A directory with the graphs of a model."""

    folder: Path
    config: Mapping[str, Any]
    """What its `config.json` says: that of a model directory of ours, and `exported`."""

    threads: int | None = None
    """Threads to compute with; None for `OMP_NUM_THREADS`, or else as many as there are cores."""

    @classmethod
    def open(cls, folder: str | Path, *, task: str, threads: int | None = None) -> "ExportedModel":
        """Read a directory that was exported for onnxruntime.

        Raises:
            ModelError: There is no such directory, it was not exported to ONNX, or for another task.
        """
        path = Path(folder).expanduser()
        config: Any = read_json_file(path / CONFIG, error=ModelError) if (path / CONFIG).is_file() else {}
        if not isinstance(config, Mapping) or config.get("format") != FORMATS["onnx"]:
            raise ModelError(
                f"--runtime onnxruntime: `{folder}` must be a directory that `multiattn export MODEL DIR --to onnx` "
                "wrote, but is not: export the model first, and give --model DIR"
            )
        if config.get("task") != task:
            known = config.get("task") if config.get("task") in tasks() else "another task"
            raise ModelError(f"`{folder}` must be a model for {task}, but is one for {known} instead: give another")
        return cls(path, config, threads)

    def __post_init__(self) -> None:
        """Have what `config.json` lacks told."""
        object.__setattr__(self, "config", _complete(self.config, self.folder / CONFIG))

    @property
    def source(self) -> str:
        """Its name in messages."""
        return str(self.folder)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was exported: `opset`, the sites of `maps`, and the `words` of training questions."""
        found: Mapping[str, Any] = self.config.get("exported", {})
        return found

    @property
    def decoding(self) -> dict[str, Any]:
        """How the model writes unless the caller asks for something else."""
        return {name: _tuples(value) for name, value in self.config.get("decoding", {}).items()}

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary of a model that reads or writes text.

        Raises:
            ModelError: It is missing or damaged.
        """
        return Tokenizer.load(self.folder)

    @property
    def pictures(self) -> ImagePreprocessing:
        """The preprocessing of a picture."""
        return ImagePreprocessing.from_dict(self.config["preprocessing"])

    @property
    def first_map_method(self) -> str:
        """The map method where none is asked for: the model's own, or `attention` where that needs torch."""
        first = self.config.get("maps", {}).get("first", "") or task_spec(self.config["task"]).default_map_method
        return first if first in METHODS else METHODS[0]

    def has(self, name: str) -> bool:
        """Return whether there is a graph of this name."""
        return (self.folder / f"{name}.onnx").is_file()

    def session(self, name: str) -> Session:
        """Return the graph of this name, ready to compute.

        Raises:
            ModelError: It is missing or damaged.
        """
        path = self.folder / f"{name}.onnx"
        if not self.has(name):
            raise ModelError(f"`{self.folder}` must have the graph {path.name}, but lacks it: export it again")
        return Session(path, threads=self.threads)


class _Complete(dict[str, Any]):
    """An object of `config.json`: what it lacks is told."""

    source: Path

    def __missing__(self, key: str) -> Any:
        raise ModelError(f"`{self.source}` must have `{key}`, but lacks it: export the model again")


def _complete(config: Mapping[str, Any], source: Path) -> _Complete:
    found = _Complete((key, _complete(one, source) if isinstance(one, dict) else one) for key, one in config.items())
    found.source = source
    return found


def _tuples(value: Any) -> Any:
    """Turn lists, which JSON has in place of tuples, back into tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
