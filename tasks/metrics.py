"""Scores of a split, collected batch by batch and computed together at its end: of texts, and of labels by class."""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.distributed
from jaxtyping import Float, Int64
from torch import Tensor
from torchmetrics import Metric

from multiattn.metrics import caption_scores
from multiattn.metrics.speech import speech_scores
from multiattn.metrics.vqa import answer_scores

Score = Callable[[Sequence[str], Sequence[Sequence[str]]], dict[str, float]]
"""Compares texts with the references of each, and returns scores by name."""


LARGEST_CONFUSION = 1000
"""Classes for which it is counted how often each is taken for each: the counts grow with the square."""


class MacroAccuracy(Metric):
    """The mean of the classes' accuracies, each over the items of the class; and how often each is taken for each.

    A class without items in the split is left out.
    """

    higher_is_better = True
    full_state_update = False
    right: Tensor
    items: Tensor
    matrix: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.counts_pairs = classes <= LARGEST_CONFUSION
        pairs = classes if self.counts_pairs else 0
        for name, shape in (("right", (classes,)), ("items", (classes,)), ("matrix", (pairs, pairs))):
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "b C"], labels: Int64[Tensor, " b"]) -> None:
        """Count a batch."""
        predicted, classes = logits.argmax(dim=1), len(self.items)
        self.items += torch.bincount(labels, minlength=classes)
        self.right += torch.bincount(labels[predicted == labels], minlength=classes)
        if self.counts_pairs:
            pairs = torch.bincount(labels * classes + predicted, minlength=classes * classes)
            self.matrix += pairs.view(classes, classes)

    def compute(self) -> Float[Tensor, ""]:
        """The mean over the classes that have items; 0 where there is no item at all."""
        has = self.items > 0
        return (self.right[has] / self.items[has]).sum() / has.sum().clamp(min=1)

    def confusion(self) -> list[list[int]] | None:
        """How often an item of each class (row) was taken for each (column), over all processes, which must all ask.

        None for more classes than `LARGEST_CONFUSION`.
        """
        with self.sync_context():
            found: list[list[int]] = self.matrix.tolist()
        return found if self.counts_pairs else None


EXAMPLES = 8
"""Items that a report shows."""


class Written(NamedTuple):
    """A text that a model wrote about an item."""

    text: str
    references: tuple[str, ...]
    question: str = ""
    """What it answers; "" for a caption or a transcript."""


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
        self._texts: dict[tuple[int, int], Written] = {}
        self.examples: list[tuple[int, Written]] = []
        """Some of the texts that were scored last, evenly spread over the split, each with its item's index."""

    def wants(self, index: int) -> bool:
        """Whether the item at this index of the split is one of those to write about."""
        return index * self.limit // self.size != (index - 1) * self.limit // self.size

    def add(self, index: int, text: str, references: Sequence[str], *, number: int = 0, question: str = "") -> None:
        """Keep a text about an item; `number` counts where an item has several."""
        self._texts[index, number] = Written(text, tuple(references), question)

    def scores(self) -> dict[str, float]:
        """Score the texts of all processes together, and forget them. Returns none where there is no text."""
        texts, self._texts = self._texts, {}
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts = [texts] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, texts)
            texts = {key: written for part in parts for key, written in part.items()}
        if not texts:
            return {}
        keys = sorted(texts)
        shown = min(EXAMPLES, len(keys))
        self.examples = [(key[0], texts[key]) for key in (keys[i * len(keys) // shown] for i in range(shown))]
        return self._score([texts[key].text for key in keys], [texts[key].references for key in keys])


def score_captions(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU-4, METEOR, ROUGE-L and CIDEr-D; the last only of several captions (`CaptionScores.cider`)."""
    found = caption_scores(texts, references)
    if found.cider is None:
        warnings.warn(
            "CIDEr-D cannot be computed of one picture: words are weighed by how few pictures have them. Raise "
            "`validation_texts`, or add pictures to the split.",
            stacklevel=2,
        )
    scores = {"bleu4": found.bleu4, "meteor": found.meteor, "rouge_l": found.rouge_l}
    return scores if found.cider is None else scores | {"cider": found.cider}


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
