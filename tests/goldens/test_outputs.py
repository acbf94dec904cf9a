"""The four shipped models say what they said before the library was rearranged, in words, numbers and maps."""

import json

import pytest

from multiattn.cli.main import main

from .record import difference, record, recorded


def test_the_shipped_models_say_what_they_said(capfd: pytest.CaptureFixture[str]) -> None:
    def run(arguments: list[str]) -> str:
        capfd.readouterr()
        assert main(arguments) == 0
        return capfd.readouterr().out

    found = json.loads(json.dumps(record(run)))
    assert difference(recorded(), found, tolerance=2e-4) == ""


def test_a_difference_is_found() -> None:
    one = {"a": [1.0, {"b": "x"}], "c": 3}
    assert difference(one, json.loads(json.dumps(one)), tolerance=1e-6) == ""
    assert difference(one, {"a": [1.1, {"b": "x"}], "c": 3}, tolerance=1e-2) == "/a/0: 1.0 was recorded, 1.1 is found"
    assert difference(one, {"a": [1.0, {"b": "y"}], "c": 3}, tolerance=1) == "/a/1/b: 'x' was recorded, 'y' is found"
    assert "keys" in difference(one, {"a": [1.0, {"b": "x"}]}, tolerance=1)
    assert "2 values" in difference(one, {"a": [1.0], "c": 3}, tolerance=1)
    assert difference(one, {"a": [1.0, {"b": "x"}], "c": 3.5}, tolerance=1) == "/c: 3 was recorded, 3.5 is found"
