"""Make the sample recordings in `assets/inputs/`: digits spoken by a synthesizer, joined with pauses by us.

Our own work, so that they can be shipped and played anywhere. Needs espeak-ng (Debian's package of that name); the same
recordings come out every time with the same version of it. Run from the root of the checkout:

    python -m tests.make_recordings [FOLDER]          the recordings that ship
    python -m tests.make_recordings --all FOLDER      every voice that was tried, to choose from
"""

import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
import torchaudio.functional

RATE = 8000  # Hz, a telephone's: what the shipped model's own data has
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_QUIET = 0.01  # of the loudest sample: what is softer at a word's two ends is not part of it
_NOISE = 1e-3  # level of the room, so that pauses are not digital silence
_LEVEL = 0.4  # of full scale, the loudest sample of a word


class Spoken(NamedTuple):
    """A word and where it lies, in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Recipe:
    """A recording: who says what, how fast, with which pauses."""

    voice: str
    """As espeak-ng calls it, e.g. `en-us+f2`."""

    speed: int
    """Words a minute."""

    digits: tuple[int, ...]
    seed: int = 0
    """Of the pauses (0.15 to 0.5 s) and the room's noise."""


SHIPPED = {
    "digits": Recipe("en-us", 150, (3, 1, 4, 1, 5, 9, 2, 6), seed=3),
    "telephone": Recipe("en-us+f2", 150, (2, 7, 1, 8, 0, 5), seed=5),
}

VOICES = (
    "en-us",
    "en-gb",
    "en-gb-scotland",
    "en-us+m3",
    "en-us+m7",
    "en-us+f2",
    "en-us+f4",
    "en-us+klatt",
    "en-us+Andy",
)


def make(recipe: Recipe) -> tuple[np.ndarray, list[Spoken]]:
    """The samples at `RATE`, and the words with their true boundaries."""
    random = np.random.default_rng(recipe.seed)
    parts, words, length = [], [], 0
    for i, digit in enumerate(recipe.digits):
        pause = np.zeros(int((0.3 if i == 0 else random.uniform(0.15, 0.5)) * RATE))
        spoken = say(WORDS[digit], voice=recipe.voice, speed=recipe.speed)
        start = length + len(pause)
        length = start + len(spoken)
        parts += [pause, spoken]
        words.append(Spoken(WORDS[digit], start / RATE, length / RATE))
    samples = np.concatenate([*parts, np.zeros(int(0.3 * RATE))])
    return samples + random.normal(scale=_NOISE, size=len(samples)), words


def say(text: str, *, voice: str, speed: int) -> np.ndarray:
    """One word at `RATE`, its silent ends cut off."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    done = subprocess.run(command, check=True, capture_output=True)
    samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    samples = torchaudio.functional.resample(torch.from_numpy(samples), rate, RATE).numpy()
    samples = samples / np.abs(samples).max()
    heard = np.flatnonzero(np.abs(samples) > _QUIET)
    return _LEVEL * samples[heard[0] : heard[-1] + 1]


def main() -> None:
    """Writes them, and says where each word lies."""
    arguments = sys.argv[1:]
    recipes = SHIPPED
    if arguments[:1] == ["--all"]:
        arguments = arguments[1:]
        recipes = {
            f"{name}-{voice}-{speed}": Recipe(voice, speed, recipe.digits, recipe.seed)
            for name, recipe in SHIPPED.items()
            for voice in VOICES
            for speed in (120, 150)
        }
    folder = Path(arguments[0] if arguments else "assets/inputs")
    folder.mkdir(parents=True, exist_ok=True)
    for name, recipe in recipes.items():
        samples, words = make(recipe)
        soundfile.write(folder / f"{name}.flac", samples, RATE, subtype="PCM_16")
        print(f"{name}.flac", *(f"{word.text} {word.start:.2f}-{word.end:.2f}" for word in words))


if __name__ == "__main__":
    main()
