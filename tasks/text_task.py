"""The base of the tasks with an encoder and a vocabulary: captions, transcripts and answers.

It holds what the three share: how the encoder learns, the compiled teacher-forced pass, the texts that are written and
scored after each epoch, and the vocabulary in checkpoints.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from multiattn.attention import ProjectedContext
from multiattn.checks import require, require_each
from multiattn.generation import Generated, GenerationConfig, generate
from multiattn.inputs import Tokenizer
from multiattn.models.captioner import Captioner
from multiattn.models.speech import SpeechRecognizer
from multiattn.models.text_decoder import TextDecoder
from multiattn.models.vqa import VQA
from multiattn.registry import task_spec

from .base import BaseTask, BatchT, NeedsT, Prediction
from .contracts import TextFacts
from .freezing import EncoderPace, require_pace, set_mode
from .loading.text_data import TextData
from .metrics import Predictions, Score
from .optim import Optimization

ModelT = TypeVar("ModelT", bound=Captioner | SpeechRecognizer | VQA)
_Built = TypeVar("_Built", covariant=True)


class ModelStart(Protocol[_Built]):
    """The model that a training starts from, before the data is known."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The vocabulary of the trained model; None where the data makes one."""

    @property
    def decoding(self) -> dict[str, Any]:
        """How the trained model decodes."""

    def build(self, facts: TextFacts) -> _Built:
        """Build the model for the data."""


class TextTask(BaseTask[BatchT, NeedsT, TextFacts], Generic[BatchT, NeedsT, ModelT]):
    """A training in which an encoder learns at its own pace, or not at all, and texts have a vocabulary.

    A subclass writes texts in its steps and adds them to `self.predictions`, which are scored after each epoch.
    """

    facts_type = TextFacts
    shown_scores: tuple[str, ...]
    """The scores that the progress bar shows."""

    score: Score
    """Scores texts."""

    model: ModelT
    opening: list[int]
    """The tokens that every text continues: the start token, and a prompt."""

    def __init__(
        self,
        start: ModelStart[ModelT],
        *,
        pace: EncoderPace,
        forward_pass: Callable[..., Any],
        decoding: Mapping[str, Any] | None,
        label_smoothing: float,
        validation_texts: int | None,
        optimization: Optimization | None,
        compile: bool,
        checkpoint_activations: bool,
        max_tokens: int | None = None,
    ) -> None:
        """Set what the three tasks share; their own constructors document the options.

        Args:
            start: The model to start from.
            pace: How its encoder learns.
            forward_pass: The teacher-forced pass, which is compiled where `compile` says so.
            decoding: Options of the decode over those of the trained model.
            label_smoothing: Share of the probability that is spread over all tokens or answers.
            validation_texts: Items of the validation split to write about after each epoch; all where None.
            optimization: AdamW and its schedule.
            compile: Compile the pass.
            checkpoint_activations: See `TransformerBlock`.
            max_tokens: Default length limit of a text.
        """
        super().__init__(optimization=optimization, compile=compile, checkpoint_activations=checkpoint_activations)
        require(0 <= label_smoothing < 1, "label_smoothing", must="at least 0 and below 1", value=label_smoothing)
        require_each({"validation_texts": validation_texts})
        self._start: ModelStart[ModelT] | None = start
        self.tokenizer = start.tokenizer
        self.learns_vocabulary = start.tokenizer is None
        """Whether the data makes the vocabulary, and not a trained model."""
        self.pace = pace
        self.label_smoothing, self.validation_texts = label_smoothing, validation_texts
        self.decoding = start.decoding | dict(decoding or {})
        options = GenerationConfig.from_decoding(
            self.decoding,
            beside=task_spec(self.task).not_generation,
            defaults={} if max_tokens is None else {"max_tokens": max_tokens},
        )
        self.options = replace(options, num_return_sequences=1)
        self._eager_pass = self._pass = forward_pass

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether the encoder learns nothing at present."""
        return self.pace.is_frozen(self.current_epoch)

    def lr_shares(self) -> Mapping[str, float]:
        """The share of the encoder."""
        return {"encoder": self.pace.lr_share}

    def build_model(self, facts: TextFacts) -> ModelT:
        """Build the model for the data's vocabulary.

        Raises:
            ModelError: The encoder cannot learn as its options say, or there can be no such model.
        """
        assert self._start is not None
        self.require_pace(facts)
        self.tokenizer = facts.tokenizer
        model = self._start.build(facts)
        self._start = None  # its weights are no longer needed
        if self.pace.lr_share == 0:
            model.encoder.requires_grad_(False)
        return model

    def require_pace(self, facts: TextFacts) -> None:
        """Check that the encoder can learn as its options say; see `freezing.require_pace`."""
        require_pace(facts, self.pace, self._trainer)

    def compile_pass(self) -> None:
        """Compile the teacher-forced pass alone: a decode, token by token, is another graph."""
        self._pass = torch.compile(self._eager_pass)

    def on_train_batch_start(self, batch: BatchT, batch_idx: int) -> None:
        """Seed the step, and keep a frozen encoder in eval mode."""
        super().on_train_batch_start(batch, batch_idx)
        set_mode(self.model.encoder, not self.encoder_is_frozen)

    def decode(self, context: Tensor | ProjectedContext) -> list[Generated]:
        """Write a text for each context; where it is sampled, the same one each time."""
        generator = torch.Generator(self.device).manual_seed(self.seed) if self.options.sample else None
        decoder = self.model.decoder
        assert decoder is not None
        return generate_texts(decoder, context, self.opening, self.options, generator=generator)

    def text_of(self, text: Generated) -> str:
        """Decode tokens."""
        assert self.tokenizer is not None
        return self.tokenizer.decode(text.tokens).strip()

    def on_validation_epoch_start(self) -> None:
        """Start to collect texts."""
        self.predictions = Predictions(self.data.size("validation"), limit=self.validation_texts, score=self.score)

    def on_test_epoch_start(self) -> None:
        """Start to collect texts, about all items."""
        self.predictions = Predictions(self.data.size("test"), score=self.score)

    def on_validation_epoch_end(self) -> None:
        """Score the texts, too."""
        super().on_validation_epoch_end()
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Score the texts, too."""
        super().on_test_epoch_end()
        self._log_scores("test")

    def _log_scores(self, split: str) -> None:
        for name, score in self.predictions.scores().items():
            # computed over all processes already, and equal in each
            self.log(f"{split}/{name}", score, prog_bar=name in self.shown_scores, rank_zero_only=False)

    def adopt(self, state: Mapping[str, Any]) -> None:
        """Take the vocabulary, too, unless a trained model has one."""
        super().adopt(state)
        if isinstance(self._adopted, TextFacts) and self.learns_vocabulary:
            self.tokenizer = self._adopted.tokenizer

    def vocabulary_options(self) -> dict[str, Any] | None:
        """See `BaseTask`."""
        data = getattr(self._trainer, "datamodule", None)
        return data.vocabulary_options() if self.learns_vocabulary and isinstance(data, TextData) else None


class WritingTask(TextTask[BatchT, NeedsT, ModelT], Generic[BatchT, NeedsT, ModelT]):
    """A task that writes one text about each item: a caption or a transcript."""

    @abstractmethod
    def batch_loss(self, batch: BatchT, split: str) -> Tensor:
        """Compute and log the loss of a batch that is not empty."""

    @abstractmethod
    def context(self, batch: BatchT, rows: Sequence[int]) -> Tensor | ProjectedContext:
        """What the decoder attends to, for these items of a batch."""

    @abstractmethod
    def references(self, batch: BatchT) -> Sequence[Sequence[str]]:
        """The true texts of each item."""

    def shared_step(self, batch: BatchT, split: str) -> Tensor | None:
        """Compute and log the loss of a batch; outside of training, write about some of its items, too."""
        if len(batch.indices) == 0:
            return None
        loss = self.batch_loss(batch, split)
        if split != "train":
            indices = batch.indices.tolist()
            rows = [row for row, index in enumerate(indices) if self.predictions.wants(index)]
            references = self.references(batch)
            for row, text in zip(rows, self.generate(batch, rows), strict=True):
                self.predictions.add(indices[row], self.text_of(text), references[row])
        return loss

    def predict_step(self, batch: BatchT, batch_idx: int) -> list[Prediction]:
        """Write a text about each item."""
        found = self.generate(batch, range(len(batch.indices)))
        return [
            (index, {"text": self.text_of(text), "score": round(text.score, 6)})
            for index, text in zip(batch.indices.tolist(), found, strict=True)
        ]

    def generate(self, batch: BatchT, rows: Sequence[int]) -> list[Generated]:
        """Write a text about each of these items of a batch."""
        return self.decode(self.context(batch, rows)) if len(rows) else []


def image_context(
    model: Captioner | VQA,
    images: Float[Tensor, "b 3 H W"] | None,
    features: Float[Tensor, "b m D"] | None,
    *,
    frozen: bool,
    checkpoint_activations: bool = False,
) -> Float[Tensor, "b m C"]:
    """What a text attends to, from images or from stored features.

    Args:
        model: A captioner, or a model that answers.
        images: Normalized images; None where there are features.
        features: The output of `model.encoder.features`, in any precision.
        frozen: Whether the encoder runs without a gradient.
        checkpoint_activations: See `TransformerBlock`.
    """
    if features is not None:
        texts = model.decoder if isinstance(model, Captioner) else model.question
        return model.bridged(features.to(texts.embedding.weight.dtype))
    assert images is not None
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        features = model.encoder.features(images, checkpoint_activations=checkpoint_activations)
    return model.bridged(features)


def generate_texts(
    decoder: TextDecoder,
    context: Tensor | ProjectedContext,
    opening: Sequence[int],
    options: GenerationConfig,
    *,
    generator: torch.Generator | None = None,
) -> list[Generated]:
    """Write `options.num_return_sequences` texts for each context: all of one, then those of the next.

    Args:
        decoder: The decoder.
        context: What it attends to (b, m, C).
        opening: The tokens that every text continues, the start token included.
        options: Of the decode.
        generator: Of the random draws, for sampling.
    """
    found = generate(decoder, context, [list(opening)] * len(context), options, generator=generator)
    return [text for texts in found for text in texts]
