"""Train or fine-tune a model that answers questions about pictures, out of a closed list or in words."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn
from torchmetrics import MetricCollection

from multiattn.attention import Tap
from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer
from multiattn.models.vqa import VQA
from multiattn.weights import ModelBundle

from .answer_loss import ClosedLoss, bag_of_words_loss, pointing_loss
from .answer_model import (
    AnswerKind,
    AnswerStart,
    looks_of_the_answer,
    scores_of,
    start,
    teacher_forced,
    without_dropout,
    written_of,
)
from .answer_scores import answer_metrics
from .caption_loss import ShiftedTargets, TextLoss, shift_targets
from .caption_model import context_of
from .decoding import options_of
from .loading.question_batches import AnswerBatch
from .optim import Optimization
from .text_task import TextTask


class Answered(NamedTuple):
    """An answer to a question."""

    text: str
    score: float
    """Its probability in a closed list; of what is written, the mean log-probability of its tokens."""


class AnswerTask(TextTask):
    """A vision transformer, a question encoder that looks at it, and a classifier or a decoder that answers."""

    texts = "training questions"
    model: VQA

    def __init__(
        self,
        *,
        encoder: str | None = None,
        encoder_pretrained: str | None = None,
        encoder_overrides: dict[str, Any] | None = None,
        question: dict[str, Any] | None = None,
        question_pretrained: str | None = None,
        answer: AnswerKind | None = None,
        head_dim: int | None = None,
        output_positions: bool | None = None,
        decoder: dict[str, Any] | None = None,
        pretrained: str | None = None,
        image_size: int | None = None,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        encoder_lr_share: float = 1.0,
        unfreeze_epoch: int = 0,
        label_smoothing: float = 0.0,
        bag_of_words_weight: float = 0.0,
        pointing_weight: float = 0.0,
        decoding: dict[str, Any] | None = None,
        optimization: Optimization | None = None,
        compile: bool = False,
    ) -> None:
        """Describe the model and its training; vocabulary and answer list come from the data, or from `pretrained`.

        Args:
            encoder: A preset of `multiattn.models.vit`, from scratch. One of this, `encoder_pretrained` and
                `pretrained` must be given.
            encoder_pretrained: Start from this model's vision transformer: a task's name, a model directory or a hub
                id in any layout that `multiattn` loads. Its normalization is kept.
            encoder_overrides: Fields of `ViTConfig` that differ from the preset; with weights, those that only matter
                in training (dropout, attention_dropout, stochastic_depth).
            question: Fields of `TextEncoderConfig` that differ from its defaults; with weights, dropout and
                attention_dropout.
            question_pretrained: Start from this text encoder: a directory or a hub id in the layout of BERT. Its
                vocabulary is kept; that it can look at pictures is new.
            answer: `closed` chooses out of the data's list of answers, `decoder` writes. As `pretrained` does it where
                not given, closed without it.
            head_dim: Width inside the classifier; 512, or as `pretrained` has it, where not given.
            output_positions: Whether the places of the patches are added once more to what the question looks at; as
                `pretrained` has it, or not, where not given.
            decoder: Fields of `TextDecoderConfig` that differ from its defaults; with a `pretrained` that writes,
                dropout and attention_dropout.
            pretrained: A model that answers to fine-tune, named as `encoder_pretrained`; its tokenizer, its
                normalization and its decoding options are kept, and what it knows of answers that are in the data's
                list, too.
            image_size: Side of the square input in pixels, where it is not the preset's or the trained model's. The
                whole picture is resized to it.
            mean: Subtracted from red, green and blue (0 to 1); unused with trained weights.
            std: Divides them; unused with trained weights.
            encoder_lr_share: The encoder learns at this share of the learning rate; 0 freezes it.
            unfreeze_epoch: The encoder is frozen before this epoch (from 0).
            label_smoothing: Share of the probability that is spread over all answers of the list, or over the
                vocabulary for each token that is written.
            bag_of_words_weight: Of a second loss, for a closed list: the token that the answer is read off is to know the
                question's words.
            pointing_weight: Of a third loss, for a closed list and questions with `boxes` of what the answers are
                about: the last look at the picture is to go there, and the look before it to what is `named`. The heads
                of the last look are the ones the maps are then made of.
            decoding: Fields of `GenerationConfig` that differ from its defaults, for a decoder, in validation and for
                whoever loads the model.
            optimization: AdamW and its schedule.
            compile: Compile the pass that is trained with torch.compile.
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
        self._start: AnswerStart | None = start(
            encoder=encoder,
            encoder_pretrained=encoder_pretrained,
            encoder_overrides=encoder_overrides,
            question=question,
            question_pretrained=question_pretrained,
            answer=answer,
            decoder=decoder,
            head_dim=head_dim,
            output_positions=output_positions,
            pretrained=pretrained,
            image_size=image_size,
            mean=mean,
            std=std,
        )
        self.preprocessing = self._start.pictures.preprocessing
        self.tokenizer: Tokenizer | None = self._start.tokenizer
        """Of the model that is fine-tuned, or of the trained question encoder; None until the data has made one."""
        self.answer: AnswerKind = self._start.answer
        """How the model answers."""
        self.labels: tuple[str, ...] = ()
        """The closed list, once the data is known; empty where a decoder answers."""
        self.from_scratch = pretrained is None
        self.label_smoothing = label_smoothing
        self.decoding = self._start.decoding | dict(decoding or {})
        self.options = options_of(self.decoding, besides=("pointing_heads",))
        for name, weight in (("bag_of_words_weight", bag_of_words_weight), ("pointing_weight", pointing_weight)):
            require(0 <= weight < math.inf, name, must="at least 0 and finite", value=weight)
            require(weight == 0 or self.answer == "closed", name, must="0 where a decoder answers", value=weight)
        require(
            pointing_weight == 0 or not compile,
            "pointing_weight",
            must="0 where the model is compiled",
            value=pointing_weight,
        )
        self.bag_of_words_weight, self.pointing_weight = bag_of_words_weight, pointing_weight
        require(not self.options.sample, "decoding.sample", must="false, for answers are searched for", value=True)

    def build_model(self, data: Any) -> VQA:
        """A model for the data's tokenizer and list of answers."""
        assert self._start is not None
        self.require_pace(data)
        self.tokenizer = data.tokenizer
        self.labels = tuple(data.answer_list) if self.answer == "closed" else ()
        model = self._start.build(data.tokenizer, self.labels)
        self._start = None  # its weights are no longer needed
        if self.encoder_lr_share == 0:
            model.encoder.requires_grad_(False)
        if self.pointing_weight:
            last, heads = model.config.question.depth - 1, model.config.question.num_heads
            self.decoding = self.decoding | {"pointing_heads": tuple((last, head) for head in range(heads))}
        return model

    def build_loss(self, data: Any) -> nn.Module:
        """Cross-entropy: of the list's answers, or of the answer's tokens."""
        del data
        kind = ClosedLoss if self.answer == "closed" else TextLoss
        return kind(label_smoothing=self.label_smoothing)

    def build_metrics(self, data: Any) -> MetricCollection:
        """Exact accuracy, and that by agreement."""
        del data
        return answer_metrics()

    def shared_step(self, batch: AnswerBatch, split: str) -> Tensor | None:
        """Loss of a batch; outside of training, answers to all its questions, too."""
        if len(batch.indices) == 0:
            return None
        texts = None
        if batch.answer_tokens is not None:
            assert batch.answer_attention_mask is not None
            texts = shift_targets(batch.answer_tokens, batch.answer_attention_mask)
        given = (None, None) if texts is None else (texts.tokens, texts.attention_mask)
        if split == "train":
            tap = None if batch.inside is None else looks_of_the_answer(self.model, batch.questions)
            told = self._logits(
                self.model,
                batch.images,
                batch.features,
                batch.questions,
                batch.attention_mask,
                *given,
                frozen=self.encoder_is_frozen,
                tap=tap,
            )
            return self._loss(batch, told.scores, texts, split) + self._more_losses(batch, told.first, tap)
        states = self._read(batch)
        scores = scores_of(self.model, states, batch.attention_mask, *given)
        answers = self._answers(scores, states, batch.attention_mask)
        self._score(batch, [answer.text for answer in answers], split)
        return self._loss(batch, scores, texts, split)

    def predict_step(self, batch: AnswerBatch, batch_idx: int) -> tuple[AnswerBatch, list[Answered]]:
        """The questions, and an answer to each."""
        del batch_idx
        if len(batch.indices) == 0:
            return batch, []
        states = self._read(batch)
        logits = self.model.answer_logits(states) if self.answer == "closed" else None
        return batch, self._answers(logits, states, batch.attention_mask)

    def prediction_lines(self, outputs: tuple[AnswerBatch, list[Answered]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each question with its answer and the score of that."""
        batch, answers = outputs
        for row, answer in enumerate(answers):
            if batch.counts[row]:
                place = int(batch.indices[row * len(batch.indices) // len(answers)])
                line = {"question": batch.texts[row], "answer": answer.text, "score": round(answer.score, 6)}
                yield place, line

    def bundle(self) -> ModelBundle:
        """The weights as they are now, with tokenizer, answers, preprocessing and decoding options, on the CPU."""
        model = VQA(without_dropout(self.model.config))
        model.load_state_dict(self.weights_now())
        return ModelBundle(
            "answer",
            model.eval(),
            self.preprocessing,
            self.labels,
            tokenizer=self.tokenizer,
            decoding=self.decoding,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the vocabulary and the closed list, without which the weights mean nothing."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["answers"] = list(self.labels)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make sure that the state is of this vocabulary and of this list.

        Raises:
            ModelError: It is not.
        """
        super().on_load_checkpoint(checkpoint)
        if checkpoint.get("answers") != list(self.labels):
            raise ModelError(
                "the state must be of a training with the same list of answers, but is of another: the training "
                "answers, `max_answers` or `min_count` have changed. Restore them, or train anew."
            )

    def _read(self, batch: AnswerBatch) -> Tensor:
        """The states of a batch's questions (r, n, W), of which a closed list needs the first alone."""
        context = context_of(self.model, batch.images, batch.features, frozen=True)
        return self.model.read(
            batch.questions, context, attention_mask=batch.attention_mask, first_only=self.answer == "closed"
        )

    def _answers(self, logits: Tensor | None, states: Tensor, attention_mask: Tensor) -> list[Answered]:
        """An answer to each question."""
        if self.answer == "closed":
            assert logits is not None
            best = logits.float().softmax(dim=-1).max(dim=-1)
            found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            return [Answered(self.labels[place], score) for place, score in found]
        assert self.tokenizer is not None
        written = written_of(self.model, states, attention_mask, self.options)
        return [Answered(self.tokenizer.decode(one.tokens), one.score) for one in written]

    def _score(self, batch: AnswerBatch, answers: list[str], split: str) -> None:
        """Take up the answers to those questions that count: one that the list cannot answer does, and is wrong."""
        rows = [row for row, counts in enumerate(batch.counts.tolist()) if counts]
        metrics = self.metrics[f"{split}_metrics"]
        metrics.update([answers[row] for row in rows], [batch.answers[row] for row in rows])
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=len(rows), prog_bar=True)

    def _more_losses(self, batch: AnswerBatch, first: Tensor, tap: Tap | None) -> Tensor | float:
        """What is taught beside the answers, weighted: the reading of the question, and where to look; logged."""
        losses: dict[str, tuple[float, Tensor]] = {}
        if self.bag_of_words_weight:
            embedding = self.model.question.embedding.weight
            loss = bag_of_words_loss(first, embedding, batch.questions, batch.attention_mask, weights=batch.weights)
            losses["reading"] = (self.bag_of_words_weight, loss)
        if tap is not None:
            assert batch.inside is not None
            loss = pointing_loss(tuple(tap.weights.values()), batch.inside, weights=batch.weights)
            losses["pointing"] = (self.pointing_weight, loss)
        for name, (_, loss) in losses.items():
            self.log(f"train/{name}_loss", loss.detach(), batch_size=len(batch.indices), sync_dist=True)
        return sum(weight * loss for weight, loss in losses.values())

    def _loss(self, batch: AnswerBatch, logits: Tensor, texts: ShiftedTargets | None, split: str) -> Tensor:
        """The loss of those questions that teach something, logged; 0 where none does."""
        if texts is None:
            loss: Tensor = self.loss(logits, batch.targets, weights=batch.weights)
        else:
            loss = self.loss(logits, texts.targets, wanted=texts.wanted, weights=batch.weights)
        self.log_loss(loss, split, size=int((batch.weights > 0).sum()))
        return loss
