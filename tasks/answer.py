"""Train or fine-tune a model that answers questions about images, from a closed list or in words.

A training batch goes: `shared_step` -> the pass (`answer_model.teacher_forced`) -> the losses (`losses`).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from multiattn.attention import Tap
from multiattn.checks import require
from multiattn.inputs import ImagePreprocessing
from multiattn.models.vqa import VQA

from .answer_model import (
    TOKENS,
    AnswerKind,
    AnswerStart,
    Vocabulary,
    VQAOutput,
    answer_scores,
    answer_tap,
    teacher_forced,
)
from .base import Prediction
from .contracts import AnswerNeeds, TextFacts, TokenFormat
from .freezing import set_mode
from .loading.question_batches import AnswerBatch
from .loading.text_states import TextStates
from .losses import ClosedLoss, ShiftedTargets, TextLoss, bag_of_words_loss, pointing_loss, shift_targets
from .metrics import score_answers
from .optim import Optimization
from .parts import TextSource, VisionEncoder
from .sharding import is_sharding
from .text_task import TextTask, image_context

_TEXT = "question.text"
"""The name of the text encoder beside the question encoder."""


class Answer(NamedTuple):
    """An answer to a question."""

    text: str
    score: float
    """Its probability in a closed list; of a written answer, the mean log-probability of its tokens."""


class AnswerTask(TextTask[AnswerBatch, AnswerNeeds, VQA]):
    """A vision transformer, a question encoder that attends to it, and a classifier or a decoder that answers."""

    task = "answer"
    shown_scores = ("accuracy", "vqa_accuracy")
    score = staticmethod(score_answers)
    preprocessing: ImagePreprocessing

    def __init__(
        self,
        *,
        vision: VisionEncoder | None = None,
        question: dict[str, Any] | None = None,
        question_pretrained: str | None = None,
        text: TextSource | None = None,
        answer: AnswerKind | None = None,
        head_dim: int | None = None,
        output_positions: bool | None = None,
        decoder: dict[str, Any] | None = None,
        pretrained: str | None = None,
        vocabulary: Vocabulary = "own",
        label_smoothing: float = 0.0,
        bag_of_words_weight: float = 0.0,
        pointing_weight: float = 0.0,
        decoding: dict[str, Any] | None = None,
        optimization: Optimization | None = None,
        compile: bool = False,
        checkpoint_activations: bool = False,
    ) -> None:
        """Describe the model and its training; vocabulary and answer list come from the data, or from `pretrained`.

        Args:
            vision: The encoder. The whole image is resized to its input size.
            question: Fields of `TextEncoderConfig` that differ from its defaults; with weights, dropout and
                attention_dropout; with `pretrained`, also a `max_length` for longer questions.
            question_pretrained: Start from this text encoder: a directory or a hub id in the layout of BERT. Its
                vocabulary is kept; its cross-attention to the image is new.
            text: A trained text encoder, whose states the question encoder reads beside the words. Its vocabulary is
                used.
            answer: `closed` chooses from the data's list of answers, `decoder` writes. Where not given, as
                `pretrained` does it; closed without it.
            head_dim: Width inside the classifier; 512, or as `pretrained` has it, where not given.
            output_positions: Whether the positions of the patches are added once more to what the question attends to;
                as `pretrained` has it, or not, where not given.
            decoder: Fields of `TextDecoderConfig` that differ from its defaults; with a `pretrained` that writes,
                dropout and attention_dropout.
            pretrained: A model that answers, to fine-tune: a task's name, a model directory or a hub id in any layout
                that `multiattn` loads. Its tokenizer, normalization and decoding options are kept, and so are its
                weights for answers that are in the data's list, too.
            vocabulary: `own` keeps the vocabulary of `pretrained`, `new` learns one from the data's questions and
                answers, in which tokens that `pretrained` has, too, keep what they have learned.
            label_smoothing: Share of the probability that is spread over all answers of the list, or over the
                vocabulary for each token that is written.
            bag_of_words_weight: Weight of a second loss, for a closed list: the question's words are predicted from the
                state of the token that the answer is computed from.
            pointing_weight: Weight of a third loss, for a closed list and questions with `boxes` of what the answers
                are about: the last block's attention is to go there, and that of the block before to what is `named`.
                The maps are then made of the last block's heads.
            decoding: Fields of `GenerationConfig` that differ from its defaults, for a decoder, in validation and in
                the saved model.
            optimization: AdamW and its schedule.
            compile: Compile the pass that is trained with torch.compile.
            checkpoint_activations: Keep only each block's input for the backward pass and compute the rest again
                there: much less memory, for a third more time.
        """
        vision = vision or VisionEncoder()
        start = AnswerStart.of(
            vision,
            pretrained,
            models=self.trained_models,
            question=question,
            question_pretrained=question_pretrained,
            text=text,
            vocabulary=vocabulary,
            answer=answer,
            decoder=decoder,
            head_dim=head_dim,
            output_positions=output_positions,
        )
        super().__init__(
            start,
            pace=vision,
            forward_pass=teacher_forced,
            decoding=decoding,
            label_smoothing=label_smoothing,
            validation_texts=None,
            optimization=optimization,
            compile=compile,
            checkpoint_activations=checkpoint_activations,
        )
        self.preprocessing = start.preprocessing
        self._fresh = () if start.keeps_vocabulary else TOKENS
        self._kept_states: TextStates | None = None  # once they are asked for
        self.text_lr_share = 1.0 if text is None else text.lr_share
        self.from_scratch = pretrained is None
        self.answer: AnswerKind = start.answer
        """How the model answers."""
        for name, weight in (("bag_of_words_weight", bag_of_words_weight), ("pointing_weight", pointing_weight)):
            require(0 <= weight < math.inf, name, must="at least 0 and finite", value=weight)
            require(weight == 0 or self.answer == "closed", name, must="0 where a decoder answers", value=weight)
        good = pointing_weight == 0 or not compile
        require(good, "pointing_weight", must="0 where the model is compiled", value=pointing_weight)
        self.bag_of_words_weight, self.pointing_weight = bag_of_words_weight, pointing_weight
        require(not self.options.sample, "decoding.sample", must="false, for answers are searched for", value=True)

    def needs(self) -> AnswerNeeds:
        """See `BaseTask`."""
        is_closed = self.answer == "closed"
        answers = self._adopted.answers if isinstance(self._adopted, TextFacts) and is_closed else None
        if self.model is None:
            return AnswerNeeds(
                self.tokenizer, preprocessing=self.preprocessing, is_closed=is_closed, answers=answers or None
            )
        decoder, encoder = self.model.decoder, self.model.encoder
        return AnswerNeeds(
            self.tokenizer,
            None if decoder is None else TokenFormat.of_config(decoder.config),
            encoder,
            self.preprocessing,
            is_closed,
            TokenFormat.of_config(self.model.question.config),
            encoder.grid(self.preprocessing.size) if self.pointing_weight else None,
            answers or None,
        )

    def lr_shares(self) -> Mapping[str, float]:
        """Those of the encoder and of the text encoder beside the question encoder."""
        return {**super().lr_shares(), **({} if self.text_lr_share == 1 else {_TEXT: self.text_lr_share})}

    def on_train_batch_start(self, batch: AnswerBatch, batch_idx: int) -> None:
        """Keep a frozen text encoder in eval mode, too."""
        super().on_train_batch_start(batch, batch_idx)
        if self.text_lr_share == 0:
            set_mode(self.model.get_submodule(_TEXT), False)

    def build_model(self, facts: TextFacts) -> VQA:
        """See `TextTask`."""
        model = super().build_model(facts)
        if self.text_lr_share == 0:
            model.get_submodule(_TEXT).requires_grad_(False)
        self.labels = facts.answers if self.answer == "closed" else ()
        self.opening = [] if model.decoder is None else [model.decoder.config.start_token]
        if self.pointing_weight:
            last, heads = model.config.question.depth - 1, model.config.question.num_heads
            self.decoding = self.decoding | {"pointing_heads": tuple((last, head) for head in range(heads))}
        return model

    def fresh_parts(self) -> tuple[str, ...]:
        """See `BaseTask`: the classifier, whose answers are the data's, and what belongs to a new vocabulary."""
        weights = dict(self.model.named_parameters())
        fresh = tuple(name for name in self._fresh if name in weights)
        return (*fresh, "head") if self.answer == "closed" else fresh

    def build_loss(self, facts: TextFacts) -> nn.Module:
        """Cross-entropy: of the list's answers, or of the answer's tokens."""
        kind = ClosedLoss if self.answer == "closed" else TextLoss
        return kind(label_smoothing=self.label_smoothing)

    def shared_step(self, batch: AnswerBatch, split: str) -> Tensor | None:
        """Compute and log the loss of a batch; outside of training, answer all its questions, too."""
        if len(batch.indices) == 0:
            return None
        texts = None
        if batch.answer_tokens is not None and batch.answer_attention_mask is not None:
            texts = shift_targets(batch.answer_tokens, batch.answer_attention_mask)
        if split == "train":
            tap = None if batch.inside is None else answer_tap(self.model, batch.questions)
            output: VQAOutput = self._pass(
                self.model,
                batch.images,
                batch.features,
                batch.questions,
                batch.attention_mask,
                texts,
                frozen=self.encoder_is_frozen,
                text_states=self._text_states(batch),
                tap=tap,
                checkpoint_activations=self.checkpoint_activations,
            )
            return self._loss(batch, output.scores, texts, split) + self._more_losses(batch, output.first, tap)
        states = self._read(batch)
        scores = answer_scores(self.model, states, batch.attention_mask, texts)
        answers = self._answers(batch, states, scores)
        for row, index in self._counting(batch):
            # an answer that the closed list lacks counts, too, and is wrong
            written = answers[row].text
            self.predictions.add(index, written, batch.answers[row], number=row, question=batch.texts[row])
        return self._loss(batch, scores, texts, split)

    def predict_step(self, batch: AnswerBatch, batch_idx: int) -> list[Prediction]:
        """Answer each question."""
        if len(batch.indices) == 0:
            return []
        states = self._read(batch)
        scores = self.model.answer_logits(states) if self.answer == "closed" else None
        answers = self._answers(batch, states, scores)
        return [
            (index, {"question": batch.texts[row], "answer": answers[row].text, "score": round(answers[row].score, 6)})
            for row, index in self._counting(batch)
        ]

    def without_loss(self, split: str) -> str:
        """See `BaseTask`: what to do where the closed list has none of the answers."""
        if self.answer == "decoder":
            return super().without_loss(split)
        return (
            f"None of the answers that were read is among the {len(self.labels)} of the list, so that there is no "
            f"{split}/loss, and all count as wrong. `--model.answer decoder` learns to write answers in any words; or "
            "raise `data.max_answers`, or lower `data.min_count`."
        )

    @staticmethod
    def _counting(batch: AnswerBatch) -> list[tuple[int, int]]:
        """The rows of a batch that are no repetition, and the index of the image of each."""
        per_image = len(batch.counts) // len(batch.indices)
        indices = batch.indices.tolist()
        return [(row, indices[row // per_image]) for row, counts in enumerate(batch.counts.tolist()) if counts]

    def _read(self, batch: AnswerBatch) -> Tensor:
        """The states of a batch's questions (r, n, W); only those of the first tokens for a closed list."""
        context = image_context(self.model, batch.images, batch.features, frozen=True)
        return self.model.read(
            batch.questions,
            context,
            attention_mask=batch.attention_mask,
            text_states=self._text_states(batch),
            first_only=self.answer == "closed",
        )

    def _text_states(self, batch: AnswerBatch) -> Tensor | None:
        """The states (r, n, T) of a frozen text encoder beside the question encoder, each computed once; None without.

        Where it is divided among processes, all of them run it in each step: they would wait for each other.
        """
        encoder = self.model.question.text
        if encoder is None or self.text_lr_share > 0 or is_sharding(self.trainer):
            return None
        if self._kept_states is None:
            features = getattr(self.data, "features", None)
            encoder.eval()
            self._kept_states = TextStates(encoder, None if features is None else Path(features))
        return self._kept_states(batch.texts, batch.questions, batch.attention_mask)

    def on_validation_epoch_end(self) -> None:
        """Keep the states of questions on disk, too."""
        super().on_validation_epoch_end()
        if self._kept_states is not None and self.global_rank == 0:
            self._kept_states.save()

    def _answers(self, batch: AnswerBatch, states: Tensor, scores: Tensor | None) -> Sequence[Answer]:
        """An answer to each question: of the best score in a closed list, else what the decoder writes."""
        if self.model.decoder is None:
            assert scores is not None
            best = scores.float().softmax(dim=-1).max(dim=-1)
            found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            return [Answer(self.labels[index], score) for index, score in found]
        written = self.decode(self.model.decoder.project_context(states, batch.attention_mask))
        return [Answer(self.text_of(one), one.score) for one in written]

    def _more_losses(self, batch: AnswerBatch, first: Tensor, tap: Tap | None) -> Tensor | float:
        """The weighted sum of the losses beside that of the answers, which are logged."""
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

    def _loss(self, batch: AnswerBatch, scores: Tensor, texts: ShiftedTargets | None, split: str) -> Tensor:
        """The loss of the questions that have a weight, logged; 0 where none has."""
        if texts is None:
            loss: Tensor = self.loss(scores, batch.targets, weights=batch.weights)
        else:
            loss = self.loss(scores, texts.targets, wanted=texts.wanted, weights=batch.weights)
        # reading it waits for the device, and the loss of a training step is logged as it is
        size = len(batch.weights) if split == "train" else int((batch.weights > 0).sum())
        self.log_loss(loss, split, size=size)
        return loss
