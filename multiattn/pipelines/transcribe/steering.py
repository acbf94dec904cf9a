"""What the model is told beside the sound: text before a window, how its text begins, and tokens it never writes.

Source: openai-whisper, transcribe.py (`carry_initial_prompt`) and tokenizer.py (`non_speech_tokens`); faster-whisper,
transcribe.py (`get_prompt`: hotwords, and a prefix after the first time).
"""

from collections.abc import Sequence

from ...checks import require
from ...errors import ModelError
from ...inputs import SpeechTokens, Tokenizer
from ...inputs.speech_tokens import not_speech
from .cutting import SpeechTexts
from .options import SpeechOptions

_MARKS = -1
"""Stands for all marks that are not spoken, as in openai-whisper."""


def initial_prompt(speech: SpeechTexts, options: SpeechOptions) -> list[int]:
    """Return the tokens of the text that stands before the first window, and before no other."""
    return [] if options.carry_prompt else _encoded(speech, options.initial_prompt)


def context_of(speech: SpeechTexts, options: SpeechOptions, previous: Sequence[int]) -> list[int]:
    """Return the text in the prompt of a window: hotwords, the prompt if it is carried, and the end of the text so far.

    Hotwords take at most half of the room, and a carried prompt what they leave, of which its end is kept.

    Args:
        speech: The model.
        options: The hotwords and the prompt.
        previous: The tokens of the text before the window.
    """
    room = max(0, speech.max_length // 2 - 1)
    steady = _encoded(speech, options.hotwords)[: room // 2]
    if options.carry_prompt:
        steady += _last(_encoded(speech, options.initial_prompt), room - len(steady))
    return [*steady, *_last(previous, room - len(steady))]


def prefix_of(speech: SpeechTexts, options: SpeechOptions) -> tuple[tuple[int, int], ...]:
    """Return the tokens that a text begins with, each with its position; none where there is no prefix.

    In a text with times they follow the time 0.
    """
    tokens = _encoded(speech, options.prefix)
    if tokens and options.timestamps and speech.tokens.first_timestamp is not None:
        tokens = [speech.tokens.first_timestamp, *tokens]
    return tuple(enumerate(tokens))


def suppressed_tokens(
    asked: str | int | Sequence[str | int], tokenizer: Tokenizer, tokens: SpeechTokens, *, vocab_size: int
) -> tuple[int, ...]:
    """Return the tokens that are never written.

    Args:
        asked: Numbers of tokens, -1 for all marks that are not spoken, texts of one token each (with or without a space
            before them, and both where both are tokens), or "none"; a text has several with commas between them.
        tokenizer: The vocabulary.
        tokens: Its special tokens; those that control the model are always among the result.
        vocab_size: Number of the model's tokens.

    Raises:
        ModelError: There is no such token, or a text is several.
    """
    parts = asked.split(",") if isinstance(asked, str) else [asked] if isinstance(asked, int) else list(asked)
    found = set(tokens.never_written())
    for part in parts:
        require(type(part) in (str, int), "suppress", must="texts or numbers of tokens", value=part)
        text = str(part).strip()
        if text in ("", "none"):
            continue
        if text.removeprefix("-").isdecimal() and text.isascii():
            number = int(text)
            must = f"-1 or numbers of tokens, 0 to {vocab_size - 1}"
            require(_MARKS <= number < vocab_size, "suppress", must=must, value=number)
            found.update(not_speech(tokenizer) if number == _MARKS else [number])
            continue
        spelled = [tokenizer.encode(one) for one in (text, f" {text}")]
        single = [ids[0] for ids in spelled if len(ids) == 1]
        if not single:
            raise ModelError(
                f"`suppress` must be of texts that are one token each, but {text!r} is {len(spelled[0])} instead: give "
                "another spelling, or numbers of tokens"
            )
        found.update(single)
    return tuple(sorted(found))


def _encoded(speech: SpeechTexts, text: str | None) -> list[int]:
    text = (text or "").strip()
    return list(speech.tokenizer.encode(f" {text}")) if text else []


def _last(tokens: Sequence[int], count: int) -> list[int]:
    return list(tokens[-count:]) if count > 0 else []
