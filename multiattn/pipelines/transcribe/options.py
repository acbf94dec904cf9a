"""How recordings are transcribed: what the caller asks for, over what the model's directory says, over the defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypedDict

from ...errors import ModelError
from ...generation import GenerationConfig
from ...inputs import SpeechTokens
from ..options import check_seed, check_texts, check_whole
from .config import SpeechOptions

_DEFAULTS: dict[str, Any] = {"num_beams": 5}
"""Where neither the caller nor the model says otherwise, and `GenerationConfig` does."""

_NOT_OF_DECODING = ("alignment_heads", "ctc_weight")
"""What a model's directory says under `decoding` that is no field of `GenerationConfig`."""


class TranscribeOptions(TypedDict, total=False):
    """How recordings are transcribed. What is left out, or None, is as the model's directory has it, or the default."""

    language: str | None
    """Code of what is spoken, such as "en"; by default what the model hears. Only for models of several languages."""

    task: str | None
    """"transcribe", or "translate" to English with models that were trained to. By default "transcribe"."""

    prompt: str | None
    """Text that came before, such as names and words to expect. Only for models with a token for it."""

    num_beams: int | None
    """Texts that a beam search keeps at once, at most 1000; 1 is greedy. By default 5."""

    max_tokens: int | None
    """The longest text of a piece, in tokens; by default half of what the decoder can read."""

    length_penalty: float | None
    """Exponent of the length by which beam search divides a text's score. By default 1."""

    temperatures: Sequence[float] | None
    """One after the other, until a text holds: 0 is a search, those above are sampled at.
    By default 0, 0.2, 0.4, 0.6, 0.8, 1."""

    compression_ratio_threshold: float | None
    """A text that repeats itself so much that zlib makes it more than so many times shorter does not hold, if it is
    not so short that it may. By default 2.4."""

    log_prob_threshold: float | None
    """A text whose tokens' mean log-probability is below it does not hold. By default -1."""

    no_speech_threshold: float | None
    """Above this probability of silence, a text that is below `log_prob_threshold` is left out. By default 0.6."""

    condition_on_previous: bool | None
    """Whether each window is told the text before it. By default True; only for models with a token for it."""

    ctc_weight: float | None
    """Share of the CTC head in the search, 0 to 1; only for models with one. By default 0."""

    seed: int | None
    """Of sampling, 0 to 2**64 - 1; by default 0: the same recording gives the same text."""


def speech_options(
    asked: TranscribeOptions,
    by_model: Mapping[str, Any],
    *,
    tokens: SpeechTokens,
    max_length: int,
    has_ctc: bool,
    source: str,
) -> SpeechOptions:
    """What is asked of the decoding.

    Args:
        asked: What the caller wants.
        by_model: What the model's directory says.
        tokens: The vocabulary's tokens with a meaning of their own, which say what can be asked for.
        max_length: Positions of the decoder.
        has_ctc: Whether the model has a CTC head.
        source: The model, for messages.

    Raises:
        ModelError: An option is out of range, or not one of this model's; or the model's own are none.
    """
    _check_kinds(asked)
    _check_possible(asked, tokens, has_ctc=has_ctc, source=source)
    # a model that was trained with CTC may say how much its scores count; an explicit request wins
    by_ctc = by_model.get("ctc_weight")
    if by_ctc is not None and asked.get("ctc_weight") is None:
        asked = TranscribeOptions(**{**asked, "ctc_weight": by_ctc})
        _check_possible(asked, tokens, has_ctc=has_ctc, source=source)
    decoding = GenerationConfig.from_decoding(
        by_model,
        beside=_NOT_OF_DECODING,
        defaults=_DEFAULTS | {"max_tokens": max(1, max_length // 2)},
        asked=asked,
        source=source,
    )
    given = {name: value for name, value in asked.items() if value is not None}
    of_speech = {field.name for field in fields(SpeechOptions)}
    return SpeechOptions(
        decoding=decoding,
        timestamps=tokens.first_timestamp is not None,
        initial_prompt=asked.get("prompt"),
        **{"condition_on_previous": tokens.previous is not None}
        | {name: _as_float(value) for name, value in given.items() if name in of_speech},
    )


def _as_float(value: Any) -> Any:
    """Whole numbers, which a caller may write for others, as such; anything else as it is."""
    if isinstance(value, list | tuple):
        return tuple(map(_as_float, value))
    return float(value) if type(value) is int else value


def _check_possible(asked: TranscribeOptions, tokens: SpeechTokens, *, has_ctc: bool, source: str) -> None:
    """What a model has no token or no head for."""
    language, task = asked.get("language"), asked.get("task") or "transcribe"
    if task not in ("transcribe", "translate"):
        raise ModelError(f"`task` must be transcribe or translate, but is {task!r} instead")
    if language is not None and not tokens.languages:
        raise ModelError(f"{source} knows one language only: leave `language` ({language!r}) out")
    if language is not None and language not in tokens.languages:
        raise ModelError(f"`language` must be of {', '.join(sorted(tokens.languages))}, but is {language!r} instead")
    if task == "translate" and tokens.translate is None or task == "translate" and not tokens.languages:
        raise ModelError(f"{source} cannot translate: `task` must be transcribe, or give a model that was trained to")
    if tokens.previous is None:
        if asked.get("prompt") is not None:
            raise ModelError(f"{source} has no token for text that came before: leave `prompt` out")
        if asked.get("condition_on_previous"):
            raise ModelError(f"{source} has no token for text that came before: leave `condition_on_previous` out")
    if asked.get("ctc_weight") and not has_ctc:
        raise ModelError(f"{source} has no CTC head: leave `ctc_weight` out, or train with `ctc_weight`")


def _check_kinds(asked: TranscribeOptions) -> None:
    """What is compared with something before the options see it, or never reaches them."""
    check_whole(asked, ("num_beams", "max_tokens"))
    check_texts(asked, ("prompt", "language", "task"))
    check_seed(asked)
    temperatures = asked.get("temperatures")
    if temperatures is not None and not isinstance(temperatures, list | tuple):
        raise ModelError(f"`temperatures` must be a list of numbers, but is {temperatures!r} instead")
