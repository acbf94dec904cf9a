"""The data module of transcription: recordings to batches, and their transcripts to a vocabulary."""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Literal

from multiattn.checks import require
from multiattn.data.concat_clips import FIXED_STRINGS, ConcatClips, Plan, concat_text, fixed_plans
from multiattn.data.recordings import SpeechRecords, clean_transcript, held_out, read_recordings, seconds_of
from multiattn.errors import InputError
from multiattn.inputs import Tokenizer

from .contracts import TranscribeNeeds
from .loading.audio_augmentation import AudioAugmentation
from .loading.datamodule import BatchOptions
from .loading.feature_store import Encoding
from .loading.reader import Reader
from .loading.sampler import Batches, BucketBatches
from .loading.speech_batches import (
    ConcatSpeech,
    Recordings,
    SpeechBatch,
    SpeechSample,
    collate_speech,
    drawn_plan,
)
from .loading.speech_features import SpeechEncoding, SpeechFeatures
from .loading.text_data import TextData
from .loading.tokens import Transcripts
from .survey.texts import Texts


class TranscribeData(TextData[TranscribeNeeds]):
    """Recordings with transcripts from `root/train`, `root/validation` and, where it is there, `root/test`.

    Each split holds a `metadata.jsonl` or `metadata.csv` with `file_name` and `text`, or LibriSpeech's folders. The
    vocabulary is the model's, where it has one, and is learned from the training transcripts otherwise.
    """

    kind = "recordings"
    default_batch_size = 16

    def __init__(
        self,
        root: str,
        *,
        folders: dict[str, list[str]] | None = None,
        validation_share: float | None = None,
        batches: BatchOptions | None = None,
        batch_seconds: float | None = None,
        clean: bool = True,
        vocabulary: Literal["bpe", "characters"] = "bpe",
        vocab_size: int = 1000,
        join: ConcatClips | None = None,
        augmentation: AudioAugmentation | None = None,
        cache: bool = False,
        features: str | None = None,
        predict_split: str = "test",
    ) -> None:
        """Name the data; nothing is read yet.

        Args:
            root: The folder with the data in it.
            folders: The folders in `root` that make up a split, where it is no folder of its own name.
            validation_share: Validate on this share of the training recordings, which are not trained on then, in place
                of `root/validation`: whole speakers, where they are known. So the validation split decides about
                nothing, and can be reported.
            batches: How recordings become batches. One that is longer than the model takes, or has more text, cannot
                be used.
            batch_seconds: Seconds of sound in a training batch, padding to the longest recording included, in each
                process; recordings of similar length then come together, no more of them than `batches.size`, where
                that is given.
            clean: Put transcripts in lower case and remove their punctuation, except ' and -.
            vocabulary: Kind of the vocabulary that is learned: `bpe` (frequent words whole, others in pieces) or
                `characters`.
            vocab_size: Its tokens at most.
            join: The recordings are short clips, which are concatenated: drawn anew in each epoch of the training, the
                same ones elsewhere.
            augmentation: How training recordings are varied; not at all where it is not given.
            cache: Decode all training recordings at the start and keep them in memory, in 16 bits a sample.
            features: A folder in which the encoder's output for each recording is computed once and kept; it must be
                frozen then, and of the augmentation only `speed` is left: each recording is kept at every speed.
            predict_split: The split that `predict` goes through.
        """
        super().__init__(
            root,
            needs=TranscribeNeeds(),
            batches=batches,
            predict_split=predict_split,
            vocabulary=vocabulary,
            vocab_size=vocab_size,
            features=features,
            only_of_files={"join": join, "cache": cache or None},
        )
        good = batch_seconds is None or batch_seconds > 0
        require(good, "batch_seconds", must="above 0", value=batch_seconds, error=InputError)
        share = validation_share
        good = share is None or 0 < share < 1
        require(good, "validation_share", must="above 0 and below 1", value=share, error=InputError)
        self._read = lru_cache(lambda split: self.opened(read_recordings(self.root, split, folders=folders)))
        self._folders = folders or {}
        self.validation_share = validation_share
        self.batch_seconds = batch_seconds
        self.clean = clean
        self.join = join
        self.augmentation = augmentation
        self.cache = cache

    def files(self, split: str) -> SpeechRecords:
        """The recordings of a split as files, not opened yet."""
        if self.validation_share is None or split not in ("train", "validation"):
            return self._read(split)
        return self._divided[split == "validation"]

    @cached_property
    def _divided(self) -> tuple[SpeechRecords, SpeechRecords]:
        """The training recordings, without and with those to validate on."""
        assert self.validation_share is not None
        return held_out(self._read("train"), self.validation_share)

    def records(self, split: str) -> SpeechRecords:
        """The items of a split: its files, or what they are concatenated to (in training, those of epoch 0).

        A concatenation goes by the name of its first clip.
        """
        files = self.files(split)
        if self.join is None:
            return files
        texts = [text for _, text in files.items]
        plans = self._plans(split)
        items = tuple((files.items[plan.clips[0]][0], concat_text(plan, texts)) for plan in plans)
        return SpeechRecords(items, tuple(files.speakers[plan.clips[0]] for plan in plans))

    def folders(self, split: str) -> Sequence[Path]:
        """See `BaseData`."""
        if self.indices or (self.validation_share is not None and split == "validation"):
            return ()  # shards; or they are in those of `train`
        return [self.root / name for name in self._folders.get(split, (split,))]

    def texts(self, split: str) -> Sequence[Texts]:
        """See `BaseData`: the transcripts of the files."""
        texts = [text for _, text in self.files(split).items]
        return [Texts("transcripts", texts, self._tidy, self.text.room, "skipped")]

    def vocabulary_options(self) -> dict[str, Any]:
        """See `TextData`."""
        return super().vocabulary_options() | {"clean": self.clean}

    def learn_tokenizer(self) -> Tokenizer:
        """Learn a vocabulary from the training transcripts."""
        tidy = self._tidy
        return self._learn((tidy(text) for _, text in self.files("train").items), lowercase=self.clean)

    @property
    def _tidy(self) -> Callable[[str], str]:
        return clean_transcript if self.clean else str

    def training_items(self) -> Recordings | SpeechFeatures | ConcatSpeech:
        """The training split, augmented, with concatenations drawn for each epoch."""
        return self._items("train", seed=self.seed)

    def evaluation_items(self, split: str) -> Recordings | SpeechFeatures | ConcatSpeech:
        """A split as in inference."""
        return self._items(split, seed=None)

    def _items(self, split: str, *, seed: int | None) -> Recordings | SpeechFeatures | ConcatSpeech:
        files, is_training = self.files(split), seed is not None
        transcripts = self._transcripts(files)
        if self.features is not None:
            return SpeechFeatures(self.store(split), transcripts, seed=seed)
        reader = Reader(files, self.needs.preprocessing, cache=self.cache and is_training)
        augmentation = self.augmentation if is_training else None
        if self.join is None:
            return Recordings(reader, transcripts, augmentation, seed=seed)
        if is_training:
            return ConcatSpeech(
                reader, transcripts, self.join, augmentation=augmentation, seed=self.seed, size=self._strings
            )
        return ConcatSpeech(reader, transcripts, self.join, plans=self._plans(split))

    def collate(self) -> Callable[[Sequence[SpeechSample]], SpeechBatch]:
        """Mel features, or the encoder's stored output, with tokens."""
        encoder = None if self.features is None else self.needs.encoder
        width = None if encoder is None else encoder.config.dim
        return partial(collate_speech, preprocessing=self.needs.preprocessing, pad=self.text.pad, width=width)

    def encoding(self, split: str) -> Encoding:
        """See `TextData`."""
        assert self.needs.encoder is not None
        speeds = self.augmentation.speed if split == "train" and self.augmentation is not None else (1.0,)
        reader = Reader(self.files(split), self.needs.preprocessing, cache=False)
        return SpeechEncoding(reader, self.needs.encoder, speeds=speeds, whole=self.needs.keeps_padding)

    @property
    def _strings(self) -> int:
        """Training concatenations per epoch."""
        assert self.join is not None
        if self.join.strings is not None:
            return self.join.strings
        return max(1, round(len(self.files("train").items) / (sum(self.join.clips) / 2)))

    def _plans(self, split: str) -> tuple[Plan, ...]:
        assert self.join is not None
        if split != "train":
            return fixed_plans(self.files(split), self.join, count=FIXED_STRINGS)
        speakers = self.files(split).speakers
        return tuple(drawn_plan(self.join, speakers, self.seed, 0, index) for index in range(self._strings))

    def _transcripts(self, files: SpeechRecords) -> Transcripts:
        found = Transcripts(self.tokenizer, self.text, clean=self.clean)
        found.check(files)
        return found

    def _batches(self) -> Batches:
        if self.batch_seconds is None:
            return super()._batches()
        if any(index.is_remote for index in self.indices):
            raise InputError(
                "`batch_seconds` must be left out for shards at a web address: it takes recordings of similar length "
                "from all of them at once. Set `batches.size`."
            )
        return BucketBatches(
            self._training_seconds,
            batch_seconds=self.batch_seconds,
            most=self.batches.size,
            seed=self.seed,
            rank=self.rank,
            world=self.world,
        )

    @cached_property
    def _training_seconds(self) -> Sequence[float]:
        """Length of each training item, stated or counted; of a concatenation, from the mean clip and pause."""
        files = self.files("train")
        seconds: Sequence[float] = files.seconds or [seconds_of(path) for path, _ in files.items]
        if self.join is None:
            return seconds
        clip, pause = sum(seconds) / len(seconds), sum(self.join.pause_s) / 2
        how = self.join
        counts = [how.count(index) for index in range(self._strings)]
        silences = [
            how.bare_pause_s / 2 if how.is_bare(index) else (count + 1) * pause for index, count in enumerate(counts)
        ]
        return [count * clip + silence for count, silence in zip(counts, silences, strict=True)]
