"""Recordings: from a request to a reply, segment by segment.

A recording that fits into one window of the model is read by a reader, and may share a batch with others like it. A
longer one is read while it is transcribed, and its segments are taken one by one.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..alignment.word_grouping import UNSPACED
from ..errors import ModelError, MultiattnError, TooLargeError
from ..inputs.audio import Recording
from ..pipelines import Failure, Segment
from ..pipelines.transcribe import transcribe_stepwise
from ..pipelines.transcribe.results import Transcript
from .map_files import map_files
from .work import TRANSLATE, CancelledWork, Reply, TooLateError, Work

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
"""What `format` of the options may be; the reply has a text or an object of that name, but for the first two."""

_SHORTEST_BATCH = 8
"""Chunks that are decoded at once where recordings share a batch; at least."""

_ENGLISH = ("en", "english")
"""The language that may be named to a model of one language."""


@dataclass(frozen=True, eq=False)
class Sound:
    """The recording of a request."""

    data: bytes
    """The file."""

    max_seconds: float
    samples: np.ndarray | None = None
    """Mono, at the model's rate, of a whole recording that fits into a window; None for a longer or a damaged one."""

    is_alone: bool = True
    """Whether the model takes one recording at a time."""


def read(pipeline: Any, work: Work, *, max_seconds: float) -> Sound:
    """Read the recording of a request, in a reader's thread; what is returned is given to `compute` and `stream`.

    Raises:
        InputError: It cannot be used; `TooLargeError` where it is longer than `max_seconds`.
        ModelError: The model does not transcribe.
    """
    if pipeline.bundle.task != "transcribe":
        raise ModelError(f"{work.model} must be a model for recordings, but is one for {pipeline.bundle.task} instead")
    speech, strict = pipeline.speech, bool(work.options.get("strict"))
    watch, window = _watch(work, max_seconds), speech.preprocessing.max_seconds
    in_order = speech.tokens.first_timestamp is not None
    rate = speech.preprocessing.sample_rate
    with Recording.open(work.input, rate=rate, strict=strict, watch=watch) as recording:
        watch(recording.duration or 0.0)
        if recording.duration is not None and recording.duration > window:
            return Sound(work.input, max_seconds, is_alone=in_order)
        blocks, seconds = list[torch.Tensor](), 0.0
        for block in recording.blocks():
            seconds += len(block) / rate
            if seconds <= window:
                blocks.append(block)
            else:  # the length is not stated: it is read to its end, to refuse it here where it is too long
                blocks.clear()
        if recording.damaged is not None or seconds > window or not blocks or recording.channels > 1:
            return Sound(work.input, max_seconds, is_alone=in_order)
    return Sound(work.input, max_seconds, torch.cat(blocks).numpy(), is_alone=in_order)


def compute(pipeline: Any, read: Sequence[Sound], works: Sequence[Work]) -> list[Reply | MultiattnError]:
    """Transcribe recordings with equal options, in the model's thread; return a reply or an error for each."""
    if any(one.samples is None for one in read) or len(read) == 1:
        return [_of_one(pipeline, one, work) for one, work in zip(read, works, strict=True)]
    try:
        options = _options(pipeline, works[0]) | {"batch_size": max(_SHORTEST_BATCH, len(read))}
        found = list(pipeline.stream([one.samples for one in read], **options))
    except MultiattnError as error:  # of the options, which all of them have
        return [error] * len(read)
    return [
        one.error if isinstance(one, Failure) else _reply(one, work) for one, work in zip(found, works, strict=True)
    ]


def stream(pipeline: Any, read: Sound, work: Work) -> Iterator[Reply]:
    """Transcribe one recording, in the model's thread.

    Yields:
        For each segment as soon as it is ready, a reply with `delta`, by which the text grows, and `segment`; and at
        last the whole, as `compute` returns it.

    Raises:
        MultiattnError: As `Engine.run`.
    """
    text = ""
    for one in _steps(pipeline, read, work):
        if isinstance(one, Transcript):
            yield _reply(one, work)
            return
        delta = _continuation(text, one)
        text += delta
        shown = Transcript(None, (one,), one.end).to_dict()
        segments, words = shown["segments"], shown["words"]
        assert isinstance(segments, list)
        yield Reply({"delta": delta, "segment": segments[0] | ({"words": words} if words else {})})


def _of_one(pipeline: Any, sound: Sound, work: Work) -> Reply | MultiattnError:
    try:
        *_, whole = _steps(pipeline, sound, work)
        assert isinstance(whole, Transcript)
        return _reply(whole, work)
    except MultiattnError as error:
        return error


def _steps(pipeline: Any, sound: Sound, work: Work) -> Iterator[Segment | Transcript]:
    watch = _watch(work, sound.max_seconds)
    watch(0.0)
    source = sound.data if sound.samples is None else sound.samples
    strict = bool(work.options.get("strict"))
    # a model that could decode several chunks at once would keep the first segment back until all are decoded
    size = 1 if work.options.get("stream") else None
    options = _options(pipeline, work)
    for one in transcribe_stepwise(pipeline, source, strict=strict, watch=watch, batch_size=size, **options):
        yield one
        watch(0.0)


def _watch(work: Work, max_seconds: float) -> Callable[[float], None]:
    """Return what ends the reading of a recording that is too long, or that nobody waits for any more."""

    def watch(seconds: float) -> None:
        if work.cancelled.is_set():
            raise CancelledWork("the caller has gone")
        if work.deadline is not None and time.monotonic() > work.deadline:
            raise TooLateError("the time for this request is over")
        if seconds > max_seconds:
            raise TooLargeError(
                f"the recording must be at most {max_seconds:g} seconds long, but is longer instead. Cut it."
            )

    return watch


def _options(pipeline: Any, work: Work) -> dict[str, Any]:
    """Return the options of the pipeline's `stream`."""
    given = {name: value for name, value in work.options.items() if name not in ("strict", "format", "stream")}
    options = pipeline_options(pipeline, given)
    methods = options.pop("map_method", None)
    if work.maps is not None:
        options["maps"] = methods or (pipeline.bundle.first_map_method,)
    elif methods and work.check:
        options["maps"] = methods
    return options | {"task": "translate" if work.task == TRANSLATE else "transcribe", "check": work.check}


def pipeline_options(pipeline: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without a language that a model of one language need not be told."""
    options = dict(given)
    if not pipeline.speech.tokens.languages and str(options.get("language", "")).lower() in _ENGLISH:
        del options["language"]  # which clients state as a matter of course, and is nearly always that of such a model
    return options


def _reply(found: Transcript, work: Work) -> Reply:
    body, kind = found.to_dict(), work.options.get("format", "json")
    if kind in ("srt", "vtt"):
        body[kind] = found.formatted(kind)
    elif kind == "verbose_json":
        body[kind] = json.loads(found.formatted(kind))
    return Reply(body, map_files([found], work.maps))


def _continuation(text: str, segment: Segment) -> str:
    """Return what a segment adds to the text so far: with a space before it where one belongs there."""
    added = segment.text.rstrip()
    if not text or not added:
        return added.lstrip()
    return added if added[0].isspace() or segment.language in UNSPACED else f" {added}"
