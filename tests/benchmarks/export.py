"""An exported model on onnxruntime, beside the same on torch: eager, compiled and in int8. Speed, memory, start-up.

Each is a process of its own, one thread: what one has imported is not in the memory of another.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from multiattn.models import ViT
from multiattn.models.vit_config import PRESETS
from multiattn.weights import load_bundle, save_bundle

_INPUTS = Path(__file__).resolve().parents[2] / "assets" / "inputs"
_PICTURE = str(_INPUTS / "scene.png")

# a process begins with the memory of the one that starts it as its peak: a small one, not this one, starts them
_START = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)"

_LOAD = """
import json, resource, statistics, sys, time
kind, folder, task, rounds, batch = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
import numpy as np
"""

_FORWARD = (
    _LOAD
    + """
shape = (batch, 3, 224, 224)
if kind == "onnxruntime":
    from multiattn.deploy.onnx.loading import load
    session = load(folder, task=task)._session
    images = np.zeros(shape, np.float32)
    run = lambda: session(images=images)
else:
    import torch
    import multiattn
    torch.set_num_threads(1)
    model = multiattn.load(folder, task=task, device="cpu", precision="int8" if kind == "int8" else "fp32").vision
    model = torch.compile(model) if kind == "compile" else model
    images = torch.zeros(shape)
    def run():
        with torch.inference_mode():
            return model(images)
"""
)

_CAPTION = (
    _LOAD
    + """
if kind == "onnxruntime":
    from multiattn.deploy.onnx.loading import load
    pipeline = load(folder, task=task)
else:
    import torch
    import multiattn
    torch.set_num_threads(1)
    pipeline = multiattn.load(folder, task=task, device="cpu", precision="int8" if kind == "int8" else "fp32")
picture = sys.argv[6]
run = lambda: list(pipeline.stream([picture] * batch))
"""
)

_TIME = """
for _ in range(2):
    run()
times = []
for _ in range(rounds):
    start = time.process_time()
    run()
    times.append(time.process_time() - start)
print(json.dumps([statistics.median(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def export(rounds: int) -> None:
    """ViT-Tiny at 224 pixels, the shipped captioner with three beams, and start-up."""
    rounds = max(3, rounds // 4)
    with tempfile.TemporaryDirectory() as folder:
        bundle = load_bundle("classify")
        bundle.model, bundle.labels = ViT(PRESETS["tiny"]).eval(), tuple(map(str, range(PRESETS["tiny"].num_classes)))
        bundle.domain = None
        bundle.preprocessing = bundle.pictures.__class__((224, 224), 224, "bicubic", (0.5,) * 3, (0.5,) * 3)
        save_bundle(bundle, Path(folder) / "vit")
        vit, caption, classify = (str(Path(folder) / f"{name}-onnx") for name in ("vit", "caption", "classify"))
        for model, to in ((str(Path(folder) / "vit"), vit), ("caption", caption), ("classify", classify)):
            command = [sys.executable, "-m", "multiattn", "export", model, to, "--to", "onnx"]
            subprocess.run(command, check=True, capture_output=True)
        torch_vit = str(Path(folder) / "vit")
        for batch in (1, 8):
            _compare(
                f"ViT-Tiny, batch {batch}",
                ("eager", "compile", "int8", "onnxruntime"),
                lambda kind, batch=batch: _measured(  # type: ignore[misc]
                    _FORWARD, kind, vit if kind == "onnxruntime" else torch_vit, "classify", rounds, batch
                ),
            )
        _compare(
            "a caption, three beams",
            ("eager", "int8", "onnxruntime"),
            lambda kind: _measured(
                _CAPTION, kind, caption if kind == "onnxruntime" else "caption", "caption", rounds, 1, _PICTURE
            ),
        )
        picture = str(_INPUTS / "ship.png")
        starts = {
            "import torch": ["-c", "import torch"],
            "torch": ["-m", "multiattn", "classify", picture],
            "onnxruntime": ["-m", "multiattn", "classify", picture, "--runtime", "onnxruntime", "--model", classify],
        }
        _compare("multiattn classify, whole process", tuple(starts), lambda kind: _started(starts[kind]))


def _compare(title: str, kinds: tuple[str, ...], measure: Callable[[str], tuple[float, float]]) -> None:
    print(f"\n{title}: processor time and peak memory, against the first")
    first = (0.0, 0.0)
    for kind in kinds:
        seconds, memory = measure(kind)
        first = first if kind != kinds[0] else (seconds, memory)
        print(
            f"  {kind:14} {1000 * seconds:8.1f} ms  {seconds / first[0]:5.2f} x"
            f"  {memory / 1024:6.0f} MiB  {memory / first[1]:5.2f} x",
            flush=True,
        )


def _measured(code: str, *arguments: object) -> tuple[float, float]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _START, sys.executable, "-c", code + _TIME, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def _started(arguments: list[str]) -> tuple[float, float]:
    from .startup import _run

    found = [_run(arguments) for _ in range(4)][1:]
    return statistics.median(seconds for seconds, _ in found), max(memory for _, memory in found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    export(40)
