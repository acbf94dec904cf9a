"""Self-critical training: captions are sampled from the model, and those better than a baseline become more probable.

Source: Rennie et al. 2017, "Self-critical sequence training for image captioning": the reward is CIDEr-D, the baseline
that of the greedy caption. The mean of the other samples as the baseline: Luo 2020, "A better variant of self-critical
sequence training".
b images, k samples of each, r = b x k rows, n tokens, m image tokens, C their width, V vocabulary.
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

from .loading.tokens import padded
from .losses import shift_targets
from .sharding import gathered
from .text_task import generate_texts

_END = "captionend"
"""A word for the end of a caption. Without it no reward says where a caption may stop, and the model learns captions
that break off: "a man standing on a". Source: Luo 2020, section 4."""


@dataclass(frozen=True)
class SelfCritical:
    """How captions are sampled and judged. Set in the YAML under `model.init_args.self_critical`."""

    samples: int = 5
    """Captions sampled for each image."""

    baseline: Literal["mean", "greedy"] = "mean"
    """What a caption is compared with: the mean of the image's other samples, or its greedy caption."""

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
    """CIDEr-D of captions of training images."""

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        """Count the n-grams of the references, once.

        Args:
            references: The true captions of each training image, in the order of the records.
        """
        self._cider = CiderD([[f"{text} {_END}" for text in texts] for texts in references])

    def __call__(
        self, texts: Sequence[str], finished: Sequence[bool], indices: Sequence[int]
    ) -> Float64[np.ndarray, " texts"]:
        """Return the reward of each caption.

        Args:
            texts: The captions.
            finished: Whether each has come to its end, and was not cut off.
            indices: The image of each, as its index in the records.
        """
        ended = [f"{text} {_END}" if is_whole else text for text, is_whole in zip(texts, finished, strict=True)]
        return np.asarray(self._cider.score(ended, list(indices)), dtype=np.float64)


class Step(NamedTuple):
    """The result of one step."""

    loss: Float[Tensor, ""]

    reward: Float[Tensor, ""]
    """The mean CIDEr-D of the sampled captions."""


def self_critical_step(
    decoder: TextDecoder,
    context: Float[Tensor, "b m C"],
    opening: Sequence[int],
    *,
    indices: Sequence[int],
    rewards: Rewards,
    settings: SelfCritical,
    max_tokens: int,
    text_of: Callable[[Generated], str],
    generator: torch.Generator,
    checkpoint_activations: bool = False,
) -> Step:
    """Sample captions, judge them, and run the decoder over them once more, this time for a gradient.

    Args:
        decoder: The decoder that writes, and learns.
        context: What it attends to, for each image; may have a gradient.
        opening: The tokens that every caption continues, the start token included.
        indices: Of the images in the records.
        rewards: Judges captions.
        settings: How captions are sampled and judged.
        max_tokens: Of a caption.
        text_of: Decodes what the decoder wrote.
        generator: Of all random draws.
        checkpoint_activations: See `TransformerBlock`.
    """
    device, count, config = context.device, settings.samples, decoder.config

    def reward_of(captions: Sequence[Generated], images: Sequence[int]) -> Tensor:
        texts, finished = [text_of(c) for c in captions], [c.finished for c in captions]
        return torch.tensor(rewards(texts, finished, images), dtype=torch.float32, device=device)

    seen = context.detach()
    options = GenerationConfig(max_tokens=max_tokens, sample=True, num_return_sequences=count)
    with gathered(decoder):  # processes write texts of different lengths
        samples = generate_texts(decoder, seen, opening, options, generator=generator)
        plain = GenerationConfig(max_tokens=max_tokens)
        best = generate_texts(decoder, seen, opening, plain) if settings.baseline == "greedy" else []
    reward = reward_of(samples, [index for index in indices for _ in range(count)]).view(-1, count)  # (b, k)
    greedy = reward_of(best, indices) if best else None
    ends = [[config.end_token] if caption.finished else [] for caption in samples]
    rows = [[config.start_token, *caption.tokens, *end] for caption, end in zip(samples, ends, strict=True)]
    tokens, attention_mask = (part.to(device) for part in padded(rows, config.pad_token))
    texts = shift_targets(tokens, attention_mask, prompt=opening[1:])
    logits = decoder(
        texts.tokens, context, attention_mask=texts.attention_mask, checkpoint_activations=checkpoint_activations
    )
    loss = self_critical_loss(
        logits, texts.targets, wanted=texts.wanted, advantage=advantages(reward, greedy=greedy).flatten()
    )
    return Step(loss, reward.mean())


def advantages(rewards: Float[Tensor, "b k"], *, greedy: Float[Tensor, " b"] | None) -> Float[Tensor, "b k"]:
    """The reward of each sample minus its image's baseline: the greedy caption, or the mean of the other samples."""
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
    """The policy-gradient loss, whose gradient is minus that of the expected reward: a mean over tokens, in float32."""
    log_probs = logits.float().log_softmax(dim=-1).gather(2, targets[..., None])[..., 0]  # (r, n)
    weights = advantage.float()[:, None] * wanted
    return -(weights * log_probs).sum() / wanted.sum()
