"""Train or fine-tune a recognizer: a speech encoder reads the recording, a text decoder writes the transcript."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from multiattn.attention import ProjectedContext
from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.inputs import AudioPreprocessing, SpeechTokens
from multiattn.metrics.speech import Normalizer, normalizer_of
from multiattn.models.speech import SpeechRecognizer

from .contracts import TextFacts, TokenFormat, TranscribeNeeds
from .freezing import freeze
from .loading.speech_batches import SpeechBatch
from .losses import SpeechLosses, SpeechOutput, TranscribeLoss, shift_targets
from .metrics import score_transcripts
from .optim import Optimization
from .parts import AudioEncoder
from .spec_augment import SpecAugment, spec_augment
from .text_task import WritingTask
from .transcribe_model import SpeechStart, Vocabulary, encoded, teacher_forced


class TranscribeTask(WritingTask[SpeechBatch, TranscribeNeeds, SpeechRecognizer]):
    """A speech encoder and a text decoder, from scratch, or trained ones with their own or a new vocabulary."""

    task = "transcribe"
    shown_scores = ("wer",)
    preprocessing: AudioPreprocessing

    def __init__(
        self,
        *,
        audio: AudioEncoder | None = None,
        decoder: dict[str, Any] | None = None,
        pretrained: str | None = None,
        vocabulary: Vocabulary = "own",
        frozen: list[str] | None = None,
        ctc_weight: float = 0.0,
        label_smoothing: float = 0.0,
        spec_augment: SpecAugment | None = None,
        language: str | None = None,
        decoding: dict[str, Any] | None = None,
        normalizer: Normalizer = "english",
        validation_texts: int = 500,
        optimization: Optimization | None = None,
        compile: bool = False,
        checkpoint_activations: bool = False,
    ) -> None:
        """Describe the model and its training; the vocabulary comes from the data, or from `pretrained`.

        Args:
            audio: The preset of the model, its encoder, and how a recording becomes its input.
            decoder: Fields of `TextDecoderConfig` that differ from the preset; with `pretrained`, dropout and
                attention_dropout.
            pretrained: A recognizer to fine-tune: a task's name, a model directory or a hub id in any layout that
                `multiattn` loads, Whisper's among them.
            vocabulary: With `pretrained`: `own` keeps the model's vocabulary, `new` learns one from the data, and only
                the embedding starts anew.
            frozen: Weights that keep their values, beside those of an encoder with `audio.lr_share` 0: the names of
                parts of the model, with `*` for any, e.g. `decoder.embedding`. AdamW moves each row of an embedding
                by about the learning rate, however small its gradient is, those of words that no text has, too.
            ctc_weight: Share of the CTC loss of a head over the encoder; 0 for a model without one.
            label_smoothing: Share of each true token's probability that is spread over the vocabulary.
            spec_augment: The masks on the features in training; none where not given.
            language: Of the recordings, for a model that knows several.
            decoding: Fields of `GenerationConfig` that differ from its defaults, for validation and in the saved
                model. `max_tokens` is by default the decoder's number of positions.
            normalizer: What is done to transcripts and texts before they are compared (`multiattn.metrics.speech`).
            validation_texts: Recordings of the validation split that are transcribed after each epoch, evenly spread
                over it; 0 for none, then there is only the loss.
            optimization: AdamW and its schedule.
            compile: Compile the teacher-forced pass with torch.compile.
            checkpoint_activations: Keep only each block's input for the backward pass and compute the rest again
                there: much less memory, for a third more time.
        """
        audio = audio or AudioEncoder()
        require(0 <= ctc_weight < 1, "ctc_weight", must="at least 0 and below 1", value=ctc_weight)
        start = SpeechStart.of(
            audio, decoder, pretrained, models=self.trained_models, vocabulary=vocabulary, ctc=ctc_weight > 0
        )
        super().__init__(
            start,
            pace=audio,
            forward_pass=teacher_forced,
            decoding=decoding,
            label_smoothing=label_smoothing,
            validation_texts=validation_texts,
            optimization=optimization,
            compile=compile,
            checkpoint_activations=checkpoint_activations,
            max_tokens=start.config.decoder.max_length,
        )
        self.preprocessing = start.preprocessing
        self.from_scratch = not start.keeps_vocabulary
        self.frozen = tuple(frozen or ())
        self._fresh, self.starts_trained = start.fresh_parts, start.trained is not None
        self.ctc_weight, self.spec_augment, self.language = ctc_weight, spec_augment, language
        self.score = partial(score_transcripts, normalize=normalizer_of(normalizer))

    def needs(self) -> TranscribeNeeds:
        """See `BaseTask`."""
        if self.model is None:
            return TranscribeNeeds(self.tokenizer, preprocessing=self.preprocessing)
        return TranscribeNeeds(
            self.tokenizer,
            TokenFormat.of_config(self.model.decoder.config, opening=self.opening[1:]),
            self.model.encoder,
            self.preprocessing,
            keeps_padding=self.model.config.context == "all",
        )

    def require_pace(self, facts: TextFacts) -> None:
        """See `TextTask`; and check that no masks are asked for on stored features."""
        super().require_pace(facts)
        if facts.stores_features and self.spec_augment is not None:
            raise ModelError(
                "`spec_augment` must not come with `features`: the encoder's output for a recording is computed once. "
                "Leave one of them out."
            )

    def build_model(self, facts: TextFacts) -> SpeechRecognizer:
        """See `TextTask`."""
        model = super().build_model(facts)
        freeze(model, self.frozen)
        config = model.decoder.config
        tokens = SpeechTokens.of(
            facts.tokenizer, start=config.start_token, end=config.end_token, vocab_size=config.vocab_size
        )
        # for a Whisper, the language and the task come after the start token
        self.opening = list(tokens.prompt(language=self.language, task="transcribe", timestamps=False))
        return model

    def fresh_parts(self) -> tuple[str, ...]:
        """See `BaseTask`: what belongs to a new vocabulary, and a new CTC head."""
        weights = dict(self.model.named_parameters())
        return tuple(name for name in self._fresh if name in weights)

    def build_loss(self, facts: TextFacts) -> nn.Module:
        """Cross-entropy and CTC."""
        config = self.model.config.decoder
        return TranscribeLoss(
            ctc_weight=self.ctc_weight,
            label_smoothing=self.label_smoothing,
            blank=config.pad_token,
            end=config.end_token,
        )

    def batch_loss(self, batch: SpeechBatch, split: str) -> Tensor:
        """The weighted sum of cross-entropy and CTC."""
        features = batch.features
        if split == "train" and self.spec_augment is not None and features is not None:
            features = spec_augment(features, batch.lengths, self.spec_augment)
        texts = shift_targets(batch.tokens, batch.attention_mask, prompt=self.opening[1:])
        output: SpeechOutput = self._pass(
            self.model,
            features,
            batch.encoded,
            batch.lengths,
            texts.tokens,
            texts.attention_mask,
            frozen=self.encoder_is_frozen,
            checkpoint_activations=self.checkpoint_activations,
        )
        found: SpeechLosses = self.loss(output, texts, frames=self.model.encoder.frames(batch.lengths))
        size = len(batch.indices) if split == "train" else int(texts.wanted.sum())
        self.log_loss(found.total, split, size=size)
        if split == "train" and found.ctc is not None:
            self.log("train/ctc_loss", found.ctc.detach(), batch_size=size, sync_dist=True)
        return found.total

    def context(self, batch: SpeechBatch, rows: Sequence[int]) -> ProjectedContext:
        """See `WritingTask`."""
        chosen, lengths = list(rows), batch.lengths[list(rows)]
        features = None if batch.features is None else batch.features[chosen]
        stored = None if batch.encoded is None else batch.encoded[chosen]
        context = encoded(self.model, features, stored, lengths, frozen=True)
        attention_mask = self.model.context_attention_mask(context.shape[1], lengths)
        return self.model.decoder.project_context(context, attention_mask=attention_mask)

    def references(self, batch: SpeechBatch) -> Sequence[Sequence[str]]:
        """See `WritingTask`."""
        return [(text,) for text in batch.texts]
