"""Recordings as features of a frozen speech encoder, from a `FeatureStore`: at each speed.

m encoder frames, D width.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from multiattn.models.speech_encoder import SpeechEncoder

from .audio_augmentation import at_speed
from .feature_store import Encoded, FeatureStore
from .readable import Items
from .reader import Reader
from .speech_batches import Sound, SpeechSample
from .tokens import Transcripts

PLAIN = "speed-1"
"""The view that inference hears."""


class SpeechEncoding:
    """How recordings become features."""

    kind = "recordings"
    rows: int | None = None

    def __init__(self, reader: Reader, encoder: SpeechEncoder, *, speeds: Sequence[float], whole: bool) -> None:
        """Describe the features.

        Args:
            reader: Reads the recordings.
            encoder: Decides about the width of the features.
            speeds: Of each recording, one view each.
            whole: Whether frames of padding are kept, because the decoder attends to them.
        """
        self.reader, self.records, self.whole = reader, reader.records, whole
        self._speeds = {f"speed-{speed:g}": float(speed) for speed in speeds}
        self.views = tuple(self._speeds)
        self.width = encoder.config.dim

    def depends_on(self, architecture: dict[str, Any]) -> list[Any]:
        """The architecture, the preprocessing, and whether padding is kept."""
        return [architecture, self.reader.preprocessing.to_dict(), self.whole]

    def items(self, view: str) -> "_SpeedItems":
        """The samples of the recordings at a speed."""
        return _SpeedItems(self.reader, self._speeds[view])

    def encode(self, encoder: nn.Module, items: Sequence[SpeechSample]) -> list[Encoded]:
        """Encode recordings: together where none can change another's features (equal lengths, or a masked encoder)."""
        assert isinstance(encoder, SpeechEncoder)
        preprocessing = self.reader.preprocessing
        sounds = [item.content for item in items if item.content is not None]
        features = [preprocessing.features(sound.values) for sound in sounds]
        lengths = [preprocessing.frames(sound.num_samples) for sound in sounds]
        if encoder.config.masked or len({part.shape[-1] for part in features}) == 1:
            longest = max(part.shape[-1] for part in features)
            padded = [torch.nn.functional.pad(part, (0, longest - part.shape[-1])) for part in features]
            groups = [(torch.stack(padded), lengths)]
        else:
            groups = [(part[None], [length]) for part, length in zip(features, lengths, strict=True)]
        weight = next(encoder.parameters())
        found: list[Tensor] = []
        for batch, counts in groups:
            found += encoder(batch.to(weight), lengths=torch.tensor(counts, device=weight.device))
        kept = [
            int(encoder.frames(part.shape[-1] if self.whole else length))
            for part, length in zip(features, lengths, strict=True)
        ]
        return [Encoded(rows[:n], sound.num_samples) for rows, n, sound in zip(found, kept, sounds, strict=True)]


class _SpeedItems(Items[Sound]):
    """Recordings at a speed, without tokens."""

    def __init__(self, reader: Reader, speed: float) -> None:
        super().__init__(reader.records)
        self.reader, self.speed = reader, speed

    def read(self, index: int, draw: tuple[int, ...]) -> Sound:
        """The recording at an index; at its own speed where it would be too long for the model otherwise."""
        plain = self.reader(index)
        played = at_speed(plain, self.speed)
        samples = played if len(played) <= self.reader.preprocessing.max_samples else plain
        return Sound(samples, len(samples), np.zeros(0, np.int64))


class SpeechFeatures(Items[Sound]):
    """Features of the recordings as inference hears them; in training, at a speed that each epoch draws."""

    def __init__(self, store: FeatureStore, transcripts: Transcripts, *, seed: int | None = None) -> None:
        super().__init__(store.records, seed=seed)
        self.store, self.transcripts = store, transcripts

    def read(self, index: int, draw: tuple[int, ...]) -> Sound:
        """The features of the recording at an index."""
        tokens = self.transcripts.encode(self.records.items[index][1])
        view = self.store.drawn_view(*draw) if draw else PLAIN
        return Sound(self.store.read(index, view), self.store.num_samples(index, view), tokens)
