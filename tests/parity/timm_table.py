"""Which of timm's vision transformers load and agree: `python -m tests.parity.timm_table > docs/timm.md`.

Every name that timm registers in four of its modules goes through the real converter with random weights: its outputs
and ours are compared, and it is saved back, loaded by timm and compared again. A model of more than 300 million
parameters has two blocks.
"""

import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import save_for_hf
from timm.models._registry import _deprecated_models, _module_to_models
from torch import nn

from multiattn.errors import ModelError
from multiattn.weights import load_bundle, save_bundle

from .random_weights import randomize

MODULES = ("vision_transformer", "deit", "eva", "beit")
LARGE = 300_000_000
"""Parameters from which on a model is built with two blocks."""

TOLERANCE = 1e-5
"""The most that outputs may differ, in parts of the largest one."""

REFUSED = "which is not supported"


class Verdict(NamedTuple):
    """What became of one model."""

    name: str
    parameters: int
    """Of the whole model."""

    blocks: int
    """Number of them in the model that was compared."""

    difference: float = 0.0
    """The largest between its outputs and ours, in parts of its largest."""

    back: float = 0.0
    """The same between its outputs and those of what was saved back."""

    refused: str = ""
    """The part that it was refused for."""

    @property
    def agrees(self) -> bool:
        """Whether it loads, and both ways are within the tolerance."""
        return not self.refused and max(self.difference, self.back) <= TOLERANCE


def names(module: str) -> list[str]:
    """Return the names that timm defines in a module, without the deprecated ones, which stand for others."""
    return sorted(name for name in _module_to_models[module] if name not in _deprecated_models)


def build(name: str, **arguments: Any) -> nn.Module:
    """Build a model with random weights."""
    with torch.device("meta"):  # spares timm's own initialization, of which nothing would be left
        model = timm.create_model(name, **arguments)
    model = model.to_empty(device="cpu")
    for part in model.modules():  # tables of positions, which no file has
        if hasattr(part, "init_non_persistent_buffers"):
            part.init_non_persistent_buffers()
    return randomize(model, seed=5)


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference, in parts of the largest value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


@torch.inference_mode()
def compare(theirs: nn.Module, folder: Path) -> tuple[float, float]:
    """Return how far our outputs are from a model's, and how far those of what was saved back.

    Raises:
        ModelError: It is refused.
    """
    save_for_hf(theirs, folder / "theirs", safe_serialization=True)
    bundle = load_bundle(folder / "theirs")
    save_bundle(bundle, folder / "ours", layout="timm")
    again = timm.create_model(f"local-dir:{folder / 'ours'}", pretrained=True).eval()
    images = torch.randn(1, 3, *bundle.model.config.image_size, generator=torch.Generator().manual_seed(7))
    wanted = theirs(images)
    return difference(bundle.model(images), wanted), difference(again(images), wanted)


def verdict(name: str) -> Verdict:
    """Build a model, load it, save it back, and compare."""
    with torch.device("meta"):
        whole = timm.create_model(name)
    parameters, depth = sum(parameter.numel() for parameter in whole.parameters()), len(whole.blocks)
    arguments: dict[str, Any] = {}
    if parameters > LARGE:
        depth = 2
        arguments["depth"] = depth
        heads = [getattr(getattr(block, "attn", None), "num_kv_heads", None) for block in whole.blocks]
        if len(set(heads)) > 1:  # it states them block by block: one with all heads, and one with fewer
            arguments["num_kv_heads"] = (heads[0], heads[len(heads) // 2])
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = compare(build(name, **arguments), Path(folder))
        except ModelError as error:
            part = str(error).partition("this timm model has ")[2].partition(f", {REFUSED}")[0]
            if not part:
                raise
            return Verdict(name, parameters, depth, refused=part)
    return Verdict(name, parameters, depth, *found)


def row(one: Verdict) -> str:
    """Return a line of the table."""
    size = f"| {one.name} | {one.parameters / 1e6:.1f} | {one.blocks} |"
    return f"{size} refused: {one.refused} | |" if one.refused else f"{size} {one.difference:.0e} | {one.back:.0e} |"


def main() -> None:
    """Print the page."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    found: dict[str, list[Verdict]] = {}
    for module in MODULES:
        found[module] = []
        for name in names(module):
            found[module].append(verdict(name))
            print(row(found[module][-1]), file=sys.stderr, flush=True)
    every = [one for module in found.values() for one in module]
    agree = sum(one.agrees for one in every)
    print("# timm's vision transformers\n")
    print("<!-- Made by `python -m tests.parity.timm_table > docs/timm.md`: change that. -->\n")
    print(
        f"{agree} of the {len(every)} models that timm {timm.__version__} defines in its modules "
        f"{', '.join(f'`{module}`' for module in MODULES)} ({agree / len(every):.1%}) load and agree; the other "
        f"{len(every) - agree} are refused, and the message names the part that our model does not have. Names that "
        "timm has deprecated stand for others, and are not listed. Relative positions by a network, NaFlex, SAM and "
        "convolutional hybrids are classes in other modules, and refused by the name of the class.\n"
    )
    print(
        "Each model had random weights and was saved by timm, loaded by `load_bundle`, saved back with "
        "`--to timm` and loaded by timm. The last two columns are the largest difference between timm's outputs and "
        "ours, and between timm's outputs and those of what was saved back, in parts of the largest output "
        f"(fp32, one thread; the limit is {TOLERANCE:.0e}). Models of more than {LARGE // 10**6} million parameters "
        "had two blocks."
    )
    for module, verdicts in found.items():
        print(f"\n## {module}: {sum(one.agrees for one in verdicts)} of {len(verdicts)}\n")
        print("| name | million parameters | blocks compared | difference | saved back |")
        print("| --- | ---: | ---: | --- | --- |")
        for one in verdicts:
            print(row(one))


if __name__ == "__main__":
    main()
