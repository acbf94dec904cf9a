import dataclasses

import numpy as np
import pytest

from multiattn.inputs import Geometry
from multiattn.maps.attention_map import AttentionMap, Axis

GEOMETRY = Geometry(source_size=(43, 61), resized_size=(56, 79), crop=(0, 11, 56, 56))


def unchecked(cls: type, **fields: object) -> object:
    """An object made as it is outside of tests, where no type checker stands before `__post_init__`."""
    made = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made


def make(**fields: object) -> AttentionMap:
    return AttentionMap(**facts(**fields))


def facts(**fields: object) -> dict:
    made = {
        "values": np.arange(35, dtype=np.float32).reshape(5, 7),
        "axes": (Axis("y", "patch"), Axis("x", "patch")),
        "method": "rollout",
        "sites": ("blocks.0.self",),
        "heads": None,
        "geometry": GEOMETRY,
        "target": None,
        "note": "",
    }
    return {**made, **fields}


def test_map_is_immutable_and_owns_its_values():
    values = np.ones((5, 7), dtype=np.float32)
    attention_map = make(values=values)
    values[0, 0] = 9
    assert attention_map.values[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        attention_map.values[0, 0] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        attention_map.method = "other"


def test_map_takes_values_in_any_memory_order():
    values = np.arange(35, dtype=np.float32).reshape(7, 5).T
    assert make(values=values).values.flags.c_contiguous
    np.testing.assert_array_equal(make(values=values).values, values)


def test_words_over_regions_and_tokens_over_time_fit():
    text = "a red fox"
    words = Axis("word", "word", labels=("a", " red", " fox"))
    over_regions = make(values=np.ones((3, 5, 7), dtype=np.float32), axes=(words, *make().axes), target=text)
    ends = np.cumsum([len(label) for label in over_regions.axes[0].labels])
    assert [text[end - len(label) : end] for end, label in zip(ends, words.labels, strict=True)] == list(words.labels)

    time = Axis("time", "second", start=1.5, step=0.02)
    over_time = make(values=np.ones((3, 11), dtype=np.float32), axes=(words, time), geometry=None)
    assert over_time.names == ("word", "time")
    assert AttentionMap.from_dict(over_time.to_dict(), over_time.values).equals(over_time)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("values", np.arange(35, dtype=np.float32).reshape(5, 7) + 1),
        ("method", "attention"),
        ("sites", ("blocks.1.self",)),
        ("heads", (2,)),
        ("geometry", None),
        ("target", "cat"),
        ("note", "Bright is much."),
        ("axes", (Axis("y", "patch"), Axis("x", "patch", step=2.0))),
    ],
)
def test_equals_sees_every_field(field, value):
    assert make().equals(make())
    assert not make().equals(make(**{field: value}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"values": np.ones((5, 7))}, "`values` must be a float32 array, but is float64 instead."),
        ({"values": [[1.0]]}, "`values` must be a float32 array, but is list instead."),
        ({"values": np.ones(7, np.float32)}, r"of the dimensions \('y', 'x'\), none of them 0, but is \(7,\) instead."),
        (
            {"values": np.ones((0, 7), np.float32)},
            r"`values` must be of the dimensions .*, none of them 0, but is \(0, 7\)",
        ),
        ({"values": np.full((5, 7), np.nan, np.float32)}, "`values` must be finite, but has 35 NaN or infinite"),
        ({"axes": [Axis("y", "patch")]}, "`axes` must be a tuple of Axis, but is "),
        ({"axes": ()}, r"`axes` must be at least one, no name twice, but is \(\) instead."),
        ({"axes": (Axis("x", "patch"),) * 2}, r"must be at least one, no name twice, but is \('x', 'x'\) instead."),
        (
            {"axes": (Axis("y", "patch"), Axis("x", "patch", labels=("a",)))},
            r"`labels` of axis `x` must be as many as its positions \(7\), but are 1 instead.",
        ),
        ({"method": ""}, "`method` must be a text that is not empty, but is '' instead."),
        ({"sites": ()}, r"`sites` must be at least one attention, but is \(\) instead."),
        ({"sites": "blocks.0.self"}, "`sites` must be a tuple of texts, but is 'blocks.0.self' instead."),
        ({"heads": (-1,)}, r"`heads` must be None or a tuple of indices from 0, but is \(-1,\) instead."),
        ({"heads": ()}, r"`heads` must be None or a tuple of indices from 0, but is \(\) instead."),
        ({"heads": [0]}, r"`heads` must be None or a tuple of indices from 0, but is \[0\] instead."),
        ({"geometry": (5, 7)}, r"`geometry` must be None or a Geometry, but is \(5, 7\) instead."),
        ({"target": 3}, "`target` must be None or text, but is 3 instead."),
        ({"note": None}, "`note` must be text, but is None instead."),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        unchecked(AttentionMap, **facts(**fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "`name` must be a text that is not empty, but is '' instead."),
        ({"unit": None}, "`unit` must be a text that is not empty, but is None instead."),
        ({"start": float("inf")}, "`start` must be a finite number of at most 1e.09, but is inf instead."),
        ({"step": "1"}, "`step` must be a finite number of at most 1e.09, but is '1' instead."),
        ({"step": True}, "`step` must be a finite number of at most 1e.09, but is True instead."),
        ({"step": 0}, "`step` must be above 0, but is 0 instead."),
        ({"labels": ["a"]}, r"`labels` must be a tuple of texts, but is \['a'\] instead."),
    ],
)
def test_wrong_axis_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        unchecked(Axis, **{"name": "x", "unit": "patch", "start": 0.0, "step": 1.0, "labels": None, **fields})
