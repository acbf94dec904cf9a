"""The accuracy of a classifier by class, against counting item by item."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiattn.metrics.classes import class_scores

NAMES = st.sampled_from(("ant", "bee", "cow"))


@given(st.lists(st.tuples(NAMES, st.sampled_from(("ant", "bee", "cow", "dog"))), min_size=1, max_size=29))
def test_scores_are_those_of_counting(items: list[tuple[str, str]]) -> None:
    found = class_scores(Counter(items))
    truths = {truth for truth, _ in items}
    by_hand = {name: [label == name for truth, label in items if truth == name] for name in truths}
    assert found["per_class"] == {
        name: {"accuracy": sum(hits) / len(hits), "items": len(hits)} for name, hits in by_hand.items()
    }
    accuracies = [one["accuracy"] for one in found["per_class"].values()]
    assert accuracies == sorted(accuracies)
    assert found["macro_accuracy"] == pytest.approx(sum(accuracies) / len(accuracies))
    assert {(one["label"], one["predicted"]): one["items"] for one in found["confusion"]} == Counter(items)
    counts = [one["items"] for one in found["confusion"]]
    assert counts == sorted(counts, reverse=True)


def test_a_rare_class_counts_as_much_as_a_frequent_one() -> None:
    assert class_scores({("ant", "ant"): 98, ("bee", "ant"): 2, ("cow", "cow"): 0})["macro_accuracy"] == 0.5
