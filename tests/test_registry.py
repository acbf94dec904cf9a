"""The registry of tasks: every part and path that a `TaskSpec` names is there. `test_fifth_task` adds a task."""

import subprocess
import sys

import pytest
from torch import nn

from multiattn.registry import TaskSpec, layouts, load_part, tasks, value_at
from multiattn.weights import layout_names
from tests.fixtures import (
    tiny_answer_bundle,
    tiny_bundle,
    tiny_caption_bundle,
    tiny_match_bundle,
    tiny_speech_bundle,
)


@pytest.mark.parametrize("spec", tasks().values(), ids=list(tasks()))
def test_the_parts_and_paths_of_a_spec_are_there(spec: TaskSpec) -> None:
    for kind in spec.models.values():
        assert issubclass(load_part(kind.model), nn.Module)
        assert not kind.pipeline or load_part(kind.pipeline)
    for part in (spec.pipeline, spec.command, spec.evaluator):
        load_part(part)
    for name, module in spec.layouts.items():
        assert load_part(f"{module}:LAYOUT").name == name
    bundles = {
        "classify": [tiny_bundle()],
        "caption": [tiny_caption_bundle()],
        "transcribe": [tiny_speech_bundle()],
        "answer": [tiny_answer_bundle("closed"), tiny_answer_bundle("decoder")],
        "match": [tiny_match_bundle()],
    }
    for path in (spec.num_labels, *spec.vocab_sizes, spec.num_mels, *spec.heads.values()):
        assert not path or any(value_at(bundle.config, path) is not None for bundle in bundles[spec.name]), path
    assert spec.default_map_method in (spec.map_methods or [""])


def test_every_layout_belongs_to_a_task() -> None:
    assert layout_names() == ("multiattn", *layouts())
    assert set(layouts()) == {name for spec in tasks().values() for name in spec.layouts}


def test_the_registry_imports_no_torch() -> None:
    code = "import sys; from multiattn.registry import tasks; tasks(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
