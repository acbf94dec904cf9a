"""Self-critical training: captions are drawn from the model, and those better than a baseline become more probable.

Source: Rennie et al. 2017, "Self-critical sequence training for image captioning": the reward is CIDEr-D, the baseline
that of the greedy caption. The mean of the other samples as the baseline: Luo 2020, "A better variant of self-critical
sequence training".
b pictures, k samples of each, r = b x k rows, n tokens, m picture tokens, C their width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from multiattn.checks import require
from multiattn.generation import Generated, GenerationConfig
from multiattn.metrics import CiderD
from multiattn.models.text_decoder import TextDecoder

from .caption_loss import shift_targets
from .caption_model import captions_of

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


class Learnt(NamedTuple):
    """What a step gives."""

    loss: Float[Tensor, ""]

    reward: Float[Tensor, ""]
    """The mean CIDEr-D of what was drawn."""


def self_critical_step(
    decoder: TextDecoder,
    context: Float[Tensor, "b m C"],
    prompt: Sequence[int],
    *,
    places: Sequence[int],
    rewards: Rewards,
    settings: SelfCritical,
    max_tokens: int,
    text_of: Callable[[Generated], str],
    generator: torch.Generator,
) -> Learnt:
    """Draw captions, judge them, and score them by the decoder once more, this time for a gradient.

    Args:
        decoder: Who writes, and learns.
        context: What it attends to, of each picture; may have a gradient.
        prompt: What every caption goes on from, after the start token.
        places: Of the pictures in the records.
        rewards: What captions are worth.
        settings: How captions are drawn and judged.
        max_tokens: Of a caption.
        text_of: The text of what the decoder wrote.
        generator: Where all chance comes from.
    """
    device, count, config = context.device, settings.samples, decoder.config

    def reward_of(captions: Sequence[Generated], pictures: Sequence[int]) -> Tensor:
        texts, finished = [text_of(c) for c in captions], [c.finished for c in captions]
        return torch.tensor(rewards(texts, finished, pictures), dtype=torch.float32, device=device)

    seen = context.detach()
    options = GenerationConfig(max_tokens=max_tokens, sample=True, num_return_sequences=count)
    drawn = captions_of(decoder, seen, prompt, options, generator=generator)
    reward = reward_of(drawn, [place for place in places for _ in range(count)]).view(-1, count)  # (b, k)
    greedy = None
    if settings.baseline == "greedy":
        greedy = reward_of(captions_of(decoder, seen, prompt, GenerationConfig(max_tokens=max_tokens)), places)
    ends = [[config.end_token] if caption.finished else [] for caption in drawn]
    rows = [[config.start_token, *caption.tokens, *end] for caption, end in zip(drawn, ends, strict=True)]
    given = torch.tensor(prompt, dtype=torch.int64, device=device)
    texts = shift_targets(*padded(rows, pad=config.pad_token, device=device), prompt=given)
    logits = decoder(texts.tokens, context, attention_mask=texts.attention_mask)
    loss = self_critical_loss(
        logits, texts.targets, wanted=texts.wanted, advantage=advantages(reward, greedy=greedy).flatten()
    )
    return Learnt(loss, reward.mean())


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
