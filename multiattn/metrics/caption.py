"""All figures of a set of captions, from sentences as they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .bleu import bleu
from .cider import CiderD, check_references
from .meteor import meteor
from .rouge import rouge_l
from .tokenize import tokenize


@dataclass(frozen=True)
class CaptionScores:
    """How alike a set of captions and its references are."""

    bleu1: float
    """Words that are in a reference, 0 to 1, less where the captions are shorter than the references."""

    bleu2: float
    """The same for runs of up to two words."""

    bleu3: float
    """The same for runs of up to three words."""

    bleu4: float
    """The same for runs of up to four words."""

    meteor: float
    """METEOR with the exact and the stem stage, without synonyms and paraphrases, 0 to 1."""

    rouge_l: float
    """ROUGE-L, 0 to 1."""

    cider: float
    """CIDEr-D, from 0; 10 would be captions that are their only references word for word."""


def caption_scores(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Compare captions with what people wrote.

    Args:
        candidates: One caption an item, as a sentence.
        references: Each item's references, as sentences.

    Raises:
        InputError: There is no item, an item has no reference, or there are not as many captions as items.
    """
    _check(candidates, references)
    words = [tokenize(text) for text in candidates]
    reference_words = [[tokenize(text) for text in several] for several in references]
    bleu1, bleu2, bleu3, bleu4 = bleu(words, reference_words)
    return CaptionScores(
        bleu1=bleu1,
        bleu2=bleu2,
        bleu3=bleu3,
        bleu4=bleu4,
        meteor=meteor(words, reference_words),
        rouge_l=rouge_l(words, reference_words),
        cider=float(CiderD(references).score(candidates, range(len(candidates))).mean()),
    )


def self_retrieval(
    candidates: Sequence[str], references: Sequence[Sequence[str]], *, pool: int = 100, seed: int = 0
) -> float:
    """How often a caption is more like its own item's references than like those of other items, drawn by chance.

    A sanity figure that the others lack: a model that says the same of every picture may have a fair BLEU, but is here
    at chance, which is 1 / `pool`. Likeness is CIDEr-D.

    Args:
        candidates: One caption an item.
        references: Each item's references.
        pool: Items to choose from, the own one included; all where there are fewer.
        seed: Of the draw.

    Returns:
        The share that is right, 0 to 1; where several items are equally like a caption, its own among them, it counts
        as one choice among these by chance.

    Raises:
        InputError: As for `caption_scores`, or `pool` is below 2.
    """
    _check(candidates, references)
    if pool < 2:
        raise InputError(f"`pool` must be at least 2, but is {pool} instead.")
    generator = np.random.default_rng(seed)
    items = len(candidates)
    asked: list[str] = []
    places: list[int] = []
    for i, text in enumerate(candidates):
        others = generator.choice(items - 1, size=min(pool, items) - 1, replace=False).tolist() if items > 1 else []
        drawn = [i, *(other + (other >= i) for other in others)]  # the own one first
        asked += [text] * len(drawn)
        places += drawn
    likeness = CiderD(references).score(asked, places).reshape(items, -1)
    own = likeness[:, :1]
    right = (likeness <= own).all(axis=1) / (likeness == own).sum(axis=1)
    return float(right.mean())


def _check(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    check_references(references)
    if len(candidates) != len(references):
        raise InputError(
            f"`candidates` must be one caption for each of the {len(references)} items of `references`, but are "
            f"{len(candidates)} instead."
        )
