"""Texts that fit pictures, which can be explained again: what `multiattn evaluate maps` measures for two towers."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..data.captions import read_captions
from ..errors import InputError, ModelError
from ..maps import explain
from ..maps.heads import TappedPrediction
from ..maps.masked_inputs import masked_class
from ..maps.masking import Filling
from ..maps.measuring import Explained
from ..maps.tapped import tapped_class
from ..models import BlipMatcher, TwoTowers, scores_of
from ..models.text_classifier import TextClassifier, with_texts
from ..weights import ModelBundle
from .base import tokenizer_of
from .explained import LIKELY, Explainer, Values
from .match_texts import encode_texts

NUM_TEXTS = 10
"""Texts that a picture is compared with: one of its own, and one each of others, evenly spread over the split."""


class Described(NamedTuple):
    """A picture with the texts that it is compared with, the first of them its own."""

    picture: Path
    texts: tuple[str, ...]


class TextExplainer(Explainer[Described]):
    """Texts of pictures, of a model of two towers: the maps of the picture.

    Args:
        bundle: The model; it is not changed.
        device: Where it computes.
        filling: What stands in place of what is hidden.

    Raises:
        ModelError: The model reads picture and text together, and has no maps.
    """

    things = "texts"
    model: TextClassifier

    def __init__(self, bundle: ModelBundle, *, device: torch.device, filling: Filling = "mean") -> None:
        if isinstance(bundle.model, BlipMatcher):
            raise ModelError(
                f"{bundle.source} must be a model of two towers, such as CLIP or SigLIP, but is a BLIP for matching "
                "instead, which has no maps: give another"
            )
        super().__init__(bundle, device=device, filling=filling)
        self._towers = bundle.require(TwoTowers)
        self._tokenizer = tokenizer_of(bundle)
        # of the tower alone, so that only the blocks that see the picture lose what they learned
        self.model = with_texts(self._towers, torch.zeros(NUM_TEXTS, self._towers.config.dim, device=device))

    @staticmethod
    def read(folder: str, split: str) -> Sequence[Described]:
        """List the pictures of a split that `multiattn evaluate match` reads, each with its texts.

        Raises:
            InputError: There are no two pictures with different texts.
        """
        items = [(path, texts[0]) for path, texts in read_captions(folder, split).items]
        found = [Described(path, _drawn(items, index)) for index, (path, _) in enumerate(items)]
        if found and len(found[0].texts) < 2:
            raise InputError(f"{folder}: there must be two pictures with different texts, but are none: give more data")
        return found

    def __call__(self, one: Described, drawn: random.Random) -> Explained | None:
        """Find the text that fits a picture best."""
        model, image = self._compared(one)
        function = self._towers.config.scores
        with torch.no_grad():
            scores, texts = scores_of(model(image), function)[0].topk(2)
        if scores[0] < LIKELY:
            return None
        masked = masked_class(model, image[0], int(texts[0]), score_function=function, filling=self.filling)
        first, second = (partial(self._explain, image, model.texts.texts, target) for target in texts.tolist())
        return Explained(masked, first, second)

    def tapped(self, one: Described) -> TappedPrediction | None:
        """Find the text that fits a picture best."""
        model, image = self._compared(one)
        with torch.no_grad():
            target = int(model(image)[0].argmax())
        found = tapped_class(model, image[0], target, score_function=self._towers.config.scores)
        return replace(found, score=lambda of, tap: found.score(_with(of, model.texts.texts), tap))

    def _compared(self, one: Described) -> tuple[TextClassifier, Tensor]:
        image, _ = self._opened(one.picture)
        texts = encode_texts(self._towers, self._tokenizer, one.texts, device=self.device)
        return self.model.of(texts.embeddings), image

    @staticmethod
    def _explain(image: Tensor, texts: Tensor, target: int, model: nn.Module, method: str) -> Values:
        return explain(_with(model, texts), image, method=method, target=[target])[0].values


def _with(model: nn.Module, texts: Tensor) -> TextClassifier:
    """The model that is measured, or a copy with other weights, with the texts of one picture."""
    assert isinstance(model, TextClassifier)
    return model.of(texts)


def _drawn(items: Sequence[tuple[Path, str]], index: int) -> tuple[str, ...]:
    """The text of a picture, and those of others that stand as far as possible from each other in the data."""
    stride = max(1, len(items) // NUM_TEXTS)
    texts = [items[(index + step * stride) % len(items)][1] for step in range(min(NUM_TEXTS, len(items)))]
    return tuple(dict.fromkeys(texts))
