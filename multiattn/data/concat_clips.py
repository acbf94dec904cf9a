"""Strings: recordings that are joined from short clips, with the true start and end of each clip.

The clips, pauses and levels of a string depend on numbers alone (`ConcatClips.plan`): so the strings of a split can be
listed without reading a file, and are the same on every machine. t = samples.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ..checks import require, require_each
from ..errors import InputError
from ..inputs import load_audio
from .noise import at_level, colored, with_noise
from .recordings import SpeechRecords

FIXED_SEED = 20_260
"""The seed of the strings for validation and tests, which are the same in every training."""

FIXED_STRINGS = 400
"""The number of strings for validation and tests."""

_FADE = 0.005  # seconds at each end of a clip: without a fade, the step from its noise to the pause is a click


class ConcatWord(NamedTuple):
    """The words of a clip in a string, with start and end in seconds."""

    text: str
    start: float
    end: float


class ConcatRecording(NamedTuple):
    """A string: clips with pauses between them."""

    samples: Float32[Tensor, " t"]
    words: tuple[ConcatWord, ...]
    """One entry for each clip, in order; a clip may have several words, or none."""

    @property
    def text(self) -> str:
        """The transcript."""
        return " ".join(word.text for word in self.words if word.text)


class Plan(NamedTuple):
    """The parts of a string."""

    clips: tuple[int, ...]
    """The indices of the clips in the records."""

    pauses: tuple[float, ...]
    """Seconds before, between and after them."""

    levels: tuple[float, ...]
    """Gain of each clip in decibels."""

    noise: str | None
    """`white` or `pink`; None for a clip as it is, to which nothing is added and which is not faded."""

    snr_db: float
    """Ratio of the string's mean power to the noise's, in decibels."""

    noise_seed: int

    gain_db: float
    """Gain of the whole string in decibels."""


@dataclass(frozen=True)
class ConcatClips:
    """How clips are joined. Every value can be set in the YAML under `data.init_args.join`."""

    clips: tuple[int, int] = (1, 8)
    """Smallest and largest number of clips of a string; all numbers are equally frequent."""

    pause_s: tuple[float, float] = (0.05, 0.6)
    """Shortest and longest pause in seconds: between two clips, before the first and after the last."""

    level_db: tuple[float, float] = (-3.0, 3.0)
    """Lowest and highest gain of a clip in decibels."""

    noise_db: tuple[float, float] = (10.0, 40.0)
    """Lowest and highest ratio, in decibels, of the string's mean power to that of the noise (white or pink), which is
    also in the pauses."""

    gain_db: tuple[float, float] = (-15.0, 0.0)
    """Lowest and highest gain of the whole string in decibels."""

    bare_share: float = 0.0
    """Share of the strings that are one clip as it is, with its edges, its level and its own noise alone: nothing is
    faded in or out, and of the other options only `gain_db` and `bare_pause_s` apply."""

    bare_pause_s: float = 0.0
    """The longest digital silence in seconds before and after such a clip; half of them begin, and half end, without
    any."""

    strings: int | None = None
    """Training strings an epoch; None for a number that uses each clip about once."""

    growing_epochs: int = 0
    """Epochs until the strings have their full lengths: they begin short, from which a decoder learns sooner where to
    attend."""

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
        share, longest = self.bare_share, self.bare_pause_s
        require(0 <= share <= 1, "bare_share", must="from 0 to 1", value=share, error=InputError)
        require(0 <= longest < 60, "bare_pause_s", must="seconds from 0 on", value=longest, error=InputError)
        require_each({"growing_epochs": self.growing_epochs}, error=InputError)
        require_each({"strings": self.strings}, least=1, error=InputError)

    def is_bare(self, index: int) -> bool:
        """Whether string `index` is one clip as it is. Such strings are spread evenly; the others keep all counts."""
        turn = index // (self.clips[1] - self.clips[0] + 1)
        return int((turn + 1) * self.bare_share) > int(turn * self.bare_share)

    def count(self, index: int, *, epoch: int | None = None) -> int:
        """The number of clips of string `index`: in an epoch of the training, or finally (None)."""
        if self.is_bare(index):
            return 1
        low, high = self.clips
        full = low + index % (high - low + 1)
        if epoch is None or epoch >= self.growing_epochs:
            return full
        # at least one clip more than in the shortest string: a single clip teaches nothing about where to attend
        return min(full, low + max(1, round((high - low) * epoch / self.growing_epochs)))

    def plan_at(self, index: int, speakers: Sequence[str], key: Sequence[int], *, epoch: int | None = None) -> Plan:
        """Draw the parts of string `index`, bare or with as many clips as it has in that epoch; see `plan`."""
        if self.is_bare(index):
            return self.bare_plan(speakers, key)
        return self.plan(speakers, key, count=self.count(index, epoch=epoch))

    def bare_plan(self, speakers: Sequence[str], key: Sequence[int]) -> Plan:
        """Draw one clip as it is, by the same arguments as `plan`."""
        rng = np.random.default_rng(tuple(key))
        longest = self.bare_pause_s
        return Plan(
            (int(rng.integers(len(speakers))),),
            tuple(max(0.0, float(pause)) for pause in rng.uniform(-longest, longest, 2)),
            (0.0,),
            None,
            math.inf,
            0,
            float(rng.uniform(*self.gain_db)),
        )

    def plan(self, speakers: Sequence[str], key: Sequence[int], *, count: int) -> Plan:
        """Draw the parts of a string.

        Args:
            speakers: The speaker of each clip. All clips of a string are of one speaker, drawn in proportion to the
                number of clips; clips of unknown speakers count as of one.
            key: Numbers that decide about the draw, such as the seed and the index of the string.
            count: The number of clips.
        """
        rng = np.random.default_rng(tuple(key))
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
        plan: Its parts.
        texts: The transcript of each clip of the split.
        read: Reads the clip at an index.
        rate: Sample rate of the clips in Hz.
    """
    parts, words, at = [], [], 0
    for clip, pause, level in zip(plan.clips, plan.pauses, plan.levels, strict=False):
        gap = round(pause * rate)
        samples = at_level(read(clip), level)
        if plan.noise is not None:
            samples = _faded(samples, round(_FADE * rate))
        words.append(ConcatWord(texts[clip], (at + gap) / rate, (at + gap + len(samples)) / rate))
        parts += [torch.zeros(gap), samples]
        at += gap + len(samples)
    parts.append(torch.zeros(round(plan.pauses[-1] * rate)))
    whole = torch.cat(parts)
    if plan.noise is None:
        return ConcatRecording(at_level(whole, plan.gain_db), tuple(words))
    noise = colored(len(whole), np.random.default_rng(plan.noise_seed), kind=plan.noise)
    return ConcatRecording(at_level(with_noise(whole, noise, snr_db=plan.snr_db), plan.gain_db), tuple(words))


def fixed_plans(
    records: SpeechRecords, how: ConcatClips | None = None, *, count: int = FIXED_STRINGS
) -> tuple[Plan, ...]:
    """The plans of a split's strings for validation, tests and measurements: always the same."""
    how = how or ConcatClips()
    return tuple(how.plan_at(index, records.speakers, (FIXED_SEED, index)) for index in range(count))


def fixed_strings(
    records: SpeechRecords, how: ConcatClips | None = None, *, rate: int = 16_000, count: int = FIXED_STRINGS
) -> Iterator[ConcatRecording]:
    """Make the strings of `fixed_plans`.

    Args:
        records: The clips.
        how: How they are joined.
        rate: Sample rate in Hz.
        count: The number of strings.

    Raises:
        InputError: A clip cannot be read.
    """
    texts = [text for _, text in records.items]

    @cache
    def read(clip: int) -> Tensor:
        return load_audio(records.items[clip][0], rate=rate)

    for plan in fixed_plans(records, how, count=count):
        yield join(plan, texts, read, rate=rate)


@lru_cache(maxsize=4)
def _clips_of(speakers: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The indices of each speaker's clips; cached, for all strings of a split need them."""
    found: dict[str, list[int]] = {}
    for index, speaker in enumerate(speakers):
        found.setdefault(speaker, []).append(index)
    return {speaker: np.array(indices) for speaker, indices in found.items()}


def concat_text(plan: Plan, texts: Sequence[str]) -> str:
    """The transcript of a string."""
    return " ".join(texts[clip] for clip in plan.clips if texts[clip])


def _faded(samples: Float32[Tensor, " c"], count: int) -> Float32[Tensor, " c"]:
    """Fade a clip in and out over `count` samples."""
    count = min(count, len(samples) // 2)
    if count == 0:
        return samples
    ramp = torch.linspace(0.0, 1.0, count + 1)[:-1]
    samples = samples.clone()
    samples[:count] *= ramp
    samples[-count:] *= ramp.flip(0)
    return samples
