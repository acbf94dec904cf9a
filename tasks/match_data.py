"""The data module of matching: captioned images to batches with texts as the text tower reads them."""

from typing import Any, Literal

from multiattn.data.captions import clean_caption
from multiattn.errors import InputError
from multiattn.inputs import Tokenizer
from multiattn.models.text_tower import TextTowerConfig

from .caption_data import CaptionData
from .contracts import MatchNeeds, special_tokens
from .loading.caption_batches import CaptionDataset
from .loading.datamodule import BatchOptions
from .loading.tokens import TokenRows
from .loading.transforms import Augmentation


class MatchData(CaptionData):
    """Images with texts from `root/train`, `root/validation` and, where it is there, `root/test`; see `CaptionData`."""

    needs: MatchNeeds

    def __init__(
        self,
        root: str,
        *,
        captions: str | None = None,
        pictures: str | None = None,
        batches: BatchOptions | None = None,
        captions_per_picture: int = 1,
        clean: bool = True,
        max_tokens: int | None = None,
        vocabulary: Literal["bpe", "characters"] = "bpe",
        vocab_size: int = 4000,
        augmentation: Augmentation | None = None,
        features: str | None = None,
        views: int = 1,
        cache_side: int | None = None,
        predict_split: str = "test",
    ) -> None:
        """Name the data; nothing is read yet.

        Args:
            root: The folder with the data in it.
            captions: A captions file of COCO's or Flickr8k's kind, relative to `root`; `{split}` in it stands for the
                split.
            pictures: The folder of its images, in the same way.
            batches: How images become batches; a contrastive loss needs large ones.
            captions_per_picture: Texts of each image in a training batch, drawn anew in each epoch; a picture that has
                fewer repeats some. Elsewhere all are used.
            clean: Put texts in lower case and remove their punctuation, except ' and -. A vocabulary that is learned
                then does so too, in whatever the trained model reads. Leave it off to fine-tune a model.
            max_tokens: Longer texts are cut to so many tokens; the tower's `max_length` bounds it in any case.
            vocabulary: Kind of the vocabulary that is learned: `bpe` (frequent words whole, others in pieces) or
                `characters`.
            vocab_size: Its tokens at most.
            augmentation: How training images are varied.
            features: A folder in which the output of a frozen vision transformer for each image is computed once and
                kept; only what pools it, the projections and the text tower learn then (Zhai et al. 2022, "LiT").
            views: With `features`: 1 keeps each training image as it is, 2 also mirrored, drawn in each epoch.
            cache_side: Keep the decoded training images in memory, shrunk to this shorter side in pixels.
            predict_split: The split that `predict` goes through.
        """
        super().__init__(
            root,
            captions=captions,
            pictures=pictures,
            batches=batches,
            captions_per_picture=captions_per_picture,
            clean=clean,
            max_tokens=max_tokens,
            vocabulary=vocabulary,
            vocab_size=vocab_size,
            augmentation=augmentation,
            features=features,
            views=views,
            cache_side=cache_side,
            predict_split=predict_split,
        )
        self.needs = MatchNeeds()

    def learn_tokenizer(self) -> Tokenizer:
        """Learn a vocabulary from the training texts."""
        texts = (text for texts in self._references() for text in texts)
        return self._learn(texts, lowercase=self.clean, marks=not self.clean)

    def _captioned(self, split: str, *, seed: int | None) -> CaptionDataset:
        records, tower = self.records(split), self._tower
        longest = tower.longest if self.max_tokens is None else min(tower.longest, self.max_tokens)
        tokenizer, tidy = self.tokenizer, clean_caption if self.clean else str

        def encoded(path: Any, text: str) -> tuple[int, ...]:
            ids = tokenizer.encode(tidy(text))
            if not ids:
                raise InputError(
                    f"{path}: no words are left of the text {text!r} once it is cleaned. Correct or remove it."
                )
            return tower.framed(ids[:longest])

        tokens = TokenRows([encoded(path, text) for text in texts] for path, texts in records.items)
        per_picture = None if seed is None else self.captions_per_picture
        return CaptionDataset(self.picture_items(split, seed=seed), tokens, per_picture=per_picture, seed=seed)

    @property
    def _tower(self) -> TextTowerConfig:
        """How the text tower reads a text; that of a default model before one is built."""
        return self.needs.tower or TextTowerConfig(**special_tokens(self.tokenizer))
