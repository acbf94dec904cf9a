"""Train or fine-tune a captioner: a vision transformer reads the picture, a text decoder writes about it."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from multiattn.checks import require
from multiattn.data.captions import clean_caption
from multiattn.generation import Generated
from multiattn.inputs import Tokenizer
from multiattn.models.captioner import Captioner
from multiattn.weights import ModelBundle

from .caption_loss import TextLoss, shift_targets
from .caption_model import Start, captions_of, context_of, start, teacher_forced, without_dropout
from .caption_scores import logged_scores
from .decoding import options_of
from .loading.caption_batches import CaptionBatch
from .optim import Optimization
from .predictions import Predictions
from .seeding import seed_for
from .self_critical import Rewards, SelfCritical, self_critical_step
from .text_task import TextTask


class CaptionTask(TextTask):
    """A vision transformer and a text decoder, from scratch, from a trained encoder, or a whole captioner."""

    texts = "training captions"
    model: Captioner

    def __init__(
        self,
        *,
        encoder: str | None = None,
        encoder_pretrained: str | None = None,
        encoder_overrides: dict[str, Any] | None = None,
        decoder: dict[str, Any] | None = None,
        pretrained: str | None = None,
        image_size: int | None = None,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        encoder_lr_share: float = 1.0,
        unfreeze_epoch: int = 0,
        label_smoothing: float = 0.0,
        objective: Literal["cross_entropy", "self_critical"] = "cross_entropy",
        self_critical: SelfCritical | None = None,
        decoding: dict[str, Any] | None = None,
        validation_captions: int = 500,
        optimization: Optimization | None = None,
        compile: bool = False,
    ) -> None:
        """Describe the model and its training; the vocabulary comes from the data, or from `pretrained`.

        Args:
            encoder: A preset of `multiattn.models.vit`, from scratch. One of this, `encoder_pretrained` and
                `pretrained` must be given.
            encoder_pretrained: Start from this model's vision transformer: a task's name, a model directory or a hub
                id in any layout that `multiattn` loads, a classifier or a captioner. Its normalization is kept.
            encoder_overrides: Fields of `ViTConfig` that differ from the preset; with weights, those that only matter
                in training (dropout, attention_dropout, stochastic_depth).
            decoder: Fields of `TextDecoderConfig` that differ from its defaults; with `pretrained`, dropout and
                attention_dropout.
            pretrained: A captioner to fine-tune, named as `encoder_pretrained`; its tokenizer, its normalization and
                its decoding options are kept.
            image_size: Side of the square input in pixels, where it is not the preset's or the trained model's. The
                whole picture is resized to it.
            mean: Subtracted from red, green and blue (0 to 1); unused with trained weights.
            std: Divides them; unused with trained weights.
            encoder_lr_share: The encoder learns at this share of the learning rate; 0 freezes it.
            unfreeze_epoch: The encoder is frozen before this epoch (from 0).
            label_smoothing: Share of each true token's probability that is spread over the vocabulary.
            objective: `cross_entropy` of the true captions; or `self_critical`, to fine-tune for CIDEr-D.
            self_critical: How captions are drawn and judged then.
            decoding: Fields of `GenerationConfig` that differ from its defaults, for validation and for whoever loads
                the model; and `prompt`, a text that every caption goes on from.
            validation_captions: Pictures of the validation split that are captioned after each epoch, evenly spread
                over it; 0 for none, then there is only the loss.
            optimization: AdamW and its schedule.
            compile: Compile the teacher-forced pass with torch.compile.
        """
        super().__init__(
            encoder_lr_share=encoder_lr_share,
            unfreeze_epoch=unfreeze_epoch,
            logits=teacher_forced,
            optimization=optimization,
            compile=compile,
        )
        require(0 <= label_smoothing < 1, "label_smoothing", must="at least 0 and below 1", value=label_smoothing)
        require(image_size is None or image_size >= 1, "image_size", must="at least 1", value=image_size)
        require(validation_captions >= 0, "validation_captions", must="at least 0", value=validation_captions)
        self._start: Start | None = start(
            encoder=encoder,
            encoder_pretrained=encoder_pretrained,
            encoder_overrides=encoder_overrides,
            decoder=decoder,
            pretrained=pretrained,
            image_size=image_size,
            mean=mean,
            std=std,
        )
        self.preprocessing = self._start.pictures.preprocessing
        self.tokenizer: Tokenizer | None = self._start.tokenizer
        """Of the captioner that is fine-tuned; None until the data has made one from its captions."""
        self.from_scratch = pretrained is None
        self.label_smoothing = label_smoothing
        self.objective, self.self_critical = objective, self_critical or SelfCritical()
        self.decoding = self._start.decoding | dict(decoding or {})
        self.options = options_of(self.decoding, besides=("prompt",))
        self.validation_captions = validation_captions

    @property
    def prompt(self) -> str:
        """The text that every caption goes on from."""
        return str(self.decoding.get("prompt", ""))

    def build_model(self, data: Any) -> Captioner:
        """A captioner for the data's tokenizer."""
        assert self._start is not None
        self.require_pace(data)
        tokenizer = self.tokenizer = data.tokenizer
        self._prompt_tokens: list[int] = tokenizer.encode(self.prompt)
        model = self._start.build(tokenizer)
        self._start = None  # its weights are no longer needed
        if self.encoder_lr_share == 0:
            model.encoder.requires_grad_(False)
        return model

    def build_loss(self, data: Any) -> nn.Module:
        """Cross-entropy, of which validation tells in either case; and the rewards, where they are the objective."""
        self.rewards: Rewards | None = None
        if self.objective == "self_critical":
            # as the captions are that the model has learnt to write
            tidy = clean_caption if data.clean else str
            self.rewards = Rewards([[tidy(text) for text in texts] for _, texts in data.records("train").items])
        return TextLoss(label_smoothing=self.label_smoothing)

    def build_metrics(self, data: Any) -> MetricCollection:
        """None that grows batch by batch: captions are scored together, when those of the split are written."""
        del data
        return MetricCollection({})

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """As all tasks; and put the parts into the mode of what they do now.

        A frozen encoder is in eval mode. So is everything in self-critical training: without dropout, the model that
        learns is the one that drew the captions.
        """
        super().on_train_batch_start(batch, batch_idx)
        is_taught = self.objective == "cross_entropy"
        self.set_mode(self.model.decoder, is_taught)
        self.set_mode(self.model.encoder, is_taught and not self.encoder_is_frozen)

    def shared_step(self, batch: CaptionBatch, split: str) -> Tensor | None:
        """Loss of a batch; outside of training, captions of some of its pictures, too."""
        if len(batch.indices) == 0:
            return None
        if split == "train" and self.rewards is not None:
            return self._self_critical_loss(batch, self.rewards)
        prompt = torch.tensor(self._prompt_tokens, dtype=torch.int64, device=self.device)
        texts = shift_targets(batch.tokens, batch.attention_mask, prompt=prompt)
        logits = self._logits(
            self.model, batch.images, batch.features, texts.tokens, texts.attention_mask, frozen=self.encoder_is_frozen
        )
        loss: Tensor = self.loss(logits, texts.targets, wanted=texts.wanted)
        self.log_loss(loss, split, size=len(texts.tokens) if split == "train" else int(texts.wanted.sum()))
        if split != "train":
            self._write(batch)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget what was written before."""
        self._written = self._nothing_written("validation", limit=self.validation_captions)

    def on_test_epoch_start(self) -> None:
        """Forget what was written before."""
        self._written = self._nothing_written("test", limit=None)

    def on_validation_epoch_end(self) -> None:
        """Score what was written."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Score what was written."""
        self._log_scores("test")

    def predict_step(self, batch: CaptionBatch, batch_idx: int) -> tuple[list[int], list[Generated]]:
        """Places in the split, and a caption for each."""
        del batch_idx
        if len(batch.indices) == 0:
            return [], []
        return batch.indices.tolist(), self._captions(self._context(batch))

    def prediction_lines(self, outputs: tuple[list[int], list[Generated]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """The caption with its score."""
        for place, caption in zip(*outputs, strict=True):
            yield place, {"text": self._text(caption), "score": round(caption.score, 6)}

    def bundle(self) -> ModelBundle:
        """The weights as they are now, with tokenizer, preprocessing and decoding options, on the CPU."""
        model = Captioner(without_dropout(self.model.config))
        model.load_state_dict(self.weights_now())
        return ModelBundle(
            "caption", model.eval(), self.preprocessing, tokenizer=self.tokenizer, decoding=self.decoding
        )

    @property
    def opening(self) -> list[int]:
        """The tokens that every caption goes on from: the start token, and the prompt."""
        return [self.model.decoder.config.start_token, *self._prompt_tokens]

    def captions(self, images: Tensor) -> list[Generated]:
        """A caption for each of these normalized pictures (b, 3, H, W)."""
        return self._captions(context_of(self.model, images, None, frozen=True))

    def _context(self, batch: CaptionBatch) -> Tensor:
        """What the decoder attends to, of each picture (b, m, C)."""
        return context_of(self.model, batch.images, batch.features, frozen=self.encoder_is_frozen)

    def _captions(self, context: Tensor) -> list[Generated]:
        """A caption of each picture; where it is sampled, the same one each time."""
        generator = torch.Generator(self.device).manual_seed(self.seed) if self.options.sample else None
        return captions_of(self.model.decoder, context, self._prompt_tokens, self.options, generator=generator)

    def _text(self, caption: Generated) -> str:
        assert self.tokenizer is not None
        return self.tokenizer.decode(caption.tokens)

    def _nothing_written(self, split: str, *, limit: int | None) -> Predictions:
        size = len(self.trainer.datamodule.records(split).items)  # type: ignore[attr-defined]
        return Predictions(size, limit=limit, score=logged_scores)

    def _write(self, batch: CaptionBatch) -> None:
        """Caption those pictures of a batch that are to be captioned."""
        rows = [row for row, place in enumerate(batch.indices.tolist()) if self._written.wants(place)]
        if not rows:
            return
        chosen = torch.tensor(rows, device=self.device)
        images = None if batch.images is None else batch.images[chosen]
        features = None if batch.features is None else batch.features[chosen]
        context = context_of(self.model, images, features, frozen=True)
        for row, caption in zip(rows, self._captions(context), strict=True):
            self._written.add(int(batch.indices[row]), self._text(caption), batch.texts[row])

    def _log_scores(self, split: str) -> None:
        for name, score in self._written.scores().items():
            # of all processes already, and the same in each
            self.log(f"{split}/{name}", score, prog_bar=name == "cider", rank_zero_only=False)

    def _self_critical_loss(self, batch: CaptionBatch, rewards: Rewards) -> Tensor:
        """A loss whose gradient raises the expected CIDEr-D of the captions of these pictures."""
        found = self_critical_step(
            self.model.decoder,
            self._context(batch),
            self._prompt_tokens,
            places=batch.indices.tolist(),
            rewards=rewards,
            settings=self.self_critical,
            max_tokens=self.options.max_tokens,
            text_of=self._text,
            # `on_train_batch_start` has seeded torch for this step
            generator=torch.Generator(self.device).manual_seed(seed_for(torch.initial_seed())),
        )
        size = len(batch.indices)
        self.log_loss(found.loss, "train", size=size)
        self.log("train/reward", found.reward, prog_bar=True, batch_size=size, sync_dist=True)
        return found.loss
