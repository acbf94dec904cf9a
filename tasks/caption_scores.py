"""What a captioner writes about the pictures of a split, kept until all are written and can be scored together."""

from collections.abc import Sequence

import torch.distributed

from multiattn.metrics import caption_scores

_LOGGED = ("bleu4", "meteor", "rouge_l", "cider")


class WrittenCaptions:
    """Captions of an evenly spread part of a split, and what people wrote about the same pictures."""

    def __init__(self, size: int, *, limit: int | None = None) -> None:
        """Start with none.

        Args:
            size: Pictures in the split.
            limit: How many of them are captioned; all where None.
        """
        self.size, self.limit = size, size if limit is None else min(limit, size)
        self._written: dict[int, tuple[str, tuple[str, ...]]] = {}

    def wants(self, place: int) -> bool:
        """Whether the picture at this place of the split is one of those to caption: `limit` of them are."""
        return place * self.limit // self.size != (place - 1) * self.limit // self.size

    def add(self, place: int, text: str, references: Sequence[str]) -> None:
        """Keep a caption."""
        self._written[place] = (text, tuple(references))

    def scores(self) -> dict[str, float]:
        """The scores of all captions of all processes, by name; none where there is no caption. Starts anew."""
        written, self._written = self._written, {}
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts: list[dict[int, tuple[str, tuple[str, ...]]]] = [{}] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, written)
            written = {place: pair for part in parts for place, pair in part.items()}
        if not written:
            return {}
        pairs = [written[place] for place in sorted(written)]
        found = caption_scores([text for text, _ in pairs], [references for _, references in pairs])
        return {name: float(getattr(found, name)) for name in _LOGGED}
