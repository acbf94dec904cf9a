"""The records of an earlier run are found by what they are about, whatever the order, and take a few bytes each."""

import tracemalloc

import numpy as np  # noqa: F401  (imported before memory is counted)
import pytest

from multiattn.cli.arguments import UsageError
from multiattn.cli.earlier import Earlier


def earlier(*files: str) -> Earlier:
    """Records of files; a name that ends in ! is of a failure, and one that ends in ~ of a damaged file."""
    records = Earlier()
    for file in files:
        record = {"file": file.rstrip("!~"), "predictions": []}
        record |= ({"error": "no"} if file.endswith("!") else {}) | {"damaged": file.endswith("~")}
        records.add(record, source="out.jsonl")
    return records


def take(records: Earlier, *files: str) -> list[list[int] | None]:
    return [records.take([(file, "")]) for file in files]


def test_in_order_and_out_of_order() -> None:
    records = earlier("a", "b!", "c~", "d", "e!", "f")
    assert take(records, "a", "b", "c", "d") == [[0], None, [2], [3]]
    assert records.is_damaged(2) and not records.is_damaged(3)
    records.replace(("b", ""))
    records.replace(("b", ""))
    assert (records.rest(failures=True), records.rest(failures=False)) == ([4, 5], [5])
    assert take(earlier("a", "b", "c", "d"), "d", "a", "x", "c", "b", "b") == [[3], [0], None, [2], [1], None]


def test_one_file_several_times_and_several_questions() -> None:
    records = earlier("a", "b", "a", "a!", "a")
    assert take(records, "a", "a", "b", "a", "a") == [[0], [2], [1], [4], None]
    records = earlier("a", "b", "c")
    assert records.take([("a", ""), ("c", ""), ("x", "")]) is None  # all or none
    assert records.take([("a", ""), ("b", "")]) == [0, 1]
    assert take(records, "c") == [[2]]
    assert take(Earlier(), "a") == [None]


def test_it_takes_a_few_bytes_for_each() -> None:
    count = 20_000
    records = earlier(*(f"photos/{i:06}.jpg" for i in range(10)))
    take(records, "x")
    tracemalloc.start()
    records = earlier(*(f"photos/{i:06}.jpg" for i in range(count)))
    own = tracemalloc.get_traced_memory()[0]
    assert take(records, "photos/000001.jpg", "x") == [[1], None]
    both = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert own / count < 12
    assert both / count < 32


@pytest.mark.parametrize(
    "record", [None, {"maps": {"rollout": 3}}, {"maps": ["a"]}, {"maps": "{"}, {"maps": 7}], ids=str
)
def test_what_is_no_record_is_refused(record: dict[str, object] | None) -> None:
    records = earlier("a")
    with pytest.raises(
        UsageError, match="--out o.json must hold results of this command, but record 2 is none instead"
    ):
        records.add(record, source="o.json")
