"""Options of transcription: what the caller asks for, over what the model's directory says, over the defaults.

`TranscribeOptions` are the keyword arguments of the pipeline; `speech_options` turns them into `SpeechOptions`, which
the decoding functions of this package take.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict

from ...checks import fits, require
from ...errors import ModelError
from ...generation import GenerationConfig
from ...inputs import SpeechTokens
from ...inputs.language_names import language_code
from ...registry import task_spec
from ..options import check_options


@dataclass(frozen=True)
class SpeechOptions:
    """How speech is decoded. A window whose text fails a threshold is decoded again at the next temperature.

    Source: openai-whisper, transcribe.py, for the defaults.
    """

    decoding: GenerationConfig = field(default_factory=lambda: GenerationConfig(max_tokens=224))
    """The search at temperature 0. Sampling takes the suppressed tokens and the length limits from it."""

    language: str | None = None
    """Code of the spoken language; None: detected by the model, if it knows several."""

    task: str = "transcribe"
    """`transcribe`, or `translate` to English."""

    timestamps: bool = False
    """Whether the model writes times, at which segments are cut; for models with timestamp tokens."""

    clips: tuple[tuple[float, float], ...] | None = None
    """Start and end of each part to transcribe, in seconds and in order; None: the whole recording."""

    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Tried in order until a text passes the thresholds; 0 searches, higher ones sample."""

    best_of: int = 5
    """Texts sampled at a temperature above 0, of which the most probable is taken."""

    compression_ratio_threshold: float | None = 2.4
    """A text that zlib compresses by more than this factor repeats itself and fails, unless it is short; None: no
    text fails for that."""

    log_prob_threshold: float | None = -1.0
    """A text fails if the mean log-probability (natural) of its tokens is lower; None: no text fails for that."""

    no_speech_threshold: float | None = 0.6
    """A window that is silent with a higher probability, and whose text fails `log_prob_threshold`, has no text; None:
    every window has one."""

    condition_on_previous: bool = True
    """Whether the text before a window is part of its prompt."""

    initial_prompt: str | None = None
    """Text in the prompt of the first window, such as names and how they are spelled."""

    carry_prompt: bool = False
    """Whether the initial prompt is part of every window's prompt, before the text so far."""

    hotwords: str | None = None
    """Words to expect, which stand first in every window's prompt."""

    prefix: str | None = None
    """Text with which the first text of the recording begins."""

    max_initial_time: float | None = 1.0
    """The latest time with which a window's text may begin, in seconds from the window's start; None: any."""

    ctc_weight: float = 0.0
    """Share of the CTC head in the score of a text, 0 to 1; above 0 for models with such a head."""

    vad: bool = False
    """Whether a voice activity detector says where somebody speaks; else loudness does."""

    keep_flagged: bool = False
    """Whether texts that the model wrote where nobody speaks are kept, with their flags."""

    multilingual: bool = False
    """Whether the language is decided for every window."""

    language_threshold: float = 0.5
    """A language that is less probable is uncertain; a window's own, with `multilingual`, is then that of the
    recording."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ModelError: A value is out of range; the message names the option.
        """
        if isinstance(self.temperatures, list):  # JSON and YAML have lists
            object.__setattr__(self, "temperatures", tuple(self.temperatures))
        require(
            isinstance(self.temperatures, tuple)
            and len(self.temperatures) > 0
            and all(fits(value, float) and 0 <= value < math.inf for value in self.temperatures),
            "temperatures",
            must="at least one number of at least 0",
            value=self.temperatures,
        )
        for name, least, most in (
            ("compression_ratio_threshold", 0.0, math.inf),
            ("log_prob_threshold", -math.inf, 0.0),
            ("no_speech_threshold", 0.0, 1.0),
            ("max_initial_time", 0.0, math.inf),
        ):
            value = getattr(self, name)
            is_right = value is None or fits(value, float) and least <= value <= most
            require(is_right, name, must=f"a number from {least:g} to {most:g}, or None", value=value)
        is_share = fits(self.ctc_weight, float) and 0 <= self.ctc_weight <= 1
        require(is_share, "ctc_weight", must="a number from 0 to 1", value=self.ctc_weight)
        is_count = type(self.best_of) is int and self.best_of >= 1
        require(is_count, "best_of", must="a whole number of at least 1", value=self.best_of)
        is_share = fits(self.language_threshold, float) and 0 < self.language_threshold <= 1
        require(is_share, "language_threshold", must="a number above 0, up to 1", value=self.language_threshold)
        for name in ("timestamps", "condition_on_previous", "carry_prompt", "vad", "keep_flagged", "multilingual"):
            value = getattr(self, name)
            require(type(value) is bool, name, must="True or False", value=value)
        require(
            self.clips is None or _are_clips(self.clips),
            "clips",
            must="pairs of start and end in seconds, in order and without overlap",
            value=self.clips,
        )
        require(
            not self.carry_prompt or bool(self.initial_prompt),
            "carry_prompt",
            must="False without a prompt",
            value=True,
        )


THRESHOLDS = ("compression_ratio_threshold", "log_prob_threshold", "no_speech_threshold")
"""The options that "none" switches off."""

_COUNTS = ("best_of",)
_PREVIOUS = ("prompt", "hotwords", "carry_prompt", "condition_on_previous")
"""Options that need a token for text that came before."""


_VAD = ("auto", "on", "off")


class TranscribeOptions(TypedDict, total=False):
    """How recordings are transcribed. What is left out, or None, is as the model's directory says, or the default."""

    language: str | None
    """The spoken language, by its code or its English name in any case, such as "en" or "English"; by default detected.
    Only for models of several languages."""

    task: str | None
    """"transcribe", or "translate" to English with models that were trained to. By default "transcribe"."""

    prompt: str | None
    """Text that came before, such as names and words to expect. Only for models with a token for it."""

    carry_prompt: bool | None
    """Whether `prompt` stands before the text so far in every window, and not before the first one only. By default
    False; chunks of a batch have it in any case."""

    hotwords: str | None
    """Words to expect, which stand first in the prompt of every window. They have at most half of the prompt's room:
    what is longer is cut. Only for models with a token for text that came before."""

    prefix: str | None
    """Text with which the first text of the recording, or of its first clip, begins; it is part of the transcript."""

    explain_text: str | None
    """A text that takes the place of the transcript of a recording of one window: the result has its words with their
    times and probabilities, and its maps; nothing is searched for."""

    channel: str | int | None
    """The channel of a recording with several: "mix", their mean; "left", "right" or a number from 1; "each", every one
    by itself, whose segments say which; or "auto", the default: the mean, or the loudest where they cancel each
    other."""

    clips: Sequence[tuple[float, float]] | None
    """Start and end of each part to transcribe, in seconds, in order and without overlap; by default the whole
    recording. An end may be infinite."""

    num_beams: int | None
    """Beams of the beam search, at most 1000; 1 is greedy. By default 5."""

    max_tokens: int | None
    """The longest text of a window, in tokens; by default half of what the decoder can read."""

    length_penalty: float | None
    """Exponent of the length by which beam search divides a text's score. By default 1."""

    patience: float | None
    """The beam search ends when this many times `num_beams` texts are finished; at least 1, by default 1."""

    suppress: str | int | Sequence[str | int] | None
    """Tokens that are never written, in place of the model's own list: numbers of tokens, -1 for all marks that are not
    spoken, texts of one token each, or "none". A text has them with commas between them. Tokens that control the model
    are never written in any case."""

    best_of: int | None
    """Texts sampled at each temperature above 0, of which the most probable is taken. By default 5."""

    temperatures: Sequence[float] | None
    """Tried in order until a text passes the thresholds: 0 searches, higher ones sample.
    By default 0, 0.2, 0.4, 0.6, 0.8, 1."""

    compression_ratio_threshold: float | Literal["none"] | None
    """A text that zlib compresses by more than this factor repeats itself and fails, unless it is short.
    By default 2.4; "none": no text fails for that, as for the next one."""

    log_prob_threshold: float | Literal["none"] | None
    """A text fails if the mean log-probability of its tokens is lower. By default -1."""

    no_speech_threshold: float | Literal["none"] | None
    """A text that fails `log_prob_threshold` is left out if silence is more probable than this. By default 0.6; "none":
    no text is left out."""

    condition_on_previous: bool | None
    """Whether the text before a window is part of its prompt. By default True; only for models with a token for it."""

    ctc_weight: float | None
    """Share of the CTC head in the search, 0 to 1; only for models with one. By default 0."""

    multilingual: bool | None
    """Whether the language is detected for every window; for recordings in which it changes. One that is uncertain
    there is taken to be that of the recording. By default False."""

    language_threshold: float | None
    """A detected language that is less probable than this, 0 to 1, is said to be uncertain. By default 0.5."""

    vad: Literal["auto", "on", "off"] | None
    """What finds the speech: "on", a voice activity detector; "off", loudness alone. "auto", the default, is "on" for
    models that write times, such as Whisper, and else "off", unless the model's directory says `vad` in `decoding`."""

    keep_flagged: bool | None
    """Whether texts that the model wrote where nobody speaks stay in the transcript, with their flags; by default
    False: they are listed in `Transcript.dropped`."""

    seed: int | None
    """Seed of sampling, 0 to 2**64 - 1; by default 0: the same recording gives the same text."""


def speech_options(
    asked: TranscribeOptions,
    by_model: Mapping[str, Any],
    *,
    tokens: SpeechTokens,
    max_length: int,
    has_ctc: bool,
    source: str,
) -> SpeechOptions:
    """Merge the caller's options with the model's and the defaults.

    Args:
        asked: The caller's options.
        by_model: `decoding` of the model's directory.
        tokens: The vocabulary's special tokens, which decide what the model can do.
        max_length: Positions of the decoder.
        has_ctc: Whether the model has a CTC head.
        source: The model, for messages.

    Raises:
        TypeError: There is no such option.
        ModelError: An option is out of range, or the model cannot do what it asks for; or an option of the model's
            directory is unknown or out of range.
    """
    check_options(asked, TranscribeOptions)
    if asked.get("ctc_weight") is None:  # a model that was trained with CTC may state the weight of its scores
        asked = TranscribeOptions(**{**asked, "ctc_weight": by_model.get("ctc_weight")})
    if (language := asked.get("language")) is not None:
        asked = TranscribeOptions(**{**asked, "language": language_code(language, tokens.languages)})
    _check_possible(asked, tokens, has_ctc=has_ctc, source=source)
    decoding = GenerationConfig.from_decoding(
        by_model,
        beside=task_spec("transcribe").not_generation,
        defaults={"num_beams": 5, "max_tokens": max(1, max_length // 2)},
        asked=asked,
        source=source,
    )
    own = {option.name for option in fields(SpeechOptions)}
    given: dict[str, Any] = {
        name: None if name in THRESHOLDS and value == "none" else _as_floats(value) if name not in _COUNTS else value
        for name, value in asked.items()
        if name in own and value is not None
    }
    timestamps = tokens.first_timestamp is not None
    return SpeechOptions(
        decoding=decoding,
        timestamps=timestamps,
        initial_prompt=asked.get("prompt"),
        **{
            "condition_on_previous": tokens.previous is not None,
            **given,
            "vad": _has_detector(asked.get("vad"), by_model.get("vad"), timestamps=timestamps),
        },
    )


def _has_detector(asked: str | None, by_model: object, *, timestamps: bool) -> bool:
    """Return whether a voice activity detector is used.

    Raises:
        ModelError: The option of the caller or of the model's directory is none of auto, on, off.
    """
    for value in (asked, by_model):
        require(value in (None, *_VAD), "vad", must=f"one of {', '.join(_VAD)}", value=value)
        if value not in (None, "auto"):
            return value == "on"
    return timestamps


def _check_possible(asked: TranscribeOptions, tokens: SpeechTokens, *, has_ctc: bool, source: str) -> None:
    """Refuse what the model has no token or no head for."""
    language, task = asked.get("language"), asked.get("task") or "transcribe"
    require(task in ("transcribe", "translate"), "task", must="transcribe or translate", value=task)
    if language is not None and not tokens.languages:
        raise ModelError(f"{source} knows one language only: leave `language` ({language!r}) out")
    known = language is None or language in tokens.languages
    require(known, "language", must=f"of {', '.join(sorted(tokens.languages))}, or its name", value=language)
    if asked.get("multilingual") and not tokens.languages:
        raise ModelError(f"{source} knows one language only: leave `multilingual` out")
    if task == "translate" and (tokens.translate is None or not tokens.languages):
        raise ModelError(f"{source} cannot translate: `task` must be transcribe, or give a model that was trained to")
    for name in _PREVIOUS:
        if tokens.previous is None and asked.get(name) not in (None, False):
            raise ModelError(f"{source} has no token for text that came before: leave `{name}` out")
    if asked.get("ctc_weight") and not has_ctc:
        raise ModelError(f"{source} has no CTC head: leave `ctc_weight` out, or train with `ctc_weight`")


def _as_floats(value: Any) -> Any:
    """Return whole numbers as floats and lists as tuples, and anything else as it is."""
    if isinstance(value, list | tuple):
        return tuple(map(_as_floats, value))
    return float(value) if type(value) is int else value


def _are_clips(clips: tuple[tuple[float, float], ...]) -> bool:
    """Tell whether these are pairs of times, at least one, that rise from start to end and do not overlap."""
    times = [0.0, *(time for clip in clips for time in clip)]
    are_times = all(fits(time, float) and not math.isnan(time) for time in times) and times == sorted(times)
    return len(clips) > 0 and are_times and all(start < end for start, end in clips)
