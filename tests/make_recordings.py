"""Make the sample recordings in `assets/inputs/`: digits that a synthesizer speaks, joined with pauses, and a sentence.

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


@dataclass(frozen=True)
class Sentence:
    """A recording of a sentence, for a model that knows English: at 16 kHz, and soft, so that its file is small."""

    voice: str
    speed: int
    text: str

    rate: int = 16_000
    level: float = 0.12
    noise: float = 1e-4
    margin: float = 0.25
    """Seconds before and after it."""


SENTENCES = {"sentence": Sentence("en-us", 150, "My sister bought three red apples and a loaf of bread.")}

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


def make_sentence(sentence: Sentence) -> np.ndarray:
    """The samples of a sentence, at its rate."""
    spoken = say(sentence.text, voice=sentence.voice, speed=sentence.speed, rate=sentence.rate, level=sentence.level)
    margin = np.zeros(int(sentence.margin * sentence.rate))
    samples = np.concatenate([margin, spoken, margin])
    return samples + np.random.default_rng(0).normal(scale=sentence.noise, size=len(samples))


def say(text: str, *, voice: str, speed: int, rate: int = RATE, level: float = _LEVEL) -> np.ndarray:
    """A word or a sentence at `rate`, its silent ends cut off."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    done = subprocess.run(command, check=True, capture_output=True)
    samples, theirs = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    samples = torchaudio.functional.resample(torch.from_numpy(samples), theirs, rate).numpy()
    samples = samples / np.abs(samples).max()
    heard = np.flatnonzero(np.abs(samples) > _QUIET)
    return level * samples[heard[0] : heard[-1] + 1]


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
    for name, sentence in (SENTENCES if recipes is SHIPPED else {}).items():
        soundfile.write(folder / f"{name}.flac", make_sentence(sentence), sentence.rate, subtype="PCM_16")
        print(f"{name}.flac", sentence.text)


if __name__ == "__main__":
    main()
