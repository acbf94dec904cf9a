"""Fit a model's domain: what its training pictures and questions are like, so that others can be marked.

    python -m multiattn.pipelines.fit_domain MODEL --data .data/mine/train

writes `domain.safetensors` into the model's directory. The pictures should be those that the model was trained on; a
fifth of them is held out for the threshold. `--data` may be given several times; as many pictures are drawn from each.
A `metadata.jsonl` in the folder with a `question` in its rows gives the words of the training questions.
"""

import argparse
import io
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from ..checks import require
from ..errors import InputError, ModelError, MultiattnError, reading
from ..inputs import ImageSource, find_images, read_image
from ..inputs.content_words import content_words
from ..models import VQA, ViT
from ..models.domain import Domain, fit_prototypes, with_threshold
from ..weights.bundle import CONFIG
from ..weights.domain_file import DOMAIN, write_domain
from ..writing import whole_file
from .base import Pipeline
from .loading import load

_LEAST = 50  # pictures: a tenth of them are needed to tell a share of a few percent
_HELD_OUT = 5  # every fifth picture is for the threshold
_BATCH = 64

_FRAMES = ((255, 255, 255), (240, 240, 240), (225, 228, 232), (60, 60, 64), (32, 33, 36), (0, 0, 0))
_FILTERS = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.NEAREST,
)


def fit_domain(
    pipeline: Pipeline[nn.Module],
    pictures: Sequence[ImageSource],
    *,
    questions: Iterable[str] = (),
    prototypes: int = 1000,
    marked: float = 0.01,
    reencode: bool = True,
    seed: int = 0,
) -> Domain:
    """Fit the domain of a classifier, or of a model that answers and has a picture encoder of its own.

    The pipeline itself stays as it is: `bundle.domain = fit_domain(...)` before `save_bundle`, or `write_domain`, and
    a model that is loaded from there marks what is out of the domain.

    Args:
        pipeline: The model.
        pictures: Training pictures, at least 50, in any order; a few thousand are enough. Damaged ones are left out.
        questions: The training questions; where there are none, questions are not checked.
        prototypes: Number of tokens to compare with; each takes two bytes for each number in the file.
        marked: The share of pictures like these that may be marked, 0 to 1.
        reencode: Whether the pictures stay in the domain when they are stored as JPEG, resized, or taken from a screen;
            up to three times as many of those may be marked.
        seed: Of everything that is drawn.

    Raises:
        InputError: There are too few pictures, or one cannot be read.
        ModelError: The model is of another kind.
    """
    require(len(pictures) >= _LEAST, "pictures", must=f"at least {_LEAST}", value=len(pictures), error=InputError)
    require(0 < marked < 1, "marked", must="above 0 and below 1", value=marked)
    random = Random(seed)
    whole = [read.picture for read in map(read_image, pictures) if read.damaged is None]
    random.shuffle(whole)
    fitted = [picture for i, picture in enumerate(whole) if i % _HELD_OUT]
    held_out = whole[::_HELD_OUT]
    kinds = tuple(REENCODINGS.values()) if reencode else ()
    again = [kinds[i % len(kinds)](picture, random) for i, picture in enumerate(fitted)] if kinds else []
    domain = fit_prototypes(_tokens(pipeline, [*fitted, *again]), count=prototypes, seed=seed)
    domain = domain.to(pipeline.device)
    groups = [(_tokens(pipeline, held_out), marked)]
    for kind in kinds:
        groups.append((_tokens(pipeline, [kind(picture, random) for picture in held_out]), min(3 * marked, 0.5)))
    words = frozenset(word for question in questions for word in content_words(question))
    return replace(with_threshold(domain, groups), words=words).to(torch.device("cpu"))


def _tokens(pipeline: Pipeline[nn.Module], pictures: Sequence[Image.Image]) -> Float[Tensor, "b n D"]:
    """Return the tokens of pictures whose distance counts, on the pipeline's device.

    Raises:
        ModelError: The model has none.
    """
    model, prepare = pipeline.bundle.require(ViT, VQA), pipeline.bundle.pictures
    found = []
    for first in range(0, len(pictures), _BATCH):
        images = torch.stack([prepare(picture)[0] for picture in pictures[first : first + _BATCH]]).to(pipeline.device)
        with torch.inference_mode():
            if isinstance(model, ViT):
                found.append(model.pooled(images)[:, None])
            else:
                found.append(model.encoder.features(images)[:, model.encoder.num_prefix_tokens :])
    return torch.cat(found)


# --- the same picture, as it may come ---


def as_jpeg(picture: Image.Image, random: Random) -> Image.Image:
    """Return a picture after it was stored as JPEG of a quality from 40 to 95, half or twice as large or as it was."""
    stored = io.BytesIO()
    resized(picture, random, factors=(0.5, 1.0, 1.0, 1.5, 2.0)).save(stored, "JPEG", quality=random.randint(40, 95))
    return Image.open(stored).convert("RGB")


def resized(picture: Image.Image, random: Random, factors: Sequence[float] = (0.5, 0.75, 1.5, 2.0, 3.0)) -> Image.Image:
    """Return a picture with other numbers of pixels."""
    factor = random.choice(factors)
    size = (max(8, round(picture.width * factor)), max(8, round(picture.height * factor)))
    return picture.resize(size, random.choice(_FILTERS))


def from_screen(picture: Image.Image, random: Random) -> Image.Image:
    """Return a picture as a screenshot shows it: larger, in slightly other colors, in a frame of up to 6 % a side."""
    larger = resized(picture, random, factors=(1.25, 1.5, 2.0, 3.0, 4.0))
    gamma, offset = random.uniform(0.9, 1.1), random.uniform(-3, 3)
    tables = []
    for _ in range(3):
        scale = random.uniform(0.97, 1.03)
        tables += [min(255, max(0, round(255 * (value / 255) ** gamma * scale + offset))) for value in range(256)]
    larger = larger.point(tables)
    left, right = (round(larger.width * random.uniform(0, 0.06)) for _ in range(2))
    top, bottom = (round(larger.height * random.uniform(0, 0.06)) for _ in range(2))
    screen = Image.new("RGB", (left + larger.width + right, top + larger.height + bottom), random.choice(_FRAMES))
    screen.paste(larger, (left, top))
    return screen


REENCODINGS = {"jpeg": as_jpeg, "resized": resized, "screen": from_screen}
"""Ways in which a picture changes and stays the same."""


# --- the command ---


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `domain.safetensors` into a model's directory; on an error exit with status 1 and one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model directory of our own layout")
    parser.add_argument("--data", required=True, action="append", type=Path, help="folder of the training split")
    parser.add_argument("--pictures", type=int, default=3000, help="number to use of all together (default: 3000)")
    parser.add_argument("--prototypes", type=int, default=1000, help="default: 1000")
    parser.add_argument("--marked", type=float, default=0.01, help="share of like pictures marked (default: 0.01)")
    parser.add_argument("--as-they-are", action="store_true", help="no JPEG, resized or screenshot versions of them")
    args = parser.parse_args(arguments)
    try:
        domain = fit_domain(
            load(args.model, device="cpu"),
            [path for folder in args.data for path in _drawn(folder, args.pictures // len(args.data))],
            questions=[text for folder in args.data for text in _questions(folder)],
            prototypes=args.prototypes,
            marked=args.marked,
            reencode=not args.as_they_are,
        )
        write(domain, args.model)
    except MultiattnError as error:
        sys.exit(str(error))
    words = f", {len(domain.words)} content words" if domain.words else ""
    print(f"{args.model / DOMAIN}: {len(domain.prototypes)} prototypes{words}")


def write(domain: Domain, directory: Path) -> None:
    """Write a domain into a model's directory, beside its weights.

    Raises:
        ModelError: It cannot be written.
    """
    try:
        with whole_file(directory / DOMAIN) as part:
            write_domain(domain, part)
            shutil.copymode(directory / CONFIG, part)  # safetensors makes files that only their owner can read
    except OSError as error:
        raise ModelError(f"{directory / DOMAIN} cannot be written: {error.strerror}") from error


def _drawn(folder: Path, count: int) -> list[Path]:
    found = sorted(find_images([folder]))
    return Random(0).sample(found, min(count, len(found)))


def _questions(folder: Path) -> list[str]:
    path = folder / "metadata.jsonl"
    if not path.is_file():
        return []
    with reading(str(path), "lines of JSON"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [row["question"] for row in rows if "question" in row]


if __name__ == "__main__":
    main()
