"""Recordings of the tests: tones of known times with silence between them, words for them, and maps that follow."""

from dataclasses import dataclass

import numpy as np

from multiattn.maps.attention_map import AttentionMap, Axis

RATE = 16_000
STEP = 0.02  # seconds of one column of a map


@dataclass(frozen=True)
class Said:
    """A word with its times."""

    text: str
    start: float
    end: float
    score: float = 0.75

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", float(self.start))
        object.__setattr__(self, "end", float(self.end))


@dataclass(frozen=True)
class Part:
    """A segment with its words."""

    start: float
    end: float
    text: str
    words: tuple[Said, ...] = ()
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", float(self.start))
        object.__setattr__(self, "end", float(self.end))


WORDS = (Said(" three", 0.30, 0.70), Said(" one", 0.95, 1.25), Said(" four,", 1.50, 2.10), Said(" one", 2.40, 2.70))
SEGMENTS = (
    Part(0.30, 1.25, " three one", WORDS[:2]),
    Part(1.50, 2.70, " four, one", WORDS[2:], flags=("stalled",)),
)
DURATION = 3.1


def tones(words: tuple[Said, ...] = WORDS, duration: float = DURATION, rate: int = RATE) -> np.ndarray:
    """A rising tone while a word is spoken, next to nothing between words."""
    time = np.arange(round(duration * rate)) / rate
    samples = 1e-3 * np.random.default_rng(5).standard_normal(len(time))
    for i, word in enumerate(words):
        inside = (time >= word.start) & (time < word.end)
        pitch = 300 + 150 * i + 400 * (time[inside] - word.start)  # Hz
        samples[inside] += 0.5 * np.sin(2 * np.pi * pitch * (time[inside] - word.start))
    return samples.astype(np.float32)


def word_values(words: tuple[Said, ...] = WORDS, duration: float = DURATION, start: float = 0.0) -> np.ndarray:
    """Weights of each word over time, highest at its middle; each row sums to 1."""
    time = start + STEP * (np.arange(round((duration - start) / STEP)) + 0.5)
    middles, widths = (
        np.array([f(w) for w in words]) for f in (lambda w: (w.start + w.end) / 2, lambda w: w.end - w.start)
    )
    weights = np.exp(-(((time - middles[:, None]) / (0.5 * widths[:, None])) ** 2)) + 1e-3
    return weights / weights.sum(axis=1, keepdims=True)


def time_map(values: np.ndarray, labels: tuple[str, ...], *, start: float = 0.0, **fields: object) -> AttentionMap:
    """Axes (word, time), or (layer, head, word, time)."""
    axes = (Axis("word", "word", labels=labels), Axis("time", "second", start=start, step=STEP))
    if values.ndim == 4:
        axes = (Axis("layer", "index"), Axis("head", "index"), *axes)
    facts: dict = {
        "method": "attention",
        "sites": ("decoder.blocks.2.cross", "decoder.blocks.3.cross"),
        "heads": None,
        "target": "".join(labels).strip(),
        "note": "The share of the decoder's look, while it wrote the word, that went to each moment.",
    }
    return AttentionMap(values=values.astype(np.float32), axes=axes, geometry=None, **{**facts, **fields})


LABELS = tuple(word.text for word in WORDS)
