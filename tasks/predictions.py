"""What a model writes about the items of a split, kept until all are written and can be scored together."""

from collections.abc import Callable, Sequence

import torch.distributed


class Predictions:
    """Texts about an evenly spread part of a split, and what people wrote about the same items."""

    def __init__(
        self,
        size: int,
        *,
        limit: int | None = None,
        score: Callable[[Sequence[str], Sequence[Sequence[str]]], dict[str, float]],
    ) -> None:
        """Start with none.

        Args:
            size: Items in the split.
            limit: How many of them are written about; all where None.
            score: Compares texts with what people wrote, and gives figures by their names.
        """
        self.size, self.limit = size, size if limit is None else min(limit, size)
        self._score = score
        self._written: dict[int, tuple[str, tuple[str, ...]]] = {}

    def wants(self, place: int) -> bool:
        """Whether the item at this place of the split is one of those to write about: `limit` of them are."""
        return place * self.limit // self.size != (place - 1) * self.limit // self.size

    def add(self, place: int, text: str, references: Sequence[str]) -> None:
        """Keep a text."""
        self._written[place] = (text, tuple(references))

    def scores(self) -> dict[str, float]:
        """The figures of all texts of all processes, by name; none where there is no text. Starts anew."""
        written, self._written = self._written, {}
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts: list[dict[int, tuple[str, tuple[str, ...]]]] = [{}] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, written)
            written = {place: pair for part in parts for place, pair in part.items()}
        if not written:
            return {}
        pairs = [written[place] for place in sorted(written)]
        return self._score([text for text, _ in pairs], [references for _, references in pairs])
