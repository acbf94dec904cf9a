"""Scores of the texts that a model writes about a split: collected batch by batch, and computed together at its end."""

from collections.abc import Callable, Sequence

import torch.distributed

from multiattn.metrics import caption_scores
from multiattn.metrics.speech import speech_scores
from multiattn.metrics.vqa import answer_scores

Score = Callable[[Sequence[str], Sequence[Sequence[str]]], dict[str, float]]
"""Compares texts with the references of each, and returns scores by name."""


class Predictions:
    """The texts written about an evenly spread part of a split, with the references of the same items."""

    def __init__(self, size: int, *, limit: int | None = None, score: Score) -> None:
        """Start with none.

        Args:
            size: Items in the split.
            limit: The number of items to write about; all where None.
            score: Compares the texts with their references.
        """
        self.size, self.limit = size, size if limit is None else min(limit, size)
        self._score = score
        self._texts: dict[tuple[int, int], tuple[str, tuple[str, ...]]] = {}

    def wants(self, index: int) -> bool:
        """Whether the item at this index of the split is one of those to write about."""
        return index * self.limit // self.size != (index - 1) * self.limit // self.size

    def add(self, index: int, text: str, references: Sequence[str], *, number: int = 0) -> None:
        """Keep a text about an item; `number` counts where an item has several."""
        self._texts[index, number] = (text, tuple(references))

    def scores(self) -> dict[str, float]:
        """Score the texts of all processes together, and forget them. Returns none where there is no text."""
        texts, self._texts = self._texts, {}
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts = [texts] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, texts)
            texts = {key: pair for part in parts for key, pair in part.items()}
        if not texts:
            return {}
        pairs = [texts[key] for key in sorted(texts)]
        return self._score([text for text, _ in pairs], [references for _, references in pairs])


def score_captions(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU-4, METEOR, ROUGE-L and CIDEr-D."""
    found = caption_scores(texts, references)
    return {"bleu4": found.bleu4, "meteor": found.meteor, "rouge_l": found.rouge_l, "cider": found.cider}


def score_answers(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Exact accuracy and VQA accuracy."""
    found = answer_scores(texts, references, [""] * len(texts))
    return {"accuracy": found.accuracy, "vqa_accuracy": found.vqa_accuracy}


def score_transcripts(
    texts: Sequence[str], references: Sequence[Sequence[str]], *, normalize: Callable[[str], str]
) -> dict[str, float]:
    """WER and CER of transcripts with one reference each; `normalize` is done to both before they are compared."""
    found = speech_scores(texts, [one for (one,) in references], normalize=normalize)
    return {"wer": found.wer, "cer": found.cer}
