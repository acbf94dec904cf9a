"""Recordings with transcripts as samples and batches: decoded, augmented, encoded as tokens, and stacked.

b recordings, s samples, t feature frames, n tokens; m frames and D width of an encoder's features.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from multiattn.data.concat_clips import ConcatClips, Plan, join
from multiattn.errors import InputError
from multiattn.inputs import AudioPreprocessing

from ..seeding import seed_for
from . import readable
from .audio_augmentation import AudioAugmentation
from .readable import TRIES, Items, Unreadable, positions_of, unreadable_of
from .reader import Reader, require_short
from .sampler import Key
from .tokens import Transcripts, padded

_AUDIO = 3  # sets the draw of the augmentation apart from the other draws with the same seed, epoch and index
_STRING = 4  # the same for the draw of a string's clips


class SpeechBatch(NamedTuple):
    """A batch of the transcription task."""

    features: Float32[Tensor, "b mels t"] | None
    """Log-mel features; after the end of a recording those of silence. None where there is `encoded`."""

    encoded: Float16[Tensor, "b m D"] | None
    """The frozen encoder's output, where it is kept on disk; after the end of a recording 0."""

    lengths: Int64[Tensor, " b"]
    """Feature frames of each recording."""

    tokens: Int64[Tensor, "b n"]
    """From the start token to the end token; then padding."""

    attention_mask: Bool[Tensor, "b n"]
    """False where a token is padding."""

    texts: tuple[str, ...]
    """The transcript of each recording, as it was written."""

    indices: Int64[Tensor, " b"]
    """The index of each recording in the split's records."""

    unreadable: tuple[Unreadable, ...]
    """File and reason of each recording that could not be used while this batch was made."""

    seconds: Float32[Tensor, " b"]
    """Length of each recording."""


class Sound(NamedTuple):
    """A recording with the tokens of its transcript."""

    values: Float[Tensor, "..."]
    """Its samples `[s]`, or the encoder's output for them, `[m, D]`."""

    num_samples: int
    tokens: np.ndarray
    """From the start token to the end token."""


SpeechSample = readable.Sample[Sound]


class Recordings(Items[Sound]):
    """Recordings as inference hears them; in training, as the augmentation varies them."""

    def __init__(
        self,
        reader: Reader,
        transcripts: Transcripts,
        augmentation: AudioAugmentation | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(reader.records, seed=seed)
        self.reader, self.transcripts, self.augmentation = reader, transcripts, augmentation

    def read(self, index: int, draw: tuple[int, ...]) -> Sound:
        """The recording at an index."""
        tokens, samples = self.transcripts.encode(self.records.items[index][1]), self.reader(index)
        samples = _augmented(samples, self.augmentation, self.reader, (*draw, _AUDIO))
        return Sound(samples, len(samples), tokens)


class ConcatSpeech(Dataset[SpeechSample]):
    """Strings of clips: fixed ones by their index, or new ones in each epoch by `(epoch, index)`."""

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
            reader: Reads the clips.
            transcripts: Encodes what is said.
            how: How the clips are joined.
            plans: Of the fixed strings; None in training.
            augmentation: Of training strings.
            seed: Of all draws in training.
            size: Training strings an epoch.
        """
        self.reader, self.transcripts, self.how = reader, transcripts, how
        self.plans, self.augmentation, self.seed = plans, augmentation, seed
        self.size = size if plans is None else len(plans)
        self._texts = [text for _, text in reader.records.items]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: Any) -> SpeechSample:
        """A string; in training another one replaces a string with a clip that cannot be read."""
        epoch, index = Key(*key)[:2] if self.plans is None else (0, key)
        speakers = self.reader.records.speakers
        # a training string, and those that replace it
        drawn = (drawn_plan(self.how, speakers, self.seed, epoch, index, attempt) for attempt in range(TRIES))
        plans = drawn if self.plans is None else [self.plans[index]]
        unreadable: list[Unreadable] = []
        for plan in plans:
            try:
                samples, tokens, text = self._make(plan)
            except _UnreadableClip as error:
                unreadable.append(error.entry)
                continue
            samples = _augmented(samples, self.augmentation, self.reader, (self.seed, epoch, index, _AUDIO))
            return SpeechSample(Sound(samples, len(samples), tokens), text, index, tuple(unreadable))
        return SpeechSample(None, "", index, tuple(unreadable))

    def _make(self, plan: Plan) -> tuple[Tensor, np.ndarray, str]:
        """Samples, tokens and text of a string."""
        clip, preprocessing = plan.clips[0], self.reader.preprocessing

        def read(number: int) -> Tensor:
            nonlocal clip
            clip = number
            return self.reader(number)

        try:
            found = join(plan, self._texts, read, rate=preprocessing.sample_rate)
            clip = plan.clips[0]  # errors about the whole string name its first clip
            require_short(found.samples, preprocessing, f"the string {found.text!r}", mend=_SHORTER)
            return found.samples, self.transcripts.encode(found.text), found.text
        except InputError as error:
            raise _UnreadableClip(str(self.reader.records.items[clip][0]), str(error)) from error


def drawn_plan(how: ConcatClips, speakers: Sequence[str], seed: int, epoch: int, index: int, attempt: int = 0) -> Plan:
    """The plan of a training string; in a later attempt, of another one in its place."""
    return how.plan_at(index, speakers, (seed, epoch, index, _STRING, attempt), epoch=epoch)


_SHORTER = "Lower `clips` or `pause_s` of `join`."


class _UnreadableClip(Exception):
    """A clip of a string cannot be used."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(reason)
        self.entry = (file, reason)


def _augmented(
    samples: Tensor, augmentation: AudioAugmentation | None, reader: Reader, key: Sequence[int]
) -> Float32[Tensor, " s"]:
    """A recording as the augmentation varies it, no longer than the model takes; `key` decides about the draws."""
    if augmentation is None:
        return samples

    def other(rng: np.random.Generator) -> Tensor:
        try:
            return reader(int(rng.integers(len(reader.records.items))))
        except InputError:
            return torch.zeros(0)

    found = augmentation(samples, np.random.default_rng(seed_for(*key)), other=other)
    if len(found) > reader.preprocessing.max_samples:  # played slower, it is too long
        found = augmentation(samples, np.random.default_rng(seed_for(*key)), other=other, speed=1.0)
    return found


def collate_speech(
    samples: Sequence[SpeechSample], *, preprocessing: AudioPreprocessing, pad: int, width: int | None
) -> SpeechBatch:
    """Stack samples into a batch, without those that could not be used; perhaps an empty one.

    Args:
        samples: The samples.
        preprocessing: Of the model.
        pad: The token after the end of a text.
        width: Of the encoder's features, where the samples hold features; None for recordings.
    """
    sounds = [sample.content for sample in samples if sample.content is not None]
    tokens, attention_mask = padded([sound.tokens for sound in sounds], pad)
    values, counts = [sound.values for sound in sounds], [sound.num_samples for sound in sounds]
    features = encoded = None
    if width is not None:
        empty = torch.zeros(0, 1, width, dtype=torch.float16)
        encoded = pad_sequence(values, batch_first=True) if sounds else empty
    elif sounds:
        features = preprocessing.features(pad_sequence(values, batch_first=True), lengths=counts)
    else:
        features = torch.zeros(0, preprocessing.mels, 1)
    return SpeechBatch(
        features,
        encoded,
        torch.tensor([preprocessing.frames(count) for count in counts], dtype=torch.int64),
        tokens,
        attention_mask,
        tuple(sample.label for sample in samples if sample.content is not None),
        positions_of(samples),
        unreadable_of(samples),
        torch.tensor([count / preprocessing.sample_rate for count in counts], dtype=torch.float32),
    )
