"""The data module of captioning: captioned images to batches, and captions to a vocabulary."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from multiattn.checks import require_each
from multiattn.data.captions import CaptionRecords, clean_caption, read_captions
from multiattn.errors import InputError
from multiattn.inputs import Tokenizer

from .contracts import ImageTextNeeds, TextFacts
from .loading.caption_batches import CaptionBatch, CaptionDataset, CaptionSample, caption_tokens, collate_captions
from .loading.datamodule import BatchOptions
from .loading.picture_data import ImageTextData
from .loading.transforms import Augmentation
from .survey.texts import Texts


class CaptionData(ImageTextData[ImageTextNeeds]):
    """Captioned images from `root/train`, `root/validation` and, where it is there, `root/test`.

    Each split holds a `metadata.jsonl` or `metadata.csv` with `file_name` and `text` or `texts`; `captions` and
    `pictures` name files of COCO's or Flickr8k's kind instead. The vocabulary is the model's, where it has one, and is
    learned from the training captions otherwise.
    """

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
            batches: How images become batches.
            captions_per_picture: Captions of each image in a batch: drawn anew in each epoch of the training, the
                first ones elsewhere. The encoder runs once for all of them.
            clean: Put captions in lower case and remove their punctuation, except ' and -.
            max_tokens: Longer captions are cut to so many tokens; the decoder's `max_length` bounds it in any case.
            vocabulary: Kind of the vocabulary that is learned: `bpe` (frequent words whole, others in pieces) or
                `characters`.
            vocab_size: Its tokens at most.
            augmentation: How training images are varied.
            features: A folder in which the encoder's output for each image is computed once and kept; it must be
                frozen then. Features of another encoder or of other files are not mixed up with these, but they are
                not removed either.
            views: With `features`: 1 keeps each training image as it is, 2 also mirrored, drawn in each epoch.
            cache_side: Keep the decoded training images in memory, shrunk to this shorter side in pixels.
            predict_split: The split that `predict` goes through.
        """
        super().__init__(
            root,
            needs=ImageTextNeeds(),
            batches=batches,
            predict_split=predict_split,
            vocabulary=vocabulary,
            vocab_size=vocab_size,
            features=features,
            views=views,
            augmentation=augmentation,
            default_augmentation=Augmentation(),
            cache_side=cache_side,
        )
        counts = {"captions_per_picture": captions_per_picture, "max_tokens": max_tokens}
        require_each(counts, least=1, error=InputError)
        self._read = cache(
            lambda split: self.opened(read_captions(self.root, split, captions=captions, pictures=pictures))
        )
        self._in_folders = captions is None
        self.captions_per_picture = captions_per_picture
        self.clean, self.max_tokens = clean, max_tokens

    def records(self, split: str) -> CaptionRecords:
        """A split, not opened yet."""
        return self._read(split)

    def facts(self) -> TextFacts:
        """The tokenizer, and the training captions as the model learns to write them."""
        return replace(super().facts(), references=self._references)

    def folders(self, split: str) -> Sequence[Path]:
        """See `BaseData`; none where a file names the images."""
        return super().folders(split) if self._in_folders else ()

    def texts(self, split: str) -> Sequence[Texts]:
        """See `BaseData`: the captions."""
        texts = [text for _, several in self.records(split).items for text in several]
        return [Texts("captions", texts, self._tidy, self._room, "cut")]

    def vocabulary_options(self) -> dict[str, Any]:
        """See `TextData`."""
        return super().vocabulary_options() | {"clean": self.clean}

    def learn_tokenizer(self) -> Tokenizer:
        """Learn a vocabulary from the training captions."""
        texts = (text for texts in self._references() for text in texts)
        return self._learn(texts, lowercase=self.clean)

    def training_items(self) -> CaptionDataset:
        """The training split, with captions drawn for each epoch."""
        return self._captioned("train", seed=self.seed)

    def evaluation_items(self, split: str) -> CaptionDataset:
        """A split as in inference."""
        return self._captioned(split, seed=None)

    def collate(self) -> Callable[[Sequence[CaptionSample]], CaptionBatch]:
        """Images, or features, with their captions."""
        return partial(collate_captions, pad=self.text.pad, shape=self.shape(), of_features=self.features is not None)

    def _references(self) -> Sequence[Sequence[str]]:
        tidy = self._tidy
        return [[tidy(text) for text in texts] for _, texts in self.records("train").items]

    @property
    def _tidy(self) -> Callable[[str], str]:
        return clean_caption if self.clean else str

    @property
    def _room(self) -> int:
        """Tokens of a caption at most."""
        return self.text.room if self.max_tokens is None else min(self.text.room, self.max_tokens)

    def _captioned(self, split: str, *, seed: int | None) -> CaptionDataset:
        text, records = self.text, self.records(split)
        tokens = caption_tokens(
            records, self.tokenizer, clean=self.clean, start=text.start, end=text.end, room=self._room
        )
        return CaptionDataset(
            self.picture_items(split, seed=seed), tokens, per_picture=self.captions_per_picture, seed=seed
        )
