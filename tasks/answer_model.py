"""The answering model that a training starts from, made of parts or a whole one to fine-tune; and its pass.

b images, m image tokens, D the encoder's width, r questions, n tokens of a question and W their width, T that of a text
encoder beside the question encoder, t tokens of an
answer, A answers of a closed list, V vocabulary.
"""

from collections.abc import Mapping, Sequence
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

from .contracts import TextFacts, special_tokens
from .losses import ShiftedTargets
from .parts import (
    OF_THE_DATA,
    TEXT_TRAINING_ONLY,
    TextSource,
    VisionEncoder,
    changed,
    check_text_fields,
    require_training_only,
    without_tokens,
)
from .text_task import image_context
from .trained import TrainedModels
from .vision_start import VisionStart, start_vision

AnswerKind = Literal["closed", "decoder"]
"""From a closed list, by a classifier; or in words, by a decoder."""

Vocabulary = Literal["own", "new"]
"""Of a trained model: its own, or one learned from the data, in which tokens of its own keep what they have learned."""

_DECIDED = (*OF_THE_DATA, "context_dim", "text")
"""Fields that the tokenizer, the width of the context and other options decide."""

_LAST = ("head.3.weight", "head.3.bias")
"""The tensors with a row for each answer of the closed list."""

TOKENS = ("question.embedding.weight", "decoder.embedding.weight", "decoder.head.weight", "decoder.head_bias")
"""The tensors with a row for each token."""

_POSITIONS = "question.positions.weight"


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
    """A trained text encoder, without cross-attention, and its vocabulary: the question encoder starts from it, or
    reads its states where it is `beside`."""

    beside: bool = False

    answer: AnswerKind = "closed"
    decoder: dict[str, Any] = field(default_factory=dict)
    """Fields of `TextDecoderConfig`."""

    head_dim: int | None = None
    """Of `VQAConfig`, where it is stated."""

    output_positions: bool | None = None
    """Of `VQAConfig`, where it is stated."""

    keeps_vocabulary: bool = True
    """Whether the vocabulary of a trained model is kept."""

    @classmethod
    def of(
        cls,
        vision: VisionEncoder,
        pretrained: str | None,
        *,
        models: TrainedModels,
        question: dict[str, Any] | None,
        question_pretrained: str | None,
        text: TextSource | None,
        vocabulary: Vocabulary,
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
        readers = {"question_pretrained": question_pretrained, "text": text}
        for name, value in readers.items():
            if value is not None and pretrained is not None:
                raise ModelError(
                    f"`{name}` must not come with `pretrained`, which has a question encoder. Leave one out."
                )
        if text is not None and question_pretrained is not None:
            raise ModelError(
                "`text` must not come with `question_pretrained`, for one vocabulary is used. Leave one out."
            )
        if vocabulary == "new" and pretrained is None:
            raise ModelError('`vocabulary` must be "own" without `pretrained`: another start decides about it.')
        if pretrained is not None:
            require_training_only(
                question, "question", source="pretrained", allowed=(*TEXT_TRAINING_ONLY, "max_length")
            )
        if question_pretrained is not None:
            require_training_only(question, "question", source="question_pretrained", allowed=TEXT_TRAINING_ONLY)
        check_text_fields(question, TextEncoderConfig, "question", but=_DECIDED)
        check_text_fields(decoder, TextDecoderConfig, "decoder", but=_DECIDED)
        require(head_dim is None or head_dim >= 1, "head_dim", must="at least 1", value=head_dim)
        start = start_vision(vision, pretrained, models=models, whole=VQA, kind="model that answers")
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
        source = question_pretrained if text is None else text.pretrained
        reader = None if source is None else models.text_encoder(source)
        options = (question, reader, text is not None, answer, decoder, head_dim, output_positions, vocabulary == "own")
        return cls(start.preprocessing, start.encoder, start.whole, *options)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the trained model or text encoder; None where the data makes one."""
        if self.reader is not None:
            return self.reader[1]
        return super().tokenizer if self.keeps_vocabulary else None

    @property
    def decoding(self) -> dict[str, Any]:
        """How the trained model decodes, without what names tokens of a vocabulary that is not kept."""
        return super().decoding if self.keeps_vocabulary else without_tokens(super().decoding)

    def build(self, facts: TextFacts) -> VQA:
        """Build the model for the data's tokenizer and closed list.

        Answers that a trained model knows keep their weights, and so do the tokens of its vocabulary in a new one.

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
            part = model.question.text if self.beside else model.question
            assert part is not None
            part.load_state_dict(part.state_dict() | self.reader[0].state_dict())
        if trained is not None:
            kept = self._kept(trained, model, answers, facts.tokenizer)
            kept = {k: v for k, v in kept.items() if not k.startswith("encoder.")}
            model.load_state_dict(model.state_dict() | kept)
        return model

    def _question(self, tokenizer: Tokenizer, trained: VQA | None, *, context_dim: int) -> TextEncoderConfig:
        if trained is not None:
            old = trained.config.question
            new = self.question if self.keeps_vocabulary else special_tokens(tokenizer) | self.question
            if old.text is not None and not self.keeps_vocabulary:
                raise ModelError(
                    '`vocabulary` must be "own" for a model with a text encoder beside its question encoder, but is '
                    "'new' instead."
                )
            least = old.max_length
            length = self.question.get("max_length", least)
            require(
                length >= least, "question.max_length", must=f"at least that of `pretrained` ({least})", value=length
            )
            return changed(old, new, "question")
        if self.reader is None:
            return TextEncoderConfig(**{"context_dim": context_dim} | special_tokens(tokenizer) | self.question)
        config = self.reader[0].config
        if not self.beside:
            return replace(config, context_dim=context_dim, **self.question)
        shared = {name: getattr(config, name) for name in OF_THE_DATA}
        return changed(
            TextEncoderConfig(context_dim=context_dim, **shared), {"text": config} | self.question, "question"
        )

    def _decoder(self, question: TextEncoderConfig, trained: VQA | None) -> TextDecoderConfig:
        shared = {name: getattr(question, name) for name in OF_THE_DATA}  # one vocabulary for both
        if trained is not None and trained.config.decoder is not None:
            return replace(trained.config.decoder, **({} if self.keeps_vocabulary else shared), **self.decoder)
        return TextDecoderConfig(**{"context_dim": question.dim} | shared | self.decoder)

    def _kept(self, trained: VQA, model: VQA, answers: Sequence[str], tokenizer: Tokenizer) -> dict[str, Tensor]:
        """The weights of the trained model that the new one has, too."""
        assert self.whole is not None
        old, new = trained.state_dict(), model.state_dict()
        by_row = {*_LAST, _POSITIONS} | (set() if self.keeps_vocabulary else set(TOKENS))
        kept = {key: value for key, value in old.items() if key in new and key not in by_row}
        known = {answer: index for index, answer in enumerate(self.whole.labels)}
        rows = [(row, known[answer]) for row, answer in enumerate(answers) if answer in known]
        kept |= _with_rows(old, new, _LAST, rows)
        if _POSITIONS in old:
            kept |= _with_rows(old, new, (_POSITIONS,), [(row, row) for row in range(len(old[_POSITIONS]))])
        if not self.keeps_vocabulary:
            kept |= _with_rows(old, new, TOKENS, _same_tokens(self.whole.vocabulary, tokenizer))
        return kept


def _with_rows(
    old: Mapping[str, Tensor], new: Mapping[str, Tensor], names: Sequence[str], rows: Sequence[tuple[int, int]]
) -> dict[str, Tensor]:
    """The new tensors of these names, where both have them, with rows of the old ones: (row of the new, of the old)."""
    found = {name: new[name].clone() for name in names if name in old and name in new and rows}
    for name, tensor in found.items():
        tensor[[row for row, _ in rows]] = old[name][[index for _, index in rows]]
    return found


def _same_tokens(old: Tokenizer, new: Tokenizer) -> list[tuple[int, int]]:
    """The ids of the tokens of the same name, special ones included: (in the new vocabulary, in the old one)."""
    names = ((token, new.name_of(token)) for token in range(new.vocab_size))
    found = ((token, None if name is None else old.id_of(name)) for token, name in names)
    return [(token, known) for token, known in found if known is not None]


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
    text_states: Float[Tensor, "r n T"] | None = None,
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
        text_states: Those of the text encoder beside the question encoder, where they have been computed before.
        tap: Captures the questions' attention.
        checkpoint_activations: See `TransformerBlock`.
    """
    context = image_context(model, images, features, frozen=frozen, checkpoint_activations=checkpoint_activations)
    states = model.read(
        questions,
        context,
        attention_mask=attention_mask,
        text_states=text_states,
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
