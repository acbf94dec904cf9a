"""What a map explains, as a caller names it: a label or its number, and another that it is compared with."""

from collections.abc import Sequence
from difflib import get_close_matches

from ..errors import ModelError
from ..maps import BY_CLASS, NO_CLASS

Label = str | int
"""A label by its name, or by its number among those of the model, from 0."""

_FEW = 5
"""Names that a message lists."""


def nearest(name: str, labels: Sequence[str]) -> str:
    """Return the label that looks most like a name, as a hint; where none does, the first labels."""
    plain = {label.casefold(): label for label in labels}
    if near := get_close_matches(name.casefold(), plain, n=1):
        return f"did you mean {plain[near[0]]!r}?"
    more = ", ..." if len(labels) > _FEW else ""
    return f"its {len(labels)} labels are {', '.join(labels[:_FEW])}{more}"


def label_index(label: Label, labels: Sequence[str], *, name: str, source: str) -> int:
    """Return the number of a label. A name of digits that is no label is a number.

    Args:
        label: The label.
        labels: All labels of the model.
        name: The option, for messages.
        source: The model, for messages.

    Raises:
        ModelError: There is no such label, or several of this name.
    """
    if isinstance(label, str) and label not in labels and label.isdecimal() and label.isascii():
        label = int(label)
    if isinstance(label, int):
        if not 0 <= label < len(labels):
            raise ModelError(f"`{name}` must be a label's number from 0 to {len(labels) - 1}, but is {label} instead")
        return label
    found = [index for index, known in enumerate(labels) if known == label]
    if not found:
        raise ModelError(f"`{name}` must be a label of {source}, but is {label!r} instead: {nearest(label, labels)}")
    if len(found) > 1:
        numbers = " and ".join(map(str, found))
        raise ModelError(f"`{name}` must be one label, but {label!r} is the name of {numbers} instead: give a number")
    return found[0]


def check_by_class(methods: Sequence[str], *, name: str = "target") -> None:
    """Refuse a label where no map that is asked for depends on one.

    Raises:
        ModelError: None does.
    """
    if methods and not set(methods) & set(BY_CLASS):
        others = ", ".join(BY_CLASS)
        raise ModelError(
            f"`{name}` must be left out for {', '.join(methods)}, whose map is the same for every label "
            f"({', '.join(NO_CLASS)} are): ask for one of {others}"
        )


def contrast(
    target: Label | None, versus: Label | None, labels: Sequence[str], *, source: str
) -> tuple[int | None, int | None]:
    """Return the numbers of the label to explain and of the one that it is compared with; None for what is not asked.

    Raises:
        ModelError: A label is unknown, or both are the same.
    """
    if versus is not None and len(labels) < 2:
        raise ModelError(f"`versus` must be left out for {source}, which has one label, but is {versus!r} instead")
    index = None if target is None else label_index(target, labels, name="target", source=source)
    other = None if versus is None else label_index(versus, labels, name="versus", source=source)
    if other is not None and other == index:
        raise ModelError(f"`versus` must be another label than `target`, but is {labels[other]!r}, too: give another")
    return index, other
