"""Which map method comes first: the one that the model's directory states, else the task's default."""

import json
from dataclasses import replace

import pytest

import multiattn
from multiattn.pipelines.map_request import MapRequest
from multiattn.registry import task_spec
from multiattn.weights import load_bundle, save_bundle
from tests.fixtures import draw, save_drawing, tiny_bundle


@pytest.mark.parametrize("task", ["classify", "caption", "answer", "transcribe"])
def test_rollout_is_the_default_nowhere(task):
    spec = task_spec(task)
    assert spec.default_map_method != "rollout"
    assert MapRequest.of(task, "all").methods[0] == spec.default_map_method
    assert sorted(MapRequest.of(task, "all").methods) == sorted(spec.map_methods)


def test_the_first_method_comes_first_of_all_and_is_checked():
    assert MapRequest.of("classify", None, check=True, first="rollout").methods == ("rollout",)
    assert MapRequest.of("classify", ["attention", "all"], first="rollout").methods[0] == "rollout"
    assert MapRequest.of("classify", ["attention", "rollout"], first="rollout").methods == ("attention", "rollout")


def test_pipeline_and_command_show_the_method_that_the_directory_states(tmp_path, capsys):
    from multiattn.cli.main import main

    save_bundle(replace(tiny_bundle(), maps={"first": "gradient_x_input"}), tmp_path / "model")
    assert load_bundle(tmp_path / "model").first_map_method == "gradient_x_input"
    classify = multiattn.load(tmp_path / "model")
    assert [one.map.method for one in classify(draw(0), maps="all").maps][0] == "gradient_x_input"
    save_drawing(tmp_path / "a.png", 0)
    arguments = ["classify", tmp_path / "a.png", "--model", tmp_path / "model", "--format", "json"]
    for more, first in (
        ([], ["gradient_x_input"]),
        (["--map-method", "all"], None),
        (["--map-method", "rollout"], None),
    ):
        assert main([*map(str, arguments), "--maps", str(tmp_path / "maps"), *more]) == 0
        shown = list(json.loads(capsys.readouterr().out)["maps"])
        assert shown == first if first else shown[0] == ("rollout" if "rollout" in more else "gradient_x_input")
