"""The verdicts on the maps of a window of a recording (see `maps.verdict`)."""

from collections.abc import Sequence

from torch import Tensor

from ...inputs.text import Word
from ...maps import AttentionMap, Checked, judge, masked_speech, time_profile
from ..map_request import Check
from .model import SpeechModel

MIDDLE, EVEN_PACE = "the middle of the recording", "its place at an even pace"
"""Where one would look for a text, and for a word of it, without a model."""


def of_window(
    speech: SpeechModel,
    samples: Tensor,
    maps: Sequence[AttentionMap],
    *,
    tokens: Sequence[int],
    words: Sequence[Word],
    prompt_length: int,
    check: Check,
    span: tuple[float, float],
) -> list[Checked]:
    """Judge the maps of a window of a recording, as a whole and, where asked for, word by word.

    Moments of the recording are hidden, over all bands.

    Args:
        speech: The model.
        samples: (t,) the window without padding.
        maps: One for each method, axes (word, time) or (word, mel, time).
        tokens: Of the text, from the start token on.
        words: Of the text.
        prompt_length: Tokens before the first of the text.
        check: What was asked for.
        span: The window's start and end in the recording, in seconds.
    """
    features = speech.preprocessing.features(samples).to(speech.device)  # (mels, t), padded
    each = range(len(words)) if check == "words" else ()
    whole, *of_words = (
        masked_speech(
            speech.model,
            features,
            tokens,
            words,
            index,
            prompt_length=prompt_length,
            length=speech.preprocessing.frames(len(samples)),
            frame_seconds=speech.preprocessing.frame_seconds,
        )
        for index in (None, *each)
    )
    return [
        Checked(
            one.method,
            judge(one.values.sum(axis=0), whole, place=MIDDLE),
            tuple(
                (word.text.strip(), judge(values, masked, place=EVEN_PACE))
                for word, values, masked in zip(words, one.values, of_words, strict=False)
            ),
            span=span,
        )
        for one in map(time_profile, maps)
    ]
