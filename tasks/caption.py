"""Train or fine-tune a captioner: a vision transformer encodes the image, a text decoder writes the caption."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from multiattn.generation import Generated
from multiattn.inputs import ImagePreprocessing
from multiattn.models.captioner import Captioner

from .caption_model import CaptionStart, teacher_forced
from .contracts import ImageTextNeeds, TextFacts, TokenFormat
from .freezing import set_mode
from .loading.caption_batches import CaptionBatch
from .losses import TextLoss, shift_targets
from .metrics import score_captions
from .optim import Optimization
from .parts import VisionEncoder
from .seeding import seed_for
from .self_critical import Rewards, SelfCritical, self_critical_step
from .text_task import WritingTask, image_context


class CaptionTask(WritingTask[CaptionBatch, ImageTextNeeds, Captioner]):
    """A vision transformer and a text decoder, from scratch, from a trained encoder, or a whole captioner."""

    task = "caption"
    shown_scores = ("cider",)
    score = staticmethod(score_captions)
    preprocessing: ImagePreprocessing

    def __init__(
        self,
        *,
        vision: VisionEncoder | None = None,
        decoder: dict[str, Any] | None = None,
        pretrained: str | None = None,
        label_smoothing: float = 0.0,
        objective: Literal["cross_entropy", "self_critical"] = "cross_entropy",
        self_critical: SelfCritical | None = None,
        decoding: dict[str, Any] | None = None,
        validation_texts: int = 500,
        optimization: Optimization | None = None,
        compile: bool = False,
        checkpoint_activations: bool = False,
    ) -> None:
        """Describe the model and its training; the vocabulary comes from the data, or from `pretrained`.

        Args:
            vision: The encoder. The whole image is resized to its input size.
            decoder: Fields of `TextDecoderConfig` that differ from its defaults; with `pretrained`, dropout and
                attention_dropout.
            pretrained: A captioner to fine-tune: a task's name, a model directory or a hub id in any layout that
                `multiattn` loads. Its tokenizer, normalization and decoding options are kept.
            label_smoothing: Share of each true token's probability that is spread over the vocabulary.
            objective: `cross_entropy` of the true captions; or `self_critical`, to fine-tune for CIDEr-D.
            self_critical: How captions are drawn and judged then.
            decoding: Fields of `GenerationConfig` that differ from its defaults, for validation and in the saved
                model; and `prompt`, a text that every caption continues.
            validation_texts: Images of the validation split that are captioned after each epoch, evenly spread over
                it; 0 for none, then there is only the loss.
            optimization: AdamW and its schedule.
            compile: Compile the teacher-forced pass with torch.compile.
            checkpoint_activations: Keep only each block's input for the backward pass and compute the rest again
                there: much less memory, for a third more time.
        """
        vision = vision or VisionEncoder()
        start = CaptionStart.of(vision, decoder, pretrained, models=self.trained_models)
        super().__init__(
            start,
            pace=vision,
            forward_pass=teacher_forced,
            decoding=decoding,
            label_smoothing=label_smoothing,
            validation_texts=validation_texts,
            optimization=optimization,
            compile=compile,
            checkpoint_activations=checkpoint_activations,
        )
        self.preprocessing = start.preprocessing
        self.from_scratch = pretrained is None
        self.objective, self.self_critical = objective, self_critical or SelfCritical()

    def needs(self) -> ImageTextNeeds:
        """See `BaseTask`."""
        if self.model is None:
            return ImageTextNeeds(self.tokenizer, preprocessing=self.preprocessing)
        text = TokenFormat.of_config(self.model.decoder.config, opening=self.opening[1:])
        return ImageTextNeeds(self.tokenizer, text, self.model.encoder, self.preprocessing)

    def build_model(self, facts: TextFacts) -> Captioner:
        """See `WritingTask`."""
        model = super().build_model(facts)
        prompt = facts.tokenizer.encode(str(self.decoding.get("prompt", "")))
        self.opening = [model.decoder.config.start_token, *prompt]
        return model

    def build_loss(self, facts: TextFacts) -> nn.Module:
        """Cross-entropy, which validation logs in either case; and the rewards, where they are the objective."""
        self.rewards = Rewards(facts.references()) if self.objective == "self_critical" else None
        return TextLoss(label_smoothing=self.label_smoothing)

    def on_train_batch_start(self, batch: CaptionBatch, batch_idx: int) -> None:
        """Seed the step, and set the mode of the parts.

        A frozen encoder is in eval mode. So is everything in self-critical training: without dropout, the model that
        learns is the one that drew the captions.
        """
        super().on_train_batch_start(batch, batch_idx)
        has_dropout = self.objective == "cross_entropy"
        set_mode(self.model.decoder, has_dropout)
        set_mode(self.model.encoder, has_dropout and not self.encoder_is_frozen)

    def batch_loss(self, batch: CaptionBatch, split: str) -> Tensor:
        """Cross-entropy of the captions; or, in self-critical training, of captions that the model has drawn."""
        if split == "train" and self.rewards is not None:
            return self._self_critical_loss(batch, self.rewards)
        texts = shift_targets(batch.tokens, batch.attention_mask, prompt=self.opening[1:])
        logits = self._pass(
            self.model,
            batch.images,
            batch.features,
            texts.tokens,
            texts.attention_mask,
            frozen=self.encoder_is_frozen,
            checkpoint_activations=self.checkpoint_activations,
        )
        loss: Tensor = self.loss(logits, texts.targets, wanted=texts.wanted)
        self.log_loss(loss, split, size=len(texts.tokens) if split == "train" else int(texts.wanted.sum()))
        return loss

    def context(self, batch: CaptionBatch, rows: Sequence[int]) -> Tensor:
        """See `WritingTask`: (b, m, C)."""
        images = None if batch.images is None else batch.images[list(rows)]
        features = None if batch.features is None else batch.features[list(rows)]
        return image_context(self.model, images, features, frozen=True)

    def references(self, batch: CaptionBatch) -> Sequence[Sequence[str]]:
        """See `WritingTask`."""
        return batch.texts

    def captions(self, images: Tensor) -> list[Generated]:
        """A caption for each of these normalized images (b, 3, H, W)."""
        return self.decode(image_context(self.model, images, None, frozen=True))

    def _self_critical_loss(self, batch: CaptionBatch, rewards: Rewards) -> Tensor:
        """A loss whose gradient raises the expected CIDEr-D of the captions of these images."""
        context = image_context(
            self.model,
            batch.images,
            batch.features,
            frozen=self.encoder_is_frozen,
            checkpoint_activations=self.checkpoint_activations,
        )
        step = self_critical_step(
            self.model.decoder,
            context,
            self.opening,
            indices=batch.indices.tolist(),
            rewards=rewards,
            settings=self.self_critical,
            max_tokens=self.options.max_tokens,
            text_of=self.text_of,
            # `on_train_batch_start` has seeded torch for this step
            generator=torch.Generator(self.device).manual_seed(seed_for(torch.initial_seed())),
            checkpoint_activations=self.checkpoint_activations,
        )
        size = len(batch.indices)
        self.log_loss(step.loss, "train", size=size)
        self.log("train/reward", step.reward, prog_bar=True, batch_size=size, sync_dist=True)
        return step.loss
