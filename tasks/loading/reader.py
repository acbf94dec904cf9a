"""The recordings of a split as samples: decoded when they are asked for, or kept in memory. s = samples."""

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from multiattn.data.recordings import SpeechRecords
from multiattn.errors import InputError
from multiattn.inputs import AudioPreprocessing, Recording


class Reader:
    """Decodes the recordings of a split, or has them in memory."""

    def __init__(self, records: SpeechRecords, preprocessing: AudioPreprocessing, *, cache: bool) -> None:
        """Name them.

        Args:
            records: The split.
            preprocessing: Says their rate, and how long they may be.
            cache: Decode all of them now and keep them, in 16 bits a sample.
        """
        self.records, self.preprocessing = records, preprocessing
        self._kept: np.ndarray | None = None
        if cache:
            self._keep()

    def __call__(self, index: int) -> Float32[Tensor, " s"]:
        """The samples of the recording at a place.

        Raises:
            InputError: It cannot be read, or is longer than the model takes.
        """
        if self._kept is not None:
            if index in self._reasons:
                raise InputError(self._reasons[index])
            return torch.from_numpy(self._kept[self._ends[index] : self._ends[index + 1]].astype(np.float32) / 32767)
        return self._decode(index)

    def _decode(self, index: int) -> Float32[Tensor, " s"]:
        limit = self.preprocessing.max_seconds
        with Recording.open(self.records.items[index][0], rate=self.preprocessing.sample_rate) as recording:
            samples = next(recording.blocks(limit + 1.0))  # more than that of a long one is never decoded
            require_short(samples, self.preprocessing, recording.name, mend="Cut it into shorter ones.")
        return samples

    def _keep(self) -> None:
        self._reasons: dict[int, str] = {}
        parts = []
        for index in range(len(self.records.items)):
            try:
                samples = self._decode(index).clamp(-1.0, 1.0)
            except InputError as error:
                self._reasons[index] = str(error)
                samples = torch.zeros(0)
            parts.append((samples * 32767).round().to(torch.int16).numpy())
        self._ends = np.cumsum([0, *map(len, parts)])
        self._kept = np.concatenate(parts)


def require_short(samples: Tensor, preprocessing: AudioPreprocessing, name: str, *, mend: str) -> None:
    """Raise InputError where a recording is longer than the model takes."""
    if len(samples) > preprocessing.max_samples:
        raise InputError(
            f"{name} must be at most {preprocessing.max_seconds:g} s long, for that is what the model takes at once, "
            f"but is longer instead. {mend}"
        )
