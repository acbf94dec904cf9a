"""Train or fine-tune a vision transformer that classifies images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from timm.data.mixup import Mixup
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from multiattn.checks import require, require_each
from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models.vit import ViT
from multiattn.weights import ModelBundle, adapt, load_bundle

from .base import BaseTask, Prediction
from .contracts import ClassifyFacts, ClassifyNeeds
from .loading.pictures import ImageBatch
from .losses import SmoothedLoss
from .metrics import MacroAccuracy
from .optim import Optimization
from .parts import VisionSource, check_trainable, require_training_only, with_tuples

_PREDICTED = 5
"""Labels of each image that `predict` writes."""


@dataclass(frozen=True)
class Mixing:
    """How the images of a training batch are mixed with each other, and their labels with them."""

    mixup: float = 0.0
    """Alpha of the Beta distribution from which a blend's share is drawn; 0 for none."""

    cutmix: float = 0.0
    """Alpha of the Beta distribution from which a pasted box's area is drawn; 0 for none."""

    probability: float = 1.0
    """Probability that a batch is mixed at all."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        require_each({"mixup": self.mixup, "cutmix": self.cutmix}, finite=True)
        require(0 <= self.probability <= 1, "probability", must="from 0 to 1", value=self.probability)

    @property
    def is_on(self) -> bool:
        """Whether anything is mixed."""
        return self.mixup > 0 or self.cutmix > 0


class ClassificationLoss(SmoothedLoss):
    """Cross-entropy with label smoothing and a weight for each class; labels may be indices or shares."""

    def __init__(self, *, label_smoothing: float, weights: Tensor | None) -> None:
        super().__init__(label_smoothing=label_smoothing)
        self.weights: Tensor | None
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch, in float32; only in training weighted by class, and smoothed."""
        weights = self.weights if self.training else None
        return F.cross_entropy(logits.float(), target, weight=weights, label_smoothing=self.smoothing)


class ClassifyTask(BaseTask[ImageBatch, ClassifyNeeds, ClassifyFacts]):
    """A vision transformer with a score for each class, from scratch or from published weights."""

    task = "classify"
    facts_type = ClassifyFacts
    model: ViT
    preprocessing: ImagePreprocessing

    def __init__(
        self,
        *,
        vision: VisionSource | None = None,
        pretrained: str | None = None,
        crop_share: float = 1.0,
        label_smoothing: float = 0.0,
        class_weights: Literal["balanced"] | list[float] | None = None,
        mixing: Mixing | None = None,
        optimization: Optimization | None = None,
        compile: bool = False,
        checkpoint_activations: bool = False,
    ) -> None:
        """Describe the model and its training; the number of classes comes from the data.

        Args:
            vision: The vision transformer; with `pretrained`, what differs from it. The preset is `tiny` where none is
                given.
            pretrained: Start from these weights: a model directory or a hub id in any layout that `multiattn` loads.
                Their preprocessing is kept, the head starts anew where the number of classes differs.
            crop_share: Share of the image's shorter side that evaluation sees; unused with `pretrained`.
            label_smoothing: Share of each label that is spread over all classes.
            class_weights: `balanced` weighs each class by the inverse of its frequency; or a number for each class, in
                the order of the labels. Only the training loss has weights.
            mixing: Mixup and CutMix.
            optimization: AdamW and its schedule.
            compile: Compile the model with torch.compile.
            checkpoint_activations: Keep only each block's input for the backward pass and compute the rest again
                there: much less memory, for a third more time.
        """
        super().__init__(optimization=optimization, compile=compile, checkpoint_activations=checkpoint_activations)
        vision = vision or VisionSource()
        require(0 <= label_smoothing < 1, "label_smoothing", must="at least 0 and below 1", value=label_smoothing)
        require(0 < crop_share <= 1, "crop_share", must="above 0 and up to 1", value=crop_share)
        self.from_scratch = pretrained is None
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.mixing = mixing or Mixing()
        self._overrides = with_tuples(vision.overrides)
        self._start: ModelBundle | None = None
        if pretrained is None:
            self._config = vision.config(vision.preset or "tiny")
            size = self._config.image_size
            self.preprocessing = vision.preprocessing(size, math.floor(min(size) / crop_share))
        else:
            self._start = load_bundle(pretrained)
            check_trainable(self._start.pictures, source="pretrained")
            require_training_only(self._overrides, "vision.overrides", source="pretrained")
            self.preprocessing = _at_size(self._start.pictures, vision.image_size)

    def needs(self) -> ClassifyNeeds:
        """See `BaseTask`."""
        return ClassifyNeeds(self.preprocessing, tuple(self._state["labels"]) if self._state else None)

    def build_model(self, facts: ClassifyFacts) -> ViT:
        """A vision transformer with a score for each label of the data."""
        if self.mixing.is_on and facts.batch_size % 2:
            raise ModelError(
                f"`batches.size` must be even with `mixing`, which pairs the images of a batch, but is "
                f"{facts.batch_size} instead."
            )
        self.labels = facts.labels
        if self._start is None:
            return ViT(replace(self._config, num_classes=len(self.labels)))
        adapted = adapt(self._start.require(ViT), num_classes=len(self.labels), image_size=self.preprocessing.size)
        self._start = None  # its weights are no longer needed
        model = ViT(replace(adapted.config, **self._overrides))
        model.load_state_dict(adapted.state_dict())
        return model

    def build_loss(self, facts: ClassifyFacts) -> nn.Module:
        """Cross-entropy."""
        weights: Sequence[float] | None = None
        if facts.balanced and self.class_weights is not None:
            raise ModelError(
                "`class_weights` must be left out where `data.balanced` draws each class equally often, but is "
                f"{self.class_weights!r} instead: both together would favor rare classes twice."
            )
        if self.class_weights == "balanced":
            weights = [sum(facts.counts) / (len(facts.counts) * count) for count in facts.counts]
        elif self.class_weights is not None:
            weights = [float(w) for w in self.class_weights]
            if len(weights) != len(self.labels):
                raise ModelError(
                    f"`class_weights` must have a number for each of the {len(self.labels)} classes, but has "
                    f"{len(weights)} instead."
                )
        tensor = None if weights is None else torch.tensor(weights)
        return ClassificationLoss(label_smoothing=self.label_smoothing, weights=tensor)

    def build_metrics(self, facts: ClassifyFacts) -> MetricCollection:
        """Top-1 and top-5 accuracy, and the mean of the classes' accuracies."""
        classes = len(facts.labels)
        accuracies: dict[str, Metric | MetricCollection] = {
            f"top{k}": MulticlassAccuracy(classes, top_k=min(k, classes), average="micro", validate_args=False)
            for k in (1, 5)
        }
        return MetricCollection(accuracies | {"macro_accuracy": MacroAccuracy(classes)}, compute_groups=False)

    def shared_step(self, batch: ImageBatch, split: str) -> Tensor | None:
        """Compute and log the loss and the metrics of a batch."""
        size = len(batch.labels)
        if size == 0:
            return None
        training = split == "train"
        images, target = batch.images, batch.labels
        if training and self.mixing.is_on:
            images, target = self._mix(images, target)
        logits = self.model(images, checkpoint_activations=self.checkpoint_activations)
        loss: Tensor = self.loss(logits, target)
        metrics = self.metrics[f"{split}_metrics"]
        assert isinstance(metrics, MetricCollection)
        if not (training and self.mixing.is_on):  # a mixed image has several labels
            metrics.update(logits.detach(), batch.labels)
            self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=size, prog_bar=not training)
        self.log_loss(loss, split, size=size)
        return loss

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> list[Prediction]:
        """The first labels of each image, with their probabilities."""
        top = self.model(batch.images).float().softmax(dim=-1).topk(min(_PREDICTED, len(self.labels)))
        return [
            (
                index,
                {"predictions": [{"label": self.labels[i], "score": round(s, 6)} for i, s in zip(*row, strict=True)]},
            )
            for index, *row in zip(batch.indices.tolist(), top.indices.tolist(), top.values.tolist(), strict=True)
        ]

    def _mix(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch with itself in reverse order; its size must be even."""
        make: Callable[..., Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = Mixup
        mix = make(
            mixup_alpha=self.mixing.mixup,
            cutmix_alpha=self.mixing.cutmix,
            prob=self.mixing.probability,
            label_smoothing=0.0,  # the loss does it
            num_classes=len(self.labels),
        )
        return mix(images, target)


def _at_size(preprocessing: ImagePreprocessing, image_size: int | None) -> ImagePreprocessing:
    """The same preprocessing for another input size, which sees the same share of the image."""
    if image_size is None:
        return preprocessing
    share = image_size / min(preprocessing.size)
    old = preprocessing.resize_to
    resize_to = round(old * share) if isinstance(old, int) else (image_size, image_size)
    return replace(preprocessing, size=(image_size, image_size), resize_to=resize_to)
