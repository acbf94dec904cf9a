"""Train or fine-tune a vision transformer that names what a picture shows."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from timm.data import Mixup
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models.vit import ViT
from multiattn.weights import ModelBundle, adapt, load_bundle

from .base import BaseTask
from .loading.pictures import ImageBatch
from .optim import Optimization
from .vision import TRAINING_ONLY, preset_config, require_training_only, with_tuples

_PREDICTED = 5
"""Labels of each picture that `predict` writes."""


@dataclass(frozen=True)
class Mixing:
    """How the pictures of a training batch are mixed with each other, and their labels with them."""

    mixup: float = 0.0
    """Alpha of the Beta distribution that a blend's share is drawn from; 0 for none."""

    cutmix: float = 0.0
    """Alpha of the Beta distribution that a pasted box's area is drawn from; 0 for none."""

    probability: float = 1.0
    """That a batch is mixed at all."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        for name in ("mixup", "cutmix"):
            value = getattr(self, name)
            require(0 <= value < math.inf, name, must="at least 0 and finite", value=value)
        require(0 <= self.probability <= 1, "probability", must="from 0 to 1", value=self.probability)


class ClassificationLoss(nn.Module):
    """Cross-entropy with label smoothing and a weight for each class; labels may be indices or shares."""

    def __init__(self, *, label_smoothing: float, weights: Tensor | None) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.weights: Tensor | None
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch, in float32."""
        smoothing = self.label_smoothing if self.training else 0.0
        return F.cross_entropy(logits.float(), target, weight=self.weights, label_smoothing=smoothing)


class ClassifyTask(BaseTask):
    """A vision transformer with one score a class, from scratch or from published weights."""

    model: ViT

    def __init__(
        self,
        *,
        architecture: str = "tiny",
        overrides: dict[str, Any] | None = None,
        pretrained: str | None = None,
        image_size: int | None = None,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        crop_share: float = 1.0,
        label_smoothing: float = 0.0,
        class_weights: Literal["balanced"] | list[float] | None = None,
        mixing: Mixing | None = None,
        optimization: Optimization | None = None,
        compile: bool = False,
    ) -> None:
        """Describe the model and its training; the number of classes comes from the data.

        Args:
            architecture: A preset of `multiattn.models.vit`; unused with `pretrained`.
            overrides: Fields of `ViTConfig` that differ from the preset; with `pretrained`, those that only matter in
                training (dropout, attention_dropout, stochastic_depth).
            pretrained: Start from these weights: a model directory or a hub id in any layout that `multiattn` loads.
                Their preprocessing is kept, the head starts anew where the number of classes differs.
            image_size: Side of the square input in pixels, where it is not the preset's or the pretrained model's.
            mean: Subtracted from red, green and blue (0 to 1); unused with `pretrained`.
            std: Divides them; unused with `pretrained`.
            crop_share: Share of the picture's shorter side that evaluation sees; unused with `pretrained`.
            label_smoothing: Share of each label that is spread over all classes.
            class_weights: `balanced` weighs each class by the inverse of its frequency; or one number a class, in the
                order of the labels.
            mixing: Mixup and CutMix.
            optimization: AdamW and its schedule.
            compile: Compile the model with torch.compile.
        """
        super().__init__(optimization=optimization, compile=compile)
        require(0 <= label_smoothing < 1, "label_smoothing", must="at least 0 and below 1", value=label_smoothing)
        require(0 < crop_share <= 1, "crop_share", must="above 0 and up to 1", value=crop_share)
        require(image_size is None or image_size >= 1, "image_size", must="at least 1", value=image_size)
        self.from_scratch = pretrained is None
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.mixing = mixing or Mixing()
        self.labels: tuple[str, ...] = ()
        self._overrides = with_tuples(overrides)
        self._start: ModelBundle | None = None
        if pretrained is None:
            self._config = preset_config(architecture, self._overrides, image_size)
            size = self._config.image_size
            resize_to = math.floor(min(size) / crop_share)
            self.preprocessing = ImagePreprocessing(size, resize_to, "bicubic", tuple(mean), tuple(std))
        else:
            self._start = load_bundle(pretrained)
            require_training_only(self._overrides, "overrides", source="pretrained")
            self.preprocessing = _at_size(self._start.preprocessing, image_size)

    def build_model(self, data: Any) -> ViT:
        """A ViT with a score for each label of the data."""
        if (self.mixing.mixup or self.mixing.cutmix) and data.batch_size % 2:
            raise ModelError(
                f"`batch_size` must be even with `mixing`, which pairs the pictures of a batch, but is "
                f"{data.batch_size} instead."
            )
        self.labels = data.class_names
        if self._start is None:
            return ViT(replace(self._config, num_classes=len(self.labels)))
        adapted = adapt(self._start.require(ViT), num_classes=len(self.labels), image_size=self.preprocessing.size)
        self._start = None  # its weights are no longer needed
        model = ViT(replace(adapted.config, **self._overrides))
        model.load_state_dict(adapted.state_dict())
        return model

    def build_loss(self, data: Any) -> nn.Module:
        """Cross-entropy."""
        weights: Sequence[float] | None = None
        if self.class_weights == "balanced":
            counts = data.training_records.counts()
            weights = [sum(counts) / (len(counts) * count) for count in counts]
        elif self.class_weights is not None:
            weights = [float(w) for w in self.class_weights]
            if len(weights) != len(self.labels):
                raise ModelError(
                    f"`class_weights` must have a number for each of the {len(self.labels)} classes, but has "
                    f"{len(weights)} instead."
                )
        tensor = None if weights is None else torch.tensor(weights)
        return ClassificationLoss(label_smoothing=self.label_smoothing, weights=tensor)

    def build_metrics(self, data: Any) -> MetricCollection:
        """Share of pictures whose label is the first, and among the first five."""
        classes = len(data.class_names)
        return MetricCollection(
            {
                f"top{k}": MulticlassAccuracy(classes, top_k=min(k, classes), average="micro", validate_args=False)
                for k in (1, 5)
            }
        )

    def shared_step(self, batch: ImageBatch, split: str) -> Tensor | None:
        """Loss of a batch; logs it with the metrics of the split."""
        size = len(batch.labels)
        if size == 0:
            return None
        training = split == "train"
        images, target = batch.images, batch.labels
        if training and (self.mixing.mixup or self.mixing.cutmix):
            images, target = self._mix(images, target)
        logits = self.model(images)
        loss: Tensor = self.loss(logits, target)
        metrics = self.metrics[f"{split}_metrics"]
        metrics.update(logits.detach(), batch.labels)
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=size, prog_bar=not training)
        self.log_loss(loss, split, size=size)
        return loss

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Places in the split, and probabilities (b, classes)."""
        del batch_idx
        return batch.indices.cpu(), self.model(batch.images).float().softmax(dim=-1).cpu()

    def prediction_lines(self, outputs: tuple[Tensor, Tensor]) -> Iterator[tuple[int, dict[str, Any]]]:
        """The first labels with their probabilities."""
        for index, scores in zip(*outputs, strict=True):
            top = scores.topk(min(_PREDICTED, len(scores)))
            found = [
                {"label": self.labels[i], "score": round(score, 6)}
                for score, i in zip(top.values.tolist(), top.indices.tolist(), strict=True)
            ]
            yield int(index), {"predictions": found}

    def bundle(self) -> ModelBundle:
        """The weights as they are now, with labels and preprocessing, on the CPU."""
        config = replace(self.model.config, **dict.fromkeys(TRAINING_ONLY, 0.0))
        model = ViT(config)
        model.load_state_dict(self.weights_now())
        return ModelBundle("classify", model.eval(), self.preprocessing, self.labels)

    def _mix(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch with itself in reverse order; its size must be even."""
        mix = Mixup(
            mixup_alpha=self.mixing.mixup,
            cutmix_alpha=self.mixing.cutmix,
            prob=self.mixing.probability,
            label_smoothing=0.0,  # the loss does it
            num_classes=len(self.labels),
        )
        return mix(images, target)  # type: ignore[no-any-return]


def _at_size(preprocessing: ImagePreprocessing, image_size: int | None) -> ImagePreprocessing:
    """The same preprocessing for another input size: the share of the picture that the model sees stays."""
    if image_size is None:
        return preprocessing
    share = image_size / min(preprocessing.size)
    old = preprocessing.resize_to
    resize_to = round(old * share) if isinstance(old, int) else (image_size, image_size)
    return replace(preprocessing, size=(image_size, image_size), resize_to=resize_to)
