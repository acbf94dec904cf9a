"""The recordings of a split as samples: decoded on demand, or kept in memory. s = samples."""

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from multiattn.data.recordings import SpeechRecords
from multiattn.errors import InputError
from multiattn.inputs import AudioPreprocessing, Recording


class Reader:
    """Reads the recordings of a split."""

    def __init__(self, records: SpeechRecords, preprocessing: AudioPreprocessing, *, cache: bool) -> None:
        """Prepare to read.

        Args:
            records: The split.
            preprocessing: States the sample rate of the model, and the longest recording that it takes.
            cache: Decode all recordings now and keep them in memory, in 16 bits a sample.
        """
        self.records, self.preprocessing = records, preprocessing
        self._kept: np.ndarray | None = None
        if cache:
            self._keep()

    def __call__(self, index: int) -> Float32[Tensor, " s"]:
        """Read the recording at an index.

        Raises:
            InputError: It cannot be read, or is longer than the model takes.
        """
        if self._kept is None:
            return self._decode(index)
        if index in self._reasons:
            raise InputError(self._reasons[index])
        return torch.from_numpy(self._kept[self._ends[index] : self._ends[index + 1]].astype(np.float32) / 32767)

    def _decode(self, index: int) -> Float32[Tensor, " s"]:
        limit = self.preprocessing.max_seconds
        with Recording.open(self.records.items[index][0], rate=self.preprocessing.sample_rate) as recording:
            # the rest of a recording that is too long is never decoded
            samples = next(recording.blocks(limit + 1.0), None)
            if samples is None:
                raise recording.empty()
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
