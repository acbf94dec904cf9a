"""Train or fine-tune two towers, so that pictures and texts that belong together have similar embeddings."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.metrics.retrieval import retrieval_scores
from multiattn.models.two_towers import TwoTowers

from .base import BaseTask, Prediction
from .contracts import MatchNeeds, TextFacts, TokenFormat
from .freezing import require_pace, set_mode
from .loading.caption_batches import CaptionBatch
from .loading.text_data import TextData
from .match_loss import MatchLoss, MatchObjective
from .match_model import MatchStart, embedded, without_pool
from .optim import Optimization
from .parts import VisionEncoder


class MatchTask(BaseTask[CaptionBatch, MatchNeeds, TextFacts]):
    """A picture tower and a text tower, from scratch, from a trained vision transformer, or a whole CLIP or SigLIP."""

    task = "match"
    facts_type = TextFacts
    model: TwoTowers
    preprocessing: ImagePreprocessing

    def __init__(
        self,
        *,
        vision: VisionEncoder | None = None,
        text: dict[str, Any] | None = None,
        dim: int = 512,
        pretrained: str | None = None,
        objective: MatchObjective | None = None,
        max_scale: float = 100.0,
        optimization: Optimization | None = None,
        compile: bool = False,
        checkpoint_activations: bool = False,
    ) -> None:
        """Describe the model and its training; the vocabulary comes from the data, or from `pretrained`.

        Args:
            vision: The picture tower. The whole image is resized to its input size. With `vision.pretrained`,
                `vision.overrides` may have another `pool`, which is new and learns, also over a frozen transformer.
            text: Fields of `TextTowerConfig` that differ from its defaults; with `pretrained`, dropout and
                attention_dropout.
            dim: Width of the embeddings; unused with `pretrained`.
            pretrained: A model of two towers to fine-tune: a task's name, a model directory or a hub id in any layout
                that `multiattn` loads. Its tokenizer and normalization are kept.
            objective: `contrastive` (CLIP) or `sigmoid` (SigLIP); None for what `pretrained` was trained with, and
                contrastive from scratch.
            max_scale: The learned factor of the similarities is kept at or below this value.
            optimization: AdamW and its schedule.
            compile: Compile both towers with torch.compile.
            checkpoint_activations: Keep only each block's input for the backward pass and compute the rest again
                there: much less memory, for a third more time.
        """
        super().__init__(optimization=optimization, compile=compile, checkpoint_activations=checkpoint_activations)
        require(1 <= max_scale < math.inf, "max_scale", must="at least 1 and finite", value=max_scale)
        self.pace = vision or VisionEncoder()
        start = MatchStart.of(
            self.pace, text, pretrained, dim=dim, objective=objective or "contrastive", models=self.trained_models
        )
        self._start: MatchStart | None = start
        if start.whole is not None:
            given = start.whole.require(TwoTowers).config.scores
            trained_with: MatchObjective = "sigmoid" if given == "sigmoid" else "contrastive"
            must = f"{trained_with}, as `pretrained` has it"
            require(objective in (None, trained_with), "objective", must=must, value=objective)
            objective = trained_with
        self.objective: MatchObjective = objective or "contrastive"
        self.max_scale = max_scale
        self.tokenizer = start.tokenizer
        self.learns_vocabulary = start.tokenizer is None
        """Whether the data makes the vocabulary, and not a trained model."""
        self.preprocessing = start.preprocessing
        self.from_scratch = pretrained is None
        self._new_parts = {key.partition(".")[0] for key in start.fresh}  # of the picture tower
        self._eager_pass = self._pass = embedded

    @property
    def vision_is_frozen(self) -> bool:
        """Whether the vision transformer learns nothing at present."""
        return self.pace.is_frozen(self.current_epoch)

    def lr_shares(self) -> Mapping[str, float]:
        """The share of the vision transformer, but for what is new in it."""
        parts = {key.partition(".")[0] for key, _ in self.model.vision.named_parameters()} - self._new_parts
        return {f"vision.{part}": self.pace.lr_share for part in sorted(parts)}

    def needs(self) -> MatchNeeds:
        """See `BaseTask`."""
        if self.model is None:
            return MatchNeeds(self.tokenizer, preprocessing=self.preprocessing)
        config = self.model.config.text
        encoder = without_pool(self.model.vision)
        return MatchNeeds(self.tokenizer, TokenFormat.of_config(config), encoder, self.preprocessing, config)

    def build_model(self, facts: TextFacts) -> TwoTowers:
        """Build the model for the data's vocabulary.

        Raises:
            ModelError: The vision transformer cannot learn as its options say, or there can be no such model.
        """
        assert self._start is not None
        require_pace(facts, self.pace, self._trainer)
        self.tokenizer = facts.tokenizer
        model = self._start.build(facts)
        self._start = None  # its weights are no longer needed
        if self.pace.lr_share == 0:
            for key, weight in model.vision.named_parameters():
                weight.requires_grad_(key.partition(".")[0] in self._new_parts)
        return model

    def build_loss(self, facts: TextFacts) -> nn.Module:
        """The loss of all pairs."""
        return MatchLoss(self.objective)

    def on_fit_start(self) -> None:
        """Check that pictures can be told apart; see `BaseTask`.

        Raises:
            ModelError: Each is compared with its own texts alone, of which the contrastive loss is 0.
        """
        super().on_fit_start()
        if self.objective == "contrastive" and self.data.batch_size * self.trainer.world_size == 1:
            raise ModelError(
                "`data.batches.size` must be at least 2 for the contrastive loss, which compares the pictures of a "
                "batch, but is 1 instead: raise it, or set `model.objective` to sigmoid."
            )

    def compile_pass(self) -> None:
        """Compile the way from a batch to its embeddings."""
        self._pass = torch.compile(self._eager_pass)

    def on_train_batch_start(self, batch: CaptionBatch, batch_idx: int) -> None:
        """Seed the step, and keep a frozen vision transformer in eval mode."""
        super().on_train_batch_start(batch, batch_idx)
        set_mode(self.model.vision, not self.vision_is_frozen)

    def optimizer_step(self, *given: Any, **named: Any) -> None:
        """Bound the factor of the similarities, before anything averages or saves it.

        Source: Radford et al. 2021, section 2.5.
        """
        super().optimizer_step(*given, **named)
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=math.log(self.max_scale))

    def shared_step(self, batch: CaptionBatch, split: str) -> Tensor | None:
        """Compute and log the loss of a batch; outside of training, keep the embeddings of its texts, too.

        The loss of a training batch is over the batches of all processes. Elsewhere it is over the batch, with the
        first text of each picture, and the recalls are over the split.
        """
        if len(batch.indices) == 0:
            return None
        pictures, texts = self._pass(
            self.model,
            batch.images,
            batch.features,
            batch.tokens,
            batch.attention_mask,
            frozen=self.vision_is_frozen,
            checkpoint_activations=self.checkpoint_activations,
        )
        if split == "train":
            self.log("train/scale", self.model.logit_scale.detach().exp(), batch_size=1, rank_zero_only=True)
        else:
            counts = [len(one) for one in batch.texts]
            self._found += zip(
                batch.indices.tolist(), pictures.float().cpu().numpy(), _split(texts, counts), strict=True
            )
            texts = texts[np.cumsum([0, *counts[:-1]])]
        loss: Tensor = self.loss(
            pictures,
            texts,
            scale=self.model.logit_scale.exp(),
            bias=self.model.logit_bias,
            gather=split == "train" and self.trainer.world_size > 1,
        )
        self.log_loss(loss, split, size=len(pictures))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start to collect embeddings."""
        self._found: list[tuple[int, np.ndarray, np.ndarray]] = []

    def on_test_epoch_start(self) -> None:
        """Start to collect embeddings."""
        self._found = []

    def on_validation_epoch_end(self) -> None:
        """Log the recalls, too."""
        super().on_validation_epoch_end()
        self._log_recalls("val")

    def on_test_epoch_end(self) -> None:
        """Log the recalls, too."""
        super().on_test_epoch_end()
        self._log_recalls("test")

    def _log_recalls(self, split: str) -> None:
        """Log R@1, R@5 and R@10 of both directions over all processes, and `recall`, their mean."""
        parts = [self._found]
        self._found = []
        if dist.is_available() and dist.is_initialized():
            parts = parts * dist.get_world_size()
            dist.all_gather_object(parts, parts[0])
        by_index = {index: (picture, texts) for part in parts for index, picture, texts in part}
        if not by_index:
            return
        found = [by_index[index] for index in sorted(by_index)]
        owners = [row for row, (_, texts) in enumerate(found) for _ in texts]
        pictures = np.stack([picture for picture, _ in found])
        scores = vars(retrieval_scores(pictures @ np.concatenate([texts for _, texts in found]).T, owners))
        for name, score in {**scores, "recall": sum(scores.values()) / len(scores)}.items():
            # computed over all processes already, and equal in each
            self.log(f"{split}/{name}", score, prog_bar=name == "recall", rank_zero_only=False)

    def predict_step(self, batch: CaptionBatch, batch_idx: int) -> list[Prediction]:
        """Say how similar each picture is to its texts: cosines."""
        if len(batch.indices) == 0:
            return []
        pictures, texts = self._pass(
            self.model, batch.images, batch.features, batch.tokens, batch.attention_mask, frozen=True
        )
        of_each = _split(texts, [len(one) for one in batch.texts])
        return [
            (index, {"texts": list(said), "similarities": [round(float(one), 6) for one in vectors @ picture]})
            for index, said, vectors, picture in zip(
                batch.indices.tolist(), batch.texts, of_each, pictures.float().cpu().numpy(), strict=True
            )
        ]

    def adopt(self, state: Mapping[str, Any]) -> None:
        """Take the vocabulary, too, unless a trained model has one."""
        super().adopt(state)
        if isinstance(self._adopted, TextFacts) and self.learns_vocabulary:
            self.tokenizer = self._adopted.tokenizer

    def vocabulary_options(self) -> dict[str, Any] | None:
        """See `BaseTask`."""
        data = getattr(self._trainer, "datamodule", None)
        return data.vocabulary_options() if self.learns_vocabulary and isinstance(data, TextData) else None


def _split(texts: Tensor, counts: list[int]) -> list[np.ndarray]:
    """Divide the embeddings of all texts among the pictures that they belong to."""
    return np.split(texts.detach().float().cpu().numpy(), np.cumsum(counts)[:-1])
