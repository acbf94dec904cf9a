"""From a request to a reply by a pipeline, in four steps: `open_pipeline`, `read`, `compute`, `reply`.

Both engines go this way: `read` and `reply` in threads of readers, several at once; `compute` one batch at a time.
Requests whose `key` is equal may share a batch. Recordings are transcribed in `speech`.
"""

import io
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, cast

from PIL import Image

from ..errors import InputError, ModelError, MultiattnError, TooLargeError
from ..inputs.files import MAX_PIXELS
from ..inputs.image_files import HEAD, open_picture
from ..pipelines import ClassifyPipeline, Failure, Result, load
from ..pipelines.pictures import Prepared, prepare
from . import speech
from .map_files import map_files
from .work import EMBED, TRANSLATE, Reply, Work

SPEECH = ("transcribe", TRANSLATE)
"""The tasks of `speech`."""

_NOT_SHOWN = Image.new("RGB", (1, 1))
"""Stands for a picture that no map is drawn over: only what the model reads of it is kept while it waits."""


_ALONE = 8_000_000
"""Pixels from which on pictures are decoded one at a time: up to 9 bytes of memory each, at most 72 MB a reader below
that."""

_MAPPED = 8
"""Requests with maps that are computed at once, which takes many times the memory of those without."""


@dataclass(frozen=True)
class Limits:
    """What an input may have at most."""

    max_pixels: int = MAX_PIXELS
    max_seconds: float = 4 * 3600.0


class Ready(NamedTuple):
    """A request whose input has been read."""

    work: Work
    input: Any
    """A `Prepared` picture, a text, the bytes of a recording to embed, or what `speech.read` returned."""

    key: Hashable
    """Requests with equal keys may be computed in one batch."""

    size: int = 1
    """How much there is to compute: the longer of two requests that share a batch is padded to."""

    same: Hashable = None
    """Equal for requests about the same picture, which is then encoded once."""

    alone: bool = False
    """Whether it is computed by itself, step by step: others take their turns in between."""


Found = Sequence[Result] | Reply
"""What a request led to, before it is a reply: several results for several questions."""


def open_pipeline(model: str, *, device: str = "auto", precision: str | None = None) -> Any:
    """Load a model and make its pipeline.

    Raises:
        ModelError: As `multiattn.load`.
    """
    return load(model, device=device, precision=precision)  # type: ignore[arg-type]


def read(pipeline: Any, work: Work, limits: Limits) -> Ready:
    """Read the input of a request, as far as the model's preprocessing.

    Raises:
        InputError: It cannot be used.
    """
    if work.task in SPEECH:
        sound = speech.read(pipeline, work, max_seconds=limits.max_seconds)
        alone = sound.samples is None
        return Ready(work, sound, (*_key(work), id(work) if alone or sound.is_alone else None), alone=alone)
    if isinstance(work.input, str):
        return Ready(work, work.input, (*_key(work), "text"), size=len(work.input))
    if pipeline.bundle.task == "transcribe":
        return Ready(work, work.input, (*_key(work), id(work)))  # an embedding, of a recording of any length
    strict = bool(work.options.get("strict"))
    found = prepare(work.input, pipeline.bundle.pictures, strict=strict, max_pixels=limits.max_pixels)
    if isinstance(found, Failure):
        raise found.error
    if work.maps is None and not work.check:
        found = found._replace(picture=_NOT_SHOWN)
    size = max(map(len, work.questions), default=1)
    shape = tuple(found.pixels.shape)  # those of one size are stacked
    return Ready(work, found, (*_key(work), shape), size, sha256(work.input).digest() if work.questions else None)


def is_large(work: Work) -> bool:
    """Return whether a picture takes so much memory to decode that it should be decoded by itself, by its header."""
    if work.task in SPEECH or not isinstance(work.input, bytes):
        return False
    stream = io.BytesIO(work.input)
    try:
        width, height = open_picture(stream, stream.read(HEAD), "the bytes", max_pixels=_ALONE).size
    except InputError as error:
        return isinstance(error, TooLargeError)  # an icon; for others, `read` says what is wrong
    return bool(width * height > _ALONE)


def _key(work: Work) -> tuple[Hashable, ...]:
    options = tuple(sorted(work.options.items()))
    alone = id(work) if work.options.get("sample") else None  # whose draws depend on what shares its batch
    return (work.task, options, work.maps is not None, work.check, alone)


def compute(pipeline: Any, batch: Sequence[Ready]) -> list[Found | MultiattnError]:
    """Compute requests with equal keys at once; return what comes of each, in their order."""
    works = [one.work for one in batch]
    if works[0].task in SPEECH:
        return list(speech.compute(pipeline, [one.input for one in batch], works))
    try:
        return _COMPUTE[works[0].task](pipeline, batch)
    except MultiattnError as error:  # of the options, which all of them have
        return [error] * len(batch)


def _options(pipeline: Any, work: Work) -> dict[str, Any]:
    """Return the options of `stream`, for an input that has been read."""
    options = {name: value for name, value in work.options.items() if name != "strict"}
    methods = options.pop("map_method", None)
    if work.maps is not None:
        options["maps"] = methods or (pipeline.bundle.first_map_method,)
    elif methods and work.check:
        options["maps"] = methods
    return options | ({"check": work.check} if work.check else {})


def _batch_size(batch: Sequence[Ready]) -> int:
    has_maps = batch[0].work.maps is not None or batch[0].work.check
    return min(len(batch), _MAPPED) if has_maps else len(batch)


def _pictures(pipeline: Any, batch: Sequence[Ready]) -> list[Found | MultiattnError]:
    options = _options(pipeline, batch[0].work)
    found = pipeline.stream([one.input for one in batch], batch_size=_batch_size(batch), **options)
    return [_found(one) for one in found]


def _classify(pipeline: Any, batch: Sequence[Ready]) -> list[Found | MultiattnError]:
    options = _options(pipeline, batch[0].work)
    labels, template = options.pop("labels", None), options.pop("template", None)
    if isinstance(pipeline, ClassifyPipeline):
        if labels:
            raise ModelError(
                f"`labels` must be left out for {batch[0].work.model}, which has its own, but are given: choose a "
                "model for match"
            )
        classifier = pipeline
    else:
        if not labels:
            raise ModelError(f"`labels` must be given for {batch[0].work.model}, which has none of its own")
        if not hasattr(pipeline, "zero_shot"):
            raise ModelError(f"{batch[0].work.model} must be two towers to classify, but is another matcher instead")
        classifier = pipeline.zero_shot(list(labels), **({"template": template} if template else {}))
    threshold = options.pop("threshold", None)
    found = classifier.stream([one.input for one in batch], batch_size=_batch_size(batch), **options)
    return [
        one.error if isinstance(one, Failure) else [one if threshold is None else one.narrowed(threshold=threshold)]
        for one in found
    ]


def _answer(pipeline: Any, batch: Sequence[Ready]) -> list[Found | MultiattnError]:
    """Answer the questions; those about the same picture share its encoding, and equal ones the answer."""
    options = _options(pipeline, batch[0].work)
    asked: dict[Hashable, dict[str, None]] = defaultdict(dict)
    pictures: dict[Hashable, Prepared] = {}
    for one in batch:
        pictures.setdefault(one.same, one.input)
        asked[one.same].update(dict.fromkeys(one.work.questions))
    pairs = [(picture, list(asked[same])) for same, picture in pictures.items()]
    found = iter(pipeline.stream(pairs, batch_size=len(pairs), **options))
    answers = {(same, question): next(found) for same in pictures for question in asked[same]}
    return [_all(answers[one.same, question] for question in one.work.questions) for one in batch]


def _embed(pipeline: Any, batch: Sequence[Ready]) -> list[Found | MultiattnError]:
    options, inputs = _options(pipeline, batch[0].work), [one.input for one in batch]
    of_text = isinstance(inputs[0], str)
    name = "stream_text_embeddings" if of_text else "stream_embeddings"
    if not hasattr(pipeline, name):
        what = "texts" if of_text else "files"
        raise ModelError(f"{batch[0].work.model} must embed {what}, but does not: choose a model for match")
    if pipeline.bundle.task != "transcribe":
        options["batch_size"] = len(batch)
    return [_found(one) for one in getattr(pipeline, name)(inputs, **options)]


_COMPUTE: dict[str, Callable[[Any, Sequence[Ready]], list[Found | MultiattnError]]] = {
    "classify": _classify,
    "caption": _pictures,
    "match": _pictures,
    "answer": _answer,
    EMBED: _embed,
}


def _found(one: Result | Failure) -> Found | MultiattnError:
    return one.error if isinstance(one, Failure) else [one]


def _all(found: Iterator[Result | Failure]) -> Found | MultiattnError:
    results = list(found)
    failed = next((one.error for one in results if isinstance(one, Failure)), None)
    return failed or cast(list[Result], results)


# --- replies ---


def reply(work: Work, found: Found) -> Reply:
    """Make the reply of what was found, with the files of maps."""
    if isinstance(found, Reply):
        return found
    bodies = [one.to_dict() for one in found]
    body = {"file": None, "answers": bodies} if work.task == "answer" else bodies[0]
    return Reply(body, map_files(found, work.maps))
