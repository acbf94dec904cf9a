"""The accuracy of a classifier by class, and which classes it takes for which."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

Pairs = Mapping[tuple[str, str], int]
"""How many items of a class (first) got a label (second)."""


def class_scores(pairs: Pairs) -> dict[str, Any]:
    """Score a classifier by class, as JSON.

    Returns:
        `macro_accuracy`: the mean of the classes' accuracies, 0 to 1, so that rare classes count as much as frequent
        ones. `per_class`: `accuracy` and `items` of each class that has items, the lowest accuracy first. `confusion`:
        all pairs of a class and the label that `items` of it got, the most frequent first, right ones included.
    """
    items, right = Counter[str](), Counter[str]()
    for (truth, label), count in pairs.items():
        items[truth] += count
        right[truth] += count * (truth == label)
    accuracies = {name: right[name] / count for name, count in items.items() if count}
    order = sorted(accuracies, key=lambda name: (accuracies[name], name))
    ranked = sorted((pair for pair, count in pairs.items() if count), key=lambda pair: (-pairs[pair], pair))
    return {
        "macro_accuracy": sum(accuracies.values()) / max(1, len(accuracies)),
        "per_class": {name: {"accuracy": accuracies[name], "items": items[name]} for name in order},
        "confusion": [{"label": truth, "predicted": label, "items": pairs[truth, label]} for truth, label in ranked],
    }
