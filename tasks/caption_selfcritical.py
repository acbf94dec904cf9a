"""Self-critical training: captions are drawn from the model, and those better than a baseline become more probable.

Source: Rennie et al. 2017, "Self-critical sequence training for image captioning": the reward is CIDEr-D, the baseline
that of the greedy caption. The mean of the other samples as the baseline: Luo 2020, "A better variant of self-critical
sequence training".
b pictures, k samples of each, n tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from multiattn.metrics import CiderD

from .checks import require

_END = "captionend"
"""Stands for the end of a caption. Without it no reward says where one may stop, and the model learns captions that
break off: "a man standing on a". Source: Luo 2020, section 4."""


@dataclass(frozen=True)
class SelfCritical:
    """How captions are drawn and judged. Every value can be set in the YAML under `model.init_args.self_critical`."""

    samples: int = 5
    """Captions drawn of each picture."""

    baseline: Literal["mean", "greedy"] = "mean"
    """What a caption is measured against: the mean of the picture's other samples, or its greedy caption."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        least = 2 if self.baseline == "mean" else 1
        require(
            self.samples >= least,
            "samples",
            must=f"at least {least} with the baseline {self.baseline!r}",
            value=self.samples,
        )


class Rewards:
    """CIDEr-D of captions of training pictures."""

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        """Count what the references say, once.

        Args:
            references: Of each training picture, in the order of the records.
        """
        self._cider = CiderD([[f"{text} {_END}" for text in texts] for texts in references])

    def __deepcopy__(self, memo: dict[int, object]) -> "Rewards":
        """Itself, for it never changes: whoever averages weights copies the whole task."""
        return self

    def __call__(
        self, texts: Sequence[str], finished: Sequence[bool], places: Sequence[int]
    ) -> Float64[np.ndarray, " texts"]:
        """A number for each caption.

        Args:
            texts: The captions.
            finished: Whether each came to its end, and was not cut off.
            places: The picture of each, as its place in the records.
        """
        ended = [f"{text} {_END}" if is_whole else text for text, is_whole in zip(texts, finished, strict=True)]
        return np.asarray(self._cider.score(ended, list(places)), dtype=np.float64)


def advantages(rewards: Float[Tensor, "b k"], *, greedy: Float[Tensor, " b"] | None) -> Float[Tensor, "b k"]:
    """By how much each sample is better than its picture's baseline: the greedy caption, or the other samples' mean."""
    if greedy is not None:
        return rewards - greedy[:, None]
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return rewards - others


def self_critical_loss(
    logits: Float[Tensor, "r n V"],
    targets: Int64[Tensor, "r n"],
    *,
    wanted: Bool[Tensor, "r n"],
    advantage: Float[Tensor, " r"],
) -> Float[Tensor, ""]:
    """Its gradient is that of the expected reward, downwards: a mean over the tokens, in float32."""
    log_probs = logits.float().log_softmax(dim=-1).gather(2, targets[..., None])[..., 0]  # (r, n)
    weights = advantage.float()[:, None] * wanted
    return -(weights * log_probs).sum() / wanted.sum()


def padded(
    texts: Sequence[Sequence[int]], *, pad: int, device: torch.device
) -> tuple[Int64[Tensor, "r n"], Bool[Tensor, "r n"]]:
    """Texts of unequal length as one tensor, with the padding at the right, and where there is none."""
    width = max(len(text) for text in texts)
    tokens = torch.tensor([[*text, *[pad] * (width - len(text))] for text in texts], device=device)  # (r, n)
    lengths = torch.tensor([len(text) for text in texts], device=device)
    return tokens, torch.arange(width, device=device) < lengths[:, None]
