"""Which of timm's vision transformers load and agree: `python -m tests.parity.timm_table > docs/timm.md`.

Every name that timm registers in four of its modules goes through the real converter with random weights: its outputs
and ours are compared, and it is saved back, built by timm from that and compared again. A model of more than 300
million parameters has two blocks.
"""

import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf
from timm.models._registry import _deprecated_models, _module_to_models
from torch import nn

from multiattn.errors import ModelError
from multiattn.weights import load_bundle, save_bundle
from multiattn.weights.timm_structure import on_meta, read_structure

from .random_weights import randomize

MODULES = ("vision_transformer", "deit", "eva", "beit")
LARGE = 300_000_000
"""Parameters from which on a model is built with two blocks."""

FEW = 2
"""Number of blocks of such a model."""

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
    return randomize(empty(name, **arguments), seed=5)


def empty(name: str, **arguments: Any) -> nn.Module:
    """Build a model without timm's own initialization, which takes long and of which nothing would be left."""
    model: nn.Module = on_meta(name, where="here", **arguments).to_empty(device="cpu")
    for part in model.modules():  # tables of positions, which no file has
        if hasattr(part, "init_non_persistent_buffers"):
            part.init_non_persistent_buffers()
    return model.eval()


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
    again = empty(f"local-dir:{folder / 'ours'}")
    again.load_state_dict(load_file(folder / "ours" / "model.safetensors"), strict=True)
    before, after = theirs.state_dict(), again.state_dict()
    structures = [(type(model), read_structure(model, where="here")) for model in (theirs, again)]
    alike = structures[0] == structures[1] and before.keys() == after.keys()
    alike = alike and all(torch.equal(before[key], after[key]) for key in before)
    images = torch.randn(1, 3, *bundle.model.config.image_size, generator=torch.Generator().manual_seed(7))
    wanted = theirs(images)
    # the same structure with the same weights need not be run
    return difference(bundle.model(images), wanted), 0.0 if alike else difference(again(images), wanted)


def verdict(name: str) -> Verdict:
    """Build a model, load it, save it back, and compare."""
    whole = on_meta(name, where="here")
    parameters, depth = sum(parameter.numel() for parameter in whole.parameters()), len(whole.blocks)
    arguments: dict[str, Any] = {}
    if parameters > LARGE:
        depth = FEW
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


def page(found: dict[str, list[Verdict]]) -> str:
    """Return the page of all verdicts, by module."""
    every = [one for module in found.values() for one in module]
    agree = sum(one.agrees for one in every)
    fewer = sum(one.blocks == FEW and one.parameters <= LARGE for one in every)
    others = f", and so had {fewer} smaller ones, where the third column says so" if fewer else ""
    lines = [
        "# timm's vision transformers",
        "",
        "<!-- Made by `python -m tests.parity.timm_table > docs/timm.md`: change that. -->",
        "",
        f"{agree} of the {len(every)} models that timm {timm.__version__} defines in its modules "
        f"{', '.join(f'`{module}`' for module in MODULES)} ({agree / len(every):.1%}) load and agree. The other "
        f"{len(every) - agree} are refused, and the message names the part that our model does not have. Names that "
        "timm has deprecated stand for others, and are not listed. Relative positions by a network, NaFlex, SAM and "
        "convolutional hybrids are classes of other modules, which are refused by the name of the class.",
        "",
        "Each model had random weights and was saved by timm, loaded by `load_bundle`, saved back in timm's layout and "
        "built by timm from that. The last two columns are the largest difference between timm's outputs and ours, and "
        "between timm's outputs and those of what was saved back, in parts of the largest output (fp32, one thread; "
        f"the limit is {TOLERANCE:.0e}). Models of more than {LARGE // 10**6} million parameters had two "
        f"blocks{others}. Made by `python -m tests.parity.timm_table`.",
    ]
    for module, verdicts in found.items():
        lines += [
            "",
            f"## {module}: {sum(one.agrees for one in verdicts)} of {len(verdicts)}",
            "",
            "| name | million parameters | blocks compared | difference | saved back |",
            "| --- | ---: | ---: | --- | --- |",
            *map(row, verdicts),
        ]
    return "\n".join(lines)


def main() -> None:
    """Print the page, and each verdict as it comes to standard error."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    found: dict[str, list[Verdict]] = {module: [] for module in MODULES}
    for module, verdicts in found.items():
        for name in names(module):
            verdicts.append(verdict(name))
            print(row(verdicts[-1]), file=sys.stderr, flush=True)
    print(page(found))


if __name__ == "__main__":
    main()
