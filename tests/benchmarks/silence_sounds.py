"""Sounds in which nobody speaks, and what quiet rooms, distance and whispering make of speech. All are drawn here.

Notation: t samples at 16 kHz.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32
from scipy.linalg import solve_toeplitz
from scipy.signal import fftconvolve, lfilter

RATE = 16_000  # Hz

Sound = Float32[np.ndarray, " t"]


def sounds(seconds: float, *, seed: int = 0) -> dict[str, Sound]:
    """Twenty kinds of sound without speech; every second one is of the half that no rule was chosen on."""
    count = round(seconds * RATE)
    time = np.arange(count) / RATE
    draw = np.random.default_rng(seed)
    noise = draw.normal(size=count)

    def tones(*frequencies: float, on: float = 1.0, off: float = 0.0) -> np.ndarray:
        return sum(np.sin(2 * np.pi * f * time) for f in frequencies) * (time % (on + off) < on)

    def events(every: float, make: Callable[[int], np.ndarray], length: float, *, regular: bool = False) -> np.ndarray:
        """Short sounds, at random moments or one after the other."""
        found, size, at = np.zeros(count), round(length * RATE), 0.0
        for index in range(round(seconds / every)):
            first = round(at * RATE)
            piece = make(index)[: max(0, min(size, count - first))]
            found[first : first + len(piece)] += piece
            at += every if regular else draw.exponential(every)
        return found

    def struck(frequency: float, length: float) -> np.ndarray:
        """A string that fades."""
        own = np.arange(round(length * RATE)) / RATE
        return sum(np.sin(2 * np.pi * frequency * k * own) * np.exp(-(3 + k) * own) / k**1.5 for k in range(1, 7))

    def sung(length: float) -> np.ndarray:
        """A note with vibrato, as of a violin."""
        own = np.arange(round(length * RATE)) / RATE
        phase = 2 * np.pi * 220 * 2 ** (draw.integers(0, 14) / 12) * own + 0.6 * np.sin(2 * np.pi * 5.5 * own)
        return sum(np.sin(k * phase) / k for k in (1, 2, 3)) * np.minimum(1, np.minimum(own / 0.05, own[::-1] / 0.1))

    def burst(length: float, *, rise: float = 0.0) -> np.ndarray:
        """Noise that fades."""
        own = np.arange(round(length * RATE)) / RATE
        return draw.normal(size=len(own)) * np.exp(-own * 6 / length) * np.minimum(1, own / rise if rise else 1.0)

    roots = (261.6, 349.2, 392.0, 220.0, 293.7)
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    chirp = np.arange(round(0.12 * RATE)) / RATE
    chosen = {
        "digital silence": (-np.inf, np.zeros(count)),
        "white noise": (-25, noise),
        "brown noise": (-25, colored(noise, 1.0)),
        "tone": (-15, tones(440)),
        "bell": (-18, tones(440, 480, on=2, off=4)),
        "chords": (
            -20,
            events(1.6, lambda i: sum(struck(roots[i % 5] * k, 1.6) for k in (1, 1.25, 1.5, 2)), 1.6, regular=True),
        ),
        "clicks": (-30, events(0.7, lambda i: burst(0.005), 0.005)),
        "sweep": (-18, np.sin(2 * np.pi * np.cumsum(600 + 500 * np.sin(2 * np.pi * time / 3)) / RATE)),
        "wind": (-25, colored(noise, 0.3) * (1.2 + np.sin(2 * np.pi * time / 7) * np.sin(2 * np.pi * time / 2.3))),
        "drums": (-22, events(0.25, lambda i: burst(0.25) * (1, 0.3, 0.6, 0.3)[i % 4], 0.25, regular=True)),
    }
    reported = {
        "faint noise": (-60, noise),
        "pink noise": (-25, colored(noise, 0.5)),
        "two tones": (-15, tones(350, 440)),
        "busy tone": (-18, tones(480, 620, on=0.5, off=0.5)),
        "melody": (-20, events(0.4, lambda i: sung(0.4), 0.4, regular=True)),
        "hum": (-28, sum(tones(50 * k) / k for k in (1, 2, 3, 5, 7)) + 0.02 * noise),
        "applause": (-24, events(1 / 30, lambda i: burst(0.02), 0.02)),
        "engine": (-24, lfilter([1.0], [1.0, -1.6, 0.8], tones(85) > 0.99) + 0.1 * noise),
        "birds": (
            -28,
            events(
                0.5, lambda i: np.sin(2 * np.pi * (3000 + 12000 * chirp * (i % 3 - 1)) * chirp) * np.hanning(1920), 0.12
            ),
        ),
        "dialing": (
            -20,
            events(
                0.4,
                lambda i: (
                    np.sin(2 * np.pi * rows[i % 4] * time[:3200]) + np.sin(2 * np.pi * columns[i % 3] * time[:3200])
                ),
                0.2,
                regular=True,
            ),
        ),
    }
    both = {name: one for pair in zip(chosen.items(), reported.items(), strict=True) for name, one in pair}
    return {name: at_level(samples, level) for name, (level, samples) in both.items()}


def colored(noise: np.ndarray, slope: float) -> np.ndarray:
    """Noise (t,) whose spectrum falls with this power of the frequency."""
    spectrum = np.fft.rfft(noise)
    spectrum[1:] /= np.arange(1, len(spectrum)) ** slope
    spectrum[0] = 0
    return np.fft.irfft(spectrum, len(noise))


def at_level(samples: np.ndarray, decibels: float) -> Sound:
    """The samples (t,) with this root mean square, 0 dB being full scale, and no louder than that anywhere."""
    size = np.sqrt(np.mean(samples**2))
    return np.clip(samples * 10 ** (decibels / 20) / max(size, 1e-12), -1, 1).astype(np.float32)


def quiet(samples: Sound) -> Sound:
    """Speech at -40 dB, in 16 bits."""
    return (np.round(samples * 10 ** (-40 / 20) * 32768) / 32768).astype(np.float32)


def distant(samples: Sound, *, seed: int = 0) -> Sound:
    """Speech across a room: an echo that takes 0.6 s to fade by 60 dB, and noise 10 dB below."""
    draw = np.random.default_rng(seed)
    count = round(0.8 * RATE)
    room = draw.normal(size=count) * 10 ** (-3 * np.arange(count) / RATE / 0.6)
    room[0] = 0.02 * np.abs(room).sum()
    heard = fftconvolve(samples, room / np.sqrt((room**2).sum()))[: len(samples)]
    level = np.sqrt(np.mean(heard**2))
    return (0.3 * (heard + 10 ** (-10 / 20) * level * draw.normal(size=len(heard)))).astype(np.float32)


def whispered(samples: Sound, *, seed: int = 0) -> Sound:
    """Speech without a voice: noise through the filter of each 30 ms (linear prediction of order 18)."""
    draw, size, order = np.random.default_rng(seed), 480, 18
    shape, found = np.hanning(size), np.zeros(len(samples) + size)
    for first in range(0, len(samples) - size, size // 2):
        frame = samples[first : first + size] * shape
        lags = np.correlate(frame, frame, "full")[size - 1 : size + order]
        if lags[0] < 1e-8:
            continue
        lags[0] *= 1.0001
        weights = solve_toeplitz(lags[:-1], lags[1:])
        power = max(lags[0] - weights @ lags[1:], 1e-12) / (shape**2).sum()
        piece = lfilter([1.0], np.r_[1.0, -weights], draw.normal(size=size) * np.sqrt(power))
        found[first : first + size] += piece * shape
    level = 20 * np.log10(np.sqrt(np.mean(samples**2)) + 1e-12)
    return at_level(found[: len(samples)], level - 6)
