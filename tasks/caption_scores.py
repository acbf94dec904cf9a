"""The figures of captions that a training logs."""

from collections.abc import Sequence

from multiattn.metrics import caption_scores

_LOGGED = ("bleu4", "meteor", "rouge_l", "cider")


def logged_scores(written: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """What is logged of captions and what people wrote about the same pictures, by name."""
    found = caption_scores(written, references)
    return {name: float(getattr(found, name)) for name in _LOGGED}
