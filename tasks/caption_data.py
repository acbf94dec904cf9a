"""The data module of the captioning task: captioned pictures to batches, and captions to a vocabulary."""

from functools import cached_property
from typing import Literal

from torch.utils.data import Dataset

from multiattn.checks import require
from multiattn.data.captions import CaptionRecords, clean_caption, read_captions
from multiattn.errors import InputError, ModelError
from multiattn.inputs import Tokenizer

from .loading.caption_batches import CaptionBatch, CaptionCollate, CaptionDataset, caption_tokens
from .loading.picture_data import ImageTextData
from .loading.pictures import Sample
from .loading.transforms import Augmentation

__all__ = ["CaptionBatch", "CaptionData"]


class CaptionData(ImageTextData):
    """CaptionDataset pictures from `root/train`, `root/validation` and, where it is there, `root/test`.

    Each split holds a `metadata.jsonl` or `metadata.csv` with `file_name` and `text` or `texts`; `captions` and
    `pictures` name files of COCO's or Flickr8k's kind instead. The vocabulary is the model's, where it has one, and is
    learnt from the training captions otherwise. Of the task this asks for `preprocessing`, `tokenizer` (None where it
    has none), `prompt`, and the `encoder` and the `decoder.config` of its `model`.
    """

    def __init__(
        self,
        root: str,
        *,
        captions: str | None = None,
        pictures: str | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        captions_per_picture: int = 1,
        clean: bool = True,
        max_tokens: int | None = None,
        vocabulary: Literal["bpe", "characters"] = "bpe",
        vocab_size: int = 4000,
        augmentation: Augmentation | None = None,
        features: str | None = None,
        views: int = 1,
        num_workers: int = 2,
        cache_side: int | None = None,
        max_bad_share: float = 0.01,
        predict_split: str = "test",
    ) -> None:
        """Name the data; nothing is read yet.

        Args:
            root: The folder with the data in it.
            captions: A captions file of COCO's or Flickr8k's kind, from `root`; `{split}` in it stands for the split.
            pictures: The folder of its pictures, in the same way.
            batch_size: Pictures a training batch, in each process.
            eval_batch_size: Pictures a batch elsewhere; the same where it is not given.
            captions_per_picture: Captions that a picture brings along: drawn anew in each epoch of the training, the
                first ones elsewhere. The encoder sees the picture once for all of them.
            clean: Put captions in lower case and take the punctuation out of them, but ' and -.
            max_tokens: Longer captions are cut to so many tokens; the decoder's `max_length` bounds it in any case.
            vocabulary: Kind of the vocabulary that is learnt: `bpe` (frequent words whole, others in pieces) or
                `characters`.
            vocab_size: Its tokens at most.
            augmentation: How training pictures are varied.
            features: A folder in which what the encoder makes of each picture is computed once and kept; it must be
                frozen then. Features of another encoder or of other files are not mixed up with these, but they are
                not removed either.
            views: With `features`: 1 keeps each training picture as it is, 2 also mirrored, drawn in each epoch.
            num_workers: Processes that prepare pictures, beside each training process.
            cache_side: Keep the decoded training pictures in memory, shrunk to this shorter side in pixels.
            max_bad_share: A picture that cannot be read is named, skipped and counted; past this share of the split the
                run stops. Each process counts what it has met itself, in evaluation of its own part of the split.
            predict_split: The split that `predict` goes through.
        """
        super().__init__(
            root,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            augmentation=augmentation,
            features=features,
            views=views,
            num_workers=num_workers,
            cache_side=cache_side,
            max_bad_share=max_bad_share,
            predict_split=predict_split,
            default_augmentation=Augmentation(),
        )
        for name, value in {"captions_per_picture": captions_per_picture, "max_tokens": max_tokens}.items():
            require(value is None or value >= 1, name, must="at least 1", value=value, error=InputError)
        self.captions, self.pictures = captions, pictures
        self.captions_per_picture = captions_per_picture
        self.clean, self.max_tokens = clean, max_tokens
        self.vocabulary, self.vocab_size = vocabulary, vocab_size
        self._records: dict[str, CaptionRecords] = {}

    def records(self, split: str) -> CaptionRecords:
        """A split, not opened yet."""
        if split not in self._records:
            self._records[split] = read_captions(self.root, split, captions=self.captions, pictures=self.pictures)
        return self._records[split]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The task's, where it has one; learnt from the training captions otherwise."""
        own: Tokenizer | None = None if self.trainer is None else self._task.tokenizer
        if own is not None:
            return own
        texts = (text for _, texts in self.records("train").items for text in texts)
        cleaned = (clean_caption(text) if self.clean else text for text in texts)
        return Tokenizer.train(cleaned, kind=self.vocabulary, vocab_size=self.vocab_size, lowercase=self.clean)

    def training_items(self) -> CaptionDataset:
        """The training split, with captions drawn for each epoch."""
        return self._captioned(self.training_pictures(), self.records("train"), seed=self.seed)

    def evaluation_items(self, split: str) -> CaptionDataset:
        """A split as inference sees it."""
        return self._captioned(self.evaluation_pictures(split), self.records(split), seed=None)

    def collate(self) -> CaptionCollate:
        """Pictures, or features, with their captions."""
        pad = self._task.model.decoder.config.pad_token
        return CaptionCollate(pad=pad, shape=self.shape(), of_features=self.features is not None)

    def _captioned(self, items: Dataset[Sample], records: CaptionRecords, *, seed: int | None) -> CaptionDataset:
        config = self._task.model.decoder.config
        room = config.max_length - 1 - len(self.tokenizer.encode(self._task.prompt))  # after the start and the prompt
        if room < 1:
            raise ModelError(
                f"`prompt` must leave room for a caption in the {config.max_length} tokens that the decoder takes, but "
                f"is {self._task.prompt!r} instead. Shorten it."
            )
        room = room if self.max_tokens is None else min(room, self.max_tokens)
        tokens = caption_tokens(
            records, self.tokenizer, clean=self.clean, start=config.start_token, end=config.end_token, room=room
        )
        return CaptionDataset(items, tokens, per_picture=self.captions_per_picture, seed=seed)
