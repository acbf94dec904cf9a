"""What the pipelines share: the device, the checks of a model, and images read ahead in threads, batch by batch.

A pipeline is made from a `ModelBundle` and is called with one input or a list. `stream` is the same for any number of
inputs: results come in the order of the inputs, and an input that cannot be used gives a `Failure` and does not keep
the others from being done. `stream` checks its options when it is called, not when the first result is taken.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

import torch
from PIL import Image
from torch import Tensor, nn

from ..errors import InputError, ModelError
from ..inputs import Geometry, ImagePreprocessing, ImageSource, Tokenizer, channels, read_image
from ..inputs.damage import Damage
from ..inputs.fetch import stream_of
from ..inputs.files import MAX_PIXELS
from ..inputs.streams import NamedStream
from ..models import ViTConfig
from ..weights import ModelBundle
from .precision import Precision, check_precision, converted
from .results import Failure, Result

_READERS = 4  # threads that decode and resize images while the model computes; PIL releases the interpreter lock

_Model = TypeVar("_Model", bound=nn.Module, covariant=True)
_Source = TypeVar("_Source")
_Result = TypeVar("_Result")


class Pipeline(Generic[_Model]):
    """A model on a device, ready for files. It has no state besides the model: safe to call from several threads.

    Args:
        bundle: The model with everything that it needs.
        model: `bundle.model`, checked to be of the pipeline's kind. It is moved to `device` and put into eval mode.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the bundle's model itself is changed.

    Raises:
        ModelError: The device does not exist, or does not compute in that precision.
    """

    __call__: Callable[..., Any]
    """The result for one input, or the list of results for a list."""

    stream: Callable[..., Iterator[Result | Failure]]
    """The results for any number of inputs, in order, each as soon as it is ready."""

    def __init__(
        self,
        bundle: ModelBundle,
        model: _Model,
        *,
        device: str | torch.device = "auto",
        precision: Precision | None = None,
    ) -> None:
        self.device = find_device(device)
        check_precision(precision, self.device)
        self.bundle = bundle
        self._model = converted(model.to(self.device).eval(), precision)
        self._domain = None if bundle.domain is None else bundle.domain.to(self.device)


def find_device(name: str | torch.device) -> torch.device:
    """Return the device called `name`; "auto" is the first GPU if there is one, else the CPU.

    Raises:
        ModelError: `name` is no device, or this machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ModelError(f"`device` must be auto, cpu or cuda (or cuda:1, ...), but is {str(name)!r} instead")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ModelError(
                f"`device` is {str(name)!r}, but torch {torch.__version__} finds no CUDA device here; "
                "use cpu or auto, or install a driver and a torch built for CUDA"
            )
        count = torch.cuda.device_count()
        if device.index is not None and device.index >= count:
            raise ModelError(f"`device` must be one of cuda:0 to cuda:{count - 1}, but is {str(name)!r} instead")
    return device


# --- checks ---


def tokenizer_of(bundle: ModelBundle) -> Tokenizer:
    """Return the tokenizer of a model that reads or writes text.

    Raises:
        ModelError: The bundle has none.
    """
    if bundle.tokenizer is None:
        raise ModelError(f"{bundle.source} must have a tokenizer, but has none instead: put its vocabulary into it.")
    return bundle.tokenizer


def check_channels(encoder: ViTConfig, preprocessing: ImagePreprocessing, *, source: str) -> None:
    """Check that the preprocessing gives the channels that a model reads, and that an image has these.

    Raises:
        ModelError: It does not.
    """
    channels.check_channels(encoder.in_channels, where=source)
    if preprocessing.channels != encoder.in_channels:
        raise ModelError(
            f"{source}: `preprocessing.mean` must have a number for each of the model's channels "
            f"({encoder.in_channels}), but has {preprocessing.channels} instead: correct it in the model's files"
        )


# --- one input or several ---


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
    pixels: Tensor  # (c, h, w), of the channels that the model reads
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
    try:
        read = read_image(picture, strict=strict, max_pixels=max_pixels)
        picked = channels.with_alpha(picture, read.picture) if preprocessing.channels == 4 else read.picture
        pixels, geometry = preprocessing(picked, source_size=read.size)  # (c, h, w)
    except InputError as error:
        # the preprocessing knows no file
        named = file is None or file in str(error)
        return Failure(file, error if named else InputError(f"`{file}`: {error}"))
    return Prepared(file, read.picture, pixels, geometry, read.damaged, read.remark)


def stacked(batch: Sequence[Prepared], device: torch.device) -> Tensor:
    """Return the pixels of images of one size as a batch (b, c, h, w) on the device."""
    return torch.stack([item.pixels for item in batch]).to(device)
