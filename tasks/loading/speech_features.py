"""Recordings as features of a frozen speech encoder, from a `FeatureStore`: at each speed.

m encoder frames, D width.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from multiattn.data.audio_augmentation import at_speed
from multiattn.errors import InputError
from multiattn.models.speech import SpeechEncoder

from ..seeding import seed_for
from .feature_store import FeatureStore, Found
from .readable import first_readable
from .reader import Reader
from .speech_batches import SpeechSample, without_sound
from .transcripts import Transcripts

PLAIN = "speed-1"
"""The view that inference hears."""

_VIEW = 2  # sets the draw of the view apart from the other draws of the same place


class SpeechEncoding:
    """How recordings become features."""

    kind = "recordings"
    rows = None

    def __init__(self, reader: Reader, encoder: SpeechEncoder, *, speeds: Sequence[float], whole: bool) -> None:
        """Describe them.

        Args:
            reader: Of the recordings.
            encoder: Says how wide they will be.
            speeds: At which each recording is played.
            whole: Whether the frames that only pad are kept, because the decoder attends to them.
        """
        self.reader, self.records, self.whole = reader, reader.records, whole
        self._speeds = {f"speed-{speed:g}": float(speed) for speed in speeds}
        self.views = tuple(self._speeds)
        self.width = encoder.config.dim

    def depends_on(self, architecture: dict[str, Any]) -> list[Any]:
        """The architecture, the preprocessing, and whether padding is kept."""
        return [architecture, self.reader.preprocessing.to_dict(), self.whole]

    def items(self, view: str) -> "_Played":
        """The samples of the recordings at a speed."""
        return _Played(self.reader, self._speeds[view])

    def encode(self, encoder: nn.Module, items: Sequence[SpeechSample]) -> list[Found]:
        """Together where nothing of one changes another: where they are padded alike, or the encoder masks."""
        assert isinstance(encoder, SpeechEncoder)
        preprocessing = self.reader.preprocessing
        features = [preprocessing.features(item.sound) for item in items if item.sound is not None]
        attention_mask = [preprocessing.frames(item.count) for item in items]
        if encoder.config.masked or len({part.shape[-1] for part in features}) == 1:
            longest = max(part.shape[-1] for part in features)
            padded = [torch.nn.functional.pad(part, (0, longest - part.shape[-1])) for part in features]
            groups = [(torch.stack(padded), attention_mask)]
        else:
            groups = [(part[None], [count]) for part, count in zip(features, attention_mask, strict=True)]
        weight = next(encoder.parameters())
        found: list[Tensor] = []
        for part, counts in groups:
            found += encoder(part.to(weight), lengths=torch.tensor(counts, device=weight.device))
        kept = [
            int(encoder.frames(part.shape[-1] if self.whole else count))
            for part, count in zip(features, attention_mask, strict=True)
        ]
        return [Found(rows[:n], item.count) for rows, n, item in zip(found, kept, items, strict=True)]


class _Played(Dataset[SpeechSample]):
    """Recordings at a speed, without their transcripts."""

    def __init__(self, reader: Reader, speed: float) -> None:
        self.reader, self.speed = reader, speed

    def __len__(self) -> int:
        return len(self.reader.records.items)

    def __getitem__(self, index: int) -> SpeechSample:
        """The recording at a place; as it is where it would be too long at that speed."""
        try:
            plain = self.reader(index)
        except InputError as error:
            return without_sound(index, "", ((str(self.reader.records.items[index][0]), str(error)),))
        played = at_speed(plain, self.speed)
        samples = played if len(played) <= self.reader.preprocessing.max_samples else plain
        return SpeechSample(samples, len(samples), np.zeros(0, np.int64), "", index, ())


class TrainingSpeechFeatures(Dataset[SpeechSample]):
    """Features for training; at which speed is a pure function of the seed, the epoch and the index."""

    def __init__(self, store: FeatureStore, transcripts: Transcripts, *, seed: int) -> None:
        self.store, self.transcripts, self.seed = store, transcripts, seed

    def __len__(self) -> int:
        return len(self.store.records.items)

    def __getitem__(self, key: tuple[int, int]) -> SpeechSample:
        """The features of recording `index` in epoch `epoch`, or of its replacement (`first_readable`)."""
        epoch, wanted = key
        records = self.store.records

        def read(index: int) -> tuple[Tensor, int, np.ndarray]:
            tokens, views = self.transcripts.encode(records.items[index][1]), self.store.views
            view = views[seed_for(self.seed, epoch, index, _VIEW) % len(views)]
            return self.store.read(index, view), self.store.count(index, view), tokens

        found, place, unreadable = first_readable(records, read, seed=self.seed, epoch=epoch, wanted=wanted)
        text = records.items[place][1]
        return (
            without_sound(place, text, unreadable) if found is None else SpeechSample(*found, text, place, unreadable)
        )


class EvaluationSpeechFeatures(Dataset[SpeechSample]):
    """Features of the recordings as inference hears them."""

    def __init__(self, store: FeatureStore, transcripts: Transcripts) -> None:
        self.store, self.transcripts = store, transcripts

    def __len__(self) -> int:
        return len(self.store.records.items)

    def __getitem__(self, index: int) -> SpeechSample:
        """The features at a place; without any where the recording cannot be used."""
        path, text = self.store.records.items[index]
        try:
            tokens = self.transcripts.encode(text)
            return SpeechSample(self.store.read(index, PLAIN), self.store.count(index, PLAIN), tokens, text, index, ())
        except InputError as error:
            return without_sound(index, text, ((str(path), str(error)),))
