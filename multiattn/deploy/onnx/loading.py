"""From an exported directory to what computes it on onnxruntime."""

from pathlib import Path
from typing import Any

from ...errors import ModelError, reading
from ...registry import load_part
from .directory import CONFIG, ExportedModel

RUNNERS = {
    "classify": f"{__package__}.classify:OnnxClassifier",
    "caption": f"{__package__}.caption:OnnxCaptioner",
    "transcribe": f"{__package__}.transcribe:OnnxRecognizer",
    "answer": f"{__package__}.answer:OnnxAnswerer",
}
"""What computes each task, as "module:class"."""


def load(folder: str | Path, *, task: str, threads: int | None = None) -> Any:
    """Return what computes an exported model: `stream` takes files and yields results, as that of a pipeline does.

    Args:
        folder: The directory.
        task: The task that the model must be for.
        threads: Threads to compute with; None for `OMP_NUM_THREADS`, or else as many as there are cores.

    Raises:
        ModelError: It is not exported, for another task, or damaged; or onnxruntime is not installed.
    """
    model = ExportedModel.open(folder, task=task, threads=threads)
    if task not in RUNNERS:
        raise ModelError(f"--runtime onnxruntime does {', '.join(RUNNERS)}, but not {task}: leave it out")
    make = load_part(RUNNERS[task])
    with reading(f"`{model.folder / CONFIG}`", "the configuration of an exported model", error=ModelError):
        return make(model)
