"""Images read ahead in threads, batch by batch, up to the arrays that a model reads. No torch."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
from PIL import Image

from ..errors import InputError
from ..inputs import Geometry, ImagePreprocessing, ImageSource, channels, read_image
from ..inputs.damage import Damage
from ..inputs.fetch import stream_of
from ..inputs.files import MAX_PIXELS
from ..inputs.streams import NamedStream, ReadOnce
from .results import Failure

_READERS = 4  # threads that decode and resize images while the model computes; PIL releases the interpreter lock

_Source = TypeVar("_Source")
_Result = TypeVar("_Result")


def one_or_all(
    inputs: _Source | Sequence[_Source], stream: Callable[[Iterable[_Source]], Iterator[_Result | Failure]]
) -> _Result | list[_Result | Failure]:
    """Return the result of one input, or a list of the results for a list or tuple.

    Any other sequence is one input, which the reader of files refuses by its type.

    Raises:
        InputError: The one input cannot be used.
    """
    if isinstance(inputs, list | tuple):
        return list(stream(inputs))
    return the_only(stream([cast(_Source, inputs)]))


def the_only(results: Iterable[_Result | Failure]) -> _Result:
    """Return the result of a single input.

    Raises:
        InputError: The input could not be used.
    """
    (result,) = results
    if isinstance(result, Failure):
        raise result.error
    return result


# --- images ---


class Prepared(NamedTuple):
    """An image that is ready for the model."""

    file: str | None
    picture: Image.Image
    pixels: np.ndarray  # (c, h, w) in float32, of the channels that the model reads
    geometry: Geometry
    damaged: Damage | None = None
    remark: str | None = None

    @property
    def title(self) -> str:
        """What a page calls it."""
        return "picture" if self.file is None else Path(self.file).name


PictureSource: TypeAlias = ImageSource | Prepared
"""What `stream` accepts: an image, or one that is ready for the model."""


def stream_pictures(
    inputs: Iterable[PictureSource],
    preprocessing: ImagePreprocessing,
    compute: Callable[[list[Prepared]], Sequence[_Result]],
    *,
    batch_size: int,
    strict: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[_Result | Failure]:
    """Yield the results in the order of the inputs, each batch as soon as it is done.

    Args:
        inputs: Images, possibly endlessly many: read no further ahead than two batches.
        preprocessing: Makes an image ready for the model.
        compute: Gives one result for each image of a batch.
        batch_size: Number of inputs in a batch; those that cannot be used are left out of it.
        strict: Whether damaged images cannot be used.
        max_pixels: The limit of an image's pixels, as for `read_image`.
    """
    batches = prepared_batches(inputs, preprocessing, batch_size=batch_size, strict=strict, max_pixels=max_pixels)
    for batch in batches:
        good = [item for item in batch if isinstance(item, Prepared)]
        done = iter(compute(good) if good else ())
        for item in batch:
            yield item if isinstance(item, Failure) else next(done)


def prepared_batches(
    inputs: Iterable[PictureSource],
    preprocessing: ImagePreprocessing,
    *,
    batch_size: int,
    strict: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[list[Prepared | Failure]]:
    """Yield the images in order, in batches, ready for the model; arguments as for `stream_pictures`."""
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="multiattn-read")
    waiting: deque[Future[Prepared | Failure]] = deque()
    streams: deque[NamedStream | None] = deque(maxlen=2 * batch_size)  # of those that are read now, among others

    one = partial(prepare, preprocessing=preprocessing, strict=strict, max_pixels=max_pixels)

    def started(picture: PictureSource) -> Future[Prepared | Failure]:
        streams.append(stream_of(picture))
        return pool.submit(one, streams[-1] or picture)

    source = iter(inputs)
    try:
        while True:
            ahead = 2 * batch_size - len(waiting)
            waiting.extend(map(started, islice(source, ahead)))
            batch = [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
            if not batch:
                return
            yield batch
    finally:  # the caller may stop early
        for stream in streams:
            if stream is not None:
                stream.cancel()
        pool.shutdown(cancel_futures=True)


def prepare(
    picture: PictureSource,
    preprocessing: ImagePreprocessing,
    *,
    strict: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Prepared | Failure:
    """Read an image and make it ready for the model; one that is ready already is returned as it is."""
    if isinstance(picture, Prepared):
        return picture
    file = str(picture) if isinstance(picture, str | Path | NamedStream) else None
    has_alpha = preprocessing.channels == 4
    if has_alpha and (stream := stream_of(picture)) is not None:
        picture = ReadOnce(stream)
    try:
        read = read_image(picture, strict=strict, max_pixels=max_pixels)
        picked = channels.with_alpha(picture, read.picture, max_pixels=max_pixels) if has_alpha else read.picture
        pixels, geometry = preprocessing.array(picked, source_size=read.size)  # (c, h, w)
    except InputError as error:
        # the preprocessing knows no file
        named = file is None or file in str(error)
        return Failure(file, error if named else InputError(f"`{file}`: {error}"))
    return Prepared(file, read.picture, pixels, geometry, read.damaged, read.remark)
