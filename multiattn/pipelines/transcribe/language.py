"""The language of a recording: decided on windows in which somebody speaks, several until it is certain.

The windows are the same whether a recording is then transcribed in order or in chunks.

Notation: t samples, L languages of the model.
"""

from collections.abc import Iterator
from itertools import chain

import torch
from jaxtyping import Float32
from torch import Tensor

from ...inputs.audio import Recording
from .cutting import is_silent
from .languages import Language
from .model import SpeechModel
from .options import SpeechOptions
from .speech_detector import STEP_SECONDS
from .voice import Voice

_SURE = 0.9
"""No further window is looked at where a language is more probable than this."""

_MOST_WINDOWS = 4

_LEAST_SPEECH = 0.25
"""Seconds of speech that a window must have to count, if another one has them."""

_LEAD_SECONDS = 0.2
"""Seconds of a window before its speech."""


def language_of(speech: SpeechModel, recording: Recording, options: SpeechOptions) -> Language:
    """Return the language that is asked for, or else the most probable one.

    That is the one with the highest mean of its log-probabilities in the windows that are looked at, weighted by the
    seconds of speech in each.

    Args:
        speech: The model.
        recording: Read from its start as far as is necessary.
        options: `language`, and `vad`: without it, the first window that is not silent decides.

    Raises:
        InputError: The recording is damaged.
        ModelError: The package silero-vad is not installed.
    """
    if options.language is not None or not speech.tokens.languages:
        return Language(options.language)
    total, weight, count = torch.zeros(len(speech.tokens.languages)), 0.0, 0
    doubtful: tuple[Tensor, float] | None = None  # the window with most speech of those with hardly any
    found: Tensor | None = None
    for samples, seconds in _windows(speech, recording, with_detector=options.vad):
        if seconds < _LEAST_SPEECH:
            if doubtful is None or seconds > doubtful[1]:
                doubtful = (samples, seconds)
            continue
        total, weight, count = total + seconds * speech.language_log_probs(samples), weight + seconds, count + 1
        found = (total / weight).softmax(dim=0)
        if count == _MOST_WINDOWS or float(found.max()) > _SURE:
            break
    if found is None and doubtful is not None:
        found = speech.language_log_probs(doubtful[0]).exp()
    if found is None:
        return Language(None)
    values, indices = found.topk(min(2, len(found)))
    codes = list(speech.tokens.languages)
    [best, *others] = [(codes[i], value) for i, value in zip(indices.tolist(), values.tolist(), strict=True)]
    return Language(*best, *(others[0] if others else ()))


def _windows(
    speech: SpeechModel, recording: Recording, *, with_detector: bool
) -> Iterator[tuple[Float32[Tensor, " t"], float]]:
    """Yield windows of the model in which somebody speaks, each with its seconds of speech."""
    rate, longest = recording.rate, speech.preprocessing.max_seconds
    if not with_detector:
        heard = (block for block in recording.blocks(longest) if not is_silent(block))
        yield from ((block, longest) for _, block in zip(range(1), heard, strict=False))
        return
    voice, held, begin, seek = Voice(rate), torch.zeros(0), 0, 0.0  # `held` begins with this sample
    for block in chain(recording.blocks(longest), [None]):
        if block is None:
            voice.finish()
        else:
            voice.add(block)
            held = torch.cat([held, block])
        known = len(voice.probabilities) * STEP_SECONDS
        while (start := voice.first(seek)) is not None:
            start = max(0.0, start - _LEAD_SECONDS)
            if known < start + longest and block is not None:
                break
            first, last = round(start * rate) - begin, round((start + longest) * rate) - begin
            seek = start + longest
            yield held[max(0, first) : last], voice.seconds(start, seek)
        seek = known if start is None else seek
        drop = max(0, round((seek if start is None else start) * rate) - round(_LEAD_SECONDS * rate) - begin)
        held, begin = held[drop:], begin + min(drop, len(held))
