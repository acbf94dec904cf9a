"""What the start of a pipeline may import: torch's compiler, which no pipeline uses, takes over a second."""

import subprocess
import sys
from pathlib import Path

CALLS = """
import sys
import multiattn
from multiattn.resources import shipped

picture, recording = str(shipped("inputs", "scene.png")), str(shipped("inputs", "digits.flac"))
calls = {
    "classify": ((picture,), {"maps": "rollout"}),
    "caption": ((picture,), {"maps": "attention"}),
    "transcribe": ((recording,), {"words": True}),
    "answer": ((picture, "what is there?"), {"maps": "relevance"}),
}
for task, (arguments, options) in calls.items():
    for chosen in ({}, options):
        multiattn.load(task)(*arguments, **chosen)
        print(task, *chosen, "torch._dynamo" in sys.modules)
"""


def test_no_pipeline_imports_the_compiler():
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", CALLS], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 8 and all(line.endswith(" False") for line in lines), lines


ONE = """
import sys
from multiattn.cli.main import main
from multiattn.resources import shipped

status = main(["classify", str(shipped("inputs", "ship.png"))])
print(status, *sorted(name for name in sys.modules if name.startswith("multiattn.")))
print(*{"torchvision", "timm", "transformers", "scipy", "torch._dynamo", "matplotlib"} & set(sys.modules))
"""


def test_a_command_imports_its_own_task_alone():
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", ONE], cwd=root, capture_output=True, text=True, timeout=120)
    *_, ours, others = done.stdout.split("\n")[:-1]
    status, *names = ours.split(" ")
    assert status == "0" and "multiattn.pipelines.classify" in names, done.stderr
    parts = ("answer", "caption", "match", "transcribe", "embedder", "explaining")
    assert not [name for name in names if name.startswith(tuple(f"multiattn.pipelines.{part}" for part in parts))]
    assert not {"multiattn.data.packed", "multiattn.export.subtitles", "multiattn.export.audio_page"} & set(names)
    assert others == ""
