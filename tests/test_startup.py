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
