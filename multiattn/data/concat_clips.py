"""Short clips joined to longer recordings, of which it is known where each clip lies.

Which clips, pauses and levels make up a string is a function of numbers alone (`ConcatClips.plan`), so that a split's
strings can be listed without reading a file, and are the same wherever they are made. t = samples.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ..checks import require
from ..errors import InputError
from ..inputs import load_audio
from .noise import at_level, colored, with_noise
from .recordings import SpeechRecords

FIXED_SEED = 20_260
"""Of the strings for validation and tests, which are the same in every training."""

FIXED_STRINGS = 400
"""How many of them there are."""

_FADE = 0.005  # seconds at each end of a clip: a jump from its noise to the pause would be a click


class ConcatWord(NamedTuple):
    """A clip's words in the recording that it is part of."""

    text: str
    start: float
    """In seconds."""

    end: float
    """In seconds."""


class ConcatRecording(NamedTuple):
    """Clips with pauses between them."""

    samples: Float32[Tensor, " t"]
    words: tuple[ConcatWord, ...]
    """One for each clip, which may have several words; in order."""

    @property
    def text(self) -> str:
        """What is said."""
        return " ".join(word.text for word in self.words if word.text)


class Plan(NamedTuple):
    """What a string is made of."""

    clips: tuple[int, ...]
    """Places in the records."""

    pauses: tuple[float, ...]
    """Seconds before, between and after them."""

    levels: tuple[float, ...]
    """Decibels by which each clip is made louder."""

    noise: str
    """`white` or `pink`."""

    snr_db: float
    """How far the string's mean power lies above the noise's."""

    noise_seed: int

    gain_db: float
    """Decibels by which all of it is made louder."""


@dataclass(frozen=True)
class ConcatClips:
    """How clips are joined. Every value can be set in the YAML under `data.init_args.join`."""

    clips: tuple[int, int] = (1, 8)
    """Clips a string, from and to. Strings of all these lengths are equally many."""

    pause_s: tuple[float, float] = (0.05, 0.6)
    """Seconds between two clips, and before the first and after the last, from and to."""

    level_db: tuple[float, float] = (-3.0, 3.0)
    """Decibels by which a clip is made louder, from and to."""

    noise_db: tuple[float, float] = (10.0, 40.0)
    """How far the string's mean power lies above that of white or pink noise, which is in the pauses, too."""

    gain_db: tuple[float, float] = (-15.0, 0.0)
    """Decibels by which the whole string is made louder, from and to."""

    strings: int | None = None
    """Training strings an epoch; None for as many as bring each clip about once."""

    growing_epochs: int = 0
    """So many epochs a training takes until the strings have their full lengths: the first has the shortest, and a
    decoder finds out sooner where to look in them."""

    def __post_init__(self) -> None:
        """Raise InputError where a value is out of range."""
        require(
            1 <= self.clips[0] <= self.clips[1],
            "clips",
            must="two rising numbers from 1 on",
            value=self.clips,
            error=InputError,
        )
        low, high = self.pause_s
        require(0 <= low <= high < 60, "pause_s", must="two rising seconds", value=self.pause_s, error=InputError)
        for name in ("level_db", "noise_db", "gain_db"):
            low, high = getattr(self, name)
            require(low <= high, name, must="two rising numbers", value=(low, high), error=InputError)
        good = self.growing_epochs >= 0
        require(good, "growing_epochs", must="at least 0", value=self.growing_epochs, error=InputError)
        good = self.strings is None or self.strings >= 1
        require(good, "strings", must="at least 1", value=self.strings, error=InputError)

    def count(self, index: int, *, epoch: int | None = None) -> int:
        """Clips of the string at a place: in an epoch of the training, or in full (None)."""
        low, high = self.clips
        full = low + index % (high - low + 1)
        if epoch is None or epoch >= self.growing_epochs:
            return full
        # from 0, and one more than the shortest at least: a string of one clip has nowhere else to look
        return min(full, low + max(1, round((high - low) * epoch / self.growing_epochs)))

    def plan(self, speakers: Sequence[str], place: Sequence[int], *, count: int) -> Plan:
        """What a string is made of.

        Args:
            speakers: Of each clip. One of them speaks all the string, drawn by the clips they have; where it is not
                known who speaks, all do.
            place: Numbers that the choice depends on, such as the seed and the place in the split.
            count: Clips.
        """
        rng = np.random.default_rng(tuple(place))
        speaker = speakers[int(rng.integers(len(speakers)))]
        own = _clips_of(tuple(speakers))[speaker]
        return Plan(
            tuple(int(clip) for clip in rng.choice(own, count)),
            tuple(float(pause) for pause in rng.uniform(*self.pause_s, count + 1)),
            tuple(float(level) for level in rng.uniform(*self.level_db, count)),
            ("white", "pink")[rng.integers(2)],
            float(rng.uniform(*self.noise_db)),
            int(rng.integers(1 << 32)),
            float(rng.uniform(*self.gain_db)),
        )


def join(
    plan: Plan, texts: Sequence[str], read: Callable[[int], Float32[Tensor, " c"]], *, rate: int
) -> ConcatRecording:
    """Make a string.

    Args:
        plan: What it is made of.
        texts: What each clip of the split says.
        read: Gives the clip at a place.
        rate: Samples a second (Hz) of the clips.
    """
    parts, words, at = [], [], 0
    for clip, pause, level in zip(plan.clips, plan.pauses, plan.levels, strict=False):
        gap = round(pause * rate)
        samples = _faded(at_level(read(clip), level), round(_FADE * rate))
        words.append(ConcatWord(texts[clip], (at + gap) / rate, (at + gap + len(samples)) / rate))
        parts += [torch.zeros(gap), samples]
        at += gap + len(samples)
    parts.append(torch.zeros(round(plan.pauses[-1] * rate)))
    whole = torch.cat(parts)
    noise = colored(len(whole), np.random.default_rng(plan.noise_seed), kind=plan.noise)
    return ConcatRecording(at_level(with_noise(whole, noise, snr_db=plan.snr_db), plan.gain_db), tuple(words))


def fixed_plans(
    records: SpeechRecords, how: ConcatClips | None = None, *, count: int = FIXED_STRINGS
) -> tuple[Plan, ...]:
    """The strings of a split that validation, tests and measurements use: the same ones each time."""
    how = how or ConcatClips()
    return tuple(how.plan(records.speakers, (FIXED_SEED, index), count=how.count(index)) for index in range(count))


def fixed_strings(
    records: SpeechRecords, how: ConcatClips | None = None, *, rate: int = 16_000, count: int = FIXED_STRINGS
) -> Iterator[ConcatRecording]:
    """The same, made: with their samples, and where each word truly is.

    Args:
        records: The clips, in the order of their list.
        how: How they are joined.
        rate: Samples a second (Hz).
        count: How many strings.

    Raises:
        InputError: A clip cannot be read.
    """
    kept: dict[int, Tensor] = {}
    texts = [text for _, text in records.items]

    def read(clip: int) -> Tensor:
        if clip not in kept:
            kept[clip] = load_audio(records.items[clip][0], rate=rate)
        return kept[clip]

    for plan in fixed_plans(records, how, count=count):
        yield join(plan, texts, read, rate=rate)


@lru_cache(maxsize=4)
def _clips_of(speakers: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The places of each speaker's clips; kept, for every string of a split asks."""
    found: dict[str, list[int]] = {}
    for place, speaker in enumerate(speakers):
        found.setdefault(speaker, []).append(place)
    return {speaker: np.array(places) for speaker, places in found.items()}


def concat_text(plan: Plan, texts: Sequence[str]) -> str:
    """What a string says."""
    return " ".join(texts[clip] for clip in plan.clips if texts[clip])


def _faded(samples: Float32[Tensor, " c"], count: int) -> Float32[Tensor, " c"]:
    """A clip that comes in and goes out over so many samples."""
    count = min(count, len(samples) // 2)
    if count == 0:
        return samples
    ramp = torch.linspace(0.0, 1.0, count + 1)[:-1]
    samples = samples.clone()
    samples[:count] *= ramp
    samples[-count:] *= ramp.flip(0)
    return samples
