"""Whether LRP explains answers better than relevance does, and from where in the model it is read best.

    python -m tests.benchmarks.answer_lrp --data .data/scenes [--items 60] [--split validation]

The shipped model for questions. `lrp@N` is the contribution of each patch, by the rules of `multiattn.maps.lrp`, read
at the tokens that enter block N of the picture's encoder; `lrp@context` at the tokens that the question's encoder
attends to. What is followed back is the answer's logit, or its log-odds against all others. Beside them stand the
methods that are offered, and the mean of two maps of which each has been divided by its sum. Areas are those of
`multiattn evaluate maps`, on the same inputs for all.
"""

import argparse
import random
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from multiattn.maps.evaluation import interval
from multiattn.maps.faithfulness import map_curves
from multiattn.maps.lrp import PropagationRules, TokensTap
from multiattn.maps.propagation import leaf
from multiattn.models import VQA
from multiattn.pipelines.explained_answer import AnswerExplainer
from multiattn.weights import load_bundle

OFFERED = ("relevance", "attention", "rollout")


class BlockTap(TokensTap):
    """Keeps the tokens that enter a block of the picture's encoder."""

    def __init__(self, model: VQA, image: Tensor, tokens: Sequence[int], block: int) -> None:
        sites = model.attention_sites((image.shape[-2], image.shape[-1]), question_tokens=len(tokens))
        super().__init__(sites, "encoder.blocks")
        self._block = f"encoder.blocks.{block}"


def contributions(
    model: VQA, image: Tensor, tokens: Sequence[int], answer: int, block: int | None, *, odds: bool
) -> np.ndarray:
    """The contribution of each patch to an answer of the closed list, read at a block or, for None, at the context."""
    with torch.inference_mode(False), torch.enable_grad(), PropagationRules():
        tap = None if block is None else BlockTap(model, image, tokens, block)
        context = model.encode(leaf(image), tap=tap)
        if block is None:
            context = context.detach().requires_grad_()
        logits = model.answer_logits(model.question.forward(torch.tensor([tokens]), context))[0].float()
        others = torch.cat([logits[:answer], logits[answer + 1 :]])
        score = logits[answer] - (others.logsumexp(0) if odds else 0)
        if tap is not None:
            found = tap.contributions(score)
        else:
            (gradient,) = torch.autograd.grad(score, context)
            found = (context * gradient).sum(dim=-1)
    rows, columns = model.encoder.grid((image.shape[-2], image.shape[-1]))
    return found[0, -rows * columns :].reshape(rows, columns).detach().numpy()


def main() -> None:
    """Print the area of each map, and by how much it is above that of relevance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--items", type=int, default=60)
    args = parser.parse_args()
    explainer = AnswerExplainer(load_bundle("answer"), device=torch.device("cpu"))
    model = explainer.model
    assert isinstance(model, VQA)
    inputs, drawn = list(explainer.read(args.data, args.split)), random.Random(0)
    drawn.shuffle(inputs)
    areas: dict[str, list[float]] = {}
    for path, question in inputs:
        if len(areas.get("relevance", ())) == args.items:
            break
        explained = explainer((path, question), drawn)
        if explained is None:
            continue
        image, _ = explainer._opened(path)
        tokens, _ = explainer._asked(question.text)
        answer, _ = explainer._as_target(explainer._answer(path, question.text, strict=True).answer)
        assert isinstance(answer, int)
        maps = {name: explained.explain(model, name) for name in OFFERED}
        for block in (*range(model.config.encoder.depth), None):
            for odds in (False, True):
                name = f"lrp@{'context' if block is None else block}, {'log-odds' if odds else 'logit'}"
                maps[name] = contributions(model, image, tokens, answer, block, odds=odds)
        for other in ("attention", "lrp@0, log-odds"):
            parts = [maps[name] / np.abs(maps[name]).sum() for name in ("relevance", other)]
            maps[f"relevance and {other}"] = (parts[0] + parts[1]) / 2
        for name, curves in zip(maps, map_curves(explained.masked, list(maps.values())), strict=True):
            areas.setdefault(name, []).append(float(curves.insertion.mean() - curves.deletion.mean()))
    base = np.array(areas["relevance"])
    for name, values in sorted(areas.items(), key=lambda item: -float(np.mean(item[1]))):
        own, more = interval(np.array(values)), interval(np.array(values) - base)
        print(
            f"{name:32}{own.mean:7.3f} [{own.low:.3f}, {own.high:.3f}]   "
            f"over relevance {more.mean:+.3f} [{more.low:+.3f}, {more.high:+.3f}]"
        )


if __name__ == "__main__":
    main()
