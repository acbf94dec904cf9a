"""How many pictures, of which kind, the shipped models mark as out of their domain; and what the check costs.

    python -m tests.benchmarks.domain --data .data

`.data` has easy-vqa/, daquar/, flickr8k/ and cifar10/ with their splits; the scenes and the drawings are drawn here.
None of the pictures was used to fit the domain or its threshold.
"""

import argparse
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

import multiattn
from multiattn.data.scene_files import scenes_with_questions
from multiattn.data.scenes import draw_scene, paint
from multiattn.pipelines import AnswerPipeline, ClassifyPipeline, Pipeline
from multiattn.pipelines.fit_domain import _tokens, from_screen
from multiattn.weights import load_bundle

from .domain_pictures import DRAWINGS, charts
from .timing import interleaved, show

NAMES = {  # what names one of CIFAR-10's classes, or something of the kind, in a caption
    "airplane": "airplane aeroplane plane jet aircraft helicopter glider biplane",
    "automobile": "automobile car suv vehicle van sedan taxi cab jeep convertible racecar minivan limousine buggy",
    "bird": "bird seagull gull duck goose geese pigeon swan eagle hawk owl parrot chicken rooster hen flamingo heron "
    "pelican ostrich crow falcon penguin",
    "cat": "cat kitten kitty kitties",
    "deer": "deer stag elk moose antelope reindeer doe fawn",
    "dog": "dog puppy puppies doggy poodle hound greyhound collie terrier retriever labrador dalmatian dachshund "
    "shepherd rottweiler bulldog husky huskies beagle spaniel chihuahua pug boxer pup canine doberman corgi mutt "
    "sheepdog dogsled schnauzer",
    "frog": "frog toad",
    "horse": "horse pony ponies horseback mare stallion rodeo bronco jockey polo cowboy donkey mule foal",
    "ship": "ship boat sailboat canoe kayak kayaker kayaking ferry yacht vessel raft rowboat speedboat rafting "
    "canoeing motorboat catamaran sailing barge jetski gondola",
    "truck": "truck pickup lorry semi monster firetruck bulldozer tractor trailer bus buses ambulance",
}
_KNOWN = {form for text in NAMES.values() for name in text.split() for form in (name, f"{name}s")}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".data"))
    parser.add_argument("--pictures", type=int, default=500, help="of each kind, where there are as many")
    parser.add_argument("--model", help="with --only: another model than the shipped one")
    parser.add_argument("--only", choices=("answer", "classify", "questions", "cost"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    tables = {"answer": answer, "classify": classify, "questions": questions, "cost": cost}
    for name, table in tables.items():
        if args.only in (None, name):
            table(args.data, args.pictures, args.model or ("classify" if name == "classify" else "answer"))


# --- pictures ---


def scenes(count: int) -> list[Image.Image]:
    """Held-out scenes: the split's name is part of the seed."""
    return [paint(draw_scene(Random(f"0/validation/{number}"))) for number in range(count)]


def of_folder(folder: Path, count: int) -> list[Image.Image]:
    """Pictures of a folder and those below it."""
    return [Image.open(path).convert("RGB") for path in _drawn(folder, count)]


def _drawn(folder: Path, count: int) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    Random(0).shuffle(found)
    return found[:count]


def without_known(folder: Path) -> Iterator[Path]:
    """Photographs of flickr8k whose captions name none of CIFAR-10's classes."""
    for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if not any(word in _KNOWN for text in row["texts"] for word in re.findall("[a-z]+", text.lower())):
            yield folder / row["file_name"]


def stored(picture: Image.Image, quality: int) -> Image.Image:
    """A picture after it was stored as JPEG."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def scaled(picture: Image.Image, factor: float) -> Image.Image:
    """A picture with other numbers of pixels."""
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.BICUBIC)


def framed(picture: Image.Image, share: float) -> Image.Image:
    """A picture, twice as large, in a white frame of a share of its sides."""
    picture = scaled(picture, 2)
    edge = round(picture.width * share)
    screen = Image.new("RGB", (picture.width + 2 * edge, picture.height + 2 * edge), (255, 255, 255))
    screen.paste(picture, (edge, edge))
    return screen


def again(name: str, pictures: Sequence[Image.Image]) -> dict[str, list[Image.Image]]:
    """The pictures as they are, and as they may come."""
    return {
        name: list(pictures),
        f"{name}, JPEG of quality 50": [stored(one, 50) for one in pictures],
        f"{name}, half the size": [scaled(one, 0.5) for one in pictures],
        f"{name}, twice the size": [scaled(one, 2) for one in pictures],
        f"{name}, from a screen": [from_screen(one, Random(f"screen {i}")) for i, one in enumerate(pictures)],
        f"{name}, twice the size in a white frame of 5 %": [framed(one, 0.05) for one in pictures],
        f"{name}, twice the size in a white frame of 10 %": [framed(one, 0.1) for one in pictures],
    }


# --- tables ---


def _distances(pipeline: Pipeline[nn.Module], pictures: Sequence[Image.Image]) -> Tensor:
    domain = pipeline.bundle.domain
    assert domain is not None
    return domain.distances(_tokens(pipeline, pictures))


def _table(pipeline: Pipeline[nn.Module], name: str, kinds: Mapping[str, Sequence[Image.Image]]) -> None:
    print(f"\n| {name} | pictures | marked | median distance |\n| --- | --- | --- | --- |")
    for kind, pictures in kinds.items():
        distances = _distances(pipeline, pictures)
        share = float((distances > 1).float().mean())
        print(f"| {kind} | {len(pictures)} | {share:.1%} | {float(distances.median()):.2f} |", flush=True)


def answer(data: Path, count: int, model: str) -> None:
    """The picture check of the answerer."""
    pipeline = multiattn.load(model, task="answer", device="cpu")
    _table(pipeline, "like the training pictures", again("scenes", scenes(count)))
    easy = of_folder(data / "easy-vqa" / "validation", count)
    _table(pipeline, "like the training pictures", again("easy-VQA, validation", easy))
    others = {
        "DAQUAR, photographs of rooms": of_folder(data / "daquar" / "train", count),
        "Flickr8k, photographs": of_folder(data / "flickr8k" / "validation", count),
        "CIFAR-10, photographs of 32 px": of_folder(data / "cifar10" / "validation", count),
        "charts": list(charts(min(count, 180))),
    }
    drawn = {kind: [draw(Random(f"{kind} {i}")) for i in range(min(count, 200))] for kind, draw in DRAWINGS.items()}
    _table(pipeline, "unlike them", others | drawn)


def _top1(pipeline: ClassifyPipeline, folder: Path, count: int) -> None:
    """Print how many of a labelled folder's pictures are named right, as they are and as they may come."""
    labels = [path.parent.name for path in _drawn(folder, count)]
    print("\n| CIFAR-10, validation | pictures | top-1 |\n| --- | --- | --- |")
    for kind, pictures in again("as they are", of_folder(folder, count)).items():
        results = pipeline.stream(pictures, batch_size=100)
        right = sum(one.predictions[0].label == label for one, label in zip(results, labels, strict=True))
        print(f"| {kind} | {count} | {right / count:.1%} |", flush=True)


def classify(data: Path, count: int, model: str) -> None:
    """The picture check of the classifier, and its accuracy on pictures as people have them."""
    pipeline = multiattn.load(model, task="classify", device="cpu")
    _top1(pipeline, data / "cifar10" / "validation", 6 * count)
    known = of_folder(data / "cifar10" / "validation", 4 * count)
    paths = [path for split in ("validation", "test", "train") for path in without_known(data / "flickr8k" / split)]
    flickr = [Image.open(path).convert("RGB") for path in paths[: 2 * count]]
    small = [stored(scaled(one, 32 / min(one.size)), 90) for one in flickr]
    others = {
        "Flickr8k, no caption names a class": flickr,
        "the same, 32 px and JPEG, as CIFAR-10": small,
        "DAQUAR, photographs of rooms": of_folder(data / "daquar" / "train", count),
        "scenes": scenes(count),
    }
    _table(pipeline, "CIFAR-10's classes", again("CIFAR-10, validation", known[:count]))
    print("\n| against CIFAR-10's validation split | ROC AUC | marked at 95 % of CIFAR-10 kept | marked |")
    print("| --- | --- | --- | --- |")
    inside = _distances(pipeline, known)
    limit = inside.quantile(0.95)
    for kind, pictures in others.items():
        outside = _distances(pipeline, pictures)
        area = (outside[:, None] > inside).float().mean() + (outside[:, None] == inside).float().mean() / 2
        shares = [float((outside > at).float().mean()) for at in (limit, 1)]
        print(f"| {kind} | {float(area):.3f} | {shares[0]:.1%} | {shares[1]:.1%} |", flush=True)
    print(f"\n{len(known)} pictures of CIFAR-10, of which {float((inside > 1).float().mean()):.1%} are marked")


def questions(data: Path, count: int, model: str) -> None:
    """The check of questions: DAQUAR's against the validation splits of what the answerer was trained on."""
    domain = multiattn.load(model, task="answer", device="cpu").bundle.domain
    assert domain is not None
    kinds = {
        "scenes": [q.text for _, some in scenes_with_questions("validation", count, questions=12, seed=0) for q in some]
    }
    for name, folder in (("easy-VQA", "easy-vqa"), ("DAQUAR", "daquar")):
        lines = (data / folder / "validation" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
        kinds[name] = [json.loads(line)["question"] for line in lines]
    print(f"\n| questions ({len(domain.words)} content words are known) | number | marked |\n| --- | --- | --- |")
    for name, asked in kinds.items():
        print(f"| {name} | {len(asked)} | {sum(bool(domain.new_words(text)) for text in asked) / len(asked):.1%} |")


def cost(data: Path, count: int, model: str) -> None:
    """What the check adds to a picture's answer, or to its labels."""
    del data, count
    pictures = scenes(8)
    for task in ("answer", "classify"):
        bundle = load_bundle(task)
        kinds = {"without the check": replace(bundle, domain=None), "with it": bundle}
        make = AnswerPipeline if task == "answer" else ClassifyPipeline
        pipelines = {name: make(replace(kind, model=deepcopy(kind.model))) for name, kind in kinds.items()}
        asked = [(one, "how many circles are there?") for one in pictures]
        inputs = asked if task == "answer" else pictures
        ways = {name: partial(_drain, pipeline, inputs) for name, pipeline in pipelines.items()}
        timings = interleaved(ways, rounds=40)
        show(f"{task}, {len(pictures)} pictures from memory to results", timings)
        print(f"  the check adds {1 / timings['with it'].ratio - 1:.1%}")


def _drain(pipeline: Any, inputs: Sequence[object]) -> None:
    for _ in pipeline.stream(inputs, batch_size=8):
        pass


if __name__ == "__main__":
    main()
