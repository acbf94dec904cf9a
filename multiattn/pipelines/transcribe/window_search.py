"""How the text of a window is searched for, and judged. Importing this imports no torch.

Source: openai-whisper, decoding.py (`DecodingTask`, `DecodingResult`).
"""

from collections.abc import Sequence
from dataclasses import replace

from ...errors import ModelError
from ...generation import Generated, GenerationConfig
from .cutting import SpeechTexts, WindowText, compression_ratio, repeats
from .options import SpeechOptions


def prompt_of(speech: SpeechTexts, options: SpeechOptions, language: str | None, previous: Sequence[int]) -> list[int]:
    """Return the prompt of a window after the tokens of the text before it."""
    return speech.tokens.prompt(
        language=language,
        task=options.task,
        timestamps=options.timestamps,
        previous=previous,
        max_length=speech.max_length,
    )


def search_at(
    options: SpeechOptions, temperature: float, *, room: int, forced: tuple[tuple[int, int], ...] = ()
) -> GenerationConfig:
    """Return the search at a temperature, of texts that fit into `room` tokens. They are compared as in Whisper.

    Args:
        options: The search without temperature.
        temperature: 0 searches, above it samples.
        room: Most tokens.
        forced: The tokens that a text begins with, each with its position.

    Raises:
        ModelError: There is no room for a token after those.
    """
    most = max(1, min(options.decoding.max_tokens, room))
    config = replace(
        options.decoding,
        max_tokens=most,
        min_tokens=min(options.decoding.min_tokens, most),
        renormalize=True,
        count_end=False,
        forced=forced or options.decoding.forced,
    )
    if len(forced) >= most:
        raise ModelError(
            f"`prefix` must leave room for more text, but has {len(forced)} of {most} tokens instead: shorten it"
        )
    if temperature == 0:
        patience = (config.patience or 1.0) if config.num_beams > 1 else None
        return replace(config, sample=False, temperature=1.0, num_return_sequences=1, patience=patience)
    return replace(
        config, sample=True, temperature=temperature, num_beams=1, num_return_sequences=options.best_of, patience=None
    )


def judged(
    speech: SpeechTexts,
    found: Generated,
    options: SpeechOptions,
    config: GenerationConfig,
    temperature: float,
    no_speech_prob: float | None,
    language: str | None,
) -> WindowText:
    """Return a candidate with the figures by which it is judged."""
    text, count = speech.text_of(found.tokens).strip(), len(found.tokens)
    total, ratio = found.score * max(count, 1) ** config.length_penalty, compression_ratio(text)
    chosen = count - sum(position < count for position, _ in config.forced)  # a forced token counts as certain
    return WindowText(
        tokens=found.tokens,
        log_probs=found.log_probs,
        text=text,
        avg_log_prob=total / (chosen + 1),
        compression_ratio=ratio,
        no_speech_prob=no_speech_prob,
        temperature=temperature,
        hottest=temperature,
        language=language,
        flags=("repeats",) if repeats(text, ratio, options) else (),
    )
