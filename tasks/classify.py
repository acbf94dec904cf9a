"""Train or fine-tune a vision transformer that classifies images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from multiattn.blocks import applied
from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models import ScoreFunction, scores_of
from multiattn.models.vit import ViT
from multiattn.weights import ModelBundle, adapt

from .base import BaseTask, Prediction
from .contracts import ClassifyFacts, ClassifyNeeds
from .freezing import freeze, frozen_modules, require_every_gradient, set_mode
from .loading.pictures import ImageBatch
from .losses import SmoothedLoss
from .metrics import EXAMPLES, MacroAccuracy, Predictions
from .mixing import Mixing, mixed
from .multi_label import MultiLabelLoss, MultiLabelMetric, named_labels
from .optim import Optimization
from .parts import VisionSource, check_trainable, require_training_only, with_tuples

_PREDICTED = 5
"""Labels of each image that `predict` writes."""


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
        frozen: list[str] | None = None,
        crop_share: float = 1.0,
        label_smoothing: float = 0.0,
        class_weights: Literal["balanced"] | list[float] | None = None,
        threshold: float = 0.5,
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
            frozen: Parts whose weights keep their values: names of parts of the model, with `*` for any, e.g. `stem`
                and `blocks.[0-5]`. With `vision.lr_share: 0` all but the head do, which is a linear probe.
            crop_share: Share of the image's shorter side that evaluation sees; unused with `pretrained`.
            label_smoothing: Share of each label that is spread over all classes.
            class_weights: `balanced` weighs each class by the inverse of its frequency; or a number for each class, in
                the order of the labels. Where a picture has several labels or none, it is the weight of a label's
                pictures against the others'. Only the training loss has weights.
            threshold: The probability from which on a label counts as found in validation, where a picture has
                several labels or none.
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
        self.pace, self.frozen = vision, tuple(frozen or ())
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        require(0 < threshold < 1, "threshold", must="above 0 and below 1", value=threshold)
        self.threshold, self.is_multi_label = threshold, False
        self.mixing = mixing or Mixing()
        self._overrides = with_tuples(vision.overrides)
        self._start: ModelBundle | None = None
        if pretrained is None:
            self._config = vision.config(vision.preset or "tiny")
            size = self._config.image_size
            self.preprocessing = vision.preprocessing(size, math.floor(min(size) / crop_share))
        else:
            self._start = self.trained_models.bundle(pretrained)
            check_trainable(self._start.pictures, source="pretrained")
            require_training_only(self._overrides, "vision.overrides", source="pretrained")
            self.preprocessing = _at_size(self._start.pictures, vision.image_size)

    def needs(self) -> ClassifyNeeds:
        """See `BaseTask`."""
        adopted = self._adopted
        return ClassifyNeeds(self.preprocessing, adopted.labels if isinstance(adopted, ClassifyFacts) else None)

    def build_model(self, facts: ClassifyFacts) -> ViT:
        """A vision transformer with a score for each label of the data."""
        if self.mixing.is_on and facts.batch_size % 2:
            raise ModelError(
                f"`batches.size` must be even with `mixing`, which pairs the images of a batch, but is "
                f"{facts.batch_size} instead."
            )
        self.labels, self.is_multi_label = facts.labels, facts.multi_label_items is not None
        if self.is_multi_label and self.mixing.is_on:
            raise ModelError("`mixing` must be left out where a picture has several labels or none.")
        if self._start is None:
            return self._frozen(ViT(replace(self._config, num_classes=len(self.labels))))
        adapted = adapt(self._start.require(ViT), num_classes=len(self.labels), image_size=self.preprocessing.size)
        self._start = None  # its weights are no longer needed
        model = ViT(replace(adapted.config, **self._overrides))
        model.load_state_dict(adapted.state_dict())
        return self._frozen(model)

    def _frozen(self, model: ViT) -> ViT:
        """A model of which the parts that the options name do not learn."""
        if self.pace.lr_share == 0:
            for name, weight in model.named_parameters():
                weight.requires_grad_(name.startswith("head."))
        freeze(model, self.frozen)
        if self._trainer is not None:
            require_every_gradient(self._trainer, self.pace)
        return model

    def fresh_parts(self) -> tuple[str, ...]:
        """The head, whose classes are the data's."""
        return ("head",)

    def lr_shares(self) -> Mapping[str, float]:
        """The share of all but the head."""
        parts = dict.fromkeys(name.partition(".")[0] for name, _ in self.model.named_parameters())
        return {part: self.pace.lr_share for part in parts if part != "head"} if self.pace.lr_share != 1 else {}

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether nothing but the head learns at present."""
        return self.pace.is_frozen(self.current_epoch)

    def on_train_batch_start(self, batch: ImageBatch, batch_idx: int) -> None:
        """Seed the step, and keep what is frozen in eval mode: its dropout is off, its statistics stay."""
        super().on_train_batch_start(batch, batch_idx)
        for part in self.model.children():
            if part is not self.model.head and self.encoder_is_frozen:
                set_mode(part, False)
            elif not part.training:
                part.train()
        for part in frozen_modules(self.model, self.frozen):
            set_mode(part, False)

    def bundle(self) -> ModelBundle:
        """See `BaseTask`; the scores of several labels are a probability each."""
        bundle = super().bundle()
        if self.is_multi_label:
            bundle.score_function = "sigmoid"
        return bundle

    def build_loss(self, facts: ClassifyFacts) -> nn.Module:
        """Cross-entropy; binary for each label where a picture has several or none."""
        weights: Sequence[float] | None = None
        if facts.balanced and self.class_weights is not None:
            raise ModelError(
                "`class_weights` must be left out where `data.balanced` draws each class equally often, but is "
                f"{self.class_weights!r} instead: both together would favor rare classes twice."
            )
        items = facts.multi_label_items
        if self.class_weights == "balanced" and items is not None:
            weights = [(items - count) / max(1, count) for count in facts.counts]
        elif self.class_weights == "balanced":
            weights = [sum(facts.counts) / (len(facts.counts) * count) for count in facts.counts]
        elif self.class_weights is not None:
            weights = [float(w) for w in self.class_weights]
            if len(weights) != len(self.labels):
                raise ModelError(
                    f"`class_weights` must have a number for each of the {len(self.labels)} classes, but has "
                    f"{len(weights)} instead."
                )
        tensor = None if weights is None else torch.tensor(weights)
        kind = MultiLabelLoss if items is not None else ClassificationLoss
        return kind(label_smoothing=self.label_smoothing, weights=tensor)

    def build_metrics(self, facts: ClassifyFacts) -> MetricCollection:
        """Top-1 and top-5 accuracy, and the mean of the classes' accuracies; or mean average precision and F1."""
        classes = len(facts.labels)
        if facts.multi_label_items is not None:
            names = ("map", "f1_macro", "f1_micro")
            return MetricCollection({name: MultiLabelMetric(name, threshold=self.threshold) for name in names})
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
            images, target = mixed(images, target, self.mixing, classes=len(self.labels))
        logits = self._logits(images)
        loss: Tensor = self.loss(logits, target)
        metrics = self.metrics[f"{split}_metrics"]
        assert isinstance(metrics, MetricCollection)
        if not (training and self.mixing.is_on):  # a mixed image has several labels
            metrics.update(logits.detach(), batch.labels)
            self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=size, prog_bar=not training)
        self.log_loss(loss, split, size=size)
        if self.is_multi_label and split == "val":
            self._keep_examples(batch, logits)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start to collect examples of several labels; those of one are counted (`ClassScores`)."""
        if self.is_multi_label:
            self.predictions = Predictions(self.data.size("validation"), limit=EXAMPLES, score=lambda *_: {})

    def on_validation_epoch_end(self) -> None:
        """Choose the examples that a report shows, too."""
        super().on_validation_epoch_end()
        if self.is_multi_label:
            self.predictions.scores()

    def _keep_examples(self, batch: ImageBatch, logits: Tensor) -> None:
        """Keep what the model says of some of the pictures."""
        indices = batch.indices.tolist()
        for row in (row for row, index in enumerate(indices) if self.predictions.wants(index)):
            told = logits[row].float().sigmoid() >= self.threshold
            references = [named_labels(self.labels, batch.labels[row] > 0)]
            self.predictions.add(indices[row], named_labels(self.labels, told), references)

    def _logits(self, images: Tensor) -> Tensor:
        """The scores of a batch (b, classes); what is frozen for some epochs only runs without a gradient in them."""
        if not (self.pace.unfreeze_epoch and self.encoder_is_frozen):
            return self.model(images, checkpoint_activations=self.checkpoint_activations)  # type: ignore[no-any-return]
        with torch.no_grad():
            pooled = self.model.pooled(images)
        return applied(self.model.head, pooled)

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> list[Prediction]:
        """The first labels of each image, with their probabilities."""
        function: ScoreFunction = "sigmoid" if self.is_multi_label else "softmax"
        top = scores_of(self.model(batch.images), function).topk(min(_PREDICTED, len(self.labels)))
        return [
            (
                index,
                {"predictions": [{"label": self.labels[i], "score": round(s, 6)} for i, s in zip(*row, strict=True)]},
            )
            for index, *row in zip(batch.indices.tolist(), top.indices.tolist(), top.values.tolist(), strict=True)
        ]


def _at_size(preprocessing: ImagePreprocessing, image_size: int | None) -> ImagePreprocessing:
    """The same preprocessing for another input size, which sees the same share of the image."""
    if image_size is None:
        return preprocessing
    share = image_size / min(preprocessing.size)
    old = preprocessing.resize_to
    resize_to = round(old * share) if isinstance(old, int) else (image_size, image_size)
    return replace(preprocessing, size=(image_size, image_size), resize_to=resize_to)
