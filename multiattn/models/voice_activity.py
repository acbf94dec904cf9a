"""The voice activity detector Silero VAD: the probability of speech in every 32 ms of a recording at 16 kHz.

Notation: t samples, n chunks of 512 samples, f frequencies, m frames of a chunk, C channels.

A chunk is transformed and convolved by itself, with the last 64 samples before it, and its 64 last samples mirrored
after it; only the recurrent cell goes from chunk to chunk. All chunks that are at hand are convolved at once.

Source: silero-vad 6, tinygrad_model.py (MIT).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from ..checks import require

VOICE_RATE = 16_000
"""Samples a second (Hz)."""

CHUNK = 512
"""Samples that have one probability."""

_CONTEXT = 64  # samples before a chunk that count for it
_MIRRORED = 64  # samples at its end that are repeated backwards after it
_WINDOW, _HOP = 256, 128  # samples of a spectrum, and from one to the next
_FREQUENCIES = _WINDOW // 2 + 1
_DIM = 128
_AT_ONCE = 1024  # chunks convolved at once: 6 MB of spectra


class VoiceState(NamedTuple):
    """What a detector knows of the samples before."""

    hidden: Float32[Tensor, "1 D"]
    cell: Float32[Tensor, "1 D"]
    context: Float32[Tensor, " 64"]
    """The last samples."""


class VoiceActivity(nn.Module):
    """The detector. It has no state of its own: the caller hands the state from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = nn.Conv1d(1, 2 * _FREQUENCIES, _WINDOW, stride=_HOP, bias=False)  # real parts, imaginary parts
        self.conv1 = nn.Conv1d(_FREQUENCIES, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, _DIM, 3, padding=1)
        self.recurrent = nn.LSTM(_DIM, _DIM)
        self.head = nn.Conv1d(_DIM, 1, 1)

    @torch.inference_mode()
    def forward(
        self, samples: Float32[Tensor, " t"], state: VoiceState | None = None
    ) -> tuple[Float32[Tensor, " n"], VoiceState]:
        """Return the probability of speech in each chunk, and the state for the samples that follow.

        Args:
            samples: Whole chunks of a recording, at 16 kHz.
            state: What the call for the samples before returned; None: they are the first.

        Raises:
            ModelError: The number of samples is no multiple of 512.
        """
        require(len(samples) % CHUNK == 0, "samples", must=f"a multiple of {CHUNK}", value=len(samples))
        state = self.initial_state() if state is None else state
        if not len(samples):
            return samples.new_zeros(0), state
        parts = []
        for first in range(0, len(samples), _AT_ONCE * CHUNK):
            part, state = self._some(samples[first : first + _AT_ONCE * CHUNK], state)
            parts.append(part)
        return torch.cat(parts), state

    def initial_state(self) -> VoiceState:
        """Return the state before the first sample."""
        zeros = self.head.weight.new_zeros(1, _DIM)
        return VoiceState(zeros, zeros, zeros.new_zeros(_CONTEXT))

    def _some(self, samples: Float[Tensor, " t"], state: VoiceState) -> tuple[Float[Tensor, " n"], VoiceState]:
        samples = torch.cat([state.context, samples])
        chunks = samples.unfold(0, _CONTEXT + CHUNK, CHUNK)[:, None]  # (n, 1, 576)
        x = self.spectrum(F.pad(chunks, (0, _MIRRORED), mode="reflect"))  # (n, 2 f, m)
        x = (x[:, :_FREQUENCIES] ** 2 + x[:, _FREQUENCIES:] ** 2).sqrt()  # (n, f, m)
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = layer(x).relu()  # (n, C, m), the last one (n, D, 1)
        x, (hidden, cell) = self.recurrent(x.mT[:, 0], (state.hidden, state.cell))  # (n, D)
        probabilities = self.head(x.relu()[:, :, None])[:, 0, 0].sigmoid()  # (n,)
        return probabilities, VoiceState(hidden, cell, samples[-_CONTEXT:].clone())
