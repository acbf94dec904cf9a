"""Map methods that were tried for a classifier, measured on photographs: insertion minus deletion, against relevance.

`python -m tests.benchmarks.map_methods --data FOLDER [--model M] [--shrink 64] [--half choose|report] [--items N]
[--methods 'A;B']`

The pictures are those in FOLDER whose prediction has a probability of at least 0.5, every second one: the method is
chosen on one half and reported on the other. Both fillings; the interval is a paired bootstrap's, 95 %.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.overrides import TorchFunctionMode

from multiattn.attention import Tap
from multiattn.maps import FILLINGS, METHODS, explain, map_curves, masked_class
from multiattn.maps.lrp import PropagationRules, TokensTap
from multiattn.maps.propagation import leaf
from multiattn.models import ViT
from multiattn.weights import load_bundle

SURE = 0.5
SAMPLES = 2000


class AttentionFixed(PropagationRules):
    """The rules with the attention weights as constants: CP-LRP (Ali et al. 2022)."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Detach q and k."""
        if func is F.scaled_dot_product_attention:
            return func(args[0].detach(), args[1].detach(), *args[2:], **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


class Gamma(PropagationRules):
    """The rules with LRP-gamma in linear layers (Montavon et al. 2019): summands of the result's sign count more."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Multiply by z / (z + gamma z of the sign) as a constant."""
        if func is not F.linear:
            return super().__torch_function__(func, types, args, kwargs)
        x, weight = args[:2]
        z = F.linear(*args, **(kwargs or {}))
        parts = [(one.clamp(min=0), one.clamp(max=0)) for one in (x, weight)]
        same = sum(F.linear(a, b) for a, b in zip(*parts, strict=True))
        other = sum(F.linear(a, b) for a, b in zip(parts[0], reversed(parts[1]), strict=True))
        more = z + 0.1 * torch.where(z > 0, same, other)
        return more * torch.where(more == 0, 1.0, z / more).detach()


class Plain(TorchFunctionMode):
    """No rules: the gradient as it is."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Call the function."""
        return func(*args, **(kwargs or {}))


class At(TokensTap):
    """A tap at another block."""

    def __init__(self, model: ViT, block: int) -> None:
        super().__init__(model.attention_sites(), "blocks")
        self._block = f"blocks.{block}"


class Tried(NamedTuple):
    """Where contributions are read, the rules, and the score."""

    block: int
    rules: Callable[[], TorchFunctionMode] = PropagationRules
    is_margin: bool = False

    def maps(self, model: ViT, images: Tensor, target: list[int]) -> np.ndarray:
        """One map for each picture; of the pixels where `block` is below 0."""
        tap, pixels = At(model, max(self.block, 0)), leaf(images)
        with torch.enable_grad(), self.rules():
            logits = model.forward(pixels, tap=tap)
            of_target = logits[torch.arange(len(target)), target]
            others = logits.scatter(1, torch.tensor(target)[:, None], -torch.inf).logsumexp(1)
            score = (of_target - others if self.is_margin else of_target).sum()
        if self.block < 0:
            (gradient,) = torch.autograd.grad(score, pixels)
            product = (gradient * pixels.detach()).sum(dim=1, keepdim=True)
            return F.avg_pool2d(product, model.config.patch_size)[:, 0].numpy()
        rows, cols = model.grid((images.shape[-2], images.shape[-1]))
        return tap.contributions(score)[:, -rows * cols :].reshape(-1, rows, cols).numpy()


class Norms(NamedTuple):
    """Rollout of the norms of what attention moves, not of its weights: after Kobayashi et al. 2020 and 2021."""

    with_residual: bool

    def maps(self, model: ViT, images: Tensor, target: list[int]) -> np.ndarray:
        """One map for each picture, the same for every class."""
        tap, entered, normalized = Tap(model.attention_sites()), list[Tensor](), list[Tensor]()
        hooks = [block.register_forward_pre_hook(lambda _, given: entered.append(given[0])) for block in model.blocks]
        hooks += [
            block.attention.register_forward_pre_hook(lambda _, given: normalized.append(given[-1]))
            for block in model.blocks
        ]
        with torch.no_grad():
            model.forward(images, tap=tap)
        for hook in hooks:
            hook.remove()
        rows = torch.zeros(len(images), 1, entered[0].shape[1])
        rows[..., 0] = 1.0
        for block, weights, x, y in reversed(
            list(zip(model.blocks, tap.weights.values(), entered, normalized, strict=True))
        ):
            values = block.attention.qkv(y)[..., 2 * y.shape[-1] :].unflatten(-1, (block.attention.num_heads, -1))
            out = block.attention.out.weight.unflatten(-1, (block.attention.num_heads, -1))  # (D, h, d)
            moved = torch.einsum("bhqn,bnhd,Dhd->bqnD", weights, values, out)
            own = torch.arange(moved.shape[1])
            if self.with_residual:
                moved[:, own, own] += x[:, own]
            norms = moved.norm(dim=-1)  # (b, q, n)
            if not self.with_residual:
                norms = norms / norms.sum(dim=-1, keepdim=True)
                norms[:, own, own] += 1.0
            rows = rows[..., : norms.shape[1]] @ (norms / norms.sum(dim=-1, keepdim=True))
        grid = model.grid((images.shape[-2], images.shape[-1]))
        return rows[:, 0, -grid[0] * grid[1] :].unflatten(-1, grid).numpy()


class WithoutSinks(NamedTuple):
    """Relevance without the patches that all look at: those with over 5 times the even share of all attention."""

    def maps(self, model: ViT, images: Tensor, target: list[int]) -> np.ndarray:
        """One map for each picture."""
        tap = Tap(model.attention_sites())
        with torch.no_grad():
            model.forward(images, tap=tap)
        found = np.stack([one.values for one in explain(model, images, method="relevance", target=target)])
        received = torch.stack([weights.mean(dim=(1, 2)) for weights in tap.weights.values()]).mean(dim=0)  # (b, n)
        sinks = (received * received.shape[-1] > 5)[:, -found[0].size :].reshape(found.shape).numpy()
        return np.where(sinks, found.min(axis=(1, 2), keepdims=True), found)


TRIED: dict[str, Tried | Norms | WithoutSinks] = {
    "lrp at the pixels": Tried(-1),
    "lrp before block 0": Tried(0),
    "lrp before block 1": Tried(1),
    "lrp before block 2": Tried(2),
    "lrp before block 4": Tried(4),
    "lrp before block 6": Tried(6),
    "lrp before block 1, attention fixed (CP-LRP)": Tried(1, AttentionFixed),
    "lrp before block 1, gamma 0.1": Tried(1, Gamma),
    "lrp before block 1, of the log-odds": Tried(1, is_margin=True),
    "gradient x tokens before block 1, no rules": Tried(1, Plain),
    "rollout of norms": Norms(with_residual=False),
    "rollout of norms with the residual": Norms(with_residual=True),
    "relevance without sinks": WithoutSinks(),
}


def main() -> None:
    """Print one row a method."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.map_methods", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="a folder with pictures")
    parser.add_argument("--model", default="classify")
    parser.add_argument("--shrink", type=int, help="the short side that pictures are shrunk to first, in pixels")
    parser.add_argument("--half", choices=("choose", "report"), default="report")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--methods", type=lambda text: text.split(";"), help="separated by semicolons")
    args = parser.parse_args()
    bundle = load_bundle(args.model)
    model = bundle.model.requires_grad_(False)
    images, target = _pictures(bundle, args)
    names = args.methods or ([*METHODS, *TRIED] if args.half == "choose" else list(METHODS))
    names = ["relevance", *(name for name in names if name != "relevance")]
    print(
        f"{len(images)} pictures, half {args.half!r}; insertion minus deletion; more than relevance [95 %]", flush=True
    )
    scores: dict[str, np.ndarray] = {}
    for name in names:
        begin, rows = time.process_time(), []
        for start in range(0, len(images), 10):
            part, classes = images[start : start + 10], target[start : start + 10]
            if name in TRIED:
                rows += list(TRIED[name].maps(model, part, classes))
            else:
                rows += [one.values for one in explain(model, part, method=name, target=classes)]
        seconds = (time.process_time() - begin) / len(images)
        scores[name] = np.array(
            [
                [_score(bundle, image, index, values, filling) for filling in FILLINGS]
                for image, index, values in zip(images, target, rows, strict=True)
            ]
        )
        parts = [_told(scores[name][:, i], scores["relevance"][:, i]) for i in range(len(FILLINGS))]
        told = "  ".join(f"{filling} {part}" for filling, part in zip(FILLINGS, parts, strict=True))
        print(f"{name:46} {told}  {1000 * seconds:.0f} ms", flush=True)


def _pictures(bundle: Any, args: argparse.Namespace) -> tuple[Tensor, list[int]]:
    files = sorted(path for path in args.data.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))
    images: list[Tensor] = []
    target: list[int] = []
    taken = 0
    for path in files:
        picture = Image.open(path).convert("RGB")
        if args.shrink:
            factor = args.shrink / min(picture.size)
            picture = picture.resize((round(picture.width * factor), round(picture.height * factor)))
        image = bundle.preprocessing(picture)[0]
        with torch.no_grad():
            probability, index = bundle.model(image[None]).softmax(dim=-1)[0].max(dim=0)
        if probability < SURE:
            continue
        taken += 1
        if taken % 2 == (args.half == "choose"):
            images.append(image)
            target.append(int(index))
        if len(images) == args.items:
            break
    return torch.stack(images), target


def _score(bundle: Any, image: Tensor, index: int, values: np.ndarray, filling: Any) -> float:
    masked = masked_class(bundle.model, image, index, score_function=bundle.score_function, filling=filling)
    ((insertion, deletion),) = map_curves(masked, [values])
    return float(insertion.mean() - deletion.mean())


def _told(scores: np.ndarray, reference: np.ndarray) -> str:
    more = scores - reference
    draws = np.random.default_rng(0).integers(0, len(more), (SAMPLES, len(more)))
    low, high = np.percentile(more[draws].mean(axis=1), [2.5, 97.5])
    return f"{scores.mean():.3f} ({more.mean():+.3f} [{low:+.3f}, {high:+.3f}])"


if __name__ == "__main__":
    main()
