"""Texts of one window of speech, found at several temperatures: what each is worth, and which of them is taken.

Source: openai-whisper, decoding.py (`DecodingResult`) and transcribe.py (`decode_with_fallback`). Beyond it: loops are
noticed from the attention too, and a short text may repeat itself.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import torch

from ...alignment.loops import STALL_TOKENS, progress
from ...alignment.teacher_forcing import Listening, listen
from ...attention import ProjectedContext
from ...generation import Generated, GenerationConfig
from ...inputs.speech_tokens import SpeechTokens
from ...inputs.text import Tokenizer
from ...models.speech import SpeechRecognizer
from .config import SpeechOptions, WindowResult

_LOOP_BYTES = 100
"""A shorter text is no loop, however much it repeats itself: people say "no, no, no", and telephone numbers."""


class Attempt(NamedTuple):
    """A text of one window at one temperature."""

    found: Generated
    text: str
    text_tokens: tuple[int, ...]
    avg_log_prob: float
    compression_ratio: float
    temperature: float
    flags: tuple[str, ...] = ()
    failures: int = 0
    heard: Listening | None = None


def compression_ratio(text: str) -> float:
    """How many times shorter zlib makes a text; below 1 where it makes it longer."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def repeats(text: str, ratio: float, options: SpeechOptions) -> bool:
    """Whether a text, so many times shorter for zlib, says the same over and over."""
    limit = options.compression_ratio_threshold
    return limit is not None and ratio > limit and len(text.encode()) >= _LOOP_BYTES


def attempt_of(
    found: Generated, search: GenerationConfig, temperature: float, *, tokens: SpeechTokens, tokenizer: Tokenizer
) -> Attempt:
    """What a search found at a temperature, with what its text is worth."""
    text_tokens = tuple(token for token in found.tokens if not tokens.is_timestamp(token))
    text = tokenizer.decode(text_tokens).strip()
    count = len(found.tokens)
    total = found.score * max(count, 1) ** search.length_penalty
    return Attempt(found, text, text_tokens, total / (count + 1), compression_ratio(text), temperature)


def listened(
    texts: Sequence[Attempt],
    model: SpeechRecognizer,
    projected: ProjectedContext,
    windows: Sequence[tuple[list[int], int]],
    heads: Sequence[tuple[int, int]],
    *,
    frame_seconds: float,
) -> list[Attempt]:
    """Read the texts again, and note how the attention moved; one too short for a loop stays as it is."""
    places = [i for i, text in enumerate(texts) if len(text.text_tokens) >= STALL_TOKENS]
    done = list(texts)
    if not places:
        return done
    if len(places) < len(texts):
        projected = projected.select(torch.tensor(places, device=projected.device))
    heard = listen(
        model,
        projected,
        [[*windows[i][0], *texts[i].text_tokens] for i in places],
        prompt_lengths=[len(windows[i][0]) for i in places],
        frames=[windows[i][1] for i in places],
        heads=heads,
    )
    for i, one in zip(places, heard, strict=True):
        moved = progress(one.look[None, :-1], frame_seconds=frame_seconds)
        flags = [name for name in ("stalled", "backwards") if getattr(moved, name)]
        done[i] = texts[i]._replace(flags=tuple(flags), heard=one)
    return done


def failures_of(text: Attempt, options: SpeechOptions, no_speech_prob: float | None) -> int:
    """Limits that a text fails; none where it may be wrong because nobody speaks, for it will not be kept."""
    unlikely = options.log_prob_threshold is not None and text.avg_log_prob < options.log_prob_threshold
    if unlikely and _is_silent(options, no_speech_prob):
        return 0
    return unlikely + repeats(text.text, text.compression_ratio, options) + len(text.flags)


def _is_silent(options: SpeechOptions, no_speech_prob: float | None) -> bool:
    return (
        no_speech_prob is not None
        and options.no_speech_threshold is not None
        and no_speech_prob > options.no_speech_threshold
    )


def result_of(
    attempts: Sequence[Attempt], *, no_speech_prob: float | None, language: str | None, options: SpeechOptions
) -> WindowResult:
    """The last text, which holds; or else the one that fails least, and of several the likeliest."""
    best = min(reversed(attempts), key=lambda one: (one.failures, -one.avg_log_prob if one.failures else 0.0))
    return WindowResult(
        tokens=best.found.tokens,
        log_probs=best.found.log_probs,
        text=best.text,
        avg_log_prob=best.avg_log_prob,
        compression_ratio=best.compression_ratio,
        no_speech_prob=no_speech_prob,
        temperature=best.temperature,
        hottest=attempts[-1].temperature,
        language=language,
        flags=(*best.flags, *(("repeats",) if repeats(best.text, best.compression_ratio, options) else ())),
        heard=best.heard,
    )
