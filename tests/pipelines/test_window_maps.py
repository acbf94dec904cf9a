"""The order of the maps of windows: what a window left out lies between its segments."""

import numpy as np

from multiattn.alignment import SpokenWord
from multiattn.maps import AttentionMap, Axis
from multiattn.pipelines.transcribe.window_maps import WindowMap, in_order


def window(*segments: tuple[float, str], methods: int = 2) -> list[WindowMap]:
    """Maps of a window with segments that begin at these times, each letter a word."""
    text = "".join(words for _, words in segments)

    def of(names: tuple[str, ...]) -> AttentionMap:
        axes = tuple(Axis(name, "index", labels=tuple(text) if name == "word" else None) for name in names)
        shape = [len(text) if name == "word" else 2 for name in names]
        at = [1] * len(shape)
        at[names.index("word")] = len(text)
        values = np.broadcast_to(np.array([ord(one) for one in text], np.float32).reshape(at), shape)
        return AttentionMap(values, axes, "attention", ("decoder",), None, None, None)

    words = tuple(SpokenWord(one, 0.0, 1.0, 1.0, 0, 1, (0,)) for one in text)
    stack, checked = of(("layer", "head", "word", "time")), object()
    parts = tuple((start, len(words)) for start, words in segments)
    return [WindowMap(of(("word", "time")), stack, words, checked, parts) for _ in range(methods)]


def told(found: list[WindowMap]) -> list[str]:
    for one in found:
        labels = "".join(one.map.axes[0].labels)
        assert labels == "".join(one.stack.axes[2].labels) == "".join(word.text for word in one.words)
        assert one.map.values[:, 0].tolist() == one.stack.values[0, 1, :, 1].tolist() == [ord(n) for n in labels]
    return ["".join(word.text for word in one.words) for one in found]


def test_windows_one_after_the_other_stay_as_they_are() -> None:
    maps = [*window((0.0, "ab"), (2.0, "c")), *window((5.0, "d"), (6.0, "ef"))]
    assert in_order(maps) == maps
    assert told(in_order([*maps[2:], *maps[:2]])) == ["abc", "abc", "def", "def"]
    assert in_order([]) == []


def test_a_window_is_cut_where_another_lies_between_its_segments() -> None:
    first, second = window((0.0, "ab"), (4.0, "c"), (9.0, "d")), window((2.0, "x"), (3.0, "yz"))
    found = in_order([*first, *second])
    assert told(found) == ["ab", "ab", "xyz", "xyz", "cd", "cd"]
    assert [one.checked is None for one in found] == [False, False, False, False, True, True]
