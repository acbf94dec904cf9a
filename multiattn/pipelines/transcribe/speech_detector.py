"""How probable it is that somebody speaks, by Silero VAD, in each 32 ms of a stream.

Notation: t samples, n steps of 32 ms.
"""

import torch
from jaxtyping import Float32
from torch import Tensor

from ...inputs.stream_resampler import StreamResampler
from ...models.voice_activity import CHUNK, VOICE_RATE
from ...weights.silero import load_voice_activity

STEP_SECONDS = CHUNK / VOICE_RATE
"""Seconds that one probability is about: 0.032."""


class SpeechProbabilities:
    """The probability of speech in each step of a stream of samples.

    Args:
        rate: Sampling rate of the stream in Hz. At another rate than 16 kHz it is resampled.

    Raises:
        ModelError: The package silero-vad is not installed.
    """

    def __init__(self, rate: int = VOICE_RATE) -> None:
        self._detector = load_voice_activity()
        self._resampler = StreamResampler(rate, VOICE_RATE)
        self._state = self._detector.initial_state()
        self._held = torch.zeros(0)  # samples of a chunk that is not complete

    def feed(self, samples: Float32[Tensor, " t"], *, is_last: bool = False) -> Float32[Tensor, " n"]:
        """Take the next samples; return the probabilities of the steps that are complete since the last call.

        Args:
            samples: The samples, mono, on the CPU.
            is_last: Whether the stream ends with them: the last step is then filled up with silence.
        """
        held = torch.cat([self._held, self._resampler.feed(samples, is_last=is_last)])
        if is_last and len(held) % CHUNK:
            held = torch.nn.functional.pad(held, (0, CHUNK - len(held) % CHUNK))
        ready = len(held) // CHUNK * CHUNK
        self._held = held[ready:].clone()
        found: Tensor
        found, self._state = self._detector(held[:ready], self._state)
        return found
