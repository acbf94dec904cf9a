"""The base of the data modules with a vocabulary: texts to tokens, and features that are kept on disk."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from multiattn.errors import InputError, ModelError
from multiattn.inputs import Tokenizer

from ..contracts import TextFacts, TextNeeds, TokenFormat
from .datamodule import BaseData, BatchOptions
from .feature_store import Encoding, FeatureStore

TextNeedsT = TypeVar("TextNeedsT", bound=TextNeeds)


class TextData(BaseData[TextNeedsT, TextFacts], Generic[TextNeedsT]):
    """Data with texts: they have a vocabulary, and a frozen encoder's features of the files may be kept on disk."""

    def __init__(
        self,
        root: str | Sequence[str],
        *,
        needs: TextNeedsT,
        batches: BatchOptions | None,
        predict_split: str,
        vocabulary: Literal["bpe", "characters"],
        vocab_size: int,
        features: str | None,
        only_of_files: Mapping[str, object],
    ) -> None:
        """Name the data; nothing is read yet.

        Args:
            root: See `BaseData`.
            needs: See `BaseData`.
            batches: See `BaseData`.
            predict_split: See `BaseData`.
            vocabulary: Kind of the vocabulary that is learned.
            vocab_size: Its tokens at most.
            features: The folder of the stored features; None where the files are opened.
            only_of_files: Options that must not come with `features`, by name; None for one that is not given.
        """
        super().__init__(root, needs=needs, batches=batches, predict_split=predict_split)
        for name, value in only_of_files.items():
            if features is not None and value is not None:
                raise InputError(f"`{name}` must not come with `features`: the {self.kind} are not opened in training.")
        self.vocabulary, self.vocab_size = vocabulary, vocab_size
        self.features = None if features is None else Path(features)
        self._stores: dict[str, FeatureStore] = {}

    @abstractmethod
    def learn_tokenizer(self) -> Tokenizer:
        """Learn a vocabulary from the training texts."""

    @abstractmethod
    def encoding(self, split: str) -> Encoding:
        """How the files of a split become features of `needs.encoder`."""

    def vocabulary_options(self) -> dict[str, Any]:
        """The options that decide about the vocabulary that is learned, and about the list of answers."""
        return {"vocabulary": self.vocabulary, "vocab_size": self.vocab_size}

    @property
    def tokenizer(self) -> Tokenizer:
        """The task's, where it has one; learned from the training texts otherwise."""
        return self.needs.tokenizer or self._learned

    @cached_property
    def _learned(self) -> Tokenizer:
        return self.learn_tokenizer()

    @property
    def text(self) -> TokenFormat:
        """The format of the texts that the decoder writes."""
        return self.needs.text or TokenFormat.of_tokenizer(self.tokenizer)

    def facts(self) -> TextFacts:
        """What a model for this data is built from."""
        return TextFacts(self.tokenizer, self.features is not None)

    def store(self, split: str) -> FeatureStore:
        """The features of a split, computed where they are missing.

        Every process asks for what is missing: one computes it, and the others wait for its lock, which, unlike a
        barrier, has no time limit.

        Raises:
            ModelError: There is no encoder to compute them.
        """
        assert self.features is not None
        if split not in self._stores:
            encoder = self.needs.encoder
            if encoder is None:
                raise ModelError("`features` must come with a task, whose encoder computes them. Leave it out.")
            store = FeatureStore(self.features, split, encoder=encoder, encoding=self.encoding(split))
            store.prepare(encoder, batch_size=self.eval_batch_size, num_workers=self.batches.num_workers)
            self._stores[split] = store
        return self._stores[split]

    def _learn(self, texts: Iterable[str], **options: bool) -> Tokenizer:
        return Tokenizer.train(texts, kind=self.vocabulary, vocab_size=self.vocab_size, **options)
