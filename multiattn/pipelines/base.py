"""What pipelines over pictures share: read ahead in threads, work in batches, keep order, let no bad input stop it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image
from torch import Tensor

from ..errors import InputError, ModelError
from ..inputs import Geometry, ImagePreprocessing, ImageSource, load_image
from ..models import ViTConfig
from .results import Failure

_READERS = 4  # threads that decode and resize while the model computes: PIL gives the interpreter's lock back meanwhile

_Result = TypeVar("_Result")


class Prepared(NamedTuple):
    """A picture that is ready for the model."""

    file: str | None
    picture: Image.Image
    pixels: Tensor  # (3, h, w)
    geometry: Geometry

    @property
    def title(self) -> str:
        """What a page calls it."""
        return "picture" if self.file is None else Path(self.file).name


def stream_pictures(
    inputs: Iterable[ImageSource],
    preprocessing: ImagePreprocessing,
    compute: Callable[[list[Prepared]], Sequence[_Result]],
    *,
    batch_size: int,
) -> Iterator[_Result | Failure]:
    """Gives the results in order, each batch as soon as it is done.

    Args:
        inputs: Pictures; read no further ahead than two batches, so that there may be endlessly many.
        preprocessing: What makes them ready.
        compute: Gives a result for each of a batch.
        batch_size: Inputs of a batch; those that cannot be used are not computed, and come out as a `Failure`.
    """
    for batch in prepared_batches(inputs, preprocessing, batch_size=batch_size):
        good = [item for item in batch if isinstance(item, Prepared)]
        done = iter(compute(good) if good else ())
        for item in batch:
            yield item if isinstance(item, Failure) else next(done)


def prepared_batches(
    inputs: Iterable[ImageSource], preprocessing: ImagePreprocessing, *, batch_size: int
) -> Iterator[list[Prepared | Failure]]:
    """Gives the pictures in order, in batches, ready for the model; arguments as for `stream_pictures`."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="multiattn-read") as pool:
        waiting: deque[Future[Prepared | Failure]] = deque()
        source = iter(inputs)
        try:
            while True:
                ahead = 2 * batch_size - len(waiting)
                waiting.extend(pool.submit(_prepare, picture, preprocessing) for picture in islice(source, ahead))
                batch = [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
                if not batch:
                    return
                yield batch
        finally:
            for future in waiting:  # the caller stopped early
                future.cancel()


def _prepare(picture: ImageSource, preprocessing: ImagePreprocessing) -> Prepared | Failure:
    file = str(picture) if isinstance(picture, str | Path) else None
    try:
        upright = load_image(picture)
        pixels, geometry = preprocessing(upright)  # (3, h, w)
    except InputError as error:
        return Failure(file, error)
    return Prepared(file, upright, pixels, geometry)


def the_only(results: Iterable[_Result | Failure]) -> _Result:
    """The result of a single picture.

    Raises:
        InputError: It could not be used.
    """
    (result,) = results
    if isinstance(result, Failure):
        raise result.error
    return result


def chosen_methods(maps: str | Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The map methods asked for, each once, in the order asked for.

    Raises:
        ModelError: One of them is not known.
    """
    if maps is None:
        return ()
    asked = (maps,) if isinstance(maps, str) else tuple(maps)
    if "all" in asked:
        return tuple(known)
    for name in asked:
        if name not in known:
            raise ModelError(f"`maps` must be of {', '.join(known)} or all, but is {name!r} instead.")
    return tuple(dict.fromkeys(asked))


def check_at_least_one(name: str, value: int) -> None:
    """Makes sure that a number of things is at least 1.

    Raises:
        ModelError: It is not.
    """
    if value < 1:
        raise ModelError(f"`{name}` must be at least 1, but is {value} instead.")


def check_color(encoder: ViTConfig, *, source: str) -> None:
    """Makes sure that a model reads color pictures, as `load_image` gives them.

    Raises:
        ModelError: It reads others.
    """
    if encoder.in_channels != 3:
        raise ModelError(
            f"{source}: the model's `in_channels` must be 3 (red, green and blue), but is {encoder.in_channels} "
            "instead: use or fine-tune a model for color pictures."
        )
