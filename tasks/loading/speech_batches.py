"""Recordings with transcripts as items and batches: decoded, varied, put into tokens, and stacked.

b recordings, s samples, t feature frames, n tokens; m frames and D width of an encoder's features.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, Int64
from torch import Tensor
from torch.utils.data import Dataset

from multiattn.data.audio_augmentation import AudioAugmentation
from multiattn.data.concat_clips import ConcatClips, Plan, join
from multiattn.errors import InputError
from multiattn.inputs import AudioPreprocessing

from ..seeding import seed_for
from .readable import first_readable
from .reader import Reader, require_short
from .transcripts import Transcripts

_AUDIO = 3  # sets the draw of the augmentation apart from the other draws of the same place
_STRING = 4  # the same for what a string is made of


class SpeechBatch(NamedTuple):
    """What a step of the transcription task gets."""

    features: Float32[Tensor, "b mels t"] | None
    """Log-mel features; after a recording's end as silence has them. None where there is `encoded`."""

    encoded: Float16[Tensor, "b m D"] | None
    """What the frozen encoder made of the recordings, where that is kept on disk; after a recording's end 0."""

    lengths: Int64[Tensor, " b"]
    """Feature frames of each recording."""

    tokens: Int64[Tensor, "b n"]
    """From the start token to the end token; then padding."""

    attention_mask: Bool[Tensor, "b n"]
    """False where a token is padding."""

    texts: tuple[str, ...]
    """What is said in each recording, as it was written."""

    indices: Int64[Tensor, " b"]
    """Place of each recording in the split's records."""

    unreadable: tuple[tuple[str, str], ...]
    """File and reason of each recording that could not be used while this batch was made."""

    seconds: Float32[Tensor, " b"]
    """Length of each recording."""


class SpeechSample(NamedTuple):
    """One recording, ready to be stacked."""

    sound: Float[Tensor, "..."] | None
    """Its samples `[s]`, or what an encoder made of them, `[m, D]`; None where it cannot be used."""

    count: int
    """Samples of the recording."""

    tokens: np.ndarray
    """From the start token to the end token."""

    text: str
    """As it was written."""

    place: int
    """Its index in the records; a replacement has its own."""

    unreadable: tuple[tuple[str, str], ...]
    """File and reason of each recording that could not be used on the way to this one."""


class EvaluationSpeech(Dataset[SpeechSample]):
    """Recordings as inference hears them."""

    def __init__(self, reader: Reader, transcripts: Transcripts) -> None:
        self.reader, self.transcripts = reader, transcripts

    def __len__(self) -> int:
        return len(self.reader.records.items)

    def __getitem__(self, index: int) -> SpeechSample:
        """The recording at a place; without samples where it cannot be used."""
        path, text = self.reader.records.items[index]
        try:
            tokens, samples = self.transcripts.encode(text), self.reader(index)
        except InputError as error:
            return without_sound(index, text, ((str(path), str(error)),))
        return SpeechSample(samples, len(samples), tokens, text, index, ())


class TrainingSpeech(Dataset[SpeechSample]):
    """Varied recordings, each a pure function of the seed, the epoch and its index."""

    def __init__(
        self, reader: Reader, transcripts: Transcripts, augmentation: AudioAugmentation | None, *, seed: int
    ) -> None:
        self.reader, self.transcripts, self.augmentation, self.seed = reader, transcripts, augmentation, seed

    def __len__(self) -> int:
        return len(self.reader.records.items)

    def __getitem__(self, key: tuple[int, int]) -> SpeechSample:
        """The recording `index` as epoch `epoch` hears it, or its replacement (`first_readable`)."""
        epoch, wanted = key
        records = self.reader.records

        def read(index: int) -> tuple[Tensor, np.ndarray]:
            tokens, samples = self.transcripts.encode(records.items[index][1]), self.reader(index)
            return varied(samples, self.augmentation, self.reader, (self.seed, epoch, index, _AUDIO)), tokens

        found, place, unreadable = first_readable(records, read, seed=self.seed, epoch=epoch, wanted=wanted)
        text = records.items[place][1]
        if found is None:
            return without_sound(place, text, unreadable)
        return SpeechSample(found[0], len(found[0]), found[1], text, place, unreadable)


class ConcatSpeech(Dataset[SpeechSample]):
    """Strings of clips: fixed ones by their places, or others in each epoch by (epoch, index)."""

    def __init__(
        self,
        reader: Reader,
        transcripts: Transcripts,
        how: ConcatClips,
        *,
        plans: Sequence[Plan] | None = None,
        augmentation: AudioAugmentation | None = None,
        seed: int = 0,
        size: int = 0,
    ) -> None:
        """Describe the strings.

        Args:
            reader: Of the clips.
            transcripts: To tokens.
            how: They are joined.
            plans: Of the fixed strings; None in training.
            augmentation: In training, how strings are varied.
            seed: In training, of what is drawn.
            size: In training, how many strings an epoch has.
        """
        self.reader, self.transcripts, self.how = reader, transcripts, how
        self.plans, self.augmentation, self.seed = plans, augmentation, seed
        self.size = size if plans is None else len(plans)
        self._texts = [text for _, text in reader.records.items]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: Any) -> SpeechSample:
        """A string; in training another one where a clip of it cannot be read."""
        if self.plans is not None:
            try:
                samples, tokens, text = self._make(self.plans[key])
            except _Unreadable as error:
                return without_sound(key, "", (error.entry,))
            return SpeechSample(samples, len(samples), tokens, text, key, ())
        epoch, index = key
        unreadable: list[tuple[str, str]] = []
        for attempt in range(20):
            place = string_place(self.seed, epoch, index, attempt)
            plan = self.how.plan(self.reader.records.speakers, place, count=self.how.count(index, epoch=epoch))
            try:
                samples, tokens, text = self._make(plan)
            except _Unreadable as error:
                unreadable.append(error.entry)
                continue
            samples = varied(samples, self.augmentation, self.reader, (self.seed, epoch, index, _AUDIO))
            return SpeechSample(samples, len(samples), tokens, text, index, tuple(unreadable))
        return without_sound(index, "", tuple(unreadable))

    def _make(self, plan: Plan) -> tuple[Tensor, np.ndarray, str]:
        def read(clip: int) -> Tensor:
            try:
                return self.reader(clip)
            except InputError as error:
                raise _Unreadable(str(self.reader.records.items[clip][0]), str(error)) from error

        preprocessing = self.reader.preprocessing
        found = join(plan, self._texts, read, rate=preprocessing.sample_rate)
        try:
            require_short(found.samples, preprocessing, f"the string {found.text!r}", mend=_SHORTER)
            return found.samples, self.transcripts.encode(found.text), found.text
        except InputError as error:
            raise _Unreadable(str(self.reader.records.items[plan.clips[0]][0]), str(error)) from error


def string_place(seed: int, epoch: int, index: int, attempt: int = 0) -> tuple[int, ...]:
    """What a training string depends on."""
    return seed, epoch, index, _STRING, attempt


_SHORTER = "Lower `clips` or `pause_s` of `join`."


class _Unreadable(Exception):
    """A clip of a string cannot be used."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(reason)
        self.entry = (file, reason)


def varied(
    samples: Tensor, augmentation: AudioAugmentation | None, reader: Reader, place: Sequence[int]
) -> Float32[Tensor, " s"]:
    """The recording as the augmentation varies it at a place of the training, no longer than the model takes."""
    if augmentation is None:
        return samples

    def other(rng: np.random.Generator) -> Tensor:
        try:
            return reader(int(rng.integers(len(reader.records.items))))
        except InputError:
            return torch.zeros(0)

    rng = np.random.default_rng(seed_for(*place))
    found = augmentation(samples, rng, other=other)
    if len(found) > reader.preprocessing.max_samples:  # played slower, it no longer fits
        found = augmentation(samples, np.random.default_rng(seed_for(*place)), other=other, speed=1.0)
    return found


def without_sound(place: int, text: str, unreadable: tuple[tuple[str, str], ...]) -> SpeechSample:
    """What stands for a recording that cannot be used."""
    return SpeechSample(None, 0, np.zeros(0, np.int64), text, place, unreadable)


class SpeechCollate:
    """Stack items into a batch, without those that could not be used."""

    def __init__(self, preprocessing: AudioPreprocessing, *, pad: int, width: int | None) -> None:
        """Say what comes.

        Args:
            preprocessing: Of the model.
            pad: The token after the end of a text.
            width: Of the encoder's features, where they are what comes; None for samples.
        """
        self.preprocessing, self.pad, self.width = preprocessing, pad, width

    def __call__(self, items: Sequence[SpeechSample]) -> SpeechBatch:
        """Stack the items; the batch is empty where none of them could be used."""
        readable = [item for item in items if item.sound is not None]
        tokens = np.full((len(readable), max((len(item.tokens) for item in readable), default=2)), self.pad, np.int64)
        attention_mask = np.zeros(tokens.shape, np.bool_)
        for row, item in enumerate(readable):
            tokens[row, : len(item.tokens)] = item.tokens
            attention_mask[row, : len(item.tokens)] = True
        features = encoded = None
        sounds = [item.sound for item in readable if item.sound is not None]
        counts = [item.count for item in readable]
        if self.width is not None:
            encoded = _stacked(sounds) if sounds else torch.zeros(0, 1, self.width, dtype=torch.float16)
        elif sounds:
            features = self.preprocessing.features(_stacked(sounds), lengths=counts)
        else:
            features = torch.zeros(0, self.preprocessing.mels, 1)
        return SpeechBatch(
            features,
            encoded,
            torch.tensor([self.preprocessing.frames(count) for count in counts], dtype=torch.int64),
            torch.from_numpy(tokens),
            torch.from_numpy(attention_mask),
            tuple(item.text for item in readable),
            torch.tensor([item.place for item in readable], dtype=torch.int64),
            tuple(entry for item in items for entry in item.unreadable),
            torch.tensor([count / self.preprocessing.sample_rate for count in counts], dtype=torch.float32),
        )


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """Tensors of different lengths, filled up with zeros."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
