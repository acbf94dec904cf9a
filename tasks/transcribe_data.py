"""The data module of the transcription task: recordings to batches, and their transcripts to a vocabulary."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from multiattn.checks import require
from multiattn.data.concat_clips import FIXED_STRINGS, ConcatClips, Plan, concat_text, fixed_plans
from multiattn.data.recordings import SpeechRecords, clean_transcript, read_recordings
from multiattn.errors import InputError, ModelError
from multiattn.inputs import Recording, Tokenizer

from .loading.audio_augmentation import AudioAugmentation
from .loading.datamodule import BaseData
from .loading.feature_store import FeatureStore
from .loading.reader import Reader
from .loading.sampler import Batches, BucketBatches
from .loading.speech_batches import (
    ConcatSpeech,
    EvaluationSpeech,
    SpeechBatch,
    SpeechCollate,
    TrainingSpeech,
    string_place,
)
from .loading.speech_features import EvaluationSpeechFeatures, SpeechEncoding, TrainingSpeechFeatures
from .loading.tokens import Transcripts

__all__ = ["SpeechBatch", "TranscribeData"]


class TranscribeData(BaseData):
    """Recordings with transcripts from `root/train`, `root/validation` and, where it is there, `root/test`.

    Each split holds a `metadata.jsonl` or `metadata.csv` with `file_name` and `text`, or LibriSpeech's folders. The
    vocabulary is the model's, where it has one, and is learnt from the training transcripts otherwise. Of the task this
    asks for `preprocessing`, `tokenizer` (None where it has none), `opening` (the start token and what follows it in
    each transcript), and the `encoder` and the `decoder.config` of its `model`.
    """

    kind = "recordings"

    def __init__(
        self,
        root: str,
        *,
        folders: dict[str, list[str]] | None = None,
        batch_size: int = 16,
        batch_seconds: float | None = None,
        eval_batch_size: int | None = None,
        clean: bool = True,
        vocabulary: Literal["bpe", "characters"] = "bpe",
        vocab_size: int = 1000,
        join: ConcatClips | None = None,
        augmentation: AudioAugmentation | None = None,
        cache: bool = False,
        features: str | None = None,
        num_workers: int = 2,
        max_bad_share: float = 0.01,
        predict_split: str = "test",
    ) -> None:
        """Name the data; nothing is read yet.

        Args:
            root: The folder with the data in it.
            folders: The folders in `root` that make up a split, where it is no folder of its own name.
            batch_size: Recordings a training batch, in each process.
            batch_seconds: Instead, seconds of sound a training batch, with what fills recordings up to the longest one
                of it, in each process; recordings of about the same length then come together.
            eval_batch_size: Recordings a batch elsewhere; `batch_size` where it is not given.
            clean: Put transcripts in lower case and take the punctuation out of them, but ' and -.
            vocabulary: Kind of the vocabulary that is learnt: `bpe` (frequent words whole, others in pieces) or
                `characters`.
            vocab_size: Its tokens at most.
            join: The recordings are short clips, which are joined to longer ones: drawn anew in each epoch of the
                training, fixed ones elsewhere (`joined.fixed_strings`).
            augmentation: How training recordings are varied; not at all where it is not given.
            cache: Decode all training recordings at the start and keep them in memory, in 16 bits a sample.
            features: A folder in which what the encoder makes of each recording is computed once and kept; it must be
                frozen then, and of the augmentation only `speed` is left: each recording is kept at every speed.
            num_workers: Processes that prepare recordings, beside each training process.
            max_bad_share: A recording that cannot be read, or is longer than the model takes, or has more text, is
                named, skipped and counted; past this share of the split the run stops. Each process counts what it has
                met itself, in evaluation of its own part of the split.
            predict_split: The split that `predict` goes through.
        """
        super().__init__(
            root,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            max_bad_share=max_bad_share,
            predict_split=predict_split,
        )
        good = batch_seconds is None or batch_seconds > 0
        require(good, "batch_seconds", must="above 0", value=batch_seconds, error=InputError)
        for name, value in {"join": join, "cache": cache or None}.items():
            if features is not None and value is not None:
                raise InputError(f"`{name}` must not come with `features`: the recordings are not opened in training.")
        self.folders = folders
        self.batch_seconds = batch_seconds
        self.clean = clean
        self.vocabulary, self.vocab_size = vocabulary, vocab_size
        self.join = join
        self.augmentation = augmentation
        self.cache = cache
        self.features = None if features is None else Path(features)
        self._files: dict[str, SpeechRecords] = {}
        self._stores: dict[str, FeatureStore] = {}

    def files(self, split: str) -> SpeechRecords:
        """The recordings that lie there, not opened yet."""
        if split not in self._files:
            self._files[split] = read_recordings(self.root, split, folders=self.folders)
        return self._files[split]

    def records(self, split: str) -> SpeechRecords:
        """What the model hears of a split: the files, or the strings they are joined to (in training those of epoch 0).

        A string goes by the name of its first clip.
        """
        files = self.files(split)
        if self.join is None:
            return files
        texts = [text for _, text in files.items]
        plans = self._plans(split)
        items = tuple((files.items[plan.clips[0]][0], concat_text(plan, texts)) for plan in plans)
        return SpeechRecords(items, tuple(files.speakers[plan.clips[0]] for plan in plans))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The task's, where it has one; learnt from the training transcripts otherwise."""
        own: Tokenizer | None = None if self.trainer is None else self._task.tokenizer
        if own is not None:
            return own
        texts = (text for _, text in self.files("train").items)
        cleaned = (clean_transcript(text) if self.clean else text for text in texts)
        return Tokenizer.train(cleaned, kind=self.vocabulary, vocab_size=self.vocab_size, lowercase=self.clean)

    def training_items(self) -> TrainingSpeech | TrainingSpeechFeatures | ConcatSpeech:
        """The training split, varied, with strings drawn for each epoch."""
        files = self.files("train")
        if self.features is not None:
            return TrainingSpeechFeatures(self._store("train"), self._transcripts(files), seed=self.seed)
        reader = Reader(files, self.preprocessing, cache=self.cache)
        transcripts = self._transcripts(files)
        if self.join is None:
            return TrainingSpeech(reader, transcripts, self.augmentation, seed=self.seed)
        return ConcatSpeech(
            reader, transcripts, self.join, augmentation=self.augmentation, seed=self.seed, size=self._strings
        )

    def evaluation_items(self, split: str) -> EvaluationSpeech | EvaluationSpeechFeatures | ConcatSpeech:
        """A split as inference hears it."""
        files = self.files(split)
        if self.features is not None:
            return EvaluationSpeechFeatures(self._store(split), self._transcripts(files))
        reader, transcripts = Reader(files, self.preprocessing, cache=False), self._transcripts(files)
        if self.join is None:
            return EvaluationSpeech(reader, transcripts)
        return ConcatSpeech(reader, transcripts, self.join, plans=self._plans(split))

    def collate(self) -> SpeechCollate:
        """Features, or what the encoder made of them, with tokens."""
        model = self._task.model
        width = None if self.features is None else model.encoder.config.dim
        return SpeechCollate(self.preprocessing, pad=model.decoder.config.pad_token, width=width)

    @property
    def _task(self) -> Any:
        assert self.trainer is not None
        return self.trainer.lightning_module

    @property
    def _strings(self) -> int:
        """Training strings an epoch."""
        assert self.join is not None
        if self.join.strings is not None:
            return self.join.strings
        return max(1, round(len(self.files("train").items) / (sum(self.join.clips) / 2)))

    def _plans(self, split: str) -> tuple[Plan, ...]:
        assert self.join is not None
        if split != "train":
            return fixed_plans(self.files(split), self.join, count=FIXED_STRINGS)
        speakers, how = self.files(split).speakers, self.join
        return tuple(
            how.plan(speakers, string_place(self.seed, 0, i), count=how.count(i, epoch=0)) for i in range(self._strings)
        )

    def _transcripts(self, files: SpeechRecords) -> Transcripts:
        config, opening = self._task.model.decoder.config, self._task.opening
        room = config.max_length - len(opening)
        if room < 1:
            raise ModelError(
                f"the decoder must have room for a transcript after what each begins with ({len(opening)} tokens), but "
                f"takes only {config.max_length}. Raise `decoder.max_length`."
            )
        found = Transcripts(self.tokenizer, clean=self.clean, start=config.start_token, end=config.end_token, room=room)
        found.check(files)
        return found

    def _store(self, split: str) -> FeatureStore:
        """The features of a split.

        Every process asks for what is missing: one computes it, and the others wait for its lock, which, unlike a
        barrier, has no time limit.
        """
        assert self.features is not None
        if split not in self._stores:
            model, is_training = self._task.model, split == "train"
            speeds = self.augmentation.speed if is_training and self.augmentation is not None else (1.0,)
            reader = Reader(self.files(split), self.preprocessing, cache=False)
            encoding = SpeechEncoding(reader, model.encoder, speeds=speeds, whole=model.config.context == "all")
            store = FeatureStore(self.features, split, encoder=model.encoder, encoding=encoding)
            store.prepare(model.encoder, batch_size=self.eval_batch_size, num_workers=self.num_workers)
            self._stores[split] = store
        return self._stores[split]

    def _batches(self) -> Batches:
        if self.batch_seconds is None:
            return super()._batches()
        assert self.trainer is not None
        return BucketBatches(
            self._training_seconds,
            batch_seconds=self.batch_seconds,
            seed=self.seed,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )

    @cached_property
    def _training_seconds(self) -> Sequence[float]:
        """Length of each training item, as its file states it; of strings, what their clips and pauses come to."""
        seconds = [_seconds(path) for path, _ in self.files("train").items]
        if self.join is None:
            return seconds
        clip, pause = sum(seconds) / len(seconds), sum(self.join.pause_s) / 2
        counts = [self.join.count(index) for index in range(self._strings)]
        return [count * clip + (count + 1) * pause for count in counts]


def _seconds(path: Path) -> float:
    """How long a recording is; 0 where it cannot be opened, which is said when it is its turn."""
    try:
        with Recording.open(path) as recording:
            return recording.duration or 0.0
    except InputError:
        return 0.0
