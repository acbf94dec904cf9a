"""What is asked of the decoding of speech, and what comes of it: of a window, and of a recording.

Times are seconds.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from ...alignment.teacher_forcing import Listening
from ...errors import ModelError
from ...generation import GenerationConfig

FLAGS = ("stalled", "backwards", "repeats", "silence")
"""What may be wrong with a text. stalled, backwards: its attention stood still, or ran back in time; repeats: it says
the same over and over; silence: it was written where the recording is silent."""


@dataclass(frozen=True)
class SpeechOptions:
    """How speech is decoded. A window whose text fails a limit is decoded again at the next temperature.

    Source: openai-whisper, transcribe.py, whose defaults these are.
    """

    decoding: GenerationConfig = field(default_factory=lambda: GenerationConfig(max_tokens=224))
    """The search at temperature 0. Of the others, what is suppressed and how long a text may be."""

    language: str | None = None
    """Code of the language that is spoken; None: found by the model, where it knows several."""

    task: str = "transcribe"
    """`transcribe`, or `translate` to English."""

    timestamps: bool = False
    """Whether the model writes times, by which segments are cut; for models with timestamp tokens."""

    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """One after the other, until a text holds; 0 is a search, those above are sampled at."""

    best_of: int = 5
    """Texts that are sampled at a temperature above 0, of which the likeliest is taken."""

    compression_ratio_threshold: float | None = 2.4
    """A text that zlib makes more than so many times shorter repeats itself, and fails, if it is not so short that it
    may; None: none does."""

    log_prob_threshold: float | None = -1.0
    """A text fails whose tokens are less likely on average (natural logarithm); None: none does."""

    no_speech_threshold: float | None = 0.6
    """Above this probability, a window whose text fails `log_prob_threshold` holds no speech; None: all do."""

    condition_on_previous: bool = True
    """Whether each window is told the text before it."""

    initial_prompt: str | None = None
    """Text that the first window is told, such as names and how they are spelt."""

    max_initial_time: float | None = 1.0
    """The latest time that a window's text may begin with, in seconds from its start; None: any."""

    ctc_weight: float = 0.0
    """Share of the CTC head in the score of a text, 0 to 1; above 0 for models with such a head."""

    def __post_init__(self) -> None:
        """Check that speech can be decoded so.

        Raises:
            ModelError: It cannot; the message names the option.
        """
        if isinstance(self.temperatures, list):  # JSON and YAML have lists
            object.__setattr__(self, "temperatures", tuple(self.temperatures))
        if not isinstance(self.temperatures, tuple) or not self.temperatures:
            raise _refused("temperatures", "at least one number of at least 0", self.temperatures)
        for value in self.temperatures:
            if not _is_number(value) or not 0 <= value < math.inf:
                raise _refused("temperatures", "at least one number of at least 0", self.temperatures)
        for name, least, most in (
            ("compression_ratio_threshold", 0.0, math.inf),
            ("log_prob_threshold", -math.inf, 0.0),
            ("no_speech_threshold", 0.0, 1.0),
            ("max_initial_time", 0.0, math.inf),
        ):
            value = getattr(self, name)
            if value is not None and (not _is_number(value) or not least <= value <= most):
                raise _refused(name, f"a number from {least:g} to {most:g}, or None", value)
        if not _is_number(self.ctc_weight) or not 0 <= self.ctc_weight <= 1:
            raise _refused("ctc_weight", "a number from 0 to 1", self.ctc_weight)
        if type(self.best_of) is not int or self.best_of < 1:
            raise _refused("best_of", "a whole number of at least 1", self.best_of)
        for name in ("timestamps", "condition_on_previous"):
            if type(getattr(self, name)) is not bool:
                raise _refused(name, "True or False", getattr(self, name))


@dataclass(frozen=True)
class WindowResult:
    """The text of one window."""

    tokens: tuple[int, ...]
    """The new ones, timestamps among them; no prompt, and no end token."""

    log_probs: tuple[float, ...]
    """What the model itself gives each of them, natural logarithm; the end token's is the last, where there is one."""

    text: str
    """Without timestamps, and without spaces at its ends."""

    avg_log_prob: float
    """The mean log-probability of the tokens, end token included, among those that the rules allowed."""

    compression_ratio: float
    """How many times shorter zlib makes the text."""

    no_speech_prob: float | None
    """How likely the model holds it that nobody speaks; None for a model without a token for that."""

    temperature: float
    """At which it was found; 0: searched for."""

    hottest: float
    """The highest temperature that was tried; above `temperature` where none gave a text that holds, and this is the
    best of them."""

    language: str | None
    """Code of the language; None for a model of one language."""

    flags: tuple[str, ...] = ()
    """Of `FLAGS`, what is wrong with it."""

    heard: Listening | None = field(default=None, repr=False, compare=False)
    """Where the alignment heads looked while its text was read again, times left out; None where it was not."""


@dataclass(frozen=True)
class Segment:
    """A piece of a transcript: a sentence or so."""

    start: float
    """Seconds from the recording's start."""

    end: float
    text: str
    """As it is decoded: with the space before it, where the vocabulary has one. Joined, segments are the transcript."""

    tokens: tuple[int, ...]
    """Timestamps among them, where the model wrote times."""

    log_probs: tuple[float, ...]
    """What the model itself gives each of the tokens, natural logarithm."""

    avg_log_prob: float
    """Of the window that the segment is of, as are the four that follow."""

    compression_ratio: float
    no_speech_prob: float | None
    temperature: float
    flags: tuple[str, ...] = ()
    words: tuple[Any, ...] = ()
    """Of each word its text, start, end and score, where they were asked for."""


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and not math.isnan(value)  # type: ignore[arg-type]


def _refused(name: str, rule: str, value: object) -> ModelError:
    return ModelError(f"`{name}` must be {rule}, but is {value!r} instead")
