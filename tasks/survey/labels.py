"""Labels that are nearly equal, or that stand for nothing."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from multiattn.metrics.normal_form import normal_form

NOTHING = frozenset(("nan", "null", "<na>", "n/a", "none", "undefined", "nat"))
"""What programs write where there is no value, in lower case."""

_BETWEEN = re.compile(r"[\s_\-]+")


def near_equal(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only in case, in the width of letters, or in spaces, hyphens and underscores."""
    found: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        found[_BETWEEN.sub(" ", normal_form("NFKC", label).casefold()).strip()].append(label)
    return [group for group in found.values() if len(group) > 1]


def like_nothing(texts: Sequence[str]) -> dict[str, int]:
    """Texts that stand for nothing, with their numbers."""
    found: dict[str, int] = {}
    for text in texts:
        if len(text) < 12 and text.strip().lower() in NOTHING:
            found[text] = found.get(text, 0) + 1
    return found
