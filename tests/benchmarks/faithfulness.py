"""How far each map method can be trusted, measured: deletion and insertion curves against a random order.

`python -m tests.benchmarks.faithfulness --data FOLDER [--model M] [--split validation] [--items 500]`
"""

import argparse
import random

import numpy as np
import torch

from multiattn.data.image_folder import read_folder
from multiattn.inputs import load_image
from multiattn.maps import METHODS, deletion_score, explain, insertion_score, masked_class
from multiattn.weights import load_bundle


def main() -> None:
    """Print one row a method: the mean probability of the predicted class along both curves."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.faithfulness", description=__doc__)
    parser.add_argument("--data", required=True, help="a folder with the split in it")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--model", default="classify")
    parser.add_argument("--items", type=int, default=500, help="pictures, drawn with a fixed seed")
    args = parser.parse_args()
    bundle = load_bundle(args.model)
    items = read_folder(args.data, args.split).items
    chosen = random.Random(0).sample(list(items), min(args.items, len(items)))
    generator = torch.Generator().manual_seed(0)
    totals = {name: np.zeros(2) for name in (*METHODS, "random order")}
    for start in range(0, len(chosen), 50):
        images = torch.stack([bundle.preprocessing(load_image(item[0]))[0] for item in chosen[start : start + 50]])
        with torch.no_grad():
            target = bundle.model(images).argmax(dim=-1).tolist()
        rows, cols = bundle.model.grid((images.shape[-2], images.shape[-1]))
        kind = bundle.score_function
        masked = [
            masked_class(bundle.model, image, index, score_function=kind)
            for image, index in zip(images, target, strict=True)
        ]
        for name in totals:
            if name in METHODS:
                maps = [one.values for one in explain(bundle.model, images, method=name, target=target)]
            else:
                maps = list(torch.rand(len(images), rows, cols, generator=generator).numpy())
            for one, values in zip(masked, maps, strict=True):
                totals[name] += [deletion_score(one, values), insertion_score(one, values)]
    print(f"{len(chosen)} pictures of {args.split}; mean probability of the predicted class while patches go or come")
    print(f"{'':20} deletion (low is good)  insertion (high is good)")
    for name, (deletion, insertion) in totals.items():
        print(f"{name:20} {deletion / len(chosen):22.3f}  {insertion / len(chosen):24.3f}")


if __name__ == "__main__":
    main()
