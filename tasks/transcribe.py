"""Train or fine-tune a recognizer: a speech encoder reads a recording, a text decoder writes what is said."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from multiattn.attention import ProjectedContext
from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.generation import Generated
from multiattn.inputs import SpeechTokens, Tokenizer
from multiattn.metrics.speech import Normalizer, normalizer_of
from multiattn.models.speech import SpeechRecognizer
from multiattn.weights import ModelBundle

from .caption_loss import shift_targets
from .decoding import options_of
from .loading.speech_batches import SpeechBatch
from .optim import Optimization
from .predictions import Predictions
from .spec_augment import SpecAugment, spec_augment
from .text_task import TextTask
from .transcribe_loss import TranscribeLoss
from .transcribe_model import (
    NO_OPTIONS,
    SpeechStart,
    Vocabulary,
    encoded_of,
    start,
    teacher_forced,
    transcripts_of,
    without_dropout,
)
from .transcribe_scores import wer_and_cer


class TranscribeTask(TextTask):
    """A speech encoder and a text decoder, from scratch, or trained ones with their own or with a new vocabulary."""

    texts = "training texts"
    model: SpeechRecognizer

    def __init__(
        self,
        *,
        architecture: str | None = None,
        pretrained: str | None = None,
        vocabulary: Vocabulary = "own",
        encoder: dict[str, Any] | None = None,
        decoder: dict[str, Any] | None = None,
        context: Literal["all", "real"] | None = None,
        preprocessing: dict[str, Any] | None = None,
        ctc_weight: float = 0.0,
        label_smoothing: float = 0.0,
        spec_augment: SpecAugment | None = None,
        encoder_lr_share: float = 1.0,
        unfreeze_epoch: int = 0,
        language: str | None = None,
        decoding: dict[str, Any] | None = None,
        normalizer: Normalizer = "english",
        validation_transcripts: int = 500,
        optimization: Optimization | None = None,
        compile: bool = False,
    ) -> None:
        """Describe the model and its training; the vocabulary comes from the data, or from `pretrained`.

        Args:
            architecture: A preset of `multiattn.models.speech`, from scratch. Either this or `pretrained` must be
                given.
            pretrained: Start from this model: a task's name, a model directory or a hub id in any layout that
                `multiattn` loads, Whisper's among them.
            vocabulary: With `pretrained`: `own` keeps the model's vocabulary, `new` learns one from the data, and only
                the embedding starts anew.
            encoder: Fields of `SpeechEncoderConfig` that differ from the preset; with `pretrained`, those that only
                matter in training (dropout, attention_dropout, stochastic_depth).
            decoder: Fields of `TextDecoderConfig` that differ from the preset; with `pretrained`, dropout and
                attention_dropout.
            context: What the decoder attends to: `all` frames, as Whisper does, or only the `real` ones, where that is
                not as the preset or the trained model has it.
            preprocessing: Fields of `AudioPreprocessing` that differ from its defaults, of which `pad_to` is None here,
                so that a short recording is short work; with `pretrained`, `pad_to` and `max_seconds`.
            ctc_weight: Share of the CTC loss of a head over the encoder; 0 for a model without one.
            label_smoothing: Share of each true token's probability that is spread over the vocabulary.
            spec_augment: What is hidden of the features in training; nothing where not given.
            encoder_lr_share: The encoder learns at this share of the learning rate; 0 freezes it.
            unfreeze_epoch: The encoder is frozen before this epoch (from 0).
            language: Of the recordings, for a model that knows several.
            decoding: Fields of `GenerationConfig` that differ from its defaults, for validation and for whoever loads
                the model. `max_tokens` is what the decoder has positions for where it is not stated.
            normalizer: What is done to transcripts and texts before they are compared (`multiattn.metrics.speech`).
            validation_transcripts: Recordings of the validation split that are transcribed after each epoch, evenly
                spread over it; 0 for none, then there is only the loss.
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
        require(0 <= ctc_weight < 1, "ctc_weight", must="at least 0 and below 1", value=ctc_weight)
        require(0 <= label_smoothing < 1, "label_smoothing", must="at least 0 and below 1", value=label_smoothing)
        require(validation_transcripts >= 0, "validation_transcripts", must="at least 0", value=validation_transcripts)
        normalizer_of(normalizer)
        self._start: SpeechStart | None = start(
            architecture=architecture,
            pretrained=pretrained,
            vocabulary=vocabulary,
            encoder=encoder,
            decoder=decoder,
            context=context,
            ctc=ctc_weight > 0,
            preprocessing=preprocessing,
        )
        self.preprocessing = self._start.preprocessing
        self.tokenizer: Tokenizer | None = self._start.tokenizer
        """Of the model that is fine-tuned; None until the data has made one from its texts."""
        self.max_length = self._start.config.decoder.max_length
        """Tokens a text may have, special ones included."""
        self.from_scratch = not self._start.keeps_vocabulary
        self.ctc_weight, self.label_smoothing = ctc_weight, label_smoothing
        self.spec_augment = spec_augment
        self.language = language
        self.decoding = self._start.decoding | dict(decoding or {})
        self.options = options_of(self.decoding, besides=NO_OPTIONS, max_tokens=self.max_length)
        self.normalizer: Normalizer = normalizer
        self.validation_transcripts = validation_transcripts

    def build_model(self, data: Any) -> SpeechRecognizer:
        """A recognizer for the data's tokenizer."""
        assert self._start is not None
        self.require_pace(data)
        if data.features is not None and self.spec_augment is not None:
            raise ModelError(
                "`spec_augment` must not come with `features`: what the encoder makes of a recording is computed once. "
                "Leave one of them out."
            )
        self.tokenizer = data.tokenizer
        model = self._start.build(data.tokenizer)
        self._start = None  # its weights are no longer needed
        self.opening = self._opening(model)
        if self.encoder_lr_share == 0:
            model.encoder.requires_grad_(False)
        return model

    def build_loss(self, data: Any) -> nn.Module:
        """Cross-entropy and CTC."""
        del data
        config = self.model.config.decoder
        return TranscribeLoss(
            ctc_weight=self.ctc_weight,
            label_smoothing=self.label_smoothing,
            blank=config.pad_token,
            end=config.end_token,
        )

    def build_metrics(self, data: Any) -> MetricCollection:
        """None that grows batch by batch: transcripts are scored together, when those of the split are written."""
        del data
        return MetricCollection({})

    def shared_step(self, batch: SpeechBatch, split: str) -> Tensor | None:
        """Loss of a batch; outside of training, transcripts of some of its recordings, too."""
        if len(batch.indices) == 0:
            return None
        features = batch.features
        if split == "train" and self.spec_augment is not None and features is not None:
            features = spec_augment(features, batch.lengths, self.spec_augment)
        prompt = torch.tensor(self.opening[1:], dtype=torch.int64, device=self.device)
        texts = shift_targets(batch.tokens, batch.attention_mask, prompt=prompt)
        heard = self._logits(
            self.model,
            features,
            batch.encoded,
            batch.lengths,
            texts.tokens,
            texts.attention_mask,
            frozen=self.encoder_is_frozen,
        )
        found = self.loss(heard, texts, frames=self.model.encoder.frames(batch.lengths))
        size = len(batch.indices) if split == "train" else int(texts.wanted.sum())
        self.log_loss(found.total, split, size=size)
        if split == "train" and found.ctc is not None:
            self.log("train/ctc_loss", found.ctc.detach(), batch_size=size, sync_dist=True)
        if split != "train":
            self._write(batch)
        return found.total  # type: ignore[no-any-return]

    def on_validation_epoch_start(self) -> None:
        """Forget what was written before."""
        self._written = self._nothing_written("validation", limit=self.validation_transcripts)

    def on_test_epoch_start(self) -> None:
        """Forget what was written before."""
        self._written = self._nothing_written("test", limit=None)

    def on_validation_epoch_end(self) -> None:
        """Score what was written."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Score what was written."""
        self._log_scores("test")

    def predict_step(self, batch: SpeechBatch, batch_idx: int) -> tuple[list[int], list[Generated]]:
        """Places in the split, and a transcript for each."""
        del batch_idx
        if len(batch.indices) == 0:
            return [], []
        return batch.indices.tolist(), self._transcripts(batch, list(range(len(batch.indices))))

    def prediction_lines(self, outputs: tuple[list[int], list[Generated]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """The transcript with its score."""
        for place, found in zip(*outputs, strict=True):
            yield place, {"text": self._text(found), "score": round(found.score, 6)}

    def bundle(self) -> ModelBundle:
        """The weights as they are now, with tokenizer, preprocessing and decoding options, on the CPU."""
        model = SpeechRecognizer(without_dropout(self.model.config))
        model.load_state_dict(self.weights_now())
        return ModelBundle(
            "transcribe", model.eval(), self.preprocessing, tokenizer=self.tokenizer, decoding=self.decoding
        )

    def _opening(self, model: SpeechRecognizer) -> list[int]:
        """The tokens that every transcript goes on from: the start token, then what a Whisper wants to be told."""
        assert self.tokenizer is not None
        config = model.config.decoder
        tokens = SpeechTokens.of(
            self.tokenizer, start=config.start_token, end=config.end_token, vocab_size=config.vocab_size
        )
        return list(tokens.prompt(language=self.language, task="transcribe", timestamps=False))

    def _context(self, batch: SpeechBatch, rows: Tensor) -> ProjectedContext:
        """What the decoder attends to, of these recordings of a batch."""
        features = None if batch.features is None else batch.features[rows]
        encoded = None if batch.encoded is None else batch.encoded[rows]
        lengths = batch.lengths[rows]
        context = encoded_of(self.model, features, encoded, lengths, frozen=True)
        attention_mask = self.model.context_attention_mask(context.shape[1], lengths)
        return self.model.decoder.project_context(context, attention_mask=attention_mask)

    def _transcripts(self, batch: SpeechBatch, rows: list[int]) -> list[Generated]:
        """A transcript of each of these recordings; where it is sampled, the same one each time."""
        generator = torch.Generator(self.device).manual_seed(self.seed) if self.options.sample else None
        context = self._context(batch, torch.tensor(rows, device=self.device))
        return transcripts_of(self.model.decoder, context, self.opening, self.options, generator=generator)

    def _text(self, found: Generated) -> str:
        assert self.tokenizer is not None
        return self.tokenizer.decode(found.tokens).strip()

    def _nothing_written(self, split: str, *, limit: int | None) -> Predictions:
        size = len(self.trainer.datamodule.records(split).items)  # type: ignore[attr-defined]
        return Predictions(size, limit=limit, score=wer_and_cer(self.normalizer))

    def _write(self, batch: SpeechBatch) -> None:
        """Transcribe those recordings of a batch that are to be transcribed."""
        rows = [row for row, place in enumerate(batch.indices.tolist()) if self._written.wants(place)]
        if not rows:
            return
        for row, found in zip(rows, self._transcripts(batch, rows), strict=True):
            self._written.add(int(batch.indices[row]), self._text(found), (batch.texts[row],))

    def _log_scores(self, split: str) -> None:
        for name, score in self._written.scores().items():
            # of all processes already, and the same in each
            self.log(f"{split}/{name}", score, prog_bar=name == "wer", rank_zero_only=False)
