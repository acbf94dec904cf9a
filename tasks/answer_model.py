"""The answering model that a training starts from, made of parts or a whole one to fine-tune; and its pass.

b images, m image tokens, D the encoder's width, r questions, n tokens of a question and W their width, t tokens of an
answer, A answers of a closed list, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.attention import Tap
from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer
from multiattn.models.text_decoder import TextDecoderConfig
from multiattn.models.text_encoder import TextEncoder, TextEncoderConfig
from multiattn.models.vqa import VQA, VQAConfig
from multiattn.weights import load_text_encoder

from .contracts import TextFacts, special_tokens
from .losses import ShiftedTargets
from .parts import (
    OF_THE_DATA,
    TEXT_TRAINING_ONLY,
    VisionEncoder,
    VisionStart,
    check_text_fields,
    require_training_only,
    start_vision,
)
from .text_task import image_context

AnswerKind = Literal["closed", "decoder"]
"""From a closed list, by a classifier; or in words, by a decoder."""

_DECIDED = (*OF_THE_DATA, "context_dim")
"""Fields that the tokenizer and the width of the context decide."""

_LAST = ("head.3.weight", "head.3.bias")
"""The tensors with a row for each answer of the closed list."""


class VQAOutput(NamedTuple):
    """The output of a model that answers, under teacher forcing where a decoder answers."""

    scores: Float[Tensor, "r A"] | Float[Tensor, "r t V"]
    """Of the answers of the closed list, or of the next token at each position of the answers."""

    first: Float[Tensor, "r W"]
    """The state of each question's first token, from which a closed list's scores are computed."""


@dataclass
class AnswerStart(VisionStart):
    """A model that answers, before its data is known."""

    question: dict[str, Any] = field(default_factory=dict)
    """Fields of `TextEncoderConfig`."""

    reader: tuple[TextEncoder, Tokenizer] | None = None
    """A trained text encoder to read questions, without cross-attention; and its vocabulary."""

    answer: AnswerKind = "closed"
    decoder: dict[str, Any] = field(default_factory=dict)
    """Fields of `TextDecoderConfig`."""

    head_dim: int | None = None
    """Of `VQAConfig`, where it is stated."""

    output_positions: bool | None = None
    """Of `VQAConfig`, where it is stated."""

    @classmethod
    def of(
        cls,
        vision: VisionEncoder,
        pretrained: str | None,
        *,
        question: dict[str, Any] | None,
        question_pretrained: str | None,
        answer: AnswerKind | None,
        decoder: dict[str, Any] | None,
        head_dim: int | None,
        output_positions: bool | None,
    ) -> "AnswerStart":
        """Read the trained weights that the options name, and check the options; see `AnswerTask`.

        Raises:
            ModelError: They do not go together, name nothing that exists, or make no valid model.
        """
        question, decoder = dict(question or {}), dict(decoder or {})
        if question_pretrained is not None and pretrained is not None:
            raise ModelError(
                "`question_pretrained` must not come with `pretrained`, which has a question encoder. Leave one out."
            )
        for source, value in (("pretrained", pretrained), ("question_pretrained", question_pretrained)):
            if value is not None:
                require_training_only(question, "question", source=source, allowed=TEXT_TRAINING_ONLY)
        check_text_fields(question, TextEncoderConfig, "question", but=_DECIDED)
        check_text_fields(decoder, TextDecoderConfig, "decoder", but=_DECIDED)
        require(head_dim is None or head_dim >= 1, "head_dim", must="at least 1", value=head_dim)
        start = start_vision(vision, pretrained, whole=VQA, kind="model that answers")
        trained = _vqa(start)
        writes = trained is not None and trained.config.decoder is not None
        answer = answer or ("decoder" if writes else "closed")
        if answer == "closed" and decoder:
            raise ModelError(
                "`decoder` must be left out where `answer` is closed, but is given. Or set `answer: decoder`."
            )
        if answer == "decoder" and head_dim is not None:
            raise ModelError(
                "`head_dim` must be left out where `answer` is decoder, but is given. Or set `answer: closed`."
            )
        if writes and answer == "decoder":
            require_training_only(decoder, "decoder", source="pretrained", allowed=TEXT_TRAINING_ONLY)
        if trained is not None and answer == "closed" and trained.config.answers:
            require(
                head_dim in (None, trained.config.head_dim),
                "head_dim",
                must=f"left out where there is `pretrained`, which has {trained.config.head_dim}",
                value=head_dim,
            )
        reader = None if question_pretrained is None else load_text_encoder(question_pretrained)
        options = (question, reader, answer, decoder, head_dim, output_positions)
        return cls(start.preprocessing, start.encoder, start.whole, *options)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the trained model or question encoder; None where the data makes one."""
        return super().tokenizer if self.reader is None else self.reader[1]

    def build(self, facts: TextFacts) -> VQA:
        """Build the model for the data's tokenizer and closed list.

        Answers that a trained model knows keep their weights.

        Raises:
            ModelError: There can be no such model.
        """
        encoder, trained = self.config, _vqa(self)
        old = VQAConfig if trained is None else trained.config
        question = self._question(facts.tokenizer, trained, context_dim=encoder.dim)
        answers = facts.answers if self.answer == "closed" else ()
        try:
            config = VQAConfig(
                encoder,
                question,
                decoder=self._decoder(question, trained) if self.answer == "decoder" else None,
                answers=len(answers),
                head_dim=old.head_dim if self.head_dim is None else self.head_dim,
                bridge=question.context_dim != encoder.dim,
                output_positions=old.output_positions if self.output_positions is None else self.output_positions,
            )
        except ValueError as error:
            raise ModelError(f"there can be no such model: {error}") from error
        model = VQA(config)
        self.fill(model.encoder)
        if self.reader is not None:
            model.question.load_state_dict(model.question.state_dict() | self.reader[0].state_dict())
        if trained is not None:
            kept = {k: v for k, v in self._kept(trained, model, answers).items() if not k.startswith("encoder.")}
            model.load_state_dict(model.state_dict() | kept)
        return model

    def _question(self, tokenizer: Tokenizer, trained: VQA | None, *, context_dim: int) -> TextEncoderConfig:
        if trained is not None:
            return replace(trained.config.question, **self.question)
        if self.reader is not None:
            config = self.reader[0].config
            assert isinstance(config, TextEncoderConfig)
            return replace(config, context_dim=context_dim, **self.question)
        return TextEncoderConfig(**{"context_dim": context_dim} | special_tokens(tokenizer) | self.question)

    def _decoder(self, question: TextEncoderConfig, trained: VQA | None) -> TextDecoderConfig:
        if trained is not None and trained.config.decoder is not None:
            return replace(trained.config.decoder, **self.decoder)
        shared = {name: getattr(question, name) for name in OF_THE_DATA}  # one vocabulary for both
        return TextDecoderConfig(**{"context_dim": question.dim} | shared | self.decoder)

    def _kept(self, trained: VQA, model: VQA, answers: Sequence[str]) -> dict[str, Tensor]:
        """The weights of the trained model that the new one has, too."""
        assert self.whole is not None
        old, new = trained.state_dict(), model.state_dict()
        kept = {key: value for key, value in old.items() if key in new and key not in _LAST}
        known = {answer: index for index, answer in enumerate(self.whole.labels)}
        rows = [(row, known[answer]) for row, answer in enumerate(answers) if answer in known]
        for key in _LAST if rows else ():
            kept[key] = new[key].clone()
            kept[key][[row for row, _ in rows]] = old[key][[index for _, index in rows]]
        return kept


def _vqa(start: VisionStart) -> VQA | None:
    """The model to fine-tune; None where there is none."""
    model = None if start.whole is None else start.whole.model
    assert model is None or isinstance(model, VQA)
    return model


def teacher_forced(
    model: VQA,
    images: Float[Tensor, "b 3 H W"] | None,
    features: Float[Tensor, "b m D"] | None,
    questions: Int64[Tensor, "r n"],
    attention_mask: Bool[Tensor, "r n"],
    answers: ShiftedTargets | None,
    *,
    frozen: bool,
    tap: Tap | None = None,
    checkpoint_activations: bool = False,
) -> VQAOutput:
    """The pass that is trained.

    Args:
        model: The model.
        images: Normalized images; None where there are features.
        features: The output of `model.encoder.features`, in any precision.
        questions: The same number for each image.
        attention_mask: False where a question's token is padding.
        answers: The tokens that a decoder is given; None for a closed list.
        frozen: Whether the encoder runs without a gradient.
        tap: Captures the questions' attention.
        checkpoint_activations: See `TransformerBlock`.
    """
    context = image_context(model, images, features, frozen=frozen, checkpoint_activations=checkpoint_activations)
    states = model.read(
        questions,
        context,
        attention_mask=attention_mask,
        first_only=model.decoder is None,
        tap=tap,
        checkpoint_activations=checkpoint_activations,
    )
    scores = answer_scores(model, states, attention_mask, answers, checkpoint_activations=checkpoint_activations)
    return VQAOutput(scores, states[:, 0])


def answer_scores(
    model: VQA,
    states: Float[Tensor, "r n W"],
    attention_mask: Bool[Tensor, "r n"],
    answers: ShiftedTargets | None,
    *,
    checkpoint_activations: bool = False,
) -> Float[Tensor, "r A"] | Float[Tensor, "r t V"]:
    """The scores of `VQAOutput`, for questions that have been read."""
    if model.decoder is None:
        return model.answer_logits(states)
    assert answers is not None
    scores: Tensor = model.decoder(
        answers.tokens,
        states,
        context_attention_mask=attention_mask,
        attention_mask=answers.attention_mask,
        checkpoint_activations=checkpoint_activations,
    )
    return scores


def answer_tap(model: VQA, questions: Int64[Tensor, "r n"]) -> Tap:
    """A differentiable tap on the image attention of each question's first token, in the last two blocks."""
    sites = model.attention_sites(question_tokens=questions.shape[1])
    last = range(model.config.question.depth)[-2:]
    return Tap(sites, select=[f"question.blocks.{block}.cross" for block in last], rows=[0], learn=True)
