"""What starting costs: one picture or recording by each command, as whole processes, against a bare `import torch`."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

_INPUTS = Path(__file__).resolve().parents[2] / "assets" / "inputs"
_PICTURE, _SCENE, _RECORDING = (str(_INPUTS / name) for name in ("ship.png", "scene.png", "digits.flac"))

_COMMANDS = {
    "import torch": ["-c", "import torch"],
    "multiattn --help": ["-m", "multiattn", "--help"],
    "classify": ["-m", "multiattn", "classify", _PICTURE],
    "caption": ["-m", "multiattn", "caption", _PICTURE],
    "answer": ["-m", "multiattn", "answer", _SCENE, "--question", "what color is the large circle?"],
    "transcribe": ["-m", "multiattn", "transcribe", _RECORDING],
}

# a process begins with the memory of the one that starts it as its peak: a small one, not this one, starts the commands
_MEASURE = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def startup(rounds: int) -> None:
    """Processor time and peak memory of whole processes, interleaved; medians."""
    rounds = max(3, rounds // 8)
    times: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    peaks: dict[str, int] = {}
    for round_ in range(rounds + 1):  # the first fills the file cache
        for name, arguments in _COMMANDS.items():
            seconds, peak = _run(arguments)
            peaks[name] = peak
            if round_:
                times[name].append(seconds)
    print(f"\nstart-up, {rounds} rounds: processor time, against `import torch`, and peak memory")
    torch_seconds = times["import torch"]
    for name, seconds in times.items():
        ratio = statistics.median(one / bare for one, bare in zip(seconds, torch_seconds, strict=True))
        print(f"  {name:18} {statistics.median(seconds):6.2f} s  {ratio:5.2f} x  {peaks[name] / 1024:6.0f} MiB")


def _run(arguments: list[str]) -> tuple[float, int]:
    """Seconds of processor time of a process and its largest memory in KiB."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _MEASURE, sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    seconds, peak = json.loads(done.stdout)
    return seconds, peak
