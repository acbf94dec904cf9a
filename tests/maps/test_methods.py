"""The methods are those of the registry, and each has a note on how to read its maps."""

import pytest

from multiattn import maps
from multiattn.registry import task_spec


@pytest.mark.parametrize(
    ("task", "methods", "notes"),
    [
        ("classify", maps.METHODS, maps.METHOD_NOTES),
        ("caption", maps.WORD_METHODS, maps.WORD_METHOD_NOTES),
        ("answer", maps.ANSWER_METHODS, maps.ANSWER_NOTES),
        ("answer", maps.ANSWER_METHODS, maps.QUESTION_NOTES),
        ("transcribe", maps.SPEECH_METHODS, maps.SPEECH_METHOD_NOTES),
    ],
)
def test_every_method_has_a_note(task, methods, notes):
    assert methods == task_spec(task).map_methods == tuple(notes)
    assert task_spec(task).default_map_method in methods
