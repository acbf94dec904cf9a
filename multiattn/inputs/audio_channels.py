"""The channels of a recording: one of them, each by itself, or their mean; and where the mean would lose speech.

Notation: s source samples, c channels, n frames of 100 ms.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from ..checks import require
from ..errors import InputError
from .channel_names import SIDES, WORDS
from .sound import Sound

_CANCELLED = 0.2
"""Share of the power of uncorrelated channels' mean, below which channels cancel each other: 7 dB less than those."""

_FRAMES = 10  # frames a second
_AUDIBLE = 1e-6  # mean square of a frame that counts: -60 dB
_ALIKE = 0.3  # correlation of the samples above which two channels have the same sound, or its opposite
_TOGETHER = 0.7  # correlation of the levels above which two channels rise and fall together
_FAINT = 0.01  # share of the loudest channel's power below which a channel has no voice of its own
_AS_LOUD = 0.99  # share of the loudest channel's power that is as loud
_MOST = 8  # channels that are compared in pairs


class Voice(NamedTuple):
    """A part of a recording that is transcribed by itself."""

    channel: str | None
    """What its segments say: left, right or a number from 1; None where there is one part only."""

    recording: Any
    """Of the class of the whole recording: its samples are tensors or arrays as those are."""


@dataclass(frozen=True)
class Chosen:
    """What of a recording is transcribed."""

    voices: tuple[Voice, ...]
    remark: str | None = None
    """What must be said about it, to follow the recording's name; None for most."""


def check_channel(channel: str | int) -> str | int:
    """Return a channel that may be asked for, numbers as such.

    Raises:
        ModelError: There is no such channel.
    """
    number = int(channel) if isinstance(channel, str) and channel.isascii() and channel.isdecimal() else channel
    is_right = number in WORDS if isinstance(number, str) else type(number) is int and number >= 1
    require(is_right, "channel", must=f"{', '.join(WORDS)}, or a number from 1", value=channel)
    return number


def choose_channels(recording: Sound[Any], channel: str | int) -> Chosen:
    """Choose what of a recording is transcribed.

    Args:
        recording: The recording; what is chosen reads from it, and is closed with it.
        channel: As `check_channel` returns it. "auto": the mean, or where the channels cancel each other in it the
            loudest of them. For that, and for "mix", a recording with several is read once to compare them.

    Raises:
        InputError: The recording has no such channel, or is damaged and was opened strictly.
    """
    count = recording.channels
    if channel == "each":
        return Chosen(tuple(Voice(name_of(i, count), recording.channel(i)) for i in range(count)))
    if channel in ("auto", "mix"):
        if count == 1:
            return Chosen((Voice(None, recording),))
        return _mixed(recording, compare_channels(recording), keep=channel == "mix")
    index = SIDES.index(channel) if isinstance(channel, str) else channel - 1
    if index >= count or count == 1 and channel in SIDES:
        has = f"{count} channels" if count > 1 else "one channel only"
        raise InputError(f"{recording.name} must have the channel {channel}, but has {has} instead: choose another.")
    return Chosen((Voice(None, recording.channel(index)),))


def name_of(index: int, count: int) -> str | None:
    """Return what a channel is called, by its index from 0 and the number of channels; None for the only one."""
    return None if count == 1 else SIDES[index] if count == 2 else str(index + 1)


class Comparison(NamedTuple):
    """How the channels of a recording go together."""

    loudest: int
    """Index of the channel with most power."""

    cancel: bool
    """Whether little of them is left in their mean."""

    differ: bool
    """Whether two of them have voices of their own."""


def compare_channels(recording: Sound[Any]) -> Comparison:
    """Read a recording to its end and compare its channels.

    Channels differ where two of them are about as loud, their samples are hardly correlated, and neither are their
    levels: two microphones in one room hear the same voices rise and fall.

    Raises:
        InputError: The recording is damaged and was opened strictly.
    """
    products: Float64[np.ndarray, "c c"] | None = None
    levels, mean = [], 0.0
    for piece in recording.pieces(frames=_FRAMES):
        sound = piece.astype(np.float64)
        own = sound.T @ sound
        products = own if products is None else products + own
        mean += float((sound.mean(axis=1) ** 2).sum())
        if sound.shape[1] <= _MOST:
            size = recording.source_rate // _FRAMES
            whole = sound[: len(sound) // size * size].reshape(-1, size, sound.shape[1])
            levels.append((whole**2).mean(axis=1).astype(np.float32))  # [n, c]
    if products is None:
        return Comparison(0, cancel=False, differ=False)
    power = products.diagonal()
    loudest = int((power >= _AS_LOUD * power.max()).argmax())  # the first of those that differ by rounding only
    count = len(power)
    cancel = bool(power[loudest] > 0 and mean < _CANCELLED * power.mean() / count)
    differ = bool(levels) and not cancel and _differ(products, np.concatenate(levels))
    return Comparison(loudest, cancel=cancel, differ=differ)


def _differ(products: Float64[np.ndarray, "c c"], levels: np.ndarray) -> bool:
    """Tell whether two channels have voices of their own, from their products and the levels [n, c] of the frames."""
    power = products.diagonal()
    heard = levels[levels.max(axis=1) > _AUDIBLE]
    if len(heard) < _FRAMES:  # less than a second
        return False
    decibels = 10 * np.log10(np.maximum(heard, _AUDIBLE))
    loud = [i for i in range(len(power)) if power[i] > _FAINT * power.max()]
    for at, one in enumerate(loud):
        for other in loud[at + 1 :]:
            alike = abs(products[one, other]) / math.sqrt(power[one] * power[other])
            if alike < _ALIKE and _correlation(decibels[:, one], decibels[:, other]) < _TOGETHER:
                return True
    return False


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = math.sqrt(float((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / size if size > 0 else 1.0


def _mixed(recording: Sound[Any], found: Comparison, *, keep: bool) -> Chosen:
    """Return the mean, or where the channels cancel each other, and the mean must not be kept, a channel."""
    if found.cancel:
        name, what = name_of(found.loudest, recording.channels), "has channels that cancel each other in their mean"
        if keep:
            return Chosen((Voice(None, recording),), f"{what}, which is transcribed: channel {name} has more of them")
        return Chosen((Voice(None, recording.channel(found.loudest)),), f"{what}: channel {name} alone is transcribed")
    said = "has another voice in each channel, and their mean is transcribed: channel `each` keeps them apart"
    return Chosen((Voice(None, recording),), said if found.differ else None)
