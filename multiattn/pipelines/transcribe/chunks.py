"""A recording as chunks for the model's window: speech is packed into them, and no cut is within it.

Source: faster-whisper, vad.py (`get_speech_timestamps`, `collect_chunks`), for leaving long pauses out of a window.
Beyond it: a recording is read block by block; a chunk ends at a pause also where speech goes on for long.

Notation: t samples, n steps of the detector.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32

from ...inputs.audio import Recording
from .pieces import Chunk
from .speech_detector import STEP_SECONDS
from .vad import cut_at_pauses
from .voice import HEARD, Voice

_PADDING = 0.4
"""Seconds that stay with the speech at each end, where the pause is that long."""

_LEAST_PAUSE = 0.1
"""Seconds; in a shorter silence no chunk ends."""

_MOST_SPAN = 60.0
"""Seconds of the recording from the start of a chunk to its end, pauses included: what is held in memory."""

_SMOOTH = 5
"""Steps over which probabilities are averaged where speech without a pause is cut."""


class Span(NamedTuple):
    """A part of a recording, in seconds."""

    start: float
    end: float


def chunks_of(recording: Recording, voice: Voice | None, *, longest: float, start: float = 0.0) -> Iterator[Chunk]:
    """Cut a recording into chunks, in order. What is in no chunk is a pause.

    Args:
        recording: The recording.
        voice: Takes the recording as it is read, and has its `start`; None: chunks are cut by loudness.
        longest: Seconds that a chunk may have.
        start: Where it begins, in seconds of the recording that it is a part of, whose times the chunks have.

    Raises:
        InputError: The recording is damaged.
    """
    if voice is None:
        yield from cut_at_pauses(recording, longest=longest, offset=start)
        return
    rate = recording.rate
    held, begin, is_over, seek = torch.zeros(0), round(start * rate), False, start
    # `held` begins with the sample `begin` of the recording
    blocks = recording.blocks(30.0)
    while True:
        known = voice.known
        first = voice.first(seek)
        if first is None or (known < max(seek, first - _PADDING) + _MOST_SPAN and not is_over):
            if is_over:
                return
            drop = max(
                0, min(round((seek if first is None else first) * rate) - round(_PADDING * rate) - begin, len(held))
            )
            held, begin = held[drop:], begin + drop
            block = next(blocks, None)
            if first is None:
                seek = max(seek, known - _PADDING)
            if block is None:
                is_over = True
                voice.finish()
            else:
                voice.add(block)
                held = torch.cat([held, block])
            continue
        end = (begin + len(held)) / rate
        spans, seek = next_spans(voice, seek, min(first + _MOST_SPAN, end), longest=longest, is_over=is_over)
        parts = [(one.start, held[round(one.start * rate) - begin : round(one.end * rate) - begin]) for one in spans]
        if parts := [(start, samples) for start, samples in parts if len(samples)]:
            yield Chunk.joined(parts, rate=rate)
        if is_over and seek >= end - STEP_SECONDS / 2:  # the last step may reach beyond the recording
            return
        drop = max(0, min(round(seek * rate) - begin, len(held)))
        held, begin = held[drop:], begin + drop


def next_spans(voice: Voice, seek: float, end: float, *, longest: float, is_over: bool) -> tuple[list[Span], float]:
    """Return the parts of a recording that make up the next chunk, and where the search for the one after it begins.

    Args:
        voice: Known up to `end` at least.
        seek: Seconds where it begins at the earliest.
        end: Seconds where it ends at the latest.
        longest: Seconds that its parts may have together.
        is_over: Whether the recording ends there.
    """
    spans, total, found = speech_between(voice, seek, end), 0.0, list[Span]()
    for index, one in enumerate(spans):
        seconds = one.end - one.start
        is_whole = is_over or index < len(spans) - 1 or one.end < end - 1e-6
        if is_whole and total + seconds <= longest:
            found.append(one)
            total += seconds
            continue
        if not is_whole and total + seconds <= longest and found:
            return _merged(found), one.start
        if total >= longest / 2:
            return _merged(found), one.start
        room = longest - total
        if seconds <= room:  # all there is, and its end is not known
            cut = one.end
        else:
            cut = _quietest(voice, one.start + max(room / 2, room - 10.0), one.start + room)
        return _merged([*found, Span(one.start, cut)]), cut
    return _merged(found), end


def speech_between(voice: Voice, start: float, end: float) -> list[Span]:
    """Return the spans of speech from `start` to `end` (s), with padding at each side, half of short pauses."""
    heard = _without_gaps(voice.between(start, end) >= HEARD)
    edges = np.flatnonzero(np.diff(heard, prepend=False, append=False)).reshape(-1, 2)
    origin = voice.step_start(start)
    spans = [Span(origin + first * STEP_SECONDS, origin + last * STEP_SECONDS) for first, last in edges.tolist()]
    found = []
    for index, one in enumerate(spans):
        before = spans[index - 1].end if index else None
        after = spans[index + 1].start if index < len(spans) - 1 else None
        low = start if before is None else (before + one.start) / 2
        high = end if after is None else (one.end + after) / 2
        found.append(Span(max(one.start - _PADDING, low), min(one.end + _PADDING, high)))
    return found


def _without_gaps(heard: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Return True for short silences between speech, too."""
    most = round(_LEAST_PAUSE / STEP_SECONDS)
    gaps = np.flatnonzero(np.diff(~heard, prepend=False, append=False)).reshape(-1, 2)
    found = heard.copy()
    for first, last in gaps.tolist():
        if first > 0 and last < len(heard) and last - first <= most:
            found[first:last] = True
    return found


def _merged(spans: list[Span]) -> list[Span]:
    """Join spans without a gap between them."""
    found = list[Span]()
    for one in spans:
        if found and one.start <= found[-1].end + 1e-6:
            found[-1] = Span(found[-1].start, one.end)
        else:
            found.append(one)
    return found


def _quietest(voice: Voice, start: float, end: float) -> float:
    """Return the moment from `start` to `end` (s) at which speech is least probable; the last one of equals."""
    steps: Float32[np.ndarray, " n"] = voice.between(start, end)
    smooth = np.convolve(steps, np.ones(_SMOOTH), mode="same") if len(steps) >= _SMOOTH else steps
    last = len(smooth) - 1 - int(smooth[::-1].argmin())
    return min(max(voice.step_start(start) + (last + 0.5) * STEP_SECONDS, start), end)
