"""Predictions that can be explained again: what `multiattn evaluate maps` measures map methods on.

A prediction is made as the task's pipeline makes it. Its maps are computed here from the model directly, so that they
can be computed with other weights or for a second label, too.
"""

import copy
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..data.metadata import split_folder
from ..inputs import Geometry, Word
from ..inputs.files import PICTURES
from ..maps import (
    explain,
    explain_words,
)
from ..maps.grounding import measure_image_dependence
from ..maps.heads import TappedPrediction
from ..maps.image_dependence import ungrounded
from ..maps.masked_inputs import masked_class, masked_word
from ..maps.masking import Filling
from ..maps.measuring import Explained
from ..maps.tapped import tapped_caption, tapped_class
from ..models import Captioner, ViT, scores_of
from ..weights import ModelBundle
from .base import stacked
from .caption import CaptionPipeline
from .pictures import prepared_batches
from .results import Failure

_Input = TypeVar("_Input")
Values = Float[np.ndarray, "*cells"]
"""A map of what is explained: of the patches of a picture, or of the moments of a recording."""

LIKELY = 0.5
"""The probability from which on a prediction is measured: of one that the model hardly believes, little can fall."""


class Explainer(ABC, Generic[_Input]):
    """Makes the predictions of one task, each with the input that can be masked and the way to explain it.

    Args:
        bundle: The model; it is not changed.
        device: Where it computes.
        filling: What stands in place of what is hidden.
    """

    things: ClassVar[str]
    """What is explained, for tables: "labels"."""

    def __init__(self, bundle: ModelBundle, *, device: torch.device, filling: Filling = "mean") -> None:
        self.bundle, self.filling, self.device = bundle, filling, device
        self.model: nn.Module = bundle.model.to(device).eval()
        """The model whose maps are measured."""

    @staticmethod
    @abstractmethod
    def read(folder: str, split: str) -> Sequence[_Input]:
        """List the inputs of a split, not opened yet."""

    @abstractmethod
    def __call__(self, one: _Input, drawn: random.Random) -> Explained | None:
        """Predict, and return the prediction; None if it is not to be measured.

        Args:
            one: The input.
            drawn: Chooses a word, where there are several.

        Raises:
            InputError: The input cannot be used.
        """

    @abstractmethod
    def tapped(self, one: _Input) -> TappedPrediction | None:
        """Predict, and return the prediction, to be computed again with a tap; None if it is an empty text.

        Args:
            one: The input.

        Raises:
            InputError: The input cannot be used.
        """

    def _opened(self, path: Path) -> tuple[Tensor, Geometry]:
        """A picture as the model takes it, (1, c, H, W)."""
        ((item,),) = prepared_batches([path], self.bundle.pictures, batch_size=1, strict=True)
        if isinstance(item, Failure):
            raise item.error
        return stacked([item], self.device), item.geometry


class ClassExplainer(Explainer[Path]):
    """Labels of pictures."""

    things = "labels"

    read = staticmethod(lambda folder, split: _pictures(folder, split))

    def __call__(self, one: Path, drawn: random.Random) -> Explained | None:
        """Predict the label of a picture."""
        model = self.bundle.require(ViT)
        image, _ = self._opened(one)
        function = self.bundle.score_function
        with torch.no_grad():
            scores, classes = scores_of(model(image), function)[0].topk(min(2, len(self.bundle.labels)))
        masked = masked_class(model, image[0], int(classes[0]), score_function=function, filling=self.filling)
        if scores[0] < LIKELY:
            return None
        first, *second = (partial(self._explain, image, target) for target in classes.tolist())
        return Explained(masked, first, second[0] if second else None)

    def tapped(self, one: Path) -> TappedPrediction | None:
        """Predict the label of a picture."""
        model, function = self.bundle.require(ViT), self.bundle.score_function
        image, _ = self._opened(one)
        with torch.no_grad():
            target = int(model(image)[0].argmax())
        return tapped_class(model, image[0], target, score_function=function)

    @staticmethod
    def _explain(image: Tensor, target: int, model: nn.Module, method: str) -> Values:
        assert isinstance(model, ViT)
        return explain(model, image, method=method, target=[target])[0].values


class WordExplainer(Explainer[Path]):
    """Words of captions."""

    things = "words"

    read = staticmethod(lambda folder, split: _pictures(folder, split))

    def __init__(self, bundle: ModelBundle, *, device: torch.device, filling: Filling = "mean") -> None:
        super().__init__(bundle, device=device, filling=filling)
        self._caption = CaptionPipeline(replace(bundle, model=copy.deepcopy(bundle.model)), device=device)

    def __call__(self, one: Path, drawn: random.Random) -> Explained | None:
        """Write a caption, and choose one of its words."""
        model = self.bundle.require(Captioner)
        start, ids, words = self._captioned(one)
        if not words:
            return None
        image, _ = self._opened(one)
        tokens = [*start, *ids]
        (dependences,) = measure_image_dependence(model, image, [tokens], [words], prompt_length=len(start))
        seen = [i for i, value in enumerate(dependences) if not ungrounded(value) and has_letter(words[i])]
        if not seen:
            return None
        index = drawn.choice(seen)
        masked = masked_word(model, image[0], tokens, words, index, prompt_length=len(start), filling=self.filling)
        made = partial(self._explain, image, tokens, words, len(start))
        others = [i for i in range(len(words)) if i != index and has_letter(words[i])]
        return Explained(masked, partial(made, index), partial(made, drawn.choice(others)) if others else None)

    def tapped(self, one: Path) -> TappedPrediction | None:
        """Write a caption."""
        start, ids, words = self._captioned(one)
        image, _ = self._opened(one)
        model = self.bundle.require(Captioner)
        return tapped_caption(model, image[0], [*start, *ids], prompt_length=len(start)) if words else None

    def _captioned(self, one: Path) -> tuple[list[int], list[int], Sequence[Word]]:
        """The tokens before a picture's caption, those of the caption, and its words."""
        model, vocabulary = self.bundle.require(Captioner), self.bundle.vocabulary
        ids, words = vocabulary.encode_words(self._caption(one, strict=True).text)
        start = [model.config.decoder.start_token, *vocabulary.encode(str(self.bundle.decoding.get("prompt", "")))]
        return start, list(ids), words

    @staticmethod
    def _explain(
        image: Tensor,
        tokens: Sequence[int],
        words: Sequence[Word],
        prompt_length: int,
        index: int,
        model: nn.Module,
        method: str,
    ) -> Values:
        assert isinstance(model, Captioner)
        (found,) = explain_words(model, image, [tokens], [words], prompt_length=prompt_length, method=method)
        return np.asarray(found.values[index])


def has_letter(word: Word) -> bool:
    """Whether a word is more than punctuation."""
    return any(letter.isalnum() for letter in word.text)


def _pictures(folder: str, split: str) -> list[Path]:
    return PICTURES.under(split_folder(Path(folder), split, layout="pictures"))
